"""Structural similarity.

Wang, Bovik, Sheikh & Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity" (IEEE
Transactions on Image Processing 2004), equation 13 with the window of section III.C.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import InputError
from sfumato.picture.color import luminance

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
"""For pictures in [0, 1]."""


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of the luminances of two batches N x 3 x H x W in [0, 1]: N values, 1 where equal.

    The Gaussian window stays inside the picture (no padding) and its moments are biased, as in the paper. Raises
    `InputError` for sides under 11 pixels and for pictures of different sizes.
    """
    if a.shape != b.shape:
        raise InputError(f"pictures of {_size(a)} and {_size(b)} pixels cannot be compared: resize one")
    if min(a.shape[-2:]) < WINDOW:
        raise InputError(f"a picture of {_size(a)} pixels is smaller than the window of {WINDOW} x {WINDOW}")
    a, b = luminance(a), luminance(b)
    line = torch.exp(-((torch.arange(WINDOW).double() - WINDOW // 2).square() / (2 * SIGMA**2)))
    line = (line / line.sum()).to(a)

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + C1) * (2 * cov + C2)
    return (above / ((mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2))).mean((1, 2, 3))


def _size(x: Tensor) -> str:
    return f"{x.shape[-1]} x {x.shape[-2]}"
