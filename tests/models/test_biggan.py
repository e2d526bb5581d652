"""BigGAN: published sizes, its parts against their formulas, what a step minimises, classes, resuming to the bit."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.losses.orthogonal import orthogonal_penalty
from sfumato.models import biggan
from sfumato.models.biggan import (
    Attention,
    ConditionalNorm,
    Config,
    Discriminator,
    Generator,
    Method,
    Sampler,
    regularised,
    settle,
)
from sfumato.train.data import Pictures
from sfumato.train.engine import fit
from sfumato.train.options import TrainOptions

from .steps import steps_of

TINY = Config(
    resolution=16, width=2, chunk=3, embedding=5, classes=("a", "b"), features="", learning_rate=2e-3, judge_rate=4e-3
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("width", "millions"), [(96, 158.3), (64, 71.3)])
def test_the_published_numbers_of_weights(monkeypatch: pytest.MonkeyPatch, width: int, millions: float) -> None:
    """Table 1, for 128 pixels and ImageNet's thousand classes; the authors' PyTorch code prints 70433988, 87982370."""
    monkeypatch.setattr(biggan, "spectral_norm", lambda layer, **_: layer)
    monkeypatch.setattr(biggan, "orthogonal", lambda layer: layer)
    with torch.device("meta"):
        networks = Method(Config(width=width, classes=tuple(map(str, range(1000))))).networks()
    counts = [sum(p.numel() for p in n.parameters()) for n in networks.values()]
    assert sum(counts) / 1e6 == pytest.approx(millions, abs=0.15)
    if width == 96:
        assert counts == [70_433_988, 87_982_370]


def test_the_published_layouts() -> None:
    """Tables 4 to 6: widths, halvings, where the attention is, the noise's length."""
    wanted = {
        64: ([16, 16, 8, 4, 2], [1, 2, 4, 8], 100, 3),
        128: ([16, 16, 8, 4, 2, 1], [1, 2, 4, 8, 16], 120, 4),
        256: ([16, 16, 8, 8, 4, 2, 1], [1, 2, 4, 8, 8, 16], 140, 5),
        512: ([16, 16, 8, 8, 4, 2, 1, 1], [1, 1, 2, 4, 8, 8, 16], 160, 6),
    }
    for resolution, (generator, judge, latent, attended) in wanted.items():
        c = Config(resolution=resolution, width=1)
        assert (c.widths(), c.judge_widths(), c.latent(), c.attended()) == (generator, judge, latent, attended)
    assert Config(resolution=256, attention=64).attended() == 4
    assert Config(attention=0).attended() == 0
    assert Generator(dataclasses.replace(TINY, attention=0))(torch.randn(2, 9), torch.tensor([0, 1])).shape[3] == 16


