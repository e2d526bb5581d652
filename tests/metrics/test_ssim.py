"""Structural similarity against scikit-image's and against what the formula gives by hand."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from sfumato.errors import InputError
from sfumato.metrics.ssim import ssim


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_as_scikit_image_where_the_window_is_whole() -> None:
    a = noise(2, 3, 37, 52, seed=0)
    b = (a + 0.2 * noise(2, 3, 37, 52, seed=1)).clamp(0, 1)
    weights = np.array([0.299, 0.587, 0.114])
    for x, y, found in zip(a, b, ssim(a, b), strict=True):
        planes = [np.tensordot(weights, t.numpy(), 1) for t in (x, y)]
        _, full = structural_similarity(
            *planes, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, full=True
        )
        assert full.shape == (37, 52)
        assert float(found) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-9)


def test_equal_and_flat_pictures() -> None:
    a = noise(1, 3, 20, 20, seed=2)
    assert float(ssim(a, a)) == pytest.approx(1, abs=1e-9)
    dark, bright = torch.full((1, 3, 16, 16), 0.25), torch.full((1, 3, 16, 16), 0.75)
    expected = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)  # no variance: luminance's term alone
    assert float(ssim(dark, bright)) == pytest.approx(expected, rel=1e-3)
    assert float(ssim(a, 1 - a)) < 0  # structure reversed


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="pictures of 20 x 16 and 16 x 20 pixels cannot be compared"):
        ssim(torch.rand(1, 3, 16, 20), torch.rand(1, 3, 20, 16))
    with pytest.raises(InputError, match="a picture of 30 x 10 pixels is smaller than the window of 11 x 11"):
        ssim(torch.rand(1, 3, 10, 30), torch.rand(1, 3, 10, 30))
