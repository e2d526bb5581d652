"""Borders of regions put where the picture's own edges are."""

import pytest
import torch

from sfumato.picture.borders import at_edges
from sfumato.picture.masks import feather


def two(height: int, width: int, at: int) -> torch.Tensor:
    """1 x 2 x H x W: left and right of a column."""
    left = (torch.arange(width) < at).float().expand(1, 1, height, width)
    return torch.cat([left, 1 - left], 1)


def picture(at: int, noise: float = 0.02) -> torch.Tensor:
    """Dark to the left of a column, bright to the right."""
    grain = noise * torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    return (0.2 + 0.5 * two(48, 64, at)[:, 1:] + grain).clamp(0, 1)


@pytest.mark.parametrize("off", [-4, 0, 4])
def test_a_border_that_is_off_moves_to_the_edge(off: int) -> None:
    found = at_edges(picture(30), two(48, 64, 30 + off), band=6, window=16)
    assert float((found - two(48, 64, 30)).abs().max()) < 0.01
    soft = torch.cat([feather(m[:, None], 3.0) for m in two(48, 64, 30 + off).unbind(1)], 1)
    found = at_edges(picture(30), soft, band=8, window=16)
    assert float((found - two(48, 64, 30)).abs().max()) < 0.01


def test_far_from_borders_nothing_changes_and_the_sum_stays() -> None:
    masks = 0.7 * two(48, 64, 33)
    found = at_edges(picture(30), masks, band=6, window=16)
    far = (torch.arange(64) - 33).abs() > 7
    assert torch.equal(found[..., far], masks[..., far])
    torch.testing.assert_close(found.sum(1), masks.sum(1))


def test_without_an_edge_a_border_stays_about_where_it_is() -> None:
    found = at_edges(picture(0), two(48, 64, 30), band=6, window=16)
    assert float((found[:, 0].mean() * 64 - 30).abs()) < 1.5


def test_a_thin_region_is_not_lost() -> None:
    """A pole three pixels wide, thinner than the band."""
    pole = torch.zeros(1, 1, 48, 64)
    pole[..., 20:23] = 1
    scene = (0.8 - 0.6 * pole).expand(-1, 3, -1, -1)
    drawn = torch.cat([pole.roll(1, 3), 1 - pole.roll(1, 3)], 1)
    found = at_edges(scene, drawn, band=4, window=12)
    assert float((found[:, :1] - pole).abs().mean()) < 0.5 * float((drawn[:, :1] - pole).abs().mean())


def test_where_no_mask_is_none_gets_it() -> None:
    masks = two(48, 64, 30)
    masks[:, :, :10] = 0
    found = at_edges(picture(30), masks, band=6, window=16)
    assert float(found[:, :, :10].abs().max()) == 0
    assert bool(found.isfinite().all())
