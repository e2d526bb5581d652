"""What progressive GAN and StyleGAN2 are made of: equalised learning rate, pixel norm, minibatch deviation.

Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and Variation" (ICLR), sections 3
and 4.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EqualLinear(nn.Module):
    """A fully connected layer with equalised learning rate (section 4.1).

    Weights are kept at deviation 1 (1 / `rate`) and multiplied by `gain rate / sqrt(inputs)` when used, so that Adam
    moves every layer at the same relative speed, `rate` times slower where that is below 1. N x ... x inputs to
    N x ... x outputs.
    """

    def __init__(self, inputs: int, outputs: int, *, gain: float = 1.0, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), float(bias)))
        self.scale, self.rate = gain * rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """The layer's outputs times `gain`, which is free, being in the weights."""
        return F.linear(x, self.weight * (self.scale * gain), self.bias * (self.rate * gain))


class EqualConv(nn.Module):
    """A convolution with equalised learning rate: weights of deviation 1 times `gain / sqrt(fan in)`.

    Odd kernels are padded with zeros to keep the size; `padding` says otherwise.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        gain: float = math.sqrt(2),
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.stride = gain / math.sqrt(inputs * kernel**2), stride
        self.padding = kernel // 2 if padding is None else padding

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """The layer's outputs times `gain`, which is free, being in the weights."""
        bias = None if self.bias is None else self.bias * gain
        return F.conv2d(x, self.weight * (self.scale * gain), bias, self.stride, self.padding)


def pixel_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean over dimension 1 of x^2 + 1e-8), at every position: section 4.2."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def minibatch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """N x C x H x W with one constant channel more: how much the samples of a group differ (section 3).

    The deviation over the group of every feature and position, averaged. Sample i is of group i modulo N / `group`; a
    batch that `group` does not divide has groups of the next smaller size that does.
    """
    count, channels, height, width = x.shape
    group = next(g for g in range(min(group, count), 0, -1) if count % g == 0)
    y = x.view(group, -1, channels, height, width).float()
    deviation = ((y - y.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3))  # one number a group
    plane = deviation.to(x.dtype).repeat(group).view(count, 1, 1, 1).expand(-1, 1, height, width)
    return torch.cat([x, plane], 1)
