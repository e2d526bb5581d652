"""Light convolutions: depthwise and pointwise apart, narrow between blocks and wide within them.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (CVPR 2018), section 3; Chen et al., "Encoder-
Decoder with Atrous Separable Convolution" (ECCV 2018), section 3.1. Batch normalisation follows every convolution.
"""

import torch
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """Convolution without a bias, batch normalisation, and ReLU unless `linear`; sides are kept or divided."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        padding = dilation * (kernel // 2)
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), *(() if linear else (nn.ReLU(),)))


class Separable(nn.Sequential):
    """A 3 x 3 convolution in two: every channel by itself (atrous where `dilation` > 1), then all channels a pixel."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(
            ConvNorm(inputs, inputs, stride=stride, dilation=dilation, groups=inputs), ConvNorm(inputs, outputs, 1)
        )


class InvertedResidual(nn.Module):
    """1 x 1 to `expansion` times the channels, depthwise 3 x 3, linear 1 x 1 back; the input is added where it fits."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1, expansion: int = 4) -> None:
        super().__init__()
        wide = expansion * inputs
        self.residual = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            ConvNorm(inputs, wide, 1),
            ConvNorm(wide, wide, stride=stride, dilation=dilation, groups=wide),
            ConvNorm(wide, outputs, 1, linear=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """N x outputs x H/stride x W/stride, halves rounded up."""
        y: Tensor = self.body(x)
        return torch.add(x, y) if self.residual else y
