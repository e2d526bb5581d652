"""Differentiable augmentation against its definition, written out."""

import pytest
import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.train.augment import CHANCES, POLICY, color, cutout, diff_augment, translation


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, height: int = 16, width: int = 24) -> Tensor:
    return torch.rand(count, 3, height, width, generator=noise(9))


def test_no_strength_changes_nothing() -> None:
    x = pictures(4)
    assert torch.equal(diff_augment(x, noise(), strength=0), x)
    assert torch.equal(diff_augment(x, noise(), policy=()), x)


def test_the_same_chance_gives_the_same_pictures_whatever_else_is_in_the_batch() -> None:
    x, chance = pictures(5), torch.rand(5, CHANCES, generator=noise(1))
    whole = diff_augment(x, chance)
    assert torch.equal(whole, diff_augment(x, noise(1)))
    assert not torch.equal(whole, diff_augment(x, noise(2)))
    assert torch.equal(whole[1::2], diff_augment(x[1::2], chance[1::2]))  # two processes see what one does


@pytest.mark.parametrize(("size", "most"), [((16, 24), (2, 3)), ((9, 40), (1, 5))])
def test_translation_is_an_exact_shift(size: tuple[int, int], most: tuple[int, int]) -> None:
    x, seen = pictures(300, *size), set[tuple[int, int]]()
    height, width = size
    moved = translation(x, torch.rand(300, 2, generator=noise(3)), 1.0)
    for before, after in zip(x, moved, strict=True):
        padded = torch.full((3, height + 2 * most[0], width + 2 * most[1]), 0.5)
        padded[:, most[0] : most[0] + height, most[1] : most[1] + width] = before
        fits = [
            (dy, dx)
            for dy in range(2 * most[0] + 1)
            for dx in range(2 * most[1] + 1)
            if torch.equal(after, padded[:, dy : dy + height, dx : dx + width])
        ]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) == (2 * most[0] + 1) * (2 * most[1] + 1)  # every shift occurs


def test_translation_down_and_right_is_by_low_chances() -> None:
    x = torch.arange(64.0).view(1, 1, 8, 8)
    moved = translation(x, torch.zeros(1, 2), 1.0)  # begins at the padding: one pixel down and right
    assert torch.equal(moved[0, 0, 1:, 1:], x[0, 0, :-1, :-1])
    assert (moved[0, 0, 0] == 0.5).all()
    assert torch.equal(translation(x, torch.full((1, 2), 0.5), 1.0), x)


def test_cutout_is_half_the_sides_and_goes_everywhere() -> None:
    x = 1 + pictures(2000)
    cut = cutout(x, torch.rand(2000, 2, generator=noise(4)), 1.0)
    hole = (cut == 0.5).all(1)
    assert torch.equal(cut[~hole[:, None].expand_as(x)], x[~hole[:, None].expand_as(x)])
    rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
    assert torch.equal(hole.sum((1, 2)), rows * columns)  # rectangles
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 8, 6, 12)  # cut off at the border by a half
    # the centre is uniform over size + 1 places: a row of the middle is inside for 8 of 17 of them, the first for 5
    share = hole.any(2).float().mean(0)
    assert share[8].item() == pytest.approx(8 / 17, abs=0.05)
    assert share[0].item() == pytest.approx(5 / 17, abs=0.05)


def test_colour_statistics() -> None:
    x = pictures(4000, 4, 4)
    u = torch.rand(4000, 3, generator=noise(5))
    y = color(x, u, 1.0)
    moved = y.mean((1, 2, 3)) - x.mean((1, 2, 3))  # saturation and contrast keep the mean
    torch.testing.assert_close(moved, 0.5 * (u[:, 0] - 0.5), rtol=0, atol=1e-6)
    assert moved.min() < -0.249
    assert moved.max() > 0.249
    chroma, before = (z - z.mean(1, keepdim=True) for z in (y, x))
    factor = (chroma * before).sum((1, 2, 3)) / before.square().sum((1, 2, 3))
    torch.testing.assert_close(factor, 2 * u[:, 1] * (u[:, 2] + 0.5), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(chroma, before * factor.view(-1, 1, 1, 1), rtol=0, atol=1e-5)
    light, light_before = (z.mean(1) - z.mean((1, 2, 3)).view(-1, 1, 1) for z in (y, x))
    torch.testing.assert_close(light, light_before * (u[:, 2] + 0.5).view(-1, 1, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [*POLICY, "all"])
def test_gradients_reach_the_pictures(name: str) -> None:
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=noise(6)).requires_grad_()
    chance = torch.rand(2, CHANCES, generator=noise(7))
    policy = tuple(POLICY) if name == "all" else (name,)
    assert torch.autograd.gradcheck(lambda p: diff_augment(p, chance, policy=policy), x)
    (gradient,) = torch.autograd.grad(diff_augment(x, chance, policy=policy).sum(), x)
    assert (gradient != 0).float().mean() > 0.4


def test_unknown_augmentation() -> None:
    with pytest.raises(InputError, match="did you mean 'color'"):
        diff_augment(pictures(1), noise(), policy=("colour",))
