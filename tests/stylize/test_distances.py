"""Distances that look at positions, within the objective: plain formulas in float64, tiles, regions, strength."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import sfumato
from sfumato.features import FeatureNetwork
from sfumato.style import neighbours
from sfumato.style.attention import transport
from sfumato.style.statistics import mean_std, moments
from sfumato.stylize.distances import FINEST, LOCAL, SPREAD, Terms
from sfumato.stylize.iterate import Style
from sfumato.stylize.objective import Objective, picture_samples
from sfumato.stylize.optimise import Optimisation
from sfumato.stylize.options import StylizeOptions

from .made import array, narrow, off, tensor

LAYERS = ("relu1_1", "relu2_2", "relu3_1", "relu4_1")
NEIGHBOURS = Terms(LAYERS, (), ("relu3_1",), statistics="neighbours")
ATTENTION = replace(NEIGHBOURS, statistics="attention")
BOTH = pytest.mark.parametrize("terms", [NEIGHBOURS, ATTENTION], ids=LOCAL)
SIZE = (66, 83)


class Case:
    """A picture between content and two styles of odd sizes."""

    def __init__(self, terms: Terms, regions: int = 0, size: tuple[int, int] = SIZE, **network: Any) -> None:
        self.terms, self.network = terms, narrow(**network)
        self.content, self.styles = tensor(*size, seed=1), [tensor(30, 47, seed=2), tensor(41, 26, seed=3)]
        self.x = 0.6 * self.content + 0.4 * tensor(*size, seed=4)
        self.shares = torch.tensor([[0.3], [0.9]], dtype=torch.float64)
        self.regions: Tensor | None = None
        self.style_regions: list[Tensor | None] = [None, None]
        if regions:
            ramp = (torch.linspace(-1, 3, size[1], dtype=torch.float64).clamp(0, 1)).expand(1, *size)
            self.regions = torch.cat([ramp, 0.8 * (1 - ramp)])[:regions]
            self.style_regions = [self.waves(30, 47, regions), self.waves(41, 26, regions)]
            self.shares = torch.tensor([[0.3, 1.0], [0.9, 0.5]], dtype=torch.float64)[:, :regions]

    @staticmethod
    def waves(height: int, width: int, count: int) -> Tensor:
        bands = torch.arange(width, dtype=torch.float64) / 11
        return torch.stack([bands.sin().abs(), bands.cos().abs()])[:count, None].expand(count, height, width)

    def objective(self, tile: int = 1 << 30, strength: float = 1.0) -> Objective:
        wanted = [
            picture_samples(self.network, self.terms.style_layers, s, r, tile)
            for s, r in zip(self.styles, self.style_regions, strict=True)
        ]
        given = {"shares": self.shares, "regions": self.regions, "strength": strength, "tile": tile}
        return Objective(self.network, self.terms, self.content, wanted, **given)  # type: ignore[arg-type]


# The formulas, plainly: every position of the whole picture against every one of the style's.


def at(network: FeatureNetwork, picture: Tensor, layer: str) -> Tensor:
    return network(picture, [layer])[layer]


def maps(regions: Tensor | None, like: Tensor) -> Tensor:
    if regions is None:
        return like.new_ones(1, *like.shape[2:])
    return F.adaptive_avg_pool2d(regions[None], like.shape[2:])[0]


def bag_of(style: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    inside = w.flatten() >= 0.5 * w.max()
    return style[0].flatten(1).T[inside], w.flatten()[inside]


def cells(case: Case, layer: str, picture: Tensor, regions: Tensor | None) -> tuple[Tensor, Tensor]:
    """Features 1 x C x h x w and weights K x h x w, both averaged over squares of at least 4 pixels."""
    f = at(case.network, picture, layer)
    side = max(1, FINEST // case.network.stride(layer))
    return F.avg_pool2d(f, side, ceil_mode=True), F.avg_pool2d(maps(regions, f), side, ceil_mode=True)


def plain_gap(case: Case, layer: str, x: Tensor, strength: float) -> Tensor:
    """K mean gaps."""
    f, where = cells(case, layer, x, case.regions)
    f, c = (p[0].permute(1, 2, 0) for p in (f, cells(case, layer, case.content, None)[0]))
    found = []
    for k, w in enumerate(where):
        gaps = torch.zeros_like(w)
        for share, style, regions in zip(case.shares[:, k], case.styles, case.style_regions, strict=True):
            s, theirs = cells(case, layer, style, regions)
            bag, weight = bag_of(s, theirs[k])
            mean = (bag * weight[:, None]).sum(0) / weight.sum()
            near = (F.normalize(f - mean, dim=2) @ F.normalize(bag - mean, dim=1).T).max(2).values
            own = F.cosine_similarity(f - mean, c - mean, dim=2)
            gaps = gaps + share / case.shares[:, k].sum() * (strength * (1 - near) + (1 - strength) * (1 - own))
        found.append((w * gaps).sum() / w.sum())
    return torch.stack(found)


def plain_transport_gap(case: Case, layer: str, x: Tensor, strength: float) -> Tensor:
    c, where = cells(case, layer, case.content, case.regions)
    target = torch.zeros_like(c)
    for j, (style, regions) in enumerate(zip(case.styles, case.style_regions, strict=True)):
        s, seen = cells(case, layer, style, regions)
        seen = torch.where(seen >= 0.5 * seen.amax((1, 2), keepdim=True), seen, 0)
        for k, w in enumerate(where):
            part = transport(c, s, w[None], seen[k][None])
            target = target + w * case.shares[j, k] / case.shares[:, k].sum() * part
    target = c + strength * (target / where.sum(0).clamp_min(1e-12) - c)
    gap = (cells(case, layer, x, None)[0] - target).square().sum(1)[0]
    return torch.stack([(w * gap).sum() / w.sum() for w in where])


def plain(case: Case, strength: float, x: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    gap = plain_gap if case.terms.statistics == "neighbours" else plain_transport_gap
    for layer in case.terms.style_layers:
        c = at(case.network, case.content, layer)
        w = maps(case.regions, c)
        share = w.sum((1, 2)) / w.sum()
        unit = gap(case, layer, case.content, strength)
        total = total + (1 - SPREAD) * (share * gap(case, layer, x, strength) / unit).sum()
        own, target = mean_std(moments(c, w)), 0
        for j, (style, regions) in enumerate(zip(case.styles, case.style_regions, strict=True)):
            s = at(case.network, style, layer)
            part = (case.shares[j] / case.shares.sum(0))[:, None]
            target = target + part * mean_std(moments(s, maps(regions, s)))
        target = own + strength * (target - own)
        gaps = [(mean_std(moments(at(case.network, p, layer), w)) - target).square().sum(1) for p in (x, case.content)]
        total = total + SPREAD * (share * gaps[0] / gaps[1]).sum()
    return total / len(case.terms.style_layers)


@BOTH
@pytest.mark.parametrize("regions", [0, 1, 2])
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_loss_and_gradient_are_the_formulas(terms: Terms, regions: int, strength: float) -> None:
    case = Case(replace(terms, content_layers=()), regions)
    found = case.objective(strength=strength).evaluate(case.x)
    x = case.x.clone().requires_grad_()
    wanted = plain(case, strength, x)
    (gradient,) = torch.autograd.grad(wanted, x)
    assert found.total == pytest.approx(wanted.item(), rel=1e-7)
    assert off(found.gradient, gradient) < 1e-6


@BOTH
@pytest.mark.parametrize("regions", [0, 2])
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_tiled_equals_whole(terms: Terms, regions: int, strength: float) -> None:
    case = Case(terms, regions)
    whole, tiled = case.objective(strength=strength), case.objective(32, strength)
    assert len(whole.scanner.tiles) == 1
    assert len(tiled.scanner.tiles) >= 4
    a, b = whole.evaluate(case.x), tiled.evaluate(case.x)
    assert b.losses == pytest.approx(a.losses, rel=1e-9)
    assert (b.gradient - a.gradient).abs().max() < 1e-8 * a.gradient.abs().max()


@BOTH
@pytest.mark.parametrize("tile", [32, 1 << 30])
def test_gradient_against_finite_differences(terms: Terms, tile: int) -> None:
    case = Case(replace(terms, tv_weight=0.5), 1, (47, 66))
    made = case.objective(tile)
    gradient = made.evaluate(case.x).gradient
    for seed in range(3):
        direction = torch.randn(case.x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        direction, step = direction / direction.norm(), 1e-6
        up, down = (made.evaluate(case.x + sign * step * direction).total for sign in (1, -1))
        slack = 1e-5 * gradient.norm().item()
        assert (up - down) / (2 * step) == pytest.approx((gradient * direction).sum().item(), rel=1e-3, abs=slack)


@BOTH
@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_the_content_picture_itself_is_one_away(terms: Terms, strength: float) -> None:
    losses = Case(terms, 2)
    found = losses.objective(32, strength=strength).evaluate(losses.content).losses
    assert found["style"] == pytest.approx(1.0, rel=1e-9)
    assert found["content"] == pytest.approx(0.0, abs=1e-7)


def test_the_style_picture_is_nothing_away_and_rolled_hardly_more() -> None:
    case = Case(NEIGHBOURS, size=(30, 47))
    case.shares = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    assert case.objective().evaluate(case.styles[0]).losses["style"] == pytest.approx(0.0, abs=1e-9)
    edges = replace(NEIGHBOURS, style_layers=("relu1_1",), content_layers=())
    moved = Case(edges, size=(32, 48))
    style = tensor(32, 48, 5)
    style = torch.cat([style, style.flip(2)], 2)  # goes on at its own seam; only the border is new
    moved.styles, moved.style_regions, moved.shares = [style], [None], torch.ones(1, 1, dtype=torch.float64)
    moved.content = tensor(64, 48, 9)
    assert moved.objective().evaluate(style.roll(16, 2)).losses["style"] < 0.05


@BOTH
def test_a_region_never_borrows_from_another(terms: Terms) -> None:
    """Left takes from the style's left, right from its right: what the other half holds changes nothing."""
    terms = replace(terms, style_layers=("relu1_1", "relu2_1"), content_layers=())
    found = []
    for seed in (3, 4):
        case = Case(terms, size=(40, 96))
        sides = torch.zeros(2, 40, 96, dtype=torch.float64)
        sides[0, :, :48], sides[1, :, 48:] = 1, 1
        style = torch.cat([tensor(40, 48, 2), tensor(40, 48, seed)], 3)
        apart = sides.clone()
        apart[..., 32:64] = 0  # positions that see both halves
        case.styles, case.style_regions, case.shares = [style], [apart], torch.ones(1, 2, dtype=torch.float64)
        case.regions = sides * torch.tensor([1.0, 0.0]).view(2, 1, 1) + 1e-9 * sides  # only the left counts
        found.append(case.objective().evaluate(case.x))
    assert found[0].total == pytest.approx(found[1].total, rel=1e-6)
    left = [f.gradient[..., :40] for f in found]
    assert off(left[0], left[1]) < 1e-6


