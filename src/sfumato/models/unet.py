"""U-Net: a contracting path that sees what is there, an expanding path that says where.

Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation" (MICCAI 2015), figure 1.
Differences: the contracting path is one of `models/encoders.py`; borders are padded, so that the labels have the
picture's size; batch normalisation; doubling by straight lines, for up-convolutions draw checkerboards; skips come
through a 1 x 1 convolution; the last level, at full resolution, is left out: scores are enlarged from half of it.
"""

import os
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from sfumato.layers.separable import ConvNorm
from sfumato.models.encoders import at_size_of, enlarged, make_encoder, padded
from sfumato.models.predictor import SoftmaxPredictor, load_segmenter
from sfumato.models.segmenting import RANGES, Training

__all__ = ["RANGES", "Config", "Method", "Predictor", "UNet"]


@dataclass(frozen=True)
class Config:
    """Sizes and weights."""

    encoder: Literal["light", "vgg-lite"] = "vgg-lite"
    """What sees: a small network trained from nothing, or the bundled vgg-lite, with which few pictures go far."""
    tuned: int = 0
    """Blocks of vgg-lite that are trained too, from the deepest, at a tenth of the learning rate; 4 are all."""
    width: int = 16
    """Channels of the expanding path's last level; twice as many a level deeper."""
    resolution: int = 240
    """Side in pixels of the squares seen in training."""
    crop_scale: tuple[float, float] = (0.5, 1.0)
    """Side of a square relative to the picture's short side."""
    flip: bool = True
    """Mirror half of the pictures."""
    jitter: float = 0.5
    """How much brightness, saturation and contrast change; 1 is the most."""
    dice_weight: float = 0.5
    """Weight of the Dice loss, which small classes gain from, next to the cross entropy."""
    classes: tuple[str, ...] = ()
    """Names of the classes in the order of their labels, or a TOML file that has them, their colors and what to
    ignore."""
    colors: tuple[tuple[int, int, int], ...] = ()
    """One a class: what it looks like in label maps that are RGB pictures, and when it is shown."""
    ignore: int = 255
    """A label that counts for nothing."""
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2


class UNet(nn.Module):
    """N x K x H x W scores of N x 3 x H x W pictures in [0, 1], of any size."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.encoder = make_encoder(c.encoder, tuned=c.tuned)
        widths = [c.width << k for k in range(4)]
        self.bottom = nn.Sequential(ConvNorm(self.encoder.widths[3], widths[3], 1), double(widths[3], widths[3]))
        self.skips, self.up = nn.ModuleList(), nn.ModuleList()
        for k in (2, 1, 0):
            self.skips.append(ConvNorm(self.encoder.widths[k], widths[k], 1))
            self.up.append(double(widths[k + 1] + widths[k], widths[k]))
        self.head = nn.Conv2d(widths[0], len(c.classes), 1)

    def forward(self, pictures: Tensor) -> Tensor:
        maps = self.encoder(padded(pictures))
        x = self.bottom(maps[3])
        for skip, up, seen in zip(self.skips, self.up, maps[2::-1], strict=True):
            beside = skip(seen)
            x = up(torch.cat([beside, enlarged(x, beside.shape[2], beside.shape[3])], 1))
        return at_size_of(self.head(x), pictures)


def double(inputs: int, outputs: int) -> nn.Sequential:
    """The paper's two 3 x 3 convolutions of a level."""
    return nn.Sequential(ConvNorm(inputs, outputs), ConvNorm(outputs, outputs))


class Method(Training):
    """Training."""

    roles: ClassVar[tuple[str, ...]] = ("data", "labels")
    config: Config

    def networks(self) -> dict[str, nn.Module]:
        self.class_list  # noqa: B018 (says what is missing)
        return {"segmenter": UNet(self.config)}


class Predictor(SoftmaxPredictor):
    """A trained U-Net at work."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """As `sfumato.models.predictor.Predictor.load`."""
        config, network, classes = load_segmenter(source, "unet", Config, UNet)
        return cls(network, classes, config.resolution, device)
