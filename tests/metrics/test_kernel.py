"""The kernel distance against its definition written out, torchmetrics, and what unbiased means."""

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from sfumato.errors import InputError
from sfumato.metrics.kernel import kernel_distance, mmd


def cloud(count: int, dimension: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_estimator_written_out() -> None:
    a, b = cloud(5, seed=1), cloud(7, seed=2) + 0.3
    within = [
        sum(float((x[i] @ x[j] / 4 + 1) ** 3) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        for x, n in ((a, 5), (b, 7))
    ]
    between = sum(float((x @ y / 4 + 1) ** 3) for x in a for y in b) / 35
    assert mmd(a, b) == pytest.approx(sum(within) - 2 * between, rel=1e-12)
    assert kernel_distance(a, b) == (pytest.approx(mmd(a, b)), 0.0)


def test_as_torchmetrics_has_it() -> None:
    class Flat(nn.Module):
        num_features = 4

        def forward(self, pictures: Tensor) -> Tensor:
            return pictures.flatten(1)[:, :4].double() / 255

    generator = torch.Generator().manual_seed(1)
    real = torch.randint(0, 256, (40, 3, 4, 4), generator=generator, dtype=torch.uint8)
    made = torch.randint(60, 200, (40, 3, 4, 4), generator=generator, dtype=torch.uint8)
    peer = KernelInceptionDistance(feature=Flat(), subsets=3, subset_size=40)  # every subset is the whole
    peer.update(real, real=True)
    peer.update(made, real=False)
    found = kernel_distance(Flat()(made), Flat()(real))[0]
    assert found == pytest.approx(peer.compute()[0].item(), rel=1e-5)


def test_equal_distributions_are_at_zero_however_few_the_samples() -> None:
    """The mean over many draws is within three of its standard errors of 0; the biased estimator's would not be."""
    drawn = torch.tensor([mmd(cloud(20, seed=2 * k), cloud(20, seed=2 * k + 1)) for k in range(200)])
    assert abs(drawn.mean()) < 3 * drawn.std() / 200**0.5
    assert drawn.min() < 0


def test_subsets_are_drawn_from_the_seed_and_tell_a_shift() -> None:
    a, b = cloud(300, seed=1), cloud(250, seed=2) + 1
    mean, deviation = kernel_distance(b, a, subset=100, subsets=20)
    assert kernel_distance(b, a, subset=100, subsets=20) == (mean, deviation)
    assert kernel_distance(b, a, subset=100, subsets=20, seed=1) != (mean, deviation)
    assert mean == pytest.approx(mmd(b, a), abs=3 * deviation)
    assert mean > 10 * abs(kernel_distance(cloud(250, seed=3), a, subset=100, subsets=20)[0])


def test_one_picture_is_refused() -> None:
    with pytest.raises(InputError, match="at least two"):
        kernel_distance(cloud(1), cloud(9))
