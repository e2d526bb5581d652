"""DeepLabv3+: context by atrous convolutions at several rates, then a small decoder for the edges.

Chen, Zhu, Papandreou, Schroff & Adam, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation" (ECCV 2018), figure 2 and section 3. Differences: a light encoder of `models/encoders.py` in place of
Xception; fewer channels.
"""

import os
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from sfumato.layers.separable import ConvNorm, Separable
from sfumato.models.encoders import at_size_of, enlarged, make_encoder, padded
from sfumato.models.predictor import SoftmaxPredictor, load_segmenter
from sfumato.models.segmenting import RANGES as SHARED
from sfumato.models.segmenting import Training

RANGES = {**SHARED, "low_level": (1, 1024), "output_stride": (8, 16), "dropout": (0, 0.99)}


@dataclass(frozen=True)
class Config:
    """Sizes and weights."""

    encoder: Literal["light", "vgg-lite"] = "vgg-lite"
    """What sees: a small network trained from nothing, or the bundled vgg-lite, with which few pictures go far."""
    tuned: int = 0
    """Blocks of vgg-lite that are trained too, from the deepest, at a tenth of the learning rate; 4 are all."""
    output_stride: int = 16
    """Of the encoder's last map: 16, or 8 for finer and slower."""
    rates: tuple[int, ...] = (6, 12, 18)
    """Rates of the atrous convolutions at output stride 16; doubled at 8."""
    width: int = 96
    """Channels of the pyramid and of the decoder; the paper's are 256."""
    low_level: int = 24
    """Channels of the low-level features in the decoder; the paper's are 48."""
    dropout: float = 0.1
    """Chance of a channel of the pyramid to be left out."""
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


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: a pixel by itself, its surroundings at several rates, the whole picture."""

    def __init__(self, inputs: int, width: int, rates: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        surroundings = [Separable(inputs, width, dilation=rate) for rate in rates]
        self.branches = nn.ModuleList([ConvNorm(inputs, width, 1), *surroundings])
        self.whole = nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU())  # one position: nothing to normalise over
        self.project = nn.Sequential(ConvNorm((len(rates) + 2) * width, width, 1), nn.Dropout2d(dropout))

    def forward(self, x: Tensor) -> Tensor:
        whole = self.whole(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        y: Tensor = self.project(torch.cat([*(branch(x) for branch in self.branches), whole], 1))
        return y


class DeepLab(nn.Module):
    """N x K x H x W scores of N x 3 x H x W pictures in [0, 1], of any size."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.encoder = make_encoder(c.encoder, tuned=c.tuned, stride=c.output_stride)
        rates = tuple(16 // c.output_stride * rate for rate in c.rates)
        self.pyramid = Pyramid(self.encoder.widths[3], c.width, rates, c.dropout)
        self.low = ConvNorm(self.encoder.widths[1], c.low_level, 1)
        self.decoder = nn.Sequential(Separable(c.width + c.low_level, c.width), Separable(c.width, c.width))
        self.head = nn.Conv2d(c.width, len(c.classes), 1)

    def forward(self, pictures: Tensor) -> Tensor:
        maps = self.encoder(padded(pictures))
        low = self.low(maps[1])
        deep = enlarged(self.pyramid(maps[3]), low.shape[2], low.shape[3])
        return at_size_of(self.head(self.decoder(torch.cat([deep, low], 1))), pictures)


class Method(Training):
    """Training."""

    roles: ClassVar[tuple[str, ...]] = ("data", "labels")
    config: Config

    def networks(self) -> dict[str, nn.Module]:
        self.class_list  # noqa: B018 (says what is missing)
        return {"segmenter": DeepLab(self.config)}


class Predictor(SoftmaxPredictor):
    """A trained DeepLab at work."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """As `sfumato.models.predictor.Predictor.load`."""
        config, network, classes = load_segmenter(source, "deeplab", Config, DeepLab)
        return cls(network, classes, config.resolution, device)
