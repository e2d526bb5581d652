"""Filters against their definition: zeros between the pixels, (1, 3, 3, 1) down and across, in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sfumato.layers.blur import blur, blur_double, blur_halve, conv_double

LINE = np.array([1.0, 3.0, 3.0, 1.0]) / 8


def pictures(height: int = 6, width: int = 10) -> Tensor:
    return torch.rand(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def along(x: NDArray[np.float64], axis: int, line: NDArray[np.float64] = LINE) -> NDArray[np.float64]:
    """The whole convolution, longer by the filter less one."""
    return np.apply_along_axis(lambda row: np.convolve(row, line), axis, x)


def spaced(x: NDArray[np.float64]) -> NDArray[np.float64]:
    wide = np.zeros((*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]))
    wide[:, :, ::2, ::2] = x
    return wide


def test_the_filter_is_binomial() -> None:
    x = pictures()
    whole = along(along(x.numpy(), 2), 3)
    for pad in (0, 1, 2, 3):
        cut = 3 - pad
        wanted = whole[:, :, cut : whole.shape[2] - cut, cut : whole.shape[3] - cut]
        torch.testing.assert_close(blur(x, pad, gain=2.0), 2 * torch.from_numpy(wanted.copy()))


def test_doubling_is_zeros_between_filtered() -> None:
    x = pictures()
    wanted = along(along(spaced(x.numpy()), 2, 2 * LINE), 3, 2 * LINE)[:, :, 1:-2, 1:-2]
    torch.testing.assert_close(blur_double(x), torch.from_numpy(wanted.copy()))
    inside = F.interpolate(x, scale_factor=2, mode="bilinear")[..., 1:-1, 1:-1]
    torch.testing.assert_close(blur_double(x)[..., 1:-1, 1:-1], inside)


def test_halving_is_filtered_then_every_second() -> None:
    x = pictures()
    wanted = along(along(x.numpy(), 2), 3)[:, :, 2:-1:2, 2:-1:2]
    torch.testing.assert_close(blur_halve(x), torch.from_numpy(wanted.copy()))
    assert blur_halve(x).shape == (2, 3, 3, 5)
    torch.testing.assert_close(  # each is the other's transpose, but for the gain
        (blur_double(x) * pictures(12, 20)).sum(), 4 * (x * blur_halve(pictures(12, 20))).sum()
    )


@pytest.mark.parametrize("size", [(4, 4), (3, 5)])
def test_doubling_with_a_convolution(size: tuple[int, int]) -> None:
    """Zeros between the pixels, a true convolution, the filter: in that order, written out."""
    x = pictures(*size)
    weight = torch.rand(5, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wide = F.pad(torch.from_numpy(spaced(x.numpy())), (2, 2, 2, 2))
    convolved = F.conv2d(wide, weight.flip(2, 3))[..., : 2 * size[0] + 1, : 2 * size[1] + 1]
    filtered = along(along(convolved.numpy(), 2, 2 * LINE), 3, 2 * LINE)[:, :, 2:-2, 2:-2]
    found = conv_double(x, weight)
    assert found.shape == (2, 5, 2 * size[0], 2 * size[1])
    torch.testing.assert_close(found, torch.from_numpy(filtered.copy()))


def test_no_checkerboard() -> None:
    """A constant stays constant inside, whatever the kernel; a transposed convolution alone does not."""
    weight = torch.rand(1, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    flat = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    inside = conv_double(flat, weight)[..., 3:-3, 3:-3]
    torch.testing.assert_close(inside, torch.full_like(inside, weight.sum().item()))
    assert F.conv_transpose2d(flat, weight, stride=2)[..., 3:-3, 3:-3].std() > 0.1