@BOTH
def test_shares_are_proportions(terms: Terms) -> None:
    case, other = Case(terms), Case(terms)
    other.shares = case.shares * 10
    assert other.objective().evaluate(case.x).total == pytest.approx(case.objective().evaluate(case.x).total, rel=1e-12)
    other.shares = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    alone = Case(terms)
    alone.styles, alone.style_regions = alone.styles[:1], [None]
    alone.shares = alone.shares[:1]
    assert other.objective().evaluate(case.x).total == pytest.approx(alone.objective().evaluate(case.x).total, rel=1e-9)


@pytest.mark.parametrize("tile", [32, 64])
def test_samples_of_a_picture_in_tiles(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours.chosen, "__defaults__", (100,))
    network, picture = narrow(), tensor(97, 131, 5)
    for where in (None, Case.waves(97, 131, 2)):
        whole = picture_samples(network, LAYERS, picture, where, 1 << 30)
        parts = picture_samples(network, LAYERS, picture, where, tile)
        for layer in LAYERS:
            for a, b in zip(parts[layer].bags, whole[layer].bags, strict=True):
                assert len(b.features) == min(100, len(b.features))
                assert off(a.features, b.features) < 1e-12
                assert torch.equal(a.weights, b.weights)
    rows = {
        tuple(r) for r in network(picture, ["relu3_1"])["relu3_1"][0].flatten(1).T.tolist()
    }  # cells of one position
    bag = picture_samples(network, LAYERS, picture, None, 1 << 30)["relu3_1"].bags[0]
    assert {tuple(r) for r in bag.features.tolist()} <= rows