def test_every_matrix_has_spectral_norm_one() -> None:
    networks = Method(TINY).networks()
    noise, label = torch.randn(4, 9), torch.tensor([0, 1, 0, 1])
    for _ in range(40):
        networks["discriminator"](networks["generator"](noise, label), label)
    found = 0
    for network in networks.values():
        for module in network.eval().modules():
            if hasattr(module, "parametrizations"):
                weight = module.weight
                assert isinstance(weight, Tensor)
                assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.03)
                found += 1
    plain = [m for n in networks.values() for m in n.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert found == len(plain) - 1  # all but the shared codes


def test_conditional_normalisation_is_its_formula() -> None:
    norm, x, code = ConditionalNorm(4, 6), 3 * torch.randn(5, 4, 3, 2) + 2, torch.randn(5, 6)
    y = norm(x, code)
    standard = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    gain, bias = (code @ layer.weight.T for layer in (norm.gain.eval(), norm.bias.eval()))
    torch.testing.assert_close(y, (1 + gain)[..., None, None] * standard + bias[..., None, None], atol=1e-4, rtol=1e-4)


def test_attention_is_its_formula_and_begins_as_nothing() -> None:
    attention, x = Attention(16).eval(), torch.randn(2, 16, 4, 6)
    assert torch.equal(attention(x), x)
    with torch.no_grad():
        attention.gain.fill_(0.7)
    weights = [layer.weight[:, :, 0, 0] for layer in (attention.queries, attention.keys, attention.values)]
    wanted = x.clone()
    for n in range(2):
        q, k, v = (torch.einsum("oc,chw->ohw", w, x[n]) for w in weights)
        k, v = (F.max_pool2d(t[None], 2)[0].flatten(1) for t in (k, v))
        for i in range(4):
            for j in range(6):
                share = torch.softmax(q[:, i, j] @ k, 0)
                wanted[n, :, i, j] += 0.7 * attention.back.weight[:, :, 0, 0] @ (v @ share)
    torch.testing.assert_close(attention(x), wanted, atol=1e-5, rtol=1e-4)


def test_each_piece_of_the_noise_enters_at_its_size() -> None:
    generator, noise, label = Generator(TINY).eval(), torch.randn(1, 9), torch.tensor([1])
    seen = list[Tensor]()
    for block in generator.blocks:
        block.register_forward_hook(lambda _m, _i, o: seen.append(o))
    generator(noise, label)
    for piece, same in ((0, 0), (1, 0), (2, 1)):
        changed = noise.clone()
        changed[:, 3 * piece : 3 * piece + 3] += 1
        generator(changed, label)
        equal = [torch.equal(a, b) for a, b in zip(seen[:2], seen[-2:], strict=True)]
        assert equal == [i < same for i in range(2)], piece
    made = generator(noise, torch.tensor([0]))
    assert (made - generator(noise, label)).abs().max() > 1e-4


def test_the_class_is_judged_by_projection() -> None:
    judge, x = Discriminator(TINY).eval(), torch.rand(3, 3, 16, 16)
    label, other = torch.tensor([0, 1, 0]), torch.tensor([1, 0, 1])
    seen = list[Tensor]()
    judge.score.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    gap = judge(x, label) - judge(x, other)
    codes = judge.classes.weight
    torch.testing.assert_close(gap, ((codes[label] - codes[other]) * seen[0]).sum(1))
    assert seen[0].shape == (3, 16 * 2)
    unconditional = Discriminator(dataclasses.replace(TINY, classes=()))
    assert unconditional(x).shape == (3,)


def test_a_step_minimises_what_the_paper_says() -> None:
    c = dataclasses.replace(TINY, orthogonal=0.01)
    method = Method(c)
    run = steps_of(method)
    with torch.no_grad():
        for weight in regularised(run.networks["generator"]):  # no longer orthogonal
            weight += 0.1 * torch.randn_like(weight)
    real, label = torch.rand(6, 3, 16, 16), torch.tensor([0, 1, 1, 0, 0, 1])
    twin = steps_of(method)
    for name, network in run.networks.items():
        twin.networks[name].load_state_dict(network.state_dict())
    generator, judge = twin.networks["generator"], twin.networks["discriminator"]
    with torch.no_grad():
        made = generator(run.randn("judged 0", 3, 9), label[:3])
        doubt = F.relu(1 - judge(real[:3], label[:3])).mean() + F.relu(1 + judge(made, label[:3])).mean()
    logs = method.step(run, (real, label))
    assert [name for name, _ in run.minimized] == ["discriminator", "discriminator", "generator"]
    assert run.minimized[0][1] == pytest.approx(doubt.item(), rel=1e-4)
    apart = orthogonal_penalty(regularised(generator)).item()  # the twin's, which has not moved
    assert run.minimized[2][1] == pytest.approx(logs["generator"].item() + 0.01 * apart, rel=1e-5)
    names = {n for n, p in generator.named_parameters() if any(p is q for q in regularised(generator))}
    assert all("original" in n for n in names)
    assert "shared.weight" not in names
    assert len(names) == sum(hasattr(m, "parametrizations") for m in generator.modules())


def test_standing_statistics_are_those_of_the_noise_given() -> None:
    """Over batches of one size: the mean of the batches' own, and the training's are forgotten."""
    generator, label = Generator(TINY), torch.tensor([0, 1, 0, 1])
    generator(torch.randn(4, 9), label)
    generator.eval()
    first = generator.blocks[0].norm1.norm
    seen = list[Tensor]()
    handle = first.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    settle(generator, ((torch.randn(4, 9), label) for _ in range(5)))
    handle.remove()
    assert not first.training
    torch.testing.assert_close(first.running_mean, torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0))
    torch.testing.assert_close(first.running_var, torch.stack([x.var((0, 2, 3)) for x in seen]).mean(0))
    assert first.momentum == 0.1
    noise = torch.randn(4, 9)
    torch.testing.assert_close(generator(noise, label)[:1], generator(noise[:1], label[:1]))  # no picture sees another


