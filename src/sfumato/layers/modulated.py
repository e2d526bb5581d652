"""Convolutions steered by a code, which may differ from place to place.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 2.2: a code scales the input
channels, and the output is divided by the norm that the scaled weights have. Scaling activations instead of weights is
the same arithmetic and lets every position have a code of its own.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """A fully connected layer started small (weights of deviation `gain / sqrt(inputs)`), with a constant bias."""

    def __init__(self, inputs: int, outputs: int, *, gain: float = 1.0, bias: float = 0.0) -> None:
        super().__init__(inputs, outputs)
        nn.init.normal_(self.weight, std=gain / math.sqrt(inputs))
        nn.init.constant_(self.bias, bias)


def spread(per_region: Tensor, regions: Tensor | None) -> Tensor:
    """Values of K regions as a map: N x K x C and N x K x h x w soft labels give N x C x h x w.

    Without regions K is one and the map is N x C x 1 x 1.
    """
    if regions is None:
        return per_region[:, 0, :, None, None]
    return torch.einsum("nkc,nkhw->nchw", per_region, regions)


def replicate_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """A convolution with borders repeated: zeros would draw a frame. Odd kernels, or kernel 4 with stride 2."""
    reach = (weight.shape[-1] - 1) // 2
    return F.conv2d(F.pad(x, (reach, reach, reach, reach), "replicate") if reach else x, weight, bias, stride)


class Conv(nn.Module):
    """`replicate_conv` with He-scaled weights for a following leaky ReLU; `gain` scales the start."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) * gain / math.sqrt(inputs * kernel**2))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return replicate_conv(x, self.weight, self.bias, self.stride)


class ModulatedConv(nn.Module):
    """y = conv(x * scale(code)) / norm + strength * noise + shift(code), then optionally a leaky ReLU.

    `code` N x K x D, `regions` N x K x h x w (None: K = 1), `noise` N x 1 x h x w of deviation one or None. With soft
    regions scale, norm and shift are the mixtures of the regions' own.
    """

    def __init__(self, inputs: int, outputs: int, code: int, *, kernel: int = 3, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) / math.sqrt(inputs * kernel**2))
        self.scale = Linear(code, inputs, gain=0.5, bias=1.0)
        self.shift = Linear(code, outputs, gain=0.3)
        self.strength = nn.Parameter(torch.full((outputs,), 0.1))
        self.gain = nn.Parameter(torch.full((outputs,), gain))

    def forward(self, x: Tensor, code: Tensor, regions: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        scale = self.scale(code)
        energy = self.weight.square().sum((2, 3))  # outputs x inputs
        norm = (scale.square() @ energy.T + 1e-6).rsqrt()  # N x K x outputs; about 1 / |scaled weights|
        y = replicate_conv(x * spread(scale, regions), self.weight)
        y = y * spread(norm * self.gain * math.sqrt(2.0), regions) + spread(self.shift(code), regions)
        return y if noise is None else y + noise * self.strength[:, None, None]


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def double(x: Tensor) -> Tensor:
    """Twice the sides, bilinear: no checkerboard (Odena et al. 2016)."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