@BOTH
def test_a_region_of_one_position_and_a_flat_picture_give_numbers(terms: Terms) -> None:
    case = Case(terms, 1)
    case.regions = torch.zeros(1, *SIZE, dtype=torch.float64)
    case.regions[0, 40, 50] = 1
    case.styles[0] = torch.full_like(case.styles[0], 0.5)
    for content in (case.content, torch.full_like(case.content, 0.3)):
        case.content = content
        found = case.objective().evaluate(case.x)
        assert np.isfinite(found.total)
        assert torch.isfinite(found.gradient).all()


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("statistics", LOCAL)
def test_the_verb(statistics: str, tmp_path: Any) -> None:
    """A record repeats the pixels; strength 0 is the photograph; a mask holds."""
    content, style = array(40, 56, 1), array(48, 48, 2)
    mask = np.zeros((40, 56, 3), np.float32)
    mask[:, :28] = 1
    make: Callable[..., Any] = lambda **given: sfumato.stylize(  # noqa: E731
        content, style, statistics=statistics, steps=4, min_size=20, **given
    )
    first = make(output=tmp_path / "a.png", mask=mask, feather=0.0)
    assert np.abs(first.rgb - content)[:, :28].max() > 0.05
    assert np.array_equal(first.rgb[:, 28:], content[:, 28:])
    again = sfumato.stylize(content, style, mask=mask, like=tmp_path / "a.png")
    assert np.array_equal(again.rgb, first.rgb)
    assert again.record["settings"]["statistics"] == statistics
    assert np.abs(make(strength=0.0).rgb - content).max() < 1e-6
    assert np.abs(make(tile=32).rgb - make().rgb).max() < 0.02


@pytest.mark.parametrize("statistics", LOCAL)
def test_a_tile_leaves_room_for_the_positions(statistics: str) -> None:
    """What is held beside the pictures is counted: within the same limit the tile is smaller than with sums alone."""
    content, limit = torch.zeros(1, 3, 1, 1).expand(1, 3, 4096, 4096), psutil.Process().memory_info().rss + (5 << 29)
    tiles = []
    for name in ("gram", statistics):
        options = StylizeOptions.of(statistics=name)  # type: ignore[arg-type]
        for styles in (1, 4):
            parts = [Style(tensor(32, 32, 5, torch.float32), None, 1.0)] * styles
            tiles.append(Optimisation(narrow(dtype=torch.float32), content, parts, None, options, limit).tile)
    assert tiles[0] == pytest.approx(tiles[1], abs=8)
    assert tiles[0] > tiles[2] + 20
    assert tiles[2] > tiles[3] + 20
