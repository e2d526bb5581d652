"""The adaptive augmentations against their definitions, each alone, and the controller's published speed."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.train.ada import (
    CATEGORIES,
    CHANCES,
    SYM6,
    Dice,
    ada_augment,
    ada_probability,
    adapt,
    blit,
    draw_blits,
    draw_colors,
    draw_geometry,
    warp,
)

SHARE = 0.3


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, height: int = 16, width: int = 16) -> Tensor:
    return torch.rand(count, 3, height, width, generator=noise(9), dtype=torch.float64)


def dice(columns: int, count: int = 20_000, p: float = SHARE) -> Dice:
    return Dice(torch.rand(count, columns, generator=noise(columns), dtype=torch.float64), p)


def smooth(x: Tensor, y: Tensor) -> Tensor:
    """A picture of low frequencies, from places in pixels: ... x h x w to ... x 3 x h x w."""
    waves = ((0.21, 0.1, 0.3), (-0.15, 0.19, 1.0), (0.05, -0.23, 2.0))
    return torch.stack([0.5 + 0.4 * torch.sin(a * x + b * y + c) for a, b, c in waves], -3)


def grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(
        torch.arange(height).double() - (height - 1) / 2, torch.arange(width).double() - (width - 1) / 2, indexing="ij"
    )
    return x, y


def test_no_probability_changes_nothing() -> None:
    x, chance = pictures(6).float(), torch.rand(6, CHANCES, generator=noise())
    assert torch.equal(ada_augment(x, chance, 0.0), x)
    assert torch.equal(ada_augment(x, chance, torch.zeros(())), x)
    assert torch.equal(ada_augment(x, chance, 1.0, ()), x)


def test_pictures_are_augmented_one_by_one_and_differently() -> None:
    x, chance = pictures(5, 12, 20).float(), torch.rand(5, CHANCES, generator=noise(1))
    whole = ada_augment(x, chance, 0.8)
    torch.testing.assert_close(whole[1::2], ada_augment(x[1::2], chance[1::2], 0.8))  # two processes see what one does
    same = ada_augment(x[:1].expand(5, -1, -1, -1), chance, 1.0)
    assert min(float((a - b).abs().mean()) for i, a in enumerate(same) for b in same[:i]) > 0.01


def test_every_category_works_alone_and_takes_its_own_chances() -> None:
    chance = torch.rand(4, CHANCES, generator=noise(2), dtype=torch.float64)
    x = pictures(4)
    alone = [ada_augment(x, chance, 1.0, (name,)) for name in CATEGORIES]
    step = x
    for name in CATEGORIES:
        step = ada_augment(step, chance, 1.0, (name,))
    torch.testing.assert_close(ada_augment(x, chance, 1.0), step)
    assert all((a - x).abs().mean() > 0.01 for a in alone)
    all_dice = Dice(chance, 1.0)
    draw_blits(all_dice, 16, 16)
    draw_geometry(all_dice, 16, 16)
    draw_colors(all_dice)
    assert next(all_dice.columns, None) is None


def test_blits_are_copies_of_pixels() -> None:
    x = pictures(8)
    flip = torch.tensor([False, True] * 4)
    turns = torch.arange(8) // 2
    moved = blit(x, flip, turns, torch.zeros(8, 2, dtype=torch.long))
    for before, after, mirrored, quarter in zip(x, moved, flip, turns, strict=True):
        wanted = before.flip(2) if mirrored else before
        assert torch.equal(after, torch.rot90(wanted, int(quarter), (1, 2)))


@pytest.mark.parametrize("size", [(8, 8), (8, 12), (7, 9)])
def test_shifts_reflect_and_half_turns_fit_any_size(size: tuple[int, int]) -> None:
    x = pictures(1, *size)
    moved = blit(x, torch.tensor([False]), torch.tensor([0]), torch.tensor([[2, -3]]))  # down 2, left 3
    wanted = torch.cat([x[:, :, 1:3].flip(2), x[:, :, :-2]], 2)
    wanted = torch.cat([wanted[..., 3:], wanted[..., -4:-1].flip(3)], 3)
    assert torch.equal(moved, wanted)
    turned = blit(x, torch.tensor([False]), torch.tensor([2]), torch.zeros(1, 2, dtype=torch.long))
    assert torch.equal(turned, torch.rot90(x, 2, (2, 3)))


def test_a_quarter_turn_of_an_oblong_keeps_its_centre() -> None:
    x = pictures(1, 8, 12)
    turned = blit(x, torch.tensor([False]), torch.tensor([1]), torch.zeros(1, 2, dtype=torch.long))
    assert torch.equal(turned[..., 2:10], torch.rot90(x[..., 2:10], 1, (2, 3)))


def test_the_wavelet_is_orthonormal_with_six_vanishing_moments() -> None:
    h = torch.tensor(SYM6, dtype=torch.float64)
    assert h.sum().item() == pytest.approx(math.sqrt(2), abs=1e-9)
    for shift in range(0, 12, 2):
        assert (h[shift:] * h[: 12 - shift]).sum().item() == pytest.approx(float(shift == 0), abs=1e-9)
    signs = (-1.0) ** torch.arange(12, dtype=torch.float64)
    centred = torch.arange(12, dtype=torch.float64) - 5.5
    for power in range(6):
        assert (signs * h * centred**power).sum().item() == pytest.approx(0, abs=1e-6)


def test_a_warp_that_does_nothing_gives_the_picture_back() -> None:
    """Orthonormal filters: nothing is blurred, however rough the picture (but for the border's reflection)."""
    x = pictures(2, 24, 32)
    same = warp(x, torch.eye(2, 3, dtype=torch.float64).expand(2, -1, -1))
    torch.testing.assert_close(same[..., 6:-6, 6:-6], x[..., 6:-6, 6:-6], atol=1e-7, rtol=0)
    x = smooth(*grid(24, 32))[None]
    same = warp(x, torch.eye(2, 3, dtype=torch.float64)[None])
    assert (same - x).abs().max() < 0.02  # up to the border


@pytest.mark.parametrize(
    ("matrix", "what"),
    [
        ([[1, 0, 3.3], [0, 1, -2.6]], "shift"),
        ([[0.8, 0, 0], [0, 0.8, 0]], "scale"),
        ([[0.6, -0.8, 0], [0.8, 0.6, 0]], "rotation"),
        ([[1.1, 0.1, 1], [-0.2, 0.8, -2]], "all"),
    ],
)
def test_a_warp_reads_where_the_matrix_says(matrix: list[list[float]], what: str) -> None:
    """Against the smooth function itself, evaluated at the source's places."""
    height, width = 40, 56
    x, y = grid(height, width)
    inverse = torch.tensor(matrix, dtype=torch.float64)
    warped = warp(smooth(x, y)[None], inverse[None])[0]
    places = torch.einsum("ij,jhw->ihw", inverse, torch.stack([x, y, torch.ones_like(x)]))
    wanted = smooth(places[0], places[1])
    inside = (places[0].abs() < width / 2 - 6) & (places[1].abs() < height / 2 - 6)
    inside[:6] = inside[-6:] = inside[:, :6] = inside[:, -6:] = False
    assert inside.float().mean() > 0.15, what
    assert (warped - wanted).abs()[:, inside].max() < 4e-3


def test_beyond_the_border_lies_the_reflected_picture() -> None:
    x = torch.linspace(0, 1, 32, dtype=torch.float64).view(1, 1, 1, 32).expand(1, 3, 16, 32)
    far = torch.tensor([[[1.0, 0, 20], [0, 1, 0]]], dtype=torch.float64)  # 20 pixels to the left
    moved = warp(x, far)
    wanted = torch.cat([x[..., 20:], x.flip(3)[..., :20]], 3)
    assert (moved - wanted).abs().max() < 0.03


def test_how_often_and_how_far_blits_go() -> None:
    flip, turns, shift = draw_blits(dice(7), 64, 128)
    assert flip.double().mean().item() == pytest.approx(SHARE / 2, abs=0.01)
    for quarter in (1, 2, 3):
        assert (turns == quarter).double().mean().item() == pytest.approx(SHARE / 4, abs=0.01)
    moved = shift[(shift != 0).any(1)].double()
    assert len(moved) / len(shift) == pytest.approx(SHARE, abs=0.012)
    assert moved.abs().amax(0).tolist() == [8, 16]
    assert (moved.std(0) / torch.tensor([16, 32]) * math.sqrt(12)).tolist() == pytest.approx([1, 1], abs=0.05)


def test_how_often_and_how_far_geometry_goes() -> None:
    """Each alone: with the others' hits kept away the matrix gives its parameter back."""
    chance = torch.rand(20_000, 11, generator=noise(3), dtype=torch.float64)
    inverse, hit = draw_geometry(Dice(chance, SHARE), 32, 64)
    either = 1 - math.sqrt(1 - SHARE)
    assert hit.double().mean().item() == pytest.approx(1 - (1 - SHARE) ** 4, abs=0.01)
    rotated = (chance[:, 2] < either) | (chance[:, 6] < either)
    assert rotated.double().mean().item() == pytest.approx(SHARE, abs=0.01)
    torch.testing.assert_close(inverse[~hit], torch.eye(2, 3).double().expand(int((~hit).sum()), -1, -1))

    def alone(column: int) -> Tensor:
        only = chance.clone()
        only[:, [c for c in (0, 2, 4, 6, 8) if c != column]] = 1
        only[:, column] = 0
        return draw_geometry(Dice(only, SHARE), 32, 64)[0]

    scale = alone(0)
    assert torch.equal(scale[:, 0, 0], scale[:, 1, 1])
    assert (-torch.log2(scale[:, 0, 0])).std().item() == pytest.approx(0.2, rel=0.03)
    for column in (2, 6):
        turned = alone(column)[:, :, :2]
        torch.testing.assert_close(turned @ turned.mT, torch.eye(2).double().expand_as(turned))
        angle = torch.atan2(turned[:, 1, 0], turned[:, 0, 0])
        assert angle.std().item() == pytest.approx(math.pi / math.sqrt(3), rel=0.03)
        assert torch.linalg.det(turned).min() > 0
    stretch = alone(4)
    torch.testing.assert_close(stretch[:, 0, 0] * stretch[:, 1, 1], torch.ones(20_000).double())
    assert torch.log2(stretch[:, 1, 1]).std().item() == pytest.approx(0.2, rel=0.03)
    shift = alone(8)[:, :, 2]
    assert (shift.std(0) / torch.tensor([64, 32])).tolist() == pytest.approx([0.125, 0.125], rel=0.03)


def test_geometry_is_done_in_the_papers_order() -> None:
    """The result's matrix is shift @ rotation @ stretch @ rotation @ scale, of homogeneous places."""
    chance = torch.rand(1, 11, generator=noise(4), dtype=torch.float64)
    inverse, _ = draw_geometry(Dice(chance, 1.0), 32, 64)
    u = chance[0]
    normal = torch.special.ndtri(u).tolist()
    scale, stretch = 2 ** (0.2 * normal[1]), 2 ** (0.2 * normal[5])

    def turn(share: Tensor) -> Tensor:
        a = float(-math.pi + 2 * math.pi * share)
        return torch.tensor([[math.cos(a), math.sin(a), 0], [-math.sin(a), math.cos(a), 0], [0, 0, 1]]).double()

    scaled, stretched = (torch.diag(torch.tensor(d).double()) for d in ([scale, scale, 1], [stretch, 1 / stretch, 1]))
    shifted = torch.eye(3).double()
    shifted[0, 2], shifted[1, 2] = 0.125 * normal[9] * 64, 0.125 * normal[10] * 32
    forward = shifted @ turn(u[7]) @ stretched @ turn(u[3]) @ scaled
    torch.testing.assert_close(inverse[0], torch.linalg.inv(forward)[:2], rtol=1e-4, atol=1e-4)


def test_colors_are_the_papers_one_by_one() -> None:
    chance = torch.rand(6, 10, generator=noise(5), dtype=torch.float64)
    normal, grey = torch.special.ndtri(chance), torch.full((3, 3), 1 / 3).double()
    eye = torch.eye(3).double()
    axis = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]).double() / math.sqrt(3)
    wanted = {
        0: [(eye, 0.2 * normal[i, 1]) for i in range(6)],
        2: [(2 ** (0.5 * normal[i, 3]) * eye, 0) for i in range(6)],
        4: [(eye - 2 * grey * int(chance[i, 5] >= 0.5), 0) for i in range(6)],
        6: [(torch.linalg.matrix_exp((2 * chance[i, 7] - 1) * math.pi * axis), 0) for i in range(6)],
        8: [(grey + (eye - grey) * 2 ** normal[i, 9], 0) for i in range(6)],
    }
    for column, pairs in wanted.items():
        only = chance.clone()
        only[:, 0:10:2] = 1
        only[:, column] = 0
        matrix, offset = draw_colors(Dice(only, SHARE))
        torch.testing.assert_close(matrix, torch.stack([m for m, _ in pairs]))
        torch.testing.assert_close(offset, torch.stack([eye[0] * 0 + b for _, b in pairs]))
    whole = torch.eye(4).double()
    for column in wanted:  # all together: one after the other, as affine maps
        step = torch.eye(4).double()
        step[:3, :3], step[:3, 3] = wanted[column][2]
        whole = step @ whole
    matrix, offset = draw_colors(Dice(torch.where(torch.arange(10) % 2 == 0, 0.0, chance), SHARE))
    torch.testing.assert_close(matrix[2], whole[:3, :3])
    torch.testing.assert_close(offset[2], whole[:3, 3])