def test_a_little_training_finds_the_classes_colors() -> None:
    method = Method(dataclasses.replace(TINY, resolution=8, width=4, learning_rate=1e-3))
    run, label = steps_of(method), torch.tensor([0, 1] * 8)
    for run.step in range(1, 61):
        level = torch.where(label == 0, 0.2, 0.8).view(-1, 1, 1, 1)
        noise = 0.05 * torch.randn(16, 3, 8, 8, generator=run.noise("data"))
        logs = method.step(run, (level + noise, label))
    assert all(v.isfinite() for v in logs.values())
    with torch.no_grad():
        made = run.networks["generator"](torch.randn(16, 6), label)
    dark, bright = made[label == 0].mean().item(), made[label == 1].mean().item()
    assert dark < 0.4
    assert bright > 0.6


@pytest.mark.parametrize("resolution", [4, 28, 100])
def test_sizes_that_cannot_be(resolution: int) -> None:
    with pytest.raises(InputError, match=f"pixels, not {resolution}"):
        Method(dataclasses.replace(TINY, resolution=resolution))


def folders(path: Path) -> Path:
    for name, level in (("night", 30), ("day", 220)):
        (path / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((20, 20, 3), level + 5 * i, np.uint8)).save(path / name / f"{i}.png")
    return path


def test_a_run_exports_and_resumes_to_the_bit(tmp_path: Path) -> None:
    data = {"data": Pictures(folders(tmp_path / "data"), side=20)}
    c = dataclasses.replace(TINY, classes=())
    options = TrainOptions(
        steps=5, batch=4, resolution=16, threads=0, checkpoint_every=1, keep=9, log_every=1, evaluate_samples=4
    )

    def run(name: str, *, resume: bool = False) -> dict[str, Tensor]:
        chosen = dataclasses.replace(options, out=str(tmp_path / name))
        fit(Method(c), data, chosen, family="biggan", resume=resume)
        return load_file(tmp_path / name / "weights.safetensors")

    whole = run("whole")
    run("resumed")
    for step in (4, 5):
        shutil.rmtree(tmp_path / "resumed" / "checkpoints" / f"{step:09d}")
    resumed = run("resumed", resume=True)
    for key, tensor in whole.items():
        assert torch.equal(tensor, resumed[key]), key

    sampler = Sampler.load(tmp_path / "whole")
    assert (sampler.size, sampler.classes, sampler.codes) == ((16, 16), ("day", "night"), ())
    latents = sampler.draw([3, 4, 5], label=1)
    assert latents.shape == (3, 9 + 5)
    torch.testing.assert_close(sampler.draw([4], label=1), latents[1:2])
    made = sampler.paint(latents)
    assert made.shape == (3, 3, 16, 16)
    torch.testing.assert_close(sampler.paint(latents[1:2]), made[1:2], rtol=1e-4, atol=1e-5)
    other = sampler.draw([3, 4, 5], label=0)
    assert torch.equal(other[:, :9], latents[:, :9])
    half = sampler.blend(other[:1], latents[:1], 0.5)
    torch.testing.assert_close(half[:, :9], latents[:1, :9])
    torch.testing.assert_close(half[:, 9:], (other[:1, 9:] + latents[:1, 9:]) / 2)
    with pytest.raises(InputError, match="no code"):
        sampler.turn(latents, "size", 1.0)


def test_truncated_noise_is_a_truncated_normal() -> None:
    config: Any = dataclasses.replace(TINY, classes=())
    sampler = Sampler(config, Generator(config))
    seeds = list(range(600))
    whole = sampler.draw(seeds)
    assert whole.std().item() == pytest.approx(1, abs=0.03)
    assert whole.abs().max() > 3
    cut = sampler.draw(seeds, truncation=0.5)
    assert cut.abs().max() <= 1
    assert cut.std().item() == pytest.approx(0.5396, abs=0.02)  # of a normal variable within one deviation
    assert (cut.sort(0).indices == whole.sort(0).indices).all()  # the same seeds in the same order
    assert torch.equal(sampler.draw([1], truncation=0.0), torch.zeros(1, 9))


def test_short_runs_are_told() -> None:
    assert "few" in str(Method(TINY).short(100, 8))
    assert Method(TINY).short(100_000, 8) is None
