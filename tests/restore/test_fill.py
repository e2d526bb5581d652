"""Coarse to fine: what is looked at, what stays, and that every size is filled."""

import pytest
import torch
from torch import Tensor

from sfumato.picture.membrane import membrane
from sfumato.restore.fill import DEPTH, boxes, deepest, filled, halved, thin_filled


class Same:
    """A network that changes nothing; it remembers the sizes it saw and how full of holes they were."""

    def __init__(self) -> None:
        self.saw = list[tuple[int, int]]()

    def __call__(self, planes: Tensor) -> Tensor:
        self.saw.append((planes.shape[2], planes.shape[3]))
        assert planes.shape[2] % 8 == planes.shape[3] % 8 == 0
        return planes[:, :3]


def red(planes: Tensor) -> Tensor:
    """Fills holes with red, and spoils everything else."""
    return torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(len(planes), 3, *planes.shape[2:])


@pytest.mark.parametrize("size", [(300, 410), (17, 5), (64, 64)])
def test_outside_is_as_it_was_and_inside_is_the_networks(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    picture, hole = torch.rand(1, 3, *size), torch.zeros(1, 1, *size)
    hole[..., 2 : size[0] - 3, 1:3] = 1
    hole[..., : size[0] // 4, size[1] // 2 :] = 1
    found = filled(red, picture, hole)
    outside = (hole == 0).expand_as(picture)
    assert torch.equal(found[outside], picture[outside])
    assert torch.equal(found[~outside].view(3, -1)[0], torch.ones(int(hole.sum())))
    assert float(found[~outside].view(3, -1)[1:].abs().max()) == 0
    smooth = filled(None, picture, hole)
    assert torch.equal(smooth[outside], picture[outside])
    assert float(smooth.min()) >= 0


def test_a_thin_scratch_is_filled_at_full_size() -> None:
    torch.manual_seed(0)
    picture, hole, same = torch.rand(1, 3, 96, 120), torch.zeros(1, 1, 96, 120), Same()
    hole[..., 40:43, 10:100] = 1
    found = filled(same, picture, hole)
    assert len(same.saw) == 1
    box = boxes(hole)[0]
    part = (..., slice(box.top, box.bottom), slice(box.left, box.right))
    torch.testing.assert_close(found[part], membrane(picture[part], hole[part]))


def test_a_deep_hole_is_halved_until_it_is_shallow() -> None:
    picture, hole, same = torch.rand(1, 3, 256, 256), torch.zeros(1, 1, 256, 256), Same()
    hole[..., 80:176, 80:176] = 1  # 48 to its middle
    filled(same, picture, hole)
    assert same.saw == [(64, 64), (128, 128), (256, 256)]
    assert DEPTH == 12


def test_holes_far_apart_are_looked_at_apart() -> None:
    hole = torch.zeros(1, 1, 600, 800)
    hole[..., 100:110, 100:120] = hole[..., 500:505, 700:703] = 1
    hole[..., 115:118, 150:160] = 1
    found = sorted(boxes(hole))
    assert len(found) == 2
    assert found[0] == (52, 166, 52, 208)
    assert found[1] == (452, 553, 652, 751)


def test_huge_holes_are_filled_in_tiles_that_do_not_grow() -> None:
    same = Same()
    picture, hole = torch.rand(1, 3, 900, 1100), torch.zeros(1, 1, 900, 1100)
    hole[..., 10:890, 500:508] = 1
    filled(same, picture, hole)
    assert max(max(size) for size in same.saw) <= 320 + 2 * 64
    assert len(same.saw) < 12  # tiles that the hole does not reach are left out


def test_half_the_size_is_the_mean_of_what_is_known() -> None:
    picture, hole = torch.arange(15.0).view(1, 1, 3, 5).expand(1, 3, 3, 5) / 15, torch.zeros(1, 1, 3, 5)
    hole[..., 0, 0] = 1
    hole[..., 0:2, 2:4] = 1
    small, small_hole = halved(picture, hole)
    assert small.shape == (1, 3, 2, 3)
    assert float(small[0, 0, 0, 0]) == pytest.approx((1 + 5 + 6) / 3 / 15)
    assert small_hole.tolist() == [[[[0, 1, 0], [0, 0, 0]]]]
    assert deepest(hole) == pytest.approx(1.0)


def test_a_scratch_through_a_deep_hole_is_closed_as_scratches_are() -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, 80), torch.linspace(0, 1, 120), indexing="ij")
    picture = torch.stack([0.3 + 0.4 * x * x, 0.2 + 0.5 * y * x, 0.8 - 0.4 * y])[None]
    hole = torch.zeros(1, 1, 80, 120)
    hole[..., 30:50, 50:70] = 1
    hole[..., 38:41, 5:115] = 1
    closed, left = thin_filled(torch.where(hole > 0, 1.0, picture), hole)
    wanted = torch.zeros_like(hole)
    wanted[..., 30:50, 50:70] = 1
    assert torch.equal(left, wanted)
    scratch = (hole - wanted).expand_as(picture) > 0
    scratch[..., 46:74] = False  # next to the deep hole it is not known what it runs into
    assert float((closed - picture).abs()[scratch].max()) < 2e-3
    assert torch.equal(closed[hole.expand_as(picture) == 0], picture[hole.expand_as(picture) == 0])
