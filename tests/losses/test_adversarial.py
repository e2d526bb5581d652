"""Objectives against the papers' formulas with the sigmoid written out, penalties against closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.losses.adversarial import (
    OBJECTIVES,
    bce_discriminator,
    dragan_penalty,
    gradient_penalty,
    r1_penalty,
    r2_penalty,
    relativistic,
    relativistic_average,
)


def scores(seed: int, *shape: int) -> Tensor:
    return 2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(5,), (4, 1, 3, 2)])
def test_objectives_are_the_papers(shape: tuple[int, ...]) -> None:
    real, made = scores(0, *shape), scores(1, *shape)
    d_real, d_made = torch.sigmoid(real), torch.sigmoid(made)
    wanted = {
        "bce": (-(d_real.log().mean() + (1 - d_made).log().mean()), -d_made.log().mean()),
        "minimax": (-(d_real.log().mean() + (1 - d_made).log().mean()), (1 - d_made).log().mean()),
        "lsgan": (((real - 1) ** 2).mean() / 2 + (made**2).mean() / 2, ((made - 1) ** 2).mean() / 2),
        "hinge": ((1 - real).clamp(min=0).mean() + (1 + made).clamp(min=0).mean(), -made.mean()),
        "wasserstein": (made.mean() - real.mean(), -made.mean()),
    }
    assert wanted.keys() == OBJECTIVES.keys()
    for name, (discriminator, generator) in wanted.items():
        torch.testing.assert_close(OBJECTIVES[name].discriminator(real, made), discriminator)
        torch.testing.assert_close(OBJECTIVES[name].generator(made), generator)


def test_relativistic_objectives_are_the_papers() -> None:
    real, made = scores(20, 5), scores(21, 5)
    torch.testing.assert_close(relativistic(real, made), -torch.sigmoid(real - made).log().mean())
    torch.testing.assert_close(relativistic(made, real), -torch.sigmoid(made - real).log().mean())
    for better, worse in ((real, made), (made, real)):
        above, below = torch.sigmoid(better - worse.mean()), torch.sigmoid(worse - better.mean())
        wanted = -(above.log().mean() + (1 - below).log().mean())
        torch.testing.assert_close(relativistic_average(better, worse), wanted)
        # what all scores share does not matter
        torch.testing.assert_close(relativistic_average(better + 3, worse + 3), wanted)
        torch.testing.assert_close(relativistic(better + 3, worse + 3), relativistic(better, worse))


def test_smoothed_labels_are_one_sided() -> None:
    real, made = scores(22, 6), scores(23, 6)
    labels = torch.cat([torch.full((6,), 0.9), torch.zeros(6)]).double()
    wanted = 2 * F.binary_cross_entropy_with_logits(torch.cat([real, made]), labels)
    torch.testing.assert_close(bce_discriminator(real, made, smoothing=0.1), wanted)
    # the best score of a real picture is that of 0.9, not infinity
    best = torch.tensor([math.log(9)], dtype=torch.float64, requires_grad=True)
    bce_discriminator(best, made, smoothing=0.1).backward()
    assert best.grad is not None
    assert best.grad.item() == pytest.approx(0, abs=1e-12)


def test_values_at_an_undecided_discriminator() -> None:
    zero = torch.zeros(3)
    found = {k: (o.discriminator(zero, zero).item(), o.generator(zero).item()) for k, o in OBJECTIVES.items()}
    assert found["bce"] == pytest.approx((2 * math.log(2), math.log(2)))
    assert found["minimax"] == pytest.approx((2 * math.log(2), -math.log(2)))
    assert found["lsgan"] == (0.5, 0.5)
    assert found["hinge"] == (2, 0)
    assert found["wasserstein"] == (0, 0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_descent_separates_and_the_generator_pulls_up(name: str) -> None:
    real, made = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    OBJECTIVES[name].discriminator(real, made).backward()
    assert real.grad is not None
    assert (real.grad < 0).all()
    if name != "lsgan":  # its made pictures' target is 0, where they are
        assert made.grad is not None
        assert (made.grad > 0).all()
    made = torch.zeros(4, requires_grad=True)
    OBJECTIVES[name].generator(made).backward()
    assert made.grad is not None
    assert (made.grad < 0).all()


def test_the_log_likelihood_does_not_saturate_or_overflow() -> None:
    made = torch.tensor([-200.0], requires_grad=True)
    loss = OBJECTIVES["bce"].generator(made)
    loss.backward()
    assert loss.item() == 200
    assert made.grad is not None
    assert made.grad.item() == pytest.approx(-1)
    made = torch.tensor([-200.0], requires_grad=True)
    loss = OBJECTIVES["minimax"].generator(made)
    loss.backward()
    assert loss.item() == 0
    assert made.grad is not None
    assert made.grad.item() == pytest.approx(0, abs=1e-30)  # log(1 - D) does


def linear(weight: Tensor) -> nn.Linear:
    judge = nn.Linear(weight.numel(), 1).double()
    judge.weight.data.copy_(weight.flatten()[None])
    return judge


def test_penalties_of_a_linear_judge() -> None:
    weight, real, made = scores(2, 12), scores(3, 6, 12), scores(4, 6, 12)
    judge, norm = linear(weight), weight.norm()
    chance = torch.rand(6, generator=torch.Generator().manual_seed(5))
    real.requires_grad_()
    torch.testing.assert_close(r1_penalty(judge(real), real), norm**2 / 2)
    torch.testing.assert_close(gradient_penalty(judge, real, made, chance), (norm - 1) ** 2)
    torch.testing.assert_close(gradient_penalty(judge, real, made, chance, centre=0), norm**2)
    judge.zero_grad()
    gradient_penalty(judge, real, made, chance).backward()
    assert judge.weight.grad is not None
    torch.testing.assert_close(judge.weight.grad[0], 2 * (norm - 1) * weight / norm)
    assert real.grad is None  # pictures get none


def test_penalties_of_a_quadratic_judge_show_where_they_look() -> None:
    def judge(x: Tensor) -> Tensor:
        return x.square().flatten(1).sum(1) / 2  # its gradient is x itself

    real, made = scores(6, 3, 2, 2, 2), scores(7, 3, 2, 2, 2)
    chance = torch.tensor([0.0, 1.0, 0.25], dtype=torch.float64)
    at = torch.stack([real[0], made[1], 0.75 * real[2] + 0.25 * made[2]]).flatten(1)
    torch.testing.assert_close(gradient_penalty(judge, real, made, chance), ((at.norm(dim=1) - 1) ** 2).mean())
    torch.testing.assert_close(gradient_penalty(judge, real, made, chance, centre=0), (at**2).sum(1).mean())
    for pictures, penalty in ((real, r1_penalty), (made, r2_penalty)):
        pictures.requires_grad_()
        wanted = (pictures**2).flatten(1).sum(1).mean() / 2
        torch.testing.assert_close(penalty(judge(pictures), pictures), wanted)
    noise = torch.rand(real.shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    near = (real + 0.5 * real.std() * chance.view(-1, 1, 1, 1) * noise).flatten(1)
    torch.testing.assert_close(dragan_penalty(judge, real, noise, chance), ((near.norm(dim=1) - 1) ** 2).mean())


def test_penalties_train_a_network_of_patches() -> None:
    """Second derivatives through convolutions agree with differences of the penalty."""
    with torch.random.fork_rng():
        torch.manual_seed(8)
        judge = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Softplus(), nn.Conv2d(4, 1, 3)).double()
    real, made, chance = scores(9, 2, 3, 9, 9).requires_grad_(), scores(10, 2, 3, 9, 9), torch.tensor([0.3, 0.8])
    weight = judge[0].weight
    for penalty in (
        lambda: r1_penalty(judge(real), real),
        lambda: gradient_penalty(judge, real, made, chance),
        lambda: gradient_penalty(judge, real, made, chance, centre=0),
    ):
        (gradient,) = torch.autograd.grad(penalty(), weight)
        direction = scores(11, *weight.shape)
        step = 1e-5
        with torch.no_grad():
            weight += step * direction
        high = penalty().item()
        with torch.no_grad():
            weight -= 2 * step * direction
        low = penalty().item()
        with torch.no_grad():
            weight += step * direction
        assert (high - low) / (2 * step) == pytest.approx((gradient * direction).sum().item(), rel=1e-5)


def test_a_flat_judge_has_a_finite_penalty_and_gradient() -> None:
    judge = linear(torch.zeros(4, dtype=torch.float64))
    real, made = scores(12, 2, 4), scores(13, 2, 4)
    loss = gradient_penalty(judge, real, made, torch.full((2,), 0.5))
    loss.backward()
    assert loss.item() == 1
    assert judge.weight.grad is not None
    assert judge.weight.grad.isfinite().all()


def test_torchs_spectral_norm_is_enough() -> None:
    """A convolution's matrix has largest singular value 1 after some steps, also in a copy and a reloaded one."""
    import copy

    with torch.random.fork_rng():
        torch.manual_seed(14)
        judge = torch.nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 4, 2, 1), n_power_iterations=1)
        fresh = torch.nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 4, 2, 1))
    for _ in range(60):
        judge(torch.zeros(1, 3, 8, 8))
    judge.eval()
    fresh.eval().load_state_dict(judge.state_dict())
    x = torch.rand(1, 3, 8, 8)
    for made in (judge, fresh, copy.deepcopy(judge)):
        assert torch.linalg.matrix_norm(made.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)
        torch.testing.assert_close(made(x), F.conv2d(x, judge.weight, judge.bias, 2, 1))
