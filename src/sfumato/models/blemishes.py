"""Finds scratches, cracks, dust and folds on photographs: a small segmenter of marks that were laid on purpose.

Wan et al., "Bringing Old Photos Back to Life" (CVPR 2020), section 3.3 and its appendix: a U-Net trained on synthetic
scratches says where a photograph is damaged, and only there it is filled. Here the U-Net is that of
`layers/hourglass.py`; beside it the bundled vgg-lite looks at the whole, for a scratch crosses things where a collar is
part of one. The marks are those of `train/marks.py`, the photographs under them are faded, grey, grainy or compressed
as those of `train/damage.py`; the loss is the cross entropy and Dice.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from sfumato.layers.hourglass import FOLD, Hourglass, bands
from sfumato.losses.segmentation import cross_entropy, dice_loss
from sfumato.metrics.segmentation import confusion
from sfumato.models.encoders import MULTIPLE, enlarged, make_encoder
from sfumato.models.sampler import config_from
from sfumato.models.tiling import over_tiles
from sfumato.train.damage import faded, monochrome, noisy
from sfumato.train.data import Pictures, crop_box, cut
from sfumato.train.marks import marred
from sfumato.train.run import Run
from sfumato.weights.files import load_model

RANGES: dict[str, tuple[float, float]] = {
    "blocks": (1, 16),
    "resolution": (32, 1024),
    "seen": (1, 256),
    "thickest": (1.0, 20.0),
    "dice_weight": (0, 100),
    "learning_rate": (1e-7, 1),
}
HIDDEN, SEEN = 0.3, 0.1
"""Cover from which a pixel is marked, and up to which it is not; what lies between counts for nothing."""
VISIBLE = 0.06
"""Mean change of red, green and blue from which a mark can be seen: white on white is nobody's to find."""
IGNORE = 255
SIGHT = 112
"""How far vgg-lite sees in pixels, and the enlarging of its deepest map."""


@dataclass(frozen=True)
class Config:
    """Sizes and weights."""

    widths: tuple[int, ...] = (24, 48, 64, 96)
    """Channels of the levels, from half the resolution down."""
    blocks: int = 1
    """Residual blocks a level and way."""
    encoder: Literal["none", "vgg-lite"] = "vgg-lite"
    """What sees beside it: nothing, or the bundled vgg-lite, which is not trained further."""
    seen: int = 16
    """Channels that each of the encoder's four maps is told in."""
    resolution: int = 128
    """Side in pixels of the squares seen in training."""
    crop_scale: tuple[float, float] = (0.5, 1.0)
    """Side of a square relative to the picture's short side."""
    flip: bool = True
    """Mirror half of the pictures."""
    thickest: float = 3.0
    """Thin lines measure between one and so many pixels."""
    dice_weight: float = 0.5
    """Weight of the Dice loss, which thin marks gain from, next to the cross entropy."""
    learning_rate: float = 1.5e-3


class Network(Hourglass):
    """N x 2 x H x W scores (whole, marked) of N x 3 x H x W in [0, 1]; sides are multiples of `stride`."""

    def __init__(self, c: Config) -> None:
        looks = c.encoder == "vgg-lite"
        super().__init__(6, 2, c.widths, c.blocks, beside=4 * c.seen if looks else 0)
        self.reach += 2 * self.stride  # the bands see further
        if looks:
            encoder = make_encoder("vgg-lite")
            self.encoder = encoder
            self.told = nn.ModuleList(nn.Conv2d(width, c.seen, 1) for width in encoder.widths)
            self.stride = max(self.stride, MULTIPLE)
            self.reach += SIGHT

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        if hasattr(self, "encoder"):
            height, width = x.shape[2] // FOLD, x.shape[3] // FOLD
            maps = (tell(seen) for tell, seen in zip(self.told, self.encoder(x), strict=True))
            beside = torch.cat([enlarged(seen, height, width) for seen in maps], 1)
        return super().forward(bands(x - 0.5), beside)


