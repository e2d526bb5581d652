"""Convolutions steered by a code, which may differ from place to place, on activations of a known size."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOOR = 1e-3
"""Added to a channel's variance before its root is divided by."""


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


Statistics = Mapping[nn.Module, tuple[Tensor, Tensor]]
"""Mean and deviation, N x K x C each, of what layers make before it is normalised."""


def instance_norm(x: Tensor) -> Tensor:
    """Every channel of every picture, N x C x h x w, at mean 0 and deviation 1; a single position becomes 0."""
    return torch.instance_norm(x, None, None, None, None, True, 0.0, FLOOR, False)


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation, C each, over all N x C x h x w: of one picture's equally large parts. Two quick readings."""
    mean = x.mean((0, 2, 3))
    square = torch.linalg.vector_norm(x, dim=(0, 2, 3)).square() / (x.numel() / x.shape[1])
    return mean, ((square - mean.square()).clamp_min(0) + FLOOR).sqrt()


class AdaptiveConv(nn.Module):
    """y = (norm(conv(x)) + strength * noise) * scale(code) + shift(code).

    Adaptive instance norm (Huang & Belongie 2017, equation 8) whose scale and shift are a code's (Dumoulin et al. 2017,
    equation 5). `code` N x K x D, `regions` N x K x h x w (None: K = 1), `noise` N x 1 x h x w of deviation one or
    None. `statistics` None: each picture is normalised by its own (instance norm, Ulyanov et al. 2016). With soft
    regions everything that is multiplied or added is the mixture of the regions' own.
    """

    def __init__(self, inputs: int, outputs: int, code: int, *, kernel: int = 3, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) / math.sqrt(inputs * kernel**2))
        self.scale = Linear(code, outputs, gain=0.3 * gain, bias=gain)
        self.shift = Linear(code, outputs, gain=0.3)
        self.strength = nn.Parameter(torch.full((outputs,), 0.1))

    def forward(
        self,
        x: Tensor,
        code: Tensor,
        regions: Tensor | None = None,
        noise: Tensor | None = None,
        statistics: Statistics | None = None,
    ) -> Tensor:
        y, scale, shift = replicate_conv(x, self.weight), self.scale(code), self.shift(code)
        factor = scale
        if statistics is None:
            y = instance_norm(y)
        else:
            mean, deviation = statistics[self]
            factor = scale / deviation
            shift = shift - factor * mean
        y = torch.addcmul(spread(shift, regions), y, spread(factor, regions))
        return y if noise is None else torch.addcmul(y, noise, spread(scale * self.strength, regions))


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def double(x: Tensor) -> Tensor:
    """Twice the sides, bilinear: no checkerboard (Odena et al. 2016)."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
