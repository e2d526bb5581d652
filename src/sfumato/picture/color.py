"""Colour spaces on tensors: float N x 3 x H x W (or 3 x H x W), differentiable, on the tensor's device.

sRGB is in [0, 1]. CIELAB is relative to D65 (2 degrees): L in [0, 100], a and b about [-128, 127].
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_RGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_D65 = (0.95047, 1.0, 1.08883)
_RGB_TO_YIQ = (
    (0.299, 0.587, 0.114),
    (0.59590059, -0.27455667, -0.32134392),
    (0.21153661, -0.52273617, 0.31119955),
)
_EPSILON = 0.008856  # CIE: below it the cube root is a line


def srgb_to_linear(x: Tensor) -> Tensor:
    """Undo sRGB's transfer curve; any shape."""
    curve = ((x.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(x > 0.04045, curve, x / 12.92)


def linear_to_srgb(x: Tensor) -> Tensor:
    """Apply sRGB's transfer curve; any shape."""
    curve = 1.055 * x.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(x > 0.0031308, curve, x * 12.92)


def rgb_to_lab(x: Tensor) -> Tensor:
    """sRGB to CIELAB."""
    xyz = _mix(srgb_to_linear(x), _RGB_TO_XYZ) / _column(_D65, x)
    f = torch.where(xyz > _EPSILON, xyz.clamp(min=_EPSILON) ** (1 / 3), 7.787 * xyz + 16 / 116)
    fx, fy, fz = f.unbind(-3)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], -3)


def lab_to_rgb(x: Tensor) -> Tensor:
    """CIELAB to sRGB; colours outside the gamut are clamped to [0, 1]."""
    lightness, a, b = x.unbind(-3)
    fy = (lightness + 16) / 116
    f = torch.stack([fy + a / 500, fy, (fy - b / 200).clamp(min=0)], -3)
    xyz = torch.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787) * _column(_D65, x)
    inverse = torch.tensor(_RGB_TO_XYZ, dtype=torch.float64).inverse()
    return linear_to_srgb(_mix(xyz, inverse.tolist())).clamp(0, 1)


def luminance(x: Tensor) -> Tensor:
    """Y of YIQ, the Rec. 601 luma of the sRGB values as in Gatys et al. 2017: ... x 1 x H x W."""
    red, green, blue = x.unbind(-3)
    weights = _RGB_TO_YIQ[0]
    return (weights[0] * red + weights[1] * green + weights[2] * blue).unsqueeze(-3)


def rgb_to_yiq(x: Tensor) -> Tensor:
    """sRGB to NTSC YIQ: Y in [0, 1], I in about [-0.6, 0.6], Q in about [-0.53, 0.53]."""
    return _mix(x, _RGB_TO_YIQ)


def yiq_to_rgb(x: Tensor) -> Tensor:
    """NTSC YIQ to sRGB, not clamped."""
    return _mix(x, torch.tensor(_RGB_TO_YIQ, dtype=torch.float64).inverse().tolist())


def _mix(x: Tensor, matrix: Sequence[Sequence[float]]) -> Tensor:
    """A 3 x 3 matrix on the channels, without a temporary of its own kind (and never in TF32)."""
    channels = x.unbind(-3)
    rows = [sum((w * c for w, c in zip(row, channels, strict=True)), torch.zeros_like(channels[0])) for row in matrix]
    return torch.stack(rows, -3)


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(3, 1, 1)