def test_how_often_colors_change() -> None:
    matrix, offset = draw_colors(dice(10))
    untouched = (matrix == torch.eye(3).double()).all(2).all(1)
    assert untouched.double().mean().item() == pytest.approx((1 - SHARE) ** 3 * (1 - SHARE / 2), abs=0.012)
    assert (offset != 0).any(1).double().mean().item() == pytest.approx(SHARE, abs=0.012)


def test_pictures_are_in_0_to_1_and_colors_about_their_middle() -> None:
    """Contrast moves away from middle grey, brightness 0.2 of [-1, 1] is 0.1 here."""
    x, chance = pictures(1), torch.full((1, CHANCES), 1 - 1e-9, dtype=torch.float64)
    chance[0, 20], chance[0, 21] = 0, 0.8  # contrast
    factor = 2 ** (0.5 * torch.special.ndtri(torch.tensor(0.8).double()))
    torch.testing.assert_close(ada_augment(x, chance, SHARE), 0.5 + factor * (x - 0.5))
    chance[0, 20], chance[0, 18], chance[0, 19] = 1, 0, 0.8413447  # one deviation
    torch.testing.assert_close(ada_augment(x, chance, SHARE), x + 0.1, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [*CATEGORIES, "all"])
def test_gradients_flow_twice(name: str) -> None:
    chance = torch.rand(2, CHANCES, generator=noise(7), dtype=torch.float64)
    x = pictures(2, 6, 8).requires_grad_()
    names = CATEGORIES if name == "all" else (name,)

    def augmented(p: Tensor) -> Tensor:
        return ada_augment(p, chance, 0.9, names)

    assert torch.autograd.gradcheck(augmented, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda p: augmented(p).square(), x, fast_mode=True)
    (gradient,) = torch.autograd.grad(augmented(x).sum(), x)
    assert (gradient != 0).float().mean() > 0.7


