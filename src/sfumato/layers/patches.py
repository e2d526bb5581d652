"""Discriminators that judge patches: one score a patch, so pictures of any size.

Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks" (CVPR), section 3.2.2; at several
scales Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs" (CVPR),
section 3.2, as later versions of UNIT have it.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.layers.residual import small_start

WIDEST = 8
"""Channels are doubled up to this multiple of the first layer's."""


class PatchJudge(nn.Module):
    """N x 3 x H x W in [0, 1] to scores N x 1 x h x w; with three layers each sees 70 x 70 pixels.

    C64-C128-C256-C512: `layers` convolutions of stride 2, one of stride 1, and the scores'; instance norm but for the
    first, leaky ReLUs.
    """

    def __init__(self, channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        widths = [channels * min(WIDEST, 1 << k) for k in range(layers + 1)]
        parts: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for k, (inputs, outputs) in enumerate(pairwise(widths), 1):
            parts += [nn.Conv2d(inputs, outputs, 4, 2 if k < layers else 1, 1), nn.InstanceNorm2d(outputs)]
            parts.append(nn.LeakyReLU(0.2, inplace=True))
        self.body = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        small_start(self)

    def forward(self, pictures: Tensor) -> Tensor:
        scores: Tensor = self.body(2 * pictures - 1)
        return scores


class ScaledJudge(nn.Module):
    """N x 3 x H x W in [0, 1] to scores N x 1 x h x w at each of several scales, every one half of the one before."""

    def __init__(self, channels: int = 64, layers: int = 4, scales: int = 3) -> None:
        super().__init__()
        widths = [3, *(channels * min(WIDEST, 1 << k) for k in range(layers))]
        self.judges = nn.ModuleList()
        for _ in range(scales):
            parts = list[nn.Module]()
            for inputs, outputs in pairwise(widths):
                parts += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
            self.judges.append(nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 1)))
        small_start(self)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        x, found = 2 * pictures - 1, list[Tensor]()
        for k, judge in enumerate(self.judges):
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False) if k else x
            found.append(judge(x))
        return found


def check_patch_judge(side: int, layers: int) -> None:
    """Raises `InputError` where a picture of `side` pixels has no whole position left for `PatchJudge`'s scores."""
    if side < 3 << layers:
        raise InputError(f"a discriminator of {layers} layers needs {3 << layers} px, not {side}: fewer --judge-layers")


def check_scaled_judge(side: int, layers: int, scales: int) -> None:
    """The same for `ScaledJudge`."""
    if side < 1 << (layers + scales - 1):
        raise InputError(
            f"discriminators of {layers} layers at {scales} scales need {1 << (layers + scales - 1)} px, not {side}: "
            "fewer --judge-layers or --scales"
        )