class Method:
    """Training."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    averaged: ClassVar[tuple[str, ...]] = ("finder",)

    def __init__(self, config: Config) -> None:
        self.config = config
        self.resolution = config.resolution

    def networks(self) -> dict[str, nn.Module]:
        return {"finder": Network(self.config)}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        weights = networks["finder"].parameters()
        return {"finder": torch.optim.Adam(weights, lr=self.config.learning_rate, betas=(0.9, 0.99))}

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """An aged crop with marks on it, and its labels."""
        c = self.config
        picture = data["data"][data["data"].draw(rng)]
        box = crop_box(picture.shape[1], picture.shape[2], rng, size=self.resolution, scale=c.crop_scale, flip=c.flip)
        unit = float(np.exp(rng.uniform(0, np.log(c.thickest))))
        return aged(cut(picture, box, self.resolution), rng, unit)

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Cross entropy and Dice."""
        pictures, labels = batch
        scores = run.networks["finder"](pictures.contiguous(memory_format=torch.channels_last))
        entropy, dice = cross_entropy(scores, labels, IGNORE), dice_loss(scores, labels, IGNORE)
        run.minimize("finder", entropy + self.config.dice_weight * dice)
        return {"cross_entropy": entropy, "dice": dice}

    @torch.no_grad()
    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """Rows: pictures, marks, what was found; grey where it does not count."""
        pictures, labels = batch
        found = run.ema["finder"](pictures).softmax(1)[:, 1:].expand(-1, 3, -1, -1)
        marks = torch.where(labels == IGNORE, 0.5, labels.float())[:, None].expand(-1, 3, -1, -1)
        return torch.cat([torch.cat(list(row.cpu()), 2) for row in (pictures, marks, found)], 1)

    @torch.no_grad()
    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Of marked pixels: intersection over union, precision, recall."""
        matrix = torch.zeros(2, 2, dtype=torch.int64)
        for pictures, labels in batches:
            matrix += confusion(run.ema["finder"](pictures).argmax(1), labels, 2, IGNORE).cpu()
        return figures(matrix)

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        if steps * batch >= 5_000:
            return None
        return f"{steps * batch:,} samples are few for a segmenter: give it 5,000 or more"


def aged(picture: Tensor, rng: np.random.Generator, unit: float = 1.0) -> tuple[Tensor, Tensor]:
    """A photograph 3 x H x W grown old, with marks, and labels H x W: 1 visibly marked, 0 not, `IGNORE` in between.

    Marks are under the yellowing or on it: torn paper goes brown with the picture, a fresh scratch does not.
    """
    chance = rng.random(4)
    if chance[0] < 0.5:
        picture = monochrome(picture)
    fade = float(rng.uniform(0.2, 1.0)) if chance[1] < 0.7 else 0.0
    if fade and chance[3] < 0.5:
        picture, fade = faded(picture, rng, fade), 0.0
    found, hidden = marred(picture, rng, unit=unit)
    labels = labelled(picture, found, hidden)
    if fade:
        found = faded(found, rng, fade)
    if chance[2] < 0.7:
        found = noisy(found, rng, 20 / 255)
    return found.contiguous(), labels


def labelled(picture: Tensor, found: Tensor, hidden: Tensor) -> Tensor:
    """H x W: 1 where marks 1 x H x W cover a picture 3 x H x W and are seen, 0 where there is none, else `IGNORE`."""
    visible = (found - picture).abs().mean(0) >= VISIBLE
    return torch.where((hidden[0] >= HIDDEN) & visible, 1, torch.where(hidden[0] <= SEEN, 0, IGNORE))


def figures(matrix: Tensor) -> dict[str, float]:
    """What a confusion matrix (rows true, columns found) says of marked pixels; the lower "score", the better."""
    hit, missed, wrong = float(matrix[1, 1]), float(matrix[1, 0]), float(matrix[0, 1])
    share = hit / max(1.0, hit + missed + wrong)
    return {
        "score": 1 - share,
        "IoU": share,
        "precision": hit / max(1.0, hit + wrong),
        "recall": hit / max(1.0, hit + missed),
    }


class Finder:
    """A trained finder at work."""

    def __init__(self, network: Network, device: torch.device | str = "cpu") -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.device = device

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> tuple[Self, str]:
        """From a bundled model's name, a file of weights or the folder of a run; and the file's sha256.

        Raises as `load_model`.
        """
        model = load_model(source, "blemishes")
        network = Network(config_from(Config, model.config))
        model.fill({"finder": network})
        return cls(network, device), model.sha256

    def find(self, pictures: Tensor, *, tile: int = 768) -> Tensor:
        """N x 1 x H x W chances that a pixel is marked, float32 on the CPU, of N x 3 x H x W in [0, 1] of any size."""

        def work(crop: Tensor) -> Tensor:
            scores: Tensor = self.network(crop.contiguous(memory_format=torch.channels_last))
            return scores.softmax(1)[:, 1:]

        n = self.network
        return over_tiles(work, pictures, align=n.stride, halo=n.reach, tile=tile, device=self.device)
