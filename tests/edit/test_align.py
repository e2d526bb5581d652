"""Frames of faces against the published formula and functions whose samples are known; pasting back undoes cutting."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sfumato.edit.align import Frame, around, cut_out, feather, ffhq, footprint
from sfumato.edit.region import put_back

TURNED = Frame((31.0, 27.0), (14.0, 6.0), (-6.0, 14.0))


def published(left: complex, right: complex, mouth: complex) -> list[complex]:
    """The corners, as appendix C writes them, x + iy with y downwards; i times a vector is a quarter turn."""
    x_, y_ = right - left, mouth - (left + right) / 2
    c = (left + right) / 2 + 0.1 * y_
    s = max(4.0 * abs(x_), 3.6 * abs(y_))
    x = x_ - 1j * y_
    x *= s / 2 / abs(x)
    y = 1j * x
    return [c - x - y, c - x + y, c + x + y, c + x - y]


FACES = [(40 + 50j, 60 + 50j, 50 + 75j), (40 + 52j, 63 + 41j, 60 + 70j), (9 + 9j, 5 + 40j, -20 + 22j)]


@pytest.mark.parametrize("face", FACES)
def test_the_published_square(face: tuple[complex, complex, complex]) -> None:
    left, right, mouth = ((p.real, p.imag) for p in face)
    frame = ffhq(left, right, mouth)
    np.testing.assert_allclose([complex(*p) for p in frame.corners], published(*face), atol=1e-9)
    assert frame.sides[0] == pytest.approx(frame.sides[1])
    assert np.dot(frame.across, frame.down) == pytest.approx(0)
    assert ffhq(left, right, mouth, (3, 2)).sides[0] == pytest.approx(1.5 * frame.sides[1])


def test_an_upright_face_by_hand() -> None:
    """Eyes 20 apart and 25 above the mouth: half a side is max(2 x 20, 1.8 x 25), the middle a tenth of 25 lower."""
    frame = ffhq((40, 50), (60, 50), (50, 75))
    np.testing.assert_allclose(np.array(frame.corners), [[5, 7.5], [5, 97.5], [95, 97.5], [95, 7.5]])
    assert around((10, 20, 30, 40)).corners[0] == (25 - 40, 40 - 40)


def test_cutting_and_laying_of_a_frame_on_pixels() -> None:
    picture = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    upright = Frame((12.0, 9.0), (4.0, 0.0), (0.0, 6.0))  # columns 8 to 15, rows 3 to 14
    torch.testing.assert_close(cut_out(picture, upright, (12, 8)), picture[..., 3:15, 8:16], atol=1e-5, rtol=0)
    quarter = Frame((12.0, 9.0), (0.0, 6.0), (-4.0, 0.0))  # its right is the picture's bottom
    torch.testing.assert_close(
        cut_out(picture, quarter, (8, 12)), picture[..., 3:15, 8:16].rot90(1, (2, 3)), atol=1e-5, rtol=0
    )
    beyond = Frame((0.0, 9.0), (4.0, 0.0), (0.0, 6.0))
    seen = cut_out(picture, beyond, (12, 8))
    torch.testing.assert_close(seen[..., :4], picture[..., 3:15, :4].flip(3), atol=1e-5, rtol=0)
    # and what was cut is put back where it was
    made = put_back(picture, upright, seen, cut_out(picture, upright, (12, 8)), whole=True)
    torch.testing.assert_close(made, picture, atol=1e-5, rtol=0)


def plane(size: tuple[int, int]) -> Tensor:
    """A picture that is a linear function of the position."""
    y, x = (torch.arange(n) + 0.5 for n in size)
    return linear(x.expand(size), y[:, None].expand(size))


def linear(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([0.2 + 0.01 * x, 0.1 + 0.012 * y, 0.5 + 0.004 * (x - y)])[None]


@pytest.mark.parametrize("size", [(40, 40), (24, 24), (10, 10), (12, 20)])
def test_a_plane_stays_a_plane(size: tuple[int, int]) -> None:
    """Bicubic weights (of -0.75) miss a linear function by less than a tenth of its step a pixel."""
    flat = size[0] / size[1]
    tall = Frame(TURNED.centre, TURNED.across, (TURNED.down[0] * flat, TURNED.down[1] * flat))
    seen = cut_out(plane((60, 64)), tall, size)
    v, u = (((torch.arange(n) + 0.5) / n * 2 - 1) for n in size)
    x = tall.centre[0] + u[None] * tall.across[0] + v[:, None] * tall.down[0]
    y = tall.centre[1] + u[None] * tall.across[1] + v[:, None] * tall.down[1]
    wanted = linear(x, y)
    middle = (..., slice(2, -2), slice(2, -2))  # shrinking mixes in the border's mirror
    torch.testing.assert_close(seen[middle], wanted[middle], atol=1e-3, rtol=0)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("size", [(64, 64), (16, 16)])
def test_putting_back_undoes_cutting(size: tuple[int, int], whole: bool) -> None:
    """Nothing edited: near identity inside and, up to the bit, outside the frame."""
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(64.0), indexing="ij")
    picture = (0.5 + 0.2 * torch.sin(x / 9)[None, None] * torch.cos(y / 11)).expand(1, 3, -1, -1)
    seen = cut_out(picture, TURNED, size)
    made = put_back(picture, TURNED, seen, seen, whole=whole)
    if not whole:
        assert torch.equal(made, picture)
        return
    far = footprint(TURNED, (60, 64))
    outside = torch.ones(60, 64, dtype=torch.bool)
    outside[far.rows, far.columns] = (far.inside[0].abs() >= 1).any(-1)
    assert 0.5 < outside.float().mean() < 0.9
    assert torch.equal(made[0, :, outside], picture[0, :, outside])
    assert not torch.equal(made, picture)
    torch.testing.assert_close(made, picture, atol=0.002 if size[0] == 64 else 0.02, rtol=0)


def test_a_change_fades_towards_the_frames_border() -> None:
    picture = torch.full((1, 3, 60, 64), 0.5)
    made = put_back(picture, TURNED, torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.25))
    assert float(made[0, 0, 26, 30]) == pytest.approx(0.75)
    u, v = -0.94, 0.1  # halfway through an edge of 6 %: twice 0.06 in u
    place = np.add(TURNED.centre, np.multiply(u, TURNED.across)) + np.multiply(v, TURNED.down)
    assert float(made[0, 0, math.floor(place[1]), math.floor(place[0])]) == pytest.approx(0.625, abs=0.06)
    mask = torch.zeros(1, 1, 60, 64)
    mask[..., :27, :] = 1
    half = put_back(picture, TURNED, torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.25), mask, seamless=False)
    assert torch.equal(half[..., 27:, :], picture[..., 27:, :])
    assert torch.equal(half[..., :27, :], made[..., :27, :])


def test_what_changes_around_a_mask_is_taken_off_within() -> None:
    """The change is a slope over the picture and a bump in the mask: the bump alone is put there, without a step."""
    picture = torch.full((1, 3, 32, 32), 0.5)
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 32), indexing="ij")
    mask, bump = torch.zeros(1, 1, 32, 32), torch.zeros(32, 32)
    mask[..., 8:24, 8:24], bump[12:20, 12:20] = 1, 0.2
    change = (0.2 * x - 0.1 * y + bump).expand(1, 3, -1, -1)
    made = put_back(picture, (0, 0, 32, 32), torch.zeros_like(picture), change, mask)
    assert torch.equal(made * (1 - mask), picture * (1 - mask))
    torch.testing.assert_close(made[0, 0], 0.5 + bump, atol=0.005, rtol=0)
    plain = put_back(picture, (0, 0, 32, 32), torch.zeros_like(picture), change, mask, seamless=False)
    torch.testing.assert_close(plain, picture + change * mask)


def test_a_whole_region_takes_its_borders_from_the_picture_and_nothing_else() -> None:
    """The likeness is paler by a slope, the old mark is elsewhere than the new one: the new one alone is there."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 32), indexing="ij")
    mask, new, old = torch.zeros(1, 1, 32, 32), torch.zeros(32, 32), torch.zeros(32, 32)
    mask[..., 6:26, 6:26], new[18:22, 10:22], old[10:14, 12:16] = 1, 0.2, -0.3
    picture = (0.5 + old).expand(1, 3, -1, -1)
    after = (0.6 + 0.2 * x - 0.1 * y + new).expand(1, 3, -1, -1)
    made = put_back(picture, (0, 0, 32, 32), torch.zeros_like(picture), after, mask, whole=True)
    assert torch.equal(made * (1 - mask), picture * (1 - mask))
    torch.testing.assert_close(made[0, 0], 0.5 + new, atol=0.005, rtol=0)
    plain = put_back(picture, (0, 0, 32, 32), torch.zeros_like(picture), after, mask, whole=True, seamless=False)
    torch.testing.assert_close(plain * mask, after * mask)


def test_a_window_and_a_frame_outside_the_picture() -> None:
    inside = torch.tensor([[[0.0, 0.0], [0.94, 0.0], [1.01, 0.0], [0.94, 0.94]]])[None]
    torch.testing.assert_close(feather(inside, 0.06)[0, 0, 0], torch.tensor([1.0, 0.5, 0.0, 0.25]))
    picture = torch.rand(1, 3, 8, 8)
    away = Frame((100.0, 4.0), (5.0, 0.0), (0.0, 5.0))
    assert torch.equal(put_back(picture, away, picture, 1 - picture), picture)
