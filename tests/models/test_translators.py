"""What every family that translates must do: train, show, judge, resume to the bit, translate pictures of any size."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from sfumato.errors import InputError
from sfumato.features.vgg import CONVS, VGG19, WIDTHS, Weights
from sfumato.losses.perceptual import content_distance
from sfumato.metrics.kernel import mmd
from sfumato.models import translating
from sfumato.models.registry import FAMILIES, family, offers, summary
from sfumato.models.sampler import config_from
from sfumato.models.translating import Critic, from_pool
from sfumato.models.translator import DIRECTIONS, load_translator, whole_cells
from sfumato.train import TrainOptions, presets, read_preset, resume, train
from sfumato.train.options import check_values
from sfumato.weights.files import save_model

from .domains import SIDE, batch_of, blue, red, write
from .steps import steps_of

SMALL: dict[str, dict[str, Any]] = {
    "cyclegan": {"channels": 4, "blocks": 1, "judge_channels": 4, "judge_layers": 2, "pool_size": 3},
    "unit": {"channels": 4, "blocks": 1, "judge_channels": 4, "judge_layers": 2, "scales": 2, "pool_size": 3},
    "cut": {"channels": 4, "blocks": 1, "judge_channels": 4, "judge_layers": 2, "patches": 9, "code": 6},
}
SHEETS = {"cyclegan": (2, 6), "unit": (4, 8), "cut": (2, 4)}
"""Rows and columns of a sheet of two pictures."""
OPTIONS = {"batch": 2, "threads": 0, "device": "cpu", "evaluate_samples": 4, "val_fraction": 0.2, "log_every": 1}


def method_of(name: str, **given: Any) -> Any:
    module = family(name)
    return module.Method(module.Config(**{"resolution": SIDE, "features": "", **SMALL[name], **given}))


def narrow() -> VGG19:
    """VGG-19 with a thirty-second of its channels and random weights."""
    noise, convs, inputs = torch.Generator().manual_seed(1), dict[str, tuple[Tensor, Tensor]](), 3
    for conv in CONVS:
        width = WIDTHS[int(conv[0]) - 1] // 32
        convs[conv] = (
            torch.randn(width, inputs, 3, 3, generator=noise) * (2 / (9 * inputs)) ** 0.5,
            torch.zeros(width),
        )
        inputs = width
    return VGG19(Weights(convs, (0.5, 0.5, 0.5), (2.0, 2.0, 2.0), "vgg19:narrow", "0"))


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translating, "load_features", lambda *_args, **_options: narrow())


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.usefixtures("light")
def test_resumed_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    given = {**OPTIONS, **SMALL[name], **write(tmp_path), "resolution": SIDE, "augment": ("color",)}
    done = train(name, out=tmp_path / "whole", steps=4, **given)
    train(name, out=tmp_path / "parts", steps=4, checkpoint_every=2, keep=9, **given)
    newest = tmp_path / "parts" / "checkpoints" / "000000004"
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    resume(tmp_path / "parts")
    whole, parts = (load_file(tmp_path / k / "checkpoints/000000004/tensors.safetensors") for k in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    kept = {k: len(whole[k]) for k in whole if "pool" in k}
    assert kept == {f"state/pool {domain}": 3 for domain in "ab"} if "pool_size" in SMALL[name] else not kept
    assert {"score", "diversity", "content_lost a_to_b", "KID-VGG a_to_b"} <= done.metrics.keys()
    shown = np.asarray(Image.open(tmp_path / "whole" / "samples" / "000000004.png"))
    assert shown.shape == (SHEETS[name][0] * SIDE, SHEETS[name][1] * SIDE, 3)

    translator, _ = load_translator(tmp_path / "whole")
    assert translator.side == SIDE
    assert set(translator.directions) <= set(DIRECTIONS)
    pictures = torch.rand(2, 3, 13, 22, generator=torch.Generator().manual_seed(0))
    for direction in translator.directions:
        made = translator.translate(pictures, direction)
        assert made.shape == pictures.shape
        assert 0 <= made.min() < made.max() <= 1
        torch.testing.assert_close(translator.translate(pictures[1:], direction), made[1:], atol=1e-5, rtol=0)
    if len(translator.directions) == 1:
        with pytest.raises(InputError, match="this model goes a_to_b only, not b_to_a"):
            translator.translate(pictures, "b_to_a")
    with pytest.raises(InputError, match="unknown direction 'a_to_c'"):
        translator.translate(pictures, "a_to_c")


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (17, 8), (16, 12)])
def test_any_size_is_the_padded_picture_cropped(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    method = method_of(name)
    torch.manual_seed(0)
    networks = {k: n for k, n in method.networks().items() if k in method.averaged}
    path = tmp_path / "m.safetensors"
    save_model(path, name, dataclasses.asdict(method.config), networks, {}, dtype=torch.float32)
    translator, _ = load_translator(path)
    picture = torch.rand(1, 3, *size)
    whole = [max(8, -(-s // 4) * 4) for s in size]
    rows, columns = (torch.arange(n).clamp(max=s - 1) for n, s in zip(whole, size, strict=True))
    padded = picture[:, :, rows][:, :, :, columns]
    assert torch.equal(whole_cells(picture), padded)
    found = translator.translate(picture)
    assert torch.equal(found, translator.translate(padded)[:, :, : size[0], : size[1]])


@pytest.mark.parametrize("name", SMALL)
def test_nobody_learns_in_anothers_turn(name: str) -> None:
    """The gradient of a step of one optimiser reaches the weights that it holds, and no others."""
    method = method_of(name)
    run = steps_of(method)
    held = {k: {id(p) for g in o.param_groups for p in g["params"]} for k, o in run.optimizers.items()}
    everything = {id(p) for n in run.networks.values() for p in n.parameters()}
    assert set.union(*held.values()) == everything
    assert sum(map(len, held.values())) == len(everything)
    before: dict[str, dict[int, Tensor]] = {}
    steps = run.minimize

    def watched(optimizer: str, loss: Tensor) -> None:
        weights = {id(p): p for n in run.networks.values() for p in n.parameters()}
        old = {k: p.detach().clone() for k, p in weights.items()}
        steps(optimizer, loss)
        moved = {k for k, p in weights.items() if not torch.equal(p, old[k])}
        assert moved <= held[optimizer]
        assert len(moved) > 0.5 * len(held[optimizer])  # biases before instance norm have no gradient to speak of
        assert all(p.grad is None or k in held[optimizer] for k, p in weights.items() if k not in held[optimizer])
        before[optimizer] = old
        for p in weights.values():
            p.grad = None

    run.minimize = watched
    logs = run.go(*batch_of(2, 0))
    assert set(before) == set(held)
    assert 0 <= logs["told apart"] <= 1
    assert all(torch.isfinite(v) for v in logs.values())


def test_the_pool_is_filled_and_then_swaps_half_of_the_time() -> None:
    run = steps_of(method_of("cyclegan"))
    given, swapped, shown = 0, 0, list[float]()
    for step in range(400):
        run.step = step
        fresh = torch.arange(given, given + 3.0).view(3, 1, 1, 1)
        given += 3
        out = from_pool(run, "a", fresh, 5)
        assert out.shape == fresh.shape
        assert not out.requires_grad
        if step == 0:
            assert torch.equal(out, fresh)
        changed = out != fresh
        swapped += int(changed.sum())
        shown += out[changed].tolist()
        pool = run.state["pool a"]
        assert len(pool) == min(5, given)
        assert len(set(pool.flatten().tolist())) == len(pool)
    assert swapped / (given - 5) == pytest.approx(0.5, abs=0.05)  # 1,195 throws: 0.014 deviation
    assert len(set(shown)) == len(shown)  # who was shown again has left the pool
    assert torch.equal(from_pool(run, "b", fresh, 0), fresh)
    assert "pool b" not in run.state


@pytest.mark.usefixtures("light")
def test_the_critic_knows_both_ends() -> None:
    """Nothing done: all of the gap is left, nothing of the content lost. Pictures of the domain: less and more."""
    run, batches = steps_of(method_of("cyclegan")), [batch_of(8, seed, 32) for seed in (1, 2)]
    critic = Critic("narrow")
    with torch.no_grad():
        idle = critic(run, {d: lambda x: x for d in DIRECTIONS}, batches)
        true = critic(run, {"a_to_b": lambda x: blue(x[:, :1]), "b_to_a": lambda x: red(x[:, 2:])}, batches)
        flat = critic(run, {"a_to_b": lambda x: 0.5 + 0 * x}, batches)
    for direction in DIRECTIONS:
        assert idle[f"domain_left {direction}"] == pytest.approx(1, abs=0.15)
        assert idle[f"content_lost {direction}"] < 0.02  # files hold 256 values
        assert true[f"domain_left {direction}"] < 0.1
        assert true[f"FID-VGG {direction}"] < 0.6 * idle[f"FID-VGG {direction}"]
    assert idle["score"] == pytest.approx(
        sum(idle[f"{k} {d}"] for d in DIRECTIONS for k in ("domain_left", "content_lost")) / 2
    )
    assert true["score"] < idle["score"]
    assert flat["diversity"] < 1e-3 < 0.5 < true["diversity"]
    assert "content_lost b_to_a" not in flat

    vgg, first, second = narrow(), torch.cat([b[0] for b in batches]), torch.cat([b[1] for b in batches])
    painted = torch.flip(first, (2,)).mul(255).round() / 255
    found = critic(run, {"a_to_b": lambda x: torch.flip(x, (2,))}, batches)
    vectors = [vgg(x, ("relu5_4",))["relu5_4"].mean((2, 3)).double() for x in (painted, first, second)]
    size = torch.cat(vectors[1:]).square().mean().sqrt()
    assert found["KID-VGG a_to_b"] == pytest.approx(mmd(vectors[0], vectors[2]), rel=1e-3, abs=1e-6)
    vectors = [v / size for v in vectors]
    assert found["domain_left a_to_b"] == pytest.approx(
        mmd(vectors[0], vectors[2]) / mmd(vectors[1], vectors[2]), rel=1e-3
    )
    deep = [vgg(x, ("relu4_1",))["relu4_1"] for x in (painted, first)]
    assert found["content_lost a_to_b"] == pytest.approx(content_distance(*deep).mean().item(), rel=1e-4)


def test_the_bundled_light_network_judges() -> None:
    run, batches = steps_of(method_of("cyclegan")), [batch_of(3, 1, 32)]
    found = Critic("vgg-lite")(run, {"a_to_b": lambda x: blue(x[:, :1])}, batches)
    assert "KID-vgg-lite-relu5_1 a_to_b" in found
    assert found["domain_left a_to_b"] < 0.3
    with pytest.raises(InputError, match="no feature network 'nothing'"):
        Critic("nothing")(run, {}, batches)


@pytest.mark.parametrize("name", SMALL)
def test_presets_fit_their_family(name: str) -> None:
    module, about = family(name), summary(name)
    assert about.roles == ("a", "b")
    assert set(about.docs) >= set(vars(about.config())) - {"learning_rate", "betas"}
    assert {"cpu", "default", "gpu"} <= set(presets(name))
    known = set(vars(about.config())) | set(vars(TrainOptions()))
    for preset in presets(name):
        chosen = read_preset(name, preset)
        assert set(chosen) <= known
        assert (chosen["decay"], chosen["decay_shape"]) == (0.5, "linear")
        config = config_from(module.Config, chosen)
        check_values(config, module.RANGES)
        method = module.Method(config)
        with torch.device("meta"):
            painters = [n for k, n in method.networks().items() if k in method.averaged]
        size = sum(p.numel() for n in painters for p in n.parameters())
        assert size < (3e6 if preset == "cpu" else 25e6)


@pytest.mark.parametrize("name", SMALL)
def test_what_cannot_be_is_said(name: str) -> None:
    with pytest.raises(InputError, match="a resolution that is a multiple of 4: 16, not 18"):
        method_of(name, resolution=18)
    with pytest.raises(InputError, match=r"layers? .*need.* px, not 8: fewer --judge-layers"):
        method_of(name, resolution=8, judge_layers=6)
    assert "few for" in method_of(name).short(10, 2)
    assert method_of(name).short(10**6, 2) is None


def test_translators_are_known_and_others_refused() -> None:
    assert {name for name in FAMILIES if offers(name, "Translator")} == set(SMALL)
    with pytest.raises(InputError, match="a onepass model translates no pictures; these do: cyclegan, unit, cut"):
        load_translator("onepass")


def judged_colour(made: Tensor, pattern: Tensor, wanted: Tensor, given: Tensor) -> tuple[float, float]:
    """Distance to what the picture should have become, over that of leaving it alone; the pattern's correlation."""
    gap = float((made - wanted).abs().mean() / (given - wanted).abs().mean())
    pair = torch.stack([made.mean(1).flatten(), pattern.flatten()])
    return gap, float(torch.corrcoef(pair)[0, 1])
