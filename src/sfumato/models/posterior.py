"""A posterior beside StyleGAN2's prior: every real picture has codes z that draw it, so no kind of picture is dropped.

Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric" (ICML): a variational encoder beside
a GAN, likeness by a network's features; with classes Bao et al. 2017, "CVAE-GAN" (ICCV), where the class is told and
what it says need not stand in z, so that another class changes that alone.
"""

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from sfumato.layers.progressive import EqualConv, EqualLinear
from sfumato.models.feature_judge import FeatureJudge, calibrated
from sfumato.models.stylegan2_networks import DiscriminatorBlock, leaky
from sfumato.train.run import Run

if TYPE_CHECKING:
    from sfumato.models.stylegan2 import Config

FIRST_DEVIATION = -2.0
"""Logarithm of the codes' variance to begin with: narrow, so that a picture's code says something from the start."""


class Posterior(nn.Module):
    """Pictures N x 3 x H x W in [0, 1] to the mean and the logarithm of the variance of z, N x code each."""

    def __init__(self, c: "Config") -> None:
        super().__init__()
        self.levels = range(c.doublings(), 0, -1)
        for level in self.levels:
            block = DiscriminatorBlock(c.width(level), c.width(level - 1), first=level == c.doublings())
            self.add_module(f"b{4 << level}", block)
        width = c.width(0)
        self.conv = EqualConv(width, width, 3, gain=1)
        self.fc = EqualLinear(width * c.start[0] * c.start[1], 2 * width)
        self.out = EqualLinear(2 * width, 2 * c.code)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = pictures * 2 - 1
        for level in self.levels:
            x = self.get_submodule(f"b{4 << level}")(x)
        x = leaky(self.fc(leaky(self.conv(x, 2**0.5)).flatten(1), 2**0.5))
        mean, spread = self.out(x).float().chunk(2, 1)
        return mean, spread + FIRST_DEVIATION


def inferred(run: Run, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Codes drawn from the posterior of pictures, N x code, and their divergence from N(0, 1) in nats, a mean."""
    mean, spread = run.networks["posterior"](pictures)
    z = mean + (spread / 2).exp() * run.randn("z posterior", len(pictures), mean.shape[1])
    return z, divergence(mean, spread)


def divergence(mean: Tensor, spread: Tensor) -> Tensor:
    """KL(N(mean, e^spread) | N(0, 1)), summed over a code's numbers, mean over N: Kingma & Welling 2014, appendix B."""
    return 0.5 * (mean.square() + spread.exp() - spread - 1).sum(1).mean()


def likeness(run: Run, made: Tensor, real: Tensor) -> dict[str, Tensor]:
    """How far pictures are from those whose codes they were made of: mean absolute difference of pixels, and half the
    mean square difference of what the feature judge stands on, where the run has one."""
    found = {"pixels": (made - real).abs().mean()}
    if "feature_judge" in run.networks:
        judge = cast(FeatureJudge, calibrated(run, run.networks["feature_judge"], real))
        with torch.no_grad():
            aims = judge.features(real)
        apart = [(a - b).square().mean() for a, b in zip(judge.features(made), aims, strict=True)]
        found["features apart"] = 0.5 * torch.stack(apart).mean()
    return found
