"""Sizes and resampling."""

import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import InputError


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """N x C x H x W in [0, 1] at another size: bicubic, antialiased when shrinking, clamped; itself if it fits."""
    if tuple(x.shape[-2:]) == (height, width):
        return x
    if height < 1 or width < 1:
        raise InputError(f"a picture cannot be resized to {width} x {height} pixels")
    return F.interpolate(x, (height, width), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def resize_signed(x: Tensor, height: int, width: int) -> Tensor:
    """As `resize` for values of any sign and size (gradients, differences): bilinear, not clamped."""
    if tuple(x.shape[-2:]) == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bilinear", antialias=True, align_corners=False)


def fit_short_side(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width with the short side at `side` pixels and the same proportions, the long side rounded."""
    if min(height, width, side) < 1:
        raise InputError(f"a picture of {width} x {height} cannot be fitted to a short side of {side} pixels")
    short = min(height, width)
    # half up, in integers: no float is exact at every size
    return tuple((2 * length * side + short) // (2 * short) for length in (height, width))  # type: ignore[return-value]
