"""The Frechet distance against closed forms and torchmetrics, and the traps that its users fall into."""

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from sfumato.errors import InputError
from sfumato.metrics.frechet import Gaussian, frechet_distance, gaussian


def clouds(count: int, dimension: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Flat(nn.Module):
    """Pictures' first numbers as features, for torchmetrics."""

    num_features = 6

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.flatten(1)[:, :6].double()


def test_gaussians_with_common_axes_have_a_closed_form() -> None:
    """sum (m - n)^2 + sum (s - t)^2 for deviations s and t along common axes."""
    axes = torch.linalg.qr(clouds(5, 5)).Q
    s, t = torch.tensor([1.0, 2, 0, 3, 0.5]).double(), torch.tensor([2.0, 2, 1, 0, 0.1]).double()
    m, n = clouds(2, 5, 3)
    a = Gaussian(m, axes @ torch.diag(s**2) @ axes.T, 10)
    b = Gaussian(n, axes @ torch.diag(t**2) @ axes.T, 10)
    wanted = (m - n).square().sum() + (s - t).square().sum()
    assert frechet_distance(a, b) == pytest.approx(wanted.item(), rel=1e-7)
    assert frechet_distance(b, a) == pytest.approx(wanted.item(), rel=1e-7)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_as_torchmetrics_has_it() -> None:
    generator = torch.Generator().manual_seed(1)
    real = torch.randint(0, 256, (60, 3, 4, 4), generator=generator, dtype=torch.uint8)
    made = torch.randint(40, 200, (50, 3, 4, 4), generator=generator, dtype=torch.uint8)
    peer = FrechetInceptionDistance(feature=Flat(), input_img_size=(3, 4, 4)).set_dtype(torch.float64)
    peer.update(real, real=True)
    peer.update(made, real=False)
    found = frechet_distance(*(gaussian(Flat()(x)) for x in (made, real)))
    assert found == pytest.approx(peer.compute().item(), rel=1e-5)


def test_fewer_samples_than_features_is_no_trouble() -> None:
    few = clouds(4, 30)
    assert frechet_distance(gaussian(few), gaussian(few)) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(gaussian(few + 1), gaussian(few)) == pytest.approx(30, rel=1e-6)


def test_sums_in_float32_would_drown_the_covariance() -> None:
    """Features around 3000 with deviation 0.1, kept in float32: the distance of the deviations is still there."""
    small, wide = (3000 + scale * clouds(4000, 3, seed) for scale, seed in ((0.1, 1), (0.2, 2)))
    found = frechet_distance(gaussian(small.float()), gaussian(wide.float()))
    assert found == pytest.approx(frechet_distance(gaussian(small), gaussian(wide)), rel=0.01)
    naive = small.float().square().mean(0) - small.float().mean(0).square()  # what a running sum in float32 gives
    assert (naive - 0.01).abs().max() > 0.1


def test_fewer_samples_give_a_larger_distance() -> None:
    """Both sets from one distribution: the bias falls about as 1 / N, so numbers from other counts say nothing."""
    by_count = []
    for count in (50, 500, 5000):
        gaps = [
            frechet_distance(gaussian(clouds(count, 16, 2 * k)), gaussian(clouds(count, 16, 2 * k + 1)))
            for k in range(4)
        ]
        by_count.append(sum(gaps) / 4)
    assert by_count[0] > 5 * by_count[1] > 25 * by_count[2] > 0


def test_one_picture_is_refused() -> None:
    with pytest.raises(InputError, match="at least two"):
        gaussian(torch.zeros(1, 3))
