"""L-BFGS against its dense definition, Adam against PyTorch's, both on losses whose answers are known."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sfumato.stylize.minimisers import LBFGS, Adam

Loss = Callable[[Tensor], tuple[float, Tensor]]


def free(x: Tensor) -> Tensor:
    return x


def quadratic(matrix: Tensor, centre: Tensor) -> Loss:
    def value(x: Tensor) -> tuple[float, Tensor]:
        gap = x - centre
        return float(0.5 * gap @ matrix @ gap), matrix @ gap

    return value


def spd(values: Tensor, seed: int = 0) -> Tensor:
    n = len(values)
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    return turn @ torch.diag(values.double()) @ turn.T


def dense_direction(pairs: list[tuple[Tensor, Tensor]], gradient: Tensor) -> Tensor:
    """-H g by the BFGS update of the inverse Hessian, Nocedal & Wright 2006, equations 6.17 and 7.20."""
    s, y = pairs[-1]
    eye = torch.eye(len(gradient), dtype=gradient.dtype)
    h = (s @ y) / (y @ y) * eye
    for s, y in pairs:
        left = eye - torch.outer(s, y) / (s @ y)
        h = left @ h @ left.T + torch.outer(s, s) / (s @ y)
    return -h @ gradient


@pytest.mark.parametrize("history", [1, 3, 20])
def test_lbfgs_is_the_dense_update(history: int) -> None:
    loss = quadratic(spd(torch.linspace(1, 5, 7)), torch.linspace(-1, 1, 7).double())
    x, minimiser = torch.zeros(7, dtype=torch.float64), LBFGS(history)
    pairs, before = list[tuple[Tensor, Tensor]](), None
    for k in range(9):
        _, gradient = loss(x)
        if before is not None:
            pairs = [*pairs, (x - before[0], gradient - before[1])][-history:]
            wanted = x + dense_direction(pairs, gradient)
        else:
            wanted = x - 0.05 * gradient / gradient.abs().max()
        before = (x, gradient)
        x = minimiser.step(x, 1 / (k + 1), gradient, free)  # said to fall: no step is taken back
        assert torch.allclose(x, wanted, rtol=1e-9, atol=1e-12)


def test_the_first_step_moves_no_value_by_more_than_it_may() -> None:
    gradient = torch.tensor([3.0, -40.0, 0.5])
    moved = LBFGS(first_step=0.05).step(torch.zeros(3), 1.0, gradient, free)
    assert moved.abs().max().item() == pytest.approx(0.05)
    assert torch.allclose(moved, -gradient * 0.05 / 40)


def test_lbfgs_converges_on_an_ill_conditioned_quadratic_and_faster_than_gradient_descent() -> None:
    values = torch.logspace(0, 4, 40, dtype=torch.float64)
    loss = quadratic(spd(values, 3), torch.randn(40, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    start = loss(torch.zeros(40, dtype=torch.float64))[0]
    x, minimiser, lowest = torch.zeros(40, dtype=torch.float64), LBFGS(10), start
    z = x.clone()
    for _ in range(200):
        value, gradient = loss(x)
        lowest = min(lowest, value)
        x = minimiser.step(x, value, gradient, free)
        z = z - 2 / (values[0] + values[-1]) * loss(z)[1]  # the best fixed step there is
    descended = loss(z)[0]
    assert lowest < 1e-5 * start
    assert lowest < 1e-2 * descended


def test_a_step_that_made_it_worse_is_taken_back_and_halved() -> None:
    minimiser = LBFGS(5)
    x0, g0 = torch.tensor([1.0, 2.0]), torch.tensor([0.2, 0.1])
    x1 = minimiser.step(x0, 1.0, g0, free)
    x2 = minimiser.step(x1, 1.2, torch.tensor([9.0, 9.0]), free)
    assert torch.allclose(x2, x0 + (x1 - x0) / 2)
    x3 = minimiser.step(x2, 1.15, torch.tensor([9.0, 9.0]), free)
    assert torch.allclose(x3, x0 + (x1 - x0) / 4)
    assert minimiser.pairs == []  # nothing was learnt where the loss does not hold
    g3 = torch.tensor([0.15, 0.09])
    x4 = minimiser.step(x3, 0.99, g3, free)
    (pair,) = minimiser.pairs
    assert torch.allclose(pair.s, x3 - x0)
    assert torch.allclose(pair.y, g3 - g0)
    full = dense_direction([(pair.s, pair.y)], g3)
    assert 0 < (x4 - x3).norm() < full.norm()  # careful after a failure,
    taken = (x4 - x3).norm() / full.norm()
    g4 = torch.tensor([0.1, 0.07])
    x5 = minimiser.step(x4, 0.9, g4, free)
    full = dense_direction([(p.s, p.y) for p in minimiser.pairs], g4)
    assert taken < (x5 - x4).norm() / full.norm() <= 1  # bolder again after a success


def test_a_loss_a_tenth_higher_is_let_pass() -> None:
    minimiser = LBFGS(5)
    x0 = torch.tensor([1.0, 2.0])
    x1 = minimiser.step(x0, 1.0, torch.tensor([0.2, 0.1]), free)
    minimiser.step(x1, 1.05, torch.tensor([0.1, 0.05]), free)
    assert len(minimiser.pairs) == 1


def test_a_pair_of_negative_curvature_is_not_remembered() -> None:
    minimiser = LBFGS(5)
    x0 = torch.tensor([1.0, 2.0])
    x1 = minimiser.step(x0, 1.0, torch.tensor([0.2, 0.1]), free)
    x2 = minimiser.step(x1, 0.9, torch.tensor([0.4, 0.2]), free)  # steeper downhill: no minimum that way
    assert minimiser.pairs == []
    assert torch.isfinite(x2).all()


def test_the_memory_holds_no_more_than_history() -> None:
    loss = quadratic(spd(torch.linspace(1, 30, 12)), torch.ones(12, dtype=torch.float64))
    x, minimiser = torch.zeros(12, dtype=torch.float64), LBFGS(4)
    for _ in range(12):
        x = minimiser.step(x, *loss(x), free)
    assert len(minimiser.pairs) == 4


def test_projection_is_applied_to_every_point() -> None:
    centre = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    loss = quadratic(spd(torch.tensor([1.0, 2.0, 3.0])), centre)
    for minimiser in (LBFGS(5), Adam(0.1)):
        x = torch.full((3,), 0.4, dtype=torch.float64)
        for _ in range(40):
            x = minimiser.step(x, *loss(x), lambda v: v.clamp(0, 1))
            assert 0 <= x.min() <= x.max() <= 1


def enlarge(t: Tensor) -> Tensor:
    """Twice the side, each value four times: what resizing does to smooth maps, without rounding."""
    return t.repeat_interleave(2, -1).repeat_interleave(2, -2)


def mean_loss(target: Tensor, stiffness: Tensor) -> Loss:
    """A mean over pixels: each pixel's gradient shrinks as pixels grow in number, as the product's losses do."""

    def value(x: Tensor) -> tuple[float, Tensor]:
        gap = x - target
        return float(0.5 * (stiffness * gap.square()).mean()), stiffness * gap / gap.numel()

    return value


@pytest.mark.parametrize("history", [10, 2])
def test_lbfgs_memory_at_another_size_gives_the_same_direction(history: int) -> None:
    generator = torch.Generator().manual_seed(2)
    target, stiffness = (torch.rand(1, 3, 4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    small, large = mean_loss(target, 1 + 9 * stiffness), mean_loss(enlarge(target), enlarge(1 + 9 * stiffness))
    x, minimiser = torch.zeros_like(target), LBFGS(history)
    for _ in range(5):
        x = minimiser.step(x, *small(x), free)
    carried = minimiser.resized(enlarge, 4.0, history)
    assert len(carried.pairs) == len(minimiser.pairs) == min(4, history)
    wanted = enlarge(minimiser._direction(small(x)[1]))
    assert torch.allclose(carried._direction(large(enlarge(x))[1]), wanted, rtol=1e-9)
    stepped = carried.step(enlarge(x), *large(enlarge(x)), free)
    assert torch.allclose(stepped, enlarge(x) + wanted, rtol=1e-9)  # it goes on: no first, blind step


def test_lbfgs_without_memory_keeps_the_scale_of_the_curvature() -> None:
    target = torch.rand(1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    stiffness = torch.full_like(target, 3.0)
    small, large = mean_loss(target, stiffness), mean_loss(enlarge(target), enlarge(stiffness))
    x, minimiser = torch.zeros_like(target), LBFGS(5)
    for _ in range(2):
        x = minimiser.step(x, *small(x), free)
    carried = minimiser.resized(enlarge, 4.0, 0)
    assert carried.pairs == []
    # One stiffness everywhere: a step of the right length ends at the target at once, also at four times the pixels.
    assert torch.allclose(carried.step(torch.zeros_like(enlarge(x)), *large(enlarge(x) * 0), free), enlarge(target))
    assert carried.pairs == []
    assert carried.last is None  # no picture is held


def test_fewer_pairs_are_carried_where_fewer_fit_the_latest_ones() -> None:
    loss = quadratic(spd(torch.linspace(1, 30, 12)), torch.ones(12, dtype=torch.float64))
    x, minimiser = torch.zeros(12, dtype=torch.float64), LBFGS(8)
    for _ in range(8):
        x = minimiser.step(x, *loss(x), free)
    carried = minimiser.resized(lambda t: t, 1.0, 3)
    assert [id(p.s) for p in carried.pairs] == [id(p.s) for p in minimiser.pairs[-3:]]
    assert carried.gamma == pytest.approx(minimiser.gamma)


@pytest.mark.parametrize(("rate", "betas"), [(0.02, (0.9, 0.99)), (0.3, (0.5, 0.9))])
def test_adam_is_pytorchs(rate: float, betas: tuple[float, float]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, 5, 4, generator=generator, dtype=torch.float64)
    parameter = torch.nn.Parameter(x.clone())
    reference, ours = torch.optim.Adam([parameter], lr=rate, betas=betas, eps=1e-12), Adam(rate, betas)
    for k in range(30):
        gradient = torch.randn(x.shape, generator=generator, dtype=torch.float64) * 10.0 ** (k % 5 - 2)
        parameter.grad = gradient.clone()
        reference.step()
        x = ours.step(x, 0.0, gradient, free)
        assert torch.allclose(x, parameter.detach(), rtol=1e-9, atol=1e-12)


def test_adam_moments_at_another_size_give_the_same_step() -> None:
    target = torch.rand(1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    small, large = mean_loss(target, 1 + target), mean_loss(enlarge(target), 1 + enlarge(target))
    x, minimiser = torch.zeros_like(target), Adam(0.01)
    for _ in range(6):
        x = minimiser.step(x, *small(x), free)
    carried = minimiser.resized(enlarge, 4.0, 10)
    wanted = enlarge(minimiser.step(x, *small(x), free))
    assert torch.allclose(carried.step(enlarge(x), *large(enlarge(x)), free), wanted, rtol=1e-8)


@pytest.mark.parametrize("minimiser", [LBFGS(5), Adam(0.01)])
def test_resizing_before_the_first_step_starts_afresh(minimiser: LBFGS | Adam) -> None:
    other = minimiser.resized(enlarge, 4.0, 5)
    x = torch.zeros(1, 3, 4, 4)
    assert torch.isfinite(other.step(x, 1.0, torch.ones_like(x), free)).all()
