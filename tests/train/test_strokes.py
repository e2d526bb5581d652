"""The same sign by another hand: what each of the chances does, and that the sign stays."""

import math

import pytest
import torch
from torch import Tensor

from sfumato.train.strokes import CHANCES, SHIFT, TURN, redrawn


def bar(size: int = 32) -> Tensor:
    """An upright stroke of 4 pixels: 1 x 1 x H x W."""
    x = torch.zeros(1, 1, size, size)
    x[:, :, 6:26, 14:18] = 1
    return x


def chance(**moved: float) -> Tensor:
    names = ("turn", "slant", "wide", "high", "right", "down", "pen")
    assert len(names) == CHANCES
    return torch.tensor([[moved.get(name, 0.5) for name in names]])


def moments(x: Tensor) -> tuple[float, float, float]:
    """Middle across and down, in pixels from the picture's, and the stroke's angle to the vertical, in radians."""
    at = torch.arange(x.shape[-1]) - (x.shape[-1] - 1) / 2
    p = (x / x.sum())[0, 0]
    mx, my = float((p.sum(0) * at).sum()), float((p.sum(1) * at).sum())
    xy, yy = float((p * (at - mx) * (at - my)[:, None]).sum()), float((p.sum(1) * (at - my) ** 2).sum())
    return mx, my, math.atan2(xy, yy)


def test_no_strength_and_middling_chances_leave_the_drawing() -> None:
    x, u = torch.rand(5, 1, 28, 28), torch.rand(5, CHANCES)
    torch.testing.assert_close(redrawn(x, u, 0), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(redrawn(x, torch.full((5, CHANCES), 0.5)), x, atol=1e-5, rtol=0)


def test_every_chance_does_what_it_is_named_after() -> None:
    x = bar()
    right, down, _ = moments(redrawn(x, chance(right=1.0)))
    assert [right, down] == pytest.approx([-SHIFT * 16, 0], abs=0.05)
    right, down, _ = moments(redrawn(x, chance(down=0.0)))
    assert [right, down] == pytest.approx([0, SHIFT * 16], abs=0.05)
    # the bar is 4 wide: its second moments give an angle a little below the turn
    assert abs(moments(redrawn(x, chance(turn=1.0)))[2]) == pytest.approx(TURN, rel=0.08)
    assert moments(redrawn(x, chance(turn=1.0)))[2] == pytest.approx(
        -moments(redrawn(x, chance(turn=0.0)))[2], abs=0.01
    )
    assert abs(math.tan(moments(redrawn(x, chance(slant=1.0)))[2])) == pytest.approx(0.5, rel=0.05)
    ink = float(x.sum())
    assert float(redrawn(x, chance(wide=1.0)).sum()) == pytest.approx(ink * math.exp(-0.25), rel=0.03)
    assert float(redrawn(x, chance(high=0.0)).sum()) == pytest.approx(ink * math.exp(0.25), rel=0.03)
    assert float(redrawn(x, chance(pen=1.0)).sum()) > 1.3 * ink
    assert float(redrawn(x, chance(pen=0.0)).sum()) < 0.85 * ink


def test_a_pictures_change_is_its_own_and_stays_in_range() -> None:
    x, u = torch.rand(6, 1, 28, 28), torch.rand(6, CHANCES)
    whole = redrawn(x, u)
    torch.testing.assert_close(whole[1::2], redrawn(x[1::2], u[1::2]))
    assert whole.min() >= 0
    assert whole.max() <= 1 + 1e-6
    assert (whole - x).abs().flatten(1).mean(1).min() > 0.02


def test_it_is_differentiable() -> None:
    x = torch.rand(2, 1, 12, 12, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    u = torch.rand(2, CHANCES, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda y: redrawn(y, u), x)
