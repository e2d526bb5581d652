"""Neighbours against brute force in float64, closed forms and finite differences."""

import math

import pytest
import torch
from torch import Tensor

from sfumato.style.neighbours import Bag, Neighbours, chosen, nearest


def cloud(count: int, channels: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, generator=generator, dtype=torch.float64) + torch.arange(channels)


def bag(features: Tensor) -> Bag:
    return Bag(features, features.new_ones(len(features)))


@pytest.mark.parametrize("chunk", [1, 40, 90, 1 << 20])
def test_nearest_is_the_brute_force(chunk: int) -> None:
    x, s = cloud(37, seed=1), cloud(23, seed=2)
    wanted = [max(range(23), key=lambda q: float(x[p] @ s[q])) for p in range(37)]
    assert nearest(x, s, chunk).tolist() == wanted


def test_a_permuted_picture_is_nothing_away() -> None:
    s = cloud(50)
    x = s[torch.randperm(50, generator=torch.Generator().manual_seed(5))][:31]
    assert Neighbours([bag(s)], [1.0]).gaps(x).abs().max() < 1e-12


@pytest.mark.parametrize("angle", [0.0, 12.0, 30.0, 44.0])
@pytest.mark.parametrize("length", [0.1, 7.0])
def test_the_gap_is_one_minus_the_cosine_of_the_angle_from_the_mean(angle: float, length: float) -> None:
    mean = torch.tensor([3.0, -2.0], dtype=torch.float64)
    cross = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64) + mean
    a = math.radians(angle)
    x = mean + length * torch.tensor([[math.cos(a), math.sin(a)]], dtype=torch.float64)
    assert Neighbours([bag(cross)], [1.0]).gaps(x).item() == pytest.approx(1 - math.cos(a), abs=1e-12)


def test_gaps_of_several_styles_are_mixed_by_share() -> None:
    x, bags = cloud(19, seed=1), [bag(cloud(23, seed=2)), Bag(cloud(31, seed=3), torch.rand(31).double())]
    wanted = torch.zeros(19, dtype=torch.float64)
    for share, (f, w) in zip((0.25, 0.75), bags, strict=True):
        mean = (f * w[:, None]).sum(0) / w.sum()
        cosines = torch.nn.functional.cosine_similarity((x - mean)[:, None], (f - mean)[None], dim=2)
        wanted += share * (1 - cosines.max(1).values)
    torch.testing.assert_close(Neighbours(bags, [1.0, 3.0]).gaps(x), wanted, rtol=0, atol=1e-12)


def test_the_gradient_is_that_of_the_minimum() -> None:
    x, found = cloud(9, seed=1).requires_grad_(), Neighbours([bag(cloud(23, seed=2)), bag(cloud(11, seed=3))], [1, 2])
    assert torch.autograd.gradcheck(found.gaps, x)  # type: ignore[no-untyped-call]
    assert torch.autograd.gradcheck(lambda y: found.gaps_to(y, cloud(9, seed=4)), x)  # type: ignore[no-untyped-call]


def test_a_flat_style_gives_numbers() -> None:
    flat = torch.full((5, 4), 2.0)
    x = cloud(7, 4).float().requires_grad_()
    gaps = Neighbours([bag(flat)], [1.0]).gaps(x)
    gaps.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(gaps).all()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_chosen_are_spread_and_never_beyond_the_soft_edge() -> None:
    weight = torch.linspace(0, 0.8, 100).expand(60, 100)
    every = chosen(weight)
    assert every.tolist() == torch.nonzero(weight.flatten() >= 0.4).flatten().tolist()
    some = chosen(weight, 500)
    assert len(some) == 500
    assert set(some.tolist()) <= set(every.tolist())
    assert (some.diff() > 0).all()
    assert torch.equal(some, chosen(weight, 500))
    counts = torch.bincount(some // 1000, minlength=6)  # six bands of ten lines
    assert counts.min() > 50
