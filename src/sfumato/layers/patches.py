"""Discriminators that judge patches: one score a patch, so pictures of any size.

Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks" (CVPR), section 3.2.2; at several
scales Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs" (CVPR),
section 3.2, as later versions of UNIT have it.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sfumato.errors import InputError
from sfumato.layers.residual import InstanceNorm, small_start

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
            parts += [nn.Conv2d(inputs, outputs, 4, 2 if k < layers else 1, 1), InstanceNorm(outputs)]
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


class ProjectedJudge(nn.Module):
    """Patches of 94 pixels at two scales, given the style's code by projection (Miyato & Koyama 2018, equation 3)."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        n = channels
        self.scales = nn.ModuleList([self.one_scale(n) for _ in range(2)])
        self.scores = nn.ModuleList([spectral_norm(nn.Conv2d(4 * n, 1, 1)) for _ in range(2)])
        self.projections = nn.ModuleList([spectral_norm(nn.Linear(code, 4 * n)) for _ in range(2)])

    @staticmethod
    def one_scale(n: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((3, n, 2), (n, 2 * n, 2), (2 * n, 4 * n, 2), (4 * n, 4 * n, 1)):
            kernel = 4 if stride == 2 else 3
            layers += [spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride, 1)), nn.LeakyReLU(0.2)]
        return nn.Sequential(*layers)

    def forward(self, pictures: Tensor, code: Tensor) -> list[Tensor]:
        """Score maps N x 1 x h x w of pictures in [0, 1], one a scale."""
        x, found = pictures * 2 - 1, []
        for body, score, projection in zip(self.scales, self.scores, self.projections, strict=True):
            h = body(x)
            found.append(score(h) + (h * projection(code)[:, :, None, None]).sum(1, keepdim=True) / h.shape[1] ** 0.5)
            x = F.avg_pool2d(x, 2)
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
