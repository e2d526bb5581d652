"""Deep holes filled with patches: textures whose continuation is known, matches against plain comparison."""

import pytest
import torch
from torch import Tensor

from sfumato.picture.membrane import membrane
from sfumato.restore.exemplar import (
    RADIUS,
    distances,
    enlarged,
    exemplar,
    matched,
    nearest_patches,
    patches,
    prepared,
    searched,
    vote,
)
from sfumato.restore.fill import filled


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().clamp_min(1e-12).log10())


def stripes(height: int, width: int) -> Tensor:
    """Slanted, with a period of 8 pixels, of two colours."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    wave = 0.5 + 0.4 * torch.sin(2 * torch.pi * (x + 2 * y) / 8)
    return torch.stack([wave, 1 - wave, 0.3 + 0.2 * wave])[None].float()


def square(height: int, width: int, top: int = 18, left: int = 24, side: int = 20) -> Tensor:
    hole = torch.zeros(1, 1, height, width)
    hole[..., top : top + side, left : left + side] = 1
    return hole


def test_a_texture_goes_on_in_the_hole() -> None:
    whole, hole = stripes(56, 72), square(56, 72)
    broken = torch.where(hole > 0, 1.0, whole)
    found = exemplar(broken, hole)
    inside = hole.expand_as(whole) > 0
    assert torch.equal(found[~inside], whole[~inside])
    assert psnr(found[inside], whole[inside]) > 25
    assert psnr(membrane(broken, hole, 40)[inside], whole[inside]) < 15
    assert torch.equal(exemplar(broken, hole), found)  # the same chance
    assert psnr(filled(None, broken, hole)[inside], whole[inside]) > 25
    assert psnr(filled(None, broken, hole, smooth=True)[inside], whole[inside]) < 15


@pytest.mark.parametrize("place", [(0, 0), (36, 52), (0, 30)])
def test_holes_at_the_pictures_border(place: tuple[int, int]) -> None:
    whole, hole = stripes(56, 72), square(56, 72, *place)
    inside = hole.expand_as(whole) > 0
    assert psnr(exemplar(torch.where(hole > 0, 1.0, whole), hole)[inside], whole[inside]) > 18


@pytest.mark.parametrize("size", [(9, 40), (5, 5), (30, 33)])
def test_where_nothing_can_be_copied_it_is_smooth(size: tuple[int, int]) -> None:
    picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    hole = torch.ones(1, 1, *size)
    hole[..., :2, :] = 0
    found = exemplar(picture, hole)
    torch.testing.assert_close(found, membrane(picture, hole, 40).clamp(0, 1))


def test_nearest_patches_are_the_nearest() -> None:
    chance = torch.Generator().manual_seed(0)
    a, b = torch.rand(50, 27, generator=chance), torch.rand(400, 27, generator=chance)
    wanted = torch.cdist(a.double(), b.double()).argmin(1)
    assert torch.equal(nearest_patches(a, b), wanted)
    picture = torch.rand(3, 20, 30, generator=chance)
    row = patches(picture, torch.tensor([[9, 12]]))[0]
    torch.testing.assert_close(row.view(3, 7, 7), picture[:, 6:13, 9:16])


def test_among_equals_the_patch_at_the_same_height_is_taken() -> None:
    """Rows that repeat: of equal patches that at the target's own height is nearest, none is a period off."""
    whole = stripes(64, 64)[..., :1].expand(1, 3, 64, 64).contiguous()  # the same in every column
    level = prepared(whole, square(64, 64, 28, 28, 8))
    field, far = matched(level, whole[0], None, torch.Generator().manual_seed(0))
    assert torch.equal(field[:, 0], level.targets[:, 0])
    assert float(far.max()) < 1e-5


def texture() -> Tensor:
    rough = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.avg_pool2d(rough, 5, 1, 2)


def test_the_search_around_comes_near_the_best() -> None:
    """From fields by chance, a few rounds of looking at neighbours find patches nearly as near as comparing all."""
    whole, hole = texture(), square(48, 64, 16, 20, 12)
    level, chance = prepared(whole, hole), torch.Generator().manual_seed(0)
    _, best = matched(level, whole[0], None, chance)
    middles = torch.nonzero(level.sources)
    field = middles[torch.randint(len(middles), (len(level.targets),), generator=chance)]
    before = distances(level, whole[0], level.targets, field)
    for _round in range(5):
        field, far = searched(level, whole[0], field, chance)
    torch.testing.assert_close(far, distances(level, whole[0], level.targets, field))
    assert bool(level.sources[field[:, 0], field[:, 1]].all())
    assert bool((far >= best - 1e-6).all())
    assert float((far.mean() - best.mean()) / (before.mean() - best.mean())) < 0.35


def test_patches_vote_for_what_they_show() -> None:
    """All patches moved by one period of the texture say the same, which is the texture."""
    whole, hole = stripes(48, 64), square(48, 64, 16, 30, 10)
    level = prepared(torch.where(hole > 0, 0.0, whole), hole)
    field = level.targets - torch.tensor([0, 16])
    assert bool(level.sources[field[:, 0], field[:, 1]].all())
    found = level.known.clone()
    vote(level, found, field, torch.zeros(len(field)))
    torch.testing.assert_close(found, whole[0], atol=1e-5, rtol=0)


def test_a_shift_of_half_the_size_is_twice_that_shift() -> None:
    small = prepared(stripes(32, 32), square(32, 32, 12, 16, 5))
    large = prepared(stripes(64, 64), square(64, 64, 24, 32, 10))
    field = enlarged(small.targets - torch.tensor([1, 10]), small, large)
    assert bool(large.sources[field[:, 0], field[:, 1]].all())
    shift = large.targets - field
    assert (shift == torch.tensor([2, 20])).all(1).float().mean() > 0.9


def test_middles_keep_away_from_hole_and_border() -> None:
    level = prepared(stripes(40, 40), square(40, 40, 15, 15, 6))
    wanted = torch.zeros(40, 40, dtype=torch.bool)
    wanted[RADIUS:-RADIUS, RADIUS:-RADIUS] = True
    wanted[15 - RADIUS : 21 + RADIUS, 15 - RADIUS : 21 + RADIUS] = False
    assert torch.equal(level.sources, wanted)
    assert len(level.targets) == (6 + 2 * RADIUS) ** 2
