"""What every family with plain noise must do: train, show, judge, resume to the bit, sample by seeds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sfumato.errors import InputError
from sfumato.generate.sampling import load_sampler, paint
from sfumato.models.adversaries import sides_of
from sfumato.models.registry import FAMILIES, family, offers, summary
from sfumato.models.sampler import config_from, sheet, slerp
from sfumato.train import presets, read_preset, resume, train
from sfumato.weights.files import load_model

SMALL: dict[str, dict[str, Any]] = {
    "gan": {"widths": (8, 6, 4), "latent": 5},
    "dcgan": {"width": 4, "latent": 5},
    "wgan_gp": {"width": 4, "latent": 5, "critic_steps": 2},
    "infogan": {"width": 4, "latent": 5, "hidden": 8, "categorical": (3,), "continuous": 1},
}
OPTIONS = {"batch": 4, "threads": 0, "device": "cpu", "evaluate_samples": 8, "val_fraction": 0.2, "log_every": 2}


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "colours.npz"
    np.savez(path, x=np.random.default_rng(0).integers(0, 256, (40, 20, 16, 3), dtype=np.uint8))
    return path


def trained(name: str, source: Path, out: Path, **given: Any) -> None:
    train(name, data=source, out=out, resolution=16, channels=3, features="", **{**OPTIONS, **SMALL[name], **given})


@pytest.mark.parametrize("name", SMALL)
def test_resumed_equals_uninterrupted_and_seeds_give_the_same_pictures(
    name: str, colours: Path, tmp_path: Path
) -> None:
    trained(name, colours, tmp_path / "whole", steps=4)
    trained(name, colours, tmp_path / "parts", steps=4, checkpoint_every=2, keep=9)
    newest = tmp_path / "parts" / "checkpoints" / "000000004"
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    resume(tmp_path / "parts")
    whole, parts = (load_file(tmp_path / k / "checkpoints/000000004/tensors.safetensors") for k in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    assert (tmp_path / "whole" / "samples" / "000000004.png").is_file()

    sampler, _ = load_sampler(tmp_path / "whole")
    assert sampler.size == (16, 16)
    many = paint(sampler, sampler.draw(range(1, 12)))
    assert many.shape == (11, 3, 16, 16)
    assert many.min() >= 0
    assert many.max() <= 1
    assert torch.equal(many[:2], paint(sampler, sampler.draw((1, 2))))
    torch.testing.assert_close(many[9:10], paint(sampler, sampler.draw((10,))), rtol=0, atol=1e-5)
    gaps = (many[:, None] - many[None]).flatten(2).norm(dim=2)
    assert gaps[~torch.eye(11, dtype=torch.bool)].min() > 0
    middle = (
        paint(sampler, sampler.draw(range(12), truncation=0.0)[:, : SMALL[name]["latent"]])
        if name != "infogan"
        else None
    )
    if middle is not None:
        assert torch.equal(middle[0], middle[7])  # no variety is left


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("resolution", [8, 28, 64])
def test_sizes(name: str, resolution: int) -> None:
    module = family(name)
    small = {**SMALL[name], **({"channels": 1} if resolution == 28 else {"channels": 3})}
    method = module.Method(module.Config(resolution=resolution, **small))
    networks = method.networks()
    latents = torch.randn(3, 5 + (4 if name == "infogan" else 0))
    made = networks["generator"](latents)
    assert made.shape == (3, small["channels"], resolution, resolution)
    judge = networks.get("critic", networks.get("discriminator"))
    found = judge(made)
    scores = found.score if name == "infogan" else found
    assert scores.shape == (3,)


@pytest.mark.parametrize("name", ["dcgan", "wgan_gp", "infogan"])
@pytest.mark.parametrize("resolution", [9, 18, 36, 72])
def test_sides_that_no_doubling_reaches_are_refused(name: str, resolution: int) -> None:
    module = family(name)
    with pytest.raises(InputError, match=f"pictures of {resolution} px cannot be made by doubling"):
        module.Method(module.Config(resolution=resolution))


def test_digits_are_made_from_four_by_four_as_in_the_papers_code() -> None:
    """Three doublings, one of them to 7: the widths at 4 x 4 are those at half the side, twice doubled."""
    assert sides_of(28) == [28, 14, 7, 4]
    assert sides_of(64) == [64, 32, 16, 8, 4]
    for name in ("dcgan", "wgan_gp"):
        module = family(name)
        networks = module.Method(module.Config(resolution=28, channels=1, width=8)).networks()
        seen = dict[str, list[tuple[int, int]]]()
        for part in networks:
            shapes = seen.setdefault(part, [])
            for layer in networks[part].modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    layer.register_forward_hook(lambda _, __, y, s=shapes: s.append((y.shape[1], y.shape[2])))
        judge = networks.get("critic", networks.get("discriminator"))
        judge(networks["generator"](torch.randn(2, 128 if name == "wgan_gp" else 100)))
        assert seen["generator"][-3:] == [(16, 7), (8, 14), (1, 28)]
        assert next(v for k, v in seen.items() if k != "generator")[:3] == [(8, 14), (16, 7), (32, 4)]


@pytest.mark.parametrize("name", ["dcgan", "wgan_gp"])
@pytest.mark.parametrize("resolution", [13, 100])
def test_sides_may_be_odd_on_the_way(name: str, resolution: int) -> None:
    module = family(name)
    networks = module.Method(module.Config(resolution=resolution, **SMALL[name])).networks()
    made = networks["generator"](torch.randn(2, 5))
    assert made.shape == (2, 3, resolution, resolution)
    assert networks.get("critic", networks.get("discriminator"))(made).shape == (2,)


@pytest.mark.parametrize("name", ["gan", "infogan"])
def test_doubled_twice_is_not_every_size(name: str) -> None:
    module = family(name)
    with pytest.raises(InputError):
        module.Method(module.Config(resolution=102 if name == "gan" else 100))


@pytest.mark.parametrize("name", SMALL)
def test_every_preset_fits_its_family(name: str) -> None:
    config = summary(name).config
    for preset in presets(name):
        chosen = read_preset(name, preset)
        c = config_from(family(name).Config, {**vars(config()), **chosen})
        networks = family(name).Method(c).networks()
        assert sum(p.numel() for p in networks["generator"].parameters()) < 2e7


def test_judged_on_named_features(colours: Path, tmp_path: Path) -> None:
    """The score is the Frechet distance on the network that is named, and the model says what it was."""
    options = {**OPTIONS, **SMALL["dcgan"], "evaluate_samples": 12, "resolution": 32}
    done = train("dcgan", data=colours, out=tmp_path / "run", steps=1, features="vgg19", **options)
    assert done.metrics["score"] == done.metrics["FID-VGG"] > 0
    assert {"KID-VGG", "precision", "recall", "density", "coverage", "diversity"} <= set(done.metrics)
    assert load_model(tmp_path / "run").about["metrics"] == done.metrics


def test_families_with_a_sampler_are_known_without_importing_them() -> None:
    assert {name for name in FAMILIES if offers(name, "Sampler")} >= set(SMALL)
    assert not offers("onepass", "Sampler")
    with pytest.raises(InputError, match="no such file"):
        load_sampler("nowhere.safetensors")


def test_slerp_keeps_to_the_sphere() -> None:
    a, b = torch.tensor([[3.0, 0, 0]]), torch.tensor([[0.0, 3, 0]])
    torch.testing.assert_close(slerp(a, b, 0.5), torch.tensor([[3.0, 3, 0]]) / 2**0.5)
    torch.testing.assert_close(slerp(a, b, 1 / 3), 3 * torch.tensor([[3**0.5 / 2, 0.5, 0]]))
    torch.testing.assert_close(slerp(a, 2 * a, 0.25), 1.25 * a)
    for share, end in ((0.0, a), (1.0, b)):
        torch.testing.assert_close(slerp(a, b, share), end)


def test_a_sheet_is_filled_row_by_row_and_white_where_nothing_is() -> None:
    pictures = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 2, 4) / 10
    laid = sheet(pictures)
    assert laid.shape == (3, 4, 12)
    assert laid[0, ::2, ::4].tolist() == [
        [pytest.approx(0), pytest.approx(0.1), pytest.approx(0.2)],
        [pytest.approx(0.3), pytest.approx(0.4), 1],
    ]