def test_unknown_category() -> None:
    with pytest.raises(InputError, match="did you mean 'color'"):
        ada_augment(pictures(1), torch.rand(1, CHANCES), 0.5, ("colour",))


def run(**values: Any) -> Any:
    return SimpleNamespace(**{"state": {}, "device": torch.device("cpu"), "world": 1, "step": 0} | values)


def test_the_controller_moves_by_the_published_speed() -> None:
    """500,000 pictures from 0 to 1, looked at every fourth step, target 0.6."""
    state = run()
    assert ada_probability(state) == 0
    sure, unsure = torch.ones(10), torch.cat([torch.ones(7), -torch.ones(3)])  # r = 1, r = 0.4
    path = list[float]()
    for state.step in range(1, 17):
        adapt(state, sure if state.step <= 8 else unsure)
        path.append(float(ada_probability(state)))
    jump = 4 * 10 / 500_000
    wanted = [0] * 3 + [jump] * 4 + [2 * jump] * 4 + [jump] * 4 + [0]
    assert path == pytest.approx(wanted, abs=1e-9)
    assert state.state["ada_r"].item() == pytest.approx(0.4)
    for state.step in range(17, 21):
        adapt(state, -sure)
    assert ada_probability(state) == 0  # never below
    for state.step in range(21, 41):
        adapt(state, sure, pictures=40)
    assert ada_probability(state) == 1  # nor above


def test_the_controller_sees_the_mean_of_its_steps_and_rests_at_the_target() -> None:
    state = run()
    for state.step in range(1, 5):  # 8 of 10 signs: r = 0.6 exactly
        adapt(state, torch.cat([torch.full((8,), 3.0), torch.full((2,), -0.1)]))
    assert ada_probability(state) == 0 or abs(float(ada_probability(state)) - 8e-5) < 1e-9  # float's half ulp
    assert state.state["ada_r"].item() == pytest.approx(0.6)
    for state.step in range(5, 9):  # 3 sure steps, one doubtful: 0.5, below the target
        adapt(state, torch.ones(10) if state.step < 8 else -torch.ones(10))
    assert state.state["ada_r"].item() == pytest.approx(0.5)


def test_processes_move_together() -> None:
    """Two of them with their own scores and the mean of r: the speed of the doubled batch."""
    state = run(world=2, mean=lambda values: {k: (float(v) + 0.4) / 2 for k, v in values.items()})
    for state.step in range(1, 5):
        adapt(state, torch.ones(10))
    assert float(ada_probability(state)) == pytest.approx(4 * 20 / 500_000)
    assert state.state["ada_r"].item() == pytest.approx(0.7)
