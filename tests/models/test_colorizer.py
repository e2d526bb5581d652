"""Colours guessed: bins, weights, dots, training, files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sfumato.models.colorizer import (
    REACH,
    STEP,
    Bins,
    Colorist,
    Colorizer,
    Config,
    Method,
    bins,
    cells,
    dots,
    gathered,
)
from sfumato.picture.color import rgb_to_lab
from sfumato.train import resume, train

from .steps import steps_of

TINY: dict[str, Any] = {"encoder": "light", "width": 8, "resolution": 32}
OPTIONS: dict[str, Any] = {
    "batch": 4,
    "threads": 0,
    "device": "cpu",
    "evaluate_samples": 8,
    "val_fraction": 0.2,
    "log_every": 2,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Blue above, a green or a darker red field below: what is light and high is blue."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i in range(16):
        field = (60, 130, 50) if i % 2 else (120, 30, 20)
        pixels = np.empty((40, 48, 3))
        horizon = int(rng.integers(12, 28))
        pixels[:horizon], pixels[horizon:] = (150, 190, 250), field
        Image.fromarray((pixels + rng.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8)).save(
            folder / f"{i}.png"
        )
    return str(folder)


def test_bins_surround_every_colour_of_srgb() -> None:
    """Zhang et al. 2016 count 313 in gamut with their points; shares of four are exact for any colour."""
    found = bins()
    assert 280 < len(found) < 340
    assert len(torch.unique(found, dim=0)) == len(found)
    assert bool((found % STEP == 0).all())
    torch.manual_seed(0)
    ab = rgb_to_lab(torch.rand(2, 3, 25, 25).double())[:, 1:]
    table, shares = Bins(), Bins().shares(ab)
    torch.testing.assert_close(shares.weights.sum(1), torch.ones_like(shares.weights[:, 0]))
    assert float(shares.weights.min()) >= 0
    back = (table.colors.double()[shares.numbers] * shares.weights[..., None]).sum(1).permute(0, 3, 1, 2)
    torch.testing.assert_close(back, ab, atol=1e-9, rtol=0)


def test_the_annealed_mean_goes_from_the_mean_to_the_likeliest() -> None:
    table = Bins()
    chances = torch.zeros(len(table)).index_fill(0, torch.tensor([3]), 0.6).index_fill(0, torch.tensor([200]), 0.4)
    scores = (chances + 1e-12).log().view(1, -1, 1, 1)
    mean = table.annealed(scores, 1.0).flatten()
    torch.testing.assert_close(mean, 0.6 * table.colors[3] + 0.4 * table.colors[200], atol=1e-3, rtol=0)
    torch.testing.assert_close(table.annealed(scores, 0.02).flatten(), table.colors[3], atol=1e-3, rtol=0)
    sharp = table.annealed(scores, 0.5).flatten()  # shares 0.36 and 0.16 of 0.52
    torch.testing.assert_close(sharp, (9 * table.colors[3] + 4 * table.colors[200]) / 13, atol=1e-3, rtol=0)


def test_rare_colours_weigh_more_and_one_on_the_average() -> None:
    """Equation 4: weights are (share of the uniform + frequency)^-power, with a mean of 1 under the frequencies."""

    class Run:
        def __init__(self) -> None:
            self.state: dict[str, torch.Tensor] = {}

    method, run = Method(Config(uniform=0.5, rebalance=1.0)), Run()
    ab = torch.zeros(1, 2, 10, 10)
    ab[:, 0, 0, :2] = 50.0  # two of a hundred
    shares = method.bins.shares(ab)
    weights = method.weights(run, shares)  # type: ignore[arg-type]
    frequencies = run.state["bins"]
    assert float((weights * frequencies).sum()) == pytest.approx(1, abs=1e-5)
    grey, rare = (int(method.bins.shares(torch.tensor([[[[v]], [[0.0]]]])).numbers[0, 0]) for v in (0.0, 50.0))
    q = len(method.bins)
    assert float(frequencies[rare]) == pytest.approx(0.02, abs=1e-6)
    wanted = (0.5 * 0.98 + 0.5 / q) / (0.5 * 0.02 + 0.5 / q)
    assert float(weights[rare] / weights[grey]) == pytest.approx(wanted, rel=1e-4)
    flat = Method(Config(rebalance=0.0)).weights(Run(), shares)  # type: ignore[arg-type]
    torch.testing.assert_close(flat, torch.ones(q))


def test_cross_entropy_against_a_loop() -> None:
    torch.manual_seed(0)
    method = Method(Config())
    ab = rgb_to_lab(torch.rand(2, 3, 3, 2))[:, 1:]
    scores, weights = torch.randn(2, len(method.bins), 3, 2), torch.rand(len(method.bins))
    shares, total = method.bins.shares(ab), 0.0
    for n in range(2):
        for y in range(3):
            for x in range(2):
                chances, four = scores[n, :, y, x].softmax(0), shares.numbers[n, :, y, x]
                share = shares.weights[n, :, y, x]
                total += float(-(share * chances[four].log()).sum() * (share * weights[four]).sum())
    assert float(method.cross_entropy(scores, shares, weights)) == pytest.approx(total / 12, rel=1e-5)


def test_dots_are_the_true_colours() -> None:
    torch.manual_seed(0)
    ab = rgb_to_lab(torch.rand(4, 3, 9, 11))[:, 1:]
    hints = dots(ab, torch.tensor([0, 1, 5, 20]), torch.rand(4, 60))
    shown = hints[:, 2:]
    assert [float(s.sum()) > 0 for s in shown] == [False, True, True, True]
    assert 1 <= int(shown[1].sum()) <= 9
    torch.testing.assert_close(hints[:, :2] * REACH, ab * shown)
    half = gathered(torch.nn.functional.pad(hints, (0, 1, 0, 1)))
    there = half[:, 2] > 0
    assert set(torch.unique(half[:, 2]).tolist()) <= {0.0, 1.0}
    sums = 4 * torch.nn.functional.avg_pool2d(torch.nn.functional.pad(hints, (0, 1, 0, 1)), 2)
    torch.testing.assert_close((half[:, 0] * sums[:, 2])[there], sums[:, 0][there])


@pytest.mark.parametrize("size", [(32, 32), (50, 37), (3, 90), (1, 1)])
def test_any_size_and_pictures_do_not_mix(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    colorist = Colorist(Colorizer(Config(encoder="light", width=8)), Config())
    lightness = torch.rand(2, 1, *size)
    grid = tuple(cells(lightness).shape[2:])
    hints = torch.zeros(2, 3, *grid)
    hints[0, :, 0, 0] = torch.tensor([40.0, -30.0, 1.0])
    found = colorist.predict(lightness, hints)
    assert found.shape == (2, 2, *grid)
    assert float(found.abs().max()) <= REACH
    alone = colorist.predict(lightness[1:])
    torch.testing.assert_close(found[1:], alone, atol=1e-3, rtol=0)
    assert float((found[:1] - colorist.predict(lightness[:1])).abs().max()) > 1e-4


def test_the_bundled_eyes_are_not_in_its_file() -> None:
    network = Colorizer(Config())
    kept = sum(p.numel() for p in network.state_dict().values() if p.is_floating_point())
    assert 1_000_000 < kept < 1_500_000


def test_it_learns_what_is_where_and_dots_help(photos: str, tmp_path: Path) -> None:
    made = train(
        "colorizer", data=photos, out=str(tmp_path / "run"), steps=120, ema=20, learning_rate=1e-2, **TINY, **OPTIONS
    )
    pixels = np.full((40, 48, 3), (150, 190, 250), np.uint8)
    pixels[20:] = (60, 130, 50)
    lab = rgb_to_lab(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)
    colorist, _ = Colorist.load(str(tmp_path / "run"))
    ab = colorist.predict(lab[:, :1] / 100)[0]
    assert float(ab[1, :4].mean()) < -20  # blue above: b is -32
    assert float(ab[1, 6:].mean()) > 10
    assert float(made.metrics["ab error"]) < 0.7
    assert float(made.metrics["ab error, 10 dots"]) < float(made.metrics["ab error"])


def test_resumed_is_uninterrupted(photos: str, tmp_path: Path) -> None:
    given = {**TINY, **OPTIONS, "checkpoint_every": 3, "ema": 20, "decay": 0}
    whole = train("colorizer", data=photos, out=str(tmp_path / "a"), steps=6, **given)
    train("colorizer", data=photos, out=str(tmp_path / "b"), steps=3, **given)
    resume(tmp_path / "b", steps=6)
    first, second = (load_file(tmp_path / k / "weights.safetensors") for k in "ab")
    assert whole.folder.name == "a"
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_contrast_is_raised_and_lowered_about_the_middle() -> None:
    method = Method(Config(**TINY, gamma=1.0, noise=0.0, contrast=2.0))
    light = torch.linspace(0.3, 0.7, 32).expand(256, 1, 32, 32)
    seen = method.aged(steps_of(method), light)
    factors = (seen[..., -1] - seen[..., 0])[:, 0, 0] / 0.4
    assert 0.5 <= float(factors.min()) < 0.55
    assert 1.9 < float(factors.max()) <= 2.0 + 1e-5
    assert torch.allclose(seen.mean((1, 2, 3)), torch.full((256,), 0.5), atol=1e-4)
    same = Method(Config(**TINY, gamma=1.0, noise=0.0))
    assert torch.allclose(same.aged(steps_of(same), light), light)
