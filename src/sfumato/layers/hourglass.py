"""A small U-Net of residual blocks that works from half the picture's resolution down.

Zhang et al., "Plug-and-Play Image Restoration with Deep Denoiser Prior" (TPAMI 2021), figure 2 (DRUNet): four residual
blocks a level there, halving by strided convolutions, skips that are added; no normalisation. Pixels are first laid
into channels (Zhang et al., "FFDNet", TIP 2018, section III.A), which divides the arithmetic by four.
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FOLD = 2
"""A square of so many pixels a side becomes the channels of one position."""


def bands(pictures: Tensor) -> Tensor:
    """N x C x H x W as N x 2C x H x W: means of 5 x 5 pixels, and four times what differs from them.

    Noise and scratches are small next to the picture's own range: seen so, a fresh network finds them at once.
    """
    coarse = F.avg_pool2d(pictures, 5, 1, 2, count_include_pad=False)
    return torch.cat([coarse, 4 * (pictures - coarse)], 1)


class Block(nn.Module):
    """x + convolution(ReLU(convolution(x))); begins near the identity."""

    def __init__(self, channels: int, *, bias: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, 1, 1, bias=bias)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=bias)
        nn.init.normal_(self.second.weight, std=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.second(F.relu(self.first(x))))


class Hourglass(nn.Module):
    """N x inputs x H x W to N x outputs x H x W; sides are multiples of `stride`.

    Without biases the network is homogeneous: twice the input gives twice the output, so a strength of noise that
    training did not show is met as well (Mohan et al., "Robust and Interpretable Blind Image Denoising via Bias-Free
    Convolutional Neural Networks", ICLR 2020).

    Args:
        inputs: channels of the picture.
        outputs: channels made.
        widths: channels of every level, from half the resolution down.
        blocks: residual blocks a level and way.
        bias: whether convolutions have one.
        beside: further channels that come at half the resolution, as the second argument of a call.
    """

    def __init__(
        self, inputs: int, outputs: int, widths: Sequence[int], blocks: int, *, bias: bool = True, beside: int = 0
    ) -> None:
        super().__init__()
        fold = FOLD * FOLD
        self.stride = FOLD << (len(widths) - 1)
        self.enter = nn.Conv2d(fold * inputs + beside, widths[0], 3, 1, 1, bias=bias)
        pairs = list(itertools.pairwise(widths))

        def level(width: int) -> nn.Sequential:
            return nn.Sequential(*(Block(width, bias=bias) for _ in range(blocks)))

        self.down = nn.ModuleList(nn.Sequential(level(a), nn.Conv2d(a, b, 2, 2, bias=bias)) for a, b in pairs)
        self.bottom = level(widths[-1])
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(b, 4 * a, 1, bias=bias), nn.PixelShuffle(2), level(a)) for a, b in pairs[::-1]
        )
        self.leave = nn.Conv2d(widths[0], fold * outputs, 3, 1, 1, bias=bias)
        nn.init.normal_(self.leave.weight, std=1e-3)
        levels = len(widths) - 1
        steps = sum(2 * 2 * blocks * (FOLD << k) for k in range(levels)) + 2 * blocks * (FOLD << levels)
        self.reach = -(-(steps + 2 * FOLD + self.stride) // self.stride) * self.stride
        """How far in pixels an output sees, at most."""

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        x = F.pixel_unshuffle(x, FOLD)
        x = self.enter(x if beside is None else torch.cat([x, beside], 1))
        first, skips = x, list[Tensor]()
        for down in self.down:
            assert isinstance(down, nn.Sequential)
            x = down[0](x)
            skips.append(x)
            x = down[1](x)
        x = self.bottom(x)
        for up, skip in zip(self.up, skips[::-1], strict=True):
            assert isinstance(up, nn.Sequential)
            x = up[2](torch.add(skip, up[1](up[0](x))))
        return F.pixel_shuffle(self.leave(x + first), FOLD)
