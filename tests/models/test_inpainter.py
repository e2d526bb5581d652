"""Holes filled: what the network begins as, what it must not touch, its losses, training, files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sfumato.models.inpainter import Config, Filler, Inpainter, Method, coarse, touched
from sfumato.picture.membrane import membrane
from sfumato.train import resume, train

TINY: dict[str, Any] = {"channels": 4, "blocks": 1, "resolution": 32, "judge_channels": 4}
OPTIONS: dict[str, Any] = {
    "batch": 2,
    "threads": 0,
    "device": "cpu",
    "evaluate_samples": 4,
    "val_fraction": 0.2,
    "log_every": 2,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Stripes of some width and direction."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    y, x = np.mgrid[:48, :56]
    for i in range(10):
        angle = rng.uniform(0, np.pi)
        wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * rng.uniform(0.4, 0.8)) > 0
        pixels = np.where(wave[..., None], (220, 180, 40), (30, 60, 120))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return str(folder)


def test_untrained_it_is_the_fill_that_it_was_given() -> None:
    torch.manual_seed(0)
    network, picture = Inpainter(Config(channels=4, blocks=2)).eval(), torch.rand(2, 3, 40, 24)
    mask = (torch.rand(2, 1, 40, 24) < 0.3).float()
    assert torch.equal(network(picture, mask), picture)


def test_it_changes_nothing_outside_the_hole() -> None:
    torch.manual_seed(0)
    network, picture = Inpainter(Config(channels=4, blocks=1)).eval(), torch.rand(1, 3, 32, 32)
    torch.nn.init.normal_(network.last.weight, 0, 0.1)
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 10:20, 5:25] = 1
    made = network(picture, mask)
    outside = (mask == 0).expand_as(made)
    assert torch.equal(made[outside], picture[outside])
    assert float((made - picture).detach().abs()[~outside].min()) > 0
    filler = Filler(network, Config())
    assert float(filler(torch.cat([picture, mask], 1)).max()) <= 1


def test_pictures_go_to_where_the_network_is() -> None:
    class Where(Inpainter):
        def forward(self, pictures: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return pictures + mask

    config = Config(channels=4, blocks=1)
    assert Filler(Where(config), config, "meta")(torch.zeros(1, 4, 16, 16)).device.type == "meta"


def test_its_size_is_as_promised() -> None:
    kept = sum(p.numel() for p in Inpainter(Config()).state_dict().values() if p.is_floating_point())
    assert 1_500_000 < kept < 2_000_000


def test_patches_count_where_the_hole_is() -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 9, 17] = 1
    found = touched(mask, torch.zeros(1, 1, 8, 8))
    assert found.sum() == 1
    assert bool(found[0, 0, 2, 4])


def test_coarse_keeps_planes_and_loses_detail() -> None:
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    plane = torch.stack([x, y, x + y]) / 64
    near = coarse(plane, 4)[:, 4:-4, 4:-4]
    torch.testing.assert_close(near, plane[:, 4:-4, 4:-4], atol=0.006, rtol=0)
    board = ((x + y) % 2).expand(3, -1, -1)
    assert float((coarse(board, 4) - 0.5).abs().max()) < 0.05


def test_pixels_are_counted_in_the_hole_alone() -> None:
    """The first loss of a step is the membrane's mean absolute error within the hole."""

    class Run:
        progress, networks = 0.0, {"inpainter": Inpainter(Config(channels=4, blocks=1))}

        def minimize(self, name: str, loss: torch.Tensor) -> None:
            assert name == "inpainter"
            self.loss = loss

        def rand(self, purpose: str, count: int, *shape: int) -> torch.Tensor:  # noqa: ARG002
            return torch.rand(count, *shape)

    torch.manual_seed(0)
    method, run = Method(Config(refined=0.0, perceptual_weight=0.0)), Run()
    real, mask = torch.rand(2, 3, 32, 32), (torch.rand(2, 1, 32, 32) < 0.2).float()
    found = method.step(run, (real, mask))  # type: ignore[arg-type]
    off = (membrane(real, mask) - real).abs()[(mask > 0).expand_as(real)]
    assert float(found["pixels"].detach()) == pytest.approx(float(off.mean()), rel=1e-4)
    assert set(found) == {"pixels"}
    assert float(run.loss.detach()) == float(found["pixels"].detach())


def test_it_plays_against_its_judge_and_resumes(photos: str, tmp_path: Path) -> None:
    given = {**TINY, **OPTIONS, "checkpoint_every": 2, "decay": 0, "adversarial_from": 0.0, "features": "vgg-lite"}
    whole = train("inpainter", data=photos, out=str(tmp_path / "a"), steps=4, **given)
    assert set(whole.losses) == {"pixels", "features", "adversarial", "judge"}
    assert whole.metrics["L1 of the membrane"] > 0
    train("inpainter", data=photos, out=str(tmp_path / "b"), steps=2, **given)
    resume(tmp_path / "b", steps=4)
    first, second = (load_file(tmp_path / k / "weights.safetensors") for k in "ab")
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not any(k.startswith("judge") for k in first)
    filler, digest = Filler.load(str(tmp_path / "a"))
    assert len(digest) == 64
    assert filler.side == 32
