"""The denoiser: what its level means, that it learns, that strength does what it says, that tiles meet."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.models import denoiser
from sfumato.models.denoiser import Config, Denoiser, Method, Network, true_level
from sfumato.train import train

from .steps import steps_of

SMALL = Config(widths=(8, 12), blocks=1, estimator=8, resolution=32, learning_rate=4e-3)


class Flat:
    """Pictures of smooth ramps, in memory."""

    names = ("ramp.png",)

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(1))

    def __getitem__(self, index: int) -> torch.Tensor:
        x = torch.linspace(40, 220, 96)
        return torch.stack([x.expand(96, 96), x[:, None].expand(96, 96), x.flip(0).expand(96, 96)]).to(torch.uint8)


def batches(count: int, size: int = 8) -> list[tuple[torch.Tensor, ...]]:
    method, data = Method(SMALL), {"data": Flat()}
    made = [
        [method.sample(data, np.random.default_rng([k, i])) for i in range(size)]  # type: ignore[arg-type]
        for k in range(count)
    ]
    return [tuple(torch.stack(column) for column in zip(*samples, strict=True)) for samples in made]


def test_the_true_level_is_the_noises_deviation() -> None:
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    sigma = torch.where(torch.arange(64) < 32, 0.02, 0.1)
    level = true_level(noise * sigma)
    assert level.shape == (1, 1, 32, 32)
    assert abs(float(level[..., :10].mean()) - 0.02) < 0.002
    assert abs(float(level[..., 22:].mean()) - 0.1) < 0.005


def test_blocks_begin_at_any_row_and_column(monkeypatch: pytest.MonkeyPatch) -> None:
    def gridded(clean: torch.Tensor, _rng: np.random.Generator, _strongest: float) -> torch.Tensor:
        damaged = clean.clone()
        damaged[:, ::8] += 1
        damaged[:, :, ::8] += 1
        return damaged

    monkeypatch.setattr(denoiser, "noisy", gridded)
    damaged, clean = batches(1, 60)[0]
    wrong = (damaged - clean).round()[:, 0]
    rows, columns = ({int(line.max(0).indices) for line in wrong.sum(dim)} for dim in (2, 1))
    assert rows == columns == set(range(8))
    assert clean.min() >= 0
    assert clean.max() <= 1  # it is the picture that is cut alike


def test_a_sample_is_a_pair_and_often_damaged() -> None:
    damaged, clean = batches(1, 24)[0]
    assert damaged.shape == clean.shape == (24, 3, 32, 32)
    assert 0 <= float(damaged.min()) <= float(damaged.max()) <= 1
    untouched = (damaged == clean).flatten(1).all(1)
    assert int((~untouched).sum()) > 12


def test_it_learns_to_take_noise_away_and_to_know_how_much_there_is() -> None:
    run = steps_of(Method(SMALL))

    def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = torch.Generator().manual_seed(seed)
        clean = torch.rand(8, 3, 1, 1, generator=rng).expand(-1, -1, 32, 32) * 0.6 + 0.2
        sigma = torch.rand(8, 1, 1, 1, generator=rng) * 0.15
        return (clean + sigma * torch.randn(8, 3, 32, 32, generator=rng)).clamp(0, 1), clean

    held = [batch(1000), batch(1001)]
    before = run.method.evaluate(run, held)
    for k in range(80):
        run.go(*batch(k))
    after = run.method.evaluate(run, held)
    assert after["score"] < 0.7 < 0.95 < before["score"]
    assert after["PSNR"] > after["PSNR damaged"] + 2
    assert after["level error"] < 0.7 * before["level error"]


def trained() -> Denoiser:
    torch.manual_seed(3)
    network = Network(SMALL)
    for layer in network.remover.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.15)
    return Denoiser(network)


def test_strength_zero_leaves_the_picture_and_part_of_it_leaves_part() -> None:
    picture = torch.rand(1, 3, 33, 46) * 0.5 + 0.25
    work = trained()
    whole = work.denoise(picture)
    assert torch.equal(work.denoise(picture, 0.0), picture)
    assert torch.allclose(work.denoise(picture, 0.5), (picture + whole) / 2, atol=1e-6)
    assert not torch.allclose(work.denoise(picture, 2.0), whole, atol=1e-4)


def test_tiled_equals_whole() -> None:
    picture = torch.rand(1, 3, 210, 175)
    work = trained()
    assert torch.allclose(work.denoise(picture, tile=40), work.denoise(picture), atol=1e-5)


def test_a_run_trains_and_its_weights_work(tmp_path: Path) -> None:
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 255, (60, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    given: dict[str, Any] = {"widths": (8, 12), "blocks": 1, "estimator": 8, "resolution": 32, "batch": 2}
    run = train("denoiser", data=tmp_path, out=tmp_path / "run", steps=2, threads=0, evaluate_samples=2, **given)
    work, digest = Denoiser.load(run.folder)
    assert len(digest) == 64
    assert work.denoise(torch.rand(1, 3, 20, 31)).shape == (1, 3, 20, 31)
    assert denoiser.Method(SMALL).short(10, 8) is not None
