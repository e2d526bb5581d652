"""Inpainter: what could be in a hole, from a smooth fill of it and everything around.

Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (WACV 2022, LaMa): three halvings,
Fourier blocks that see the whole picture, features and a discriminator of patches as losses. Differences: the network
is given the hole's membrane (`picture/membrane.py`) and adds to it, so that it begins as a classical method and learns
from there; some holes are given as a coarser scale would have filled them, so that the same network refines what it
made at half the size; features are the bundled vgg-lite's; a tenth of the weights.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.features import FeatureNetwork
from sfumato.features.sources import load_features
from sfumato.layers.fourier import FourierBlock
from sfumato.layers.patches import PatchJudge, check_patch_judge
from sfumato.losses.adversarial import hinge_discriminator, wasserstein_generator
from sfumato.models.sampler import config_from
from sfumato.picture.membrane import membrane
from sfumato.train.data import Pictures, crop
from sfumato.train.marks import holes, scratches
from sfumato.train.run import Run
from sfumato.weights.files import load_model

ALIGN = 8
"""Sides of what the network itself takes are multiples of it."""
LAYERS = ("relu1_2", "relu2_2", "relu3_1")
LEVELS = (175.0, 213.0, 391.0)
"""Root mean squares of these layers' activations on photographs."""

RANGES: dict[str, tuple[float, float]] = {
    "resolution": (32, 4096),
    "channels": (4, 512),
    "blocks": (1, 32),
    "thin": (0, 1),
    "refined": (0, 1),
    "perceptual_weight": (0, 1e4),
    "adversarial_weight": (0, 1e4),
    "adversarial_from": (0, 1),
    "judge_channels": (1, 1024),
    "judge_layers": (1, 6),
    "learning_rate": (1e-7, 1),
    "judge_rate": (1e-7, 1),
}


@dataclass(frozen=True)
class Config:
    """Sizes and weights."""

    resolution: int = 128
    """Side in pixels of the squares seen in training, a multiple of 8."""
    channels: int = 20
    """Of the first layer; eight times as many in the Fourier blocks."""
    blocks: int = 5
    """Fourier blocks."""
    crop_scale: tuple[float, float] = (0.4, 1.0)
    """Side of a square relative to the picture's short side."""
    flip: bool = True
    """Mirror half of the pictures."""
    share: tuple[float, float] = (0.02, 0.3)
    """Part of the picture that is missing."""
    thin: float = 0.25
    """Share of the pictures with scratches in place of holes."""
    refined: float = 0.35
    """Share of the pictures whose holes are given blurred, as a coarser scale fills them, in place of a membrane."""
    perceptual_weight: float = 0.5
    """Weight of the distance of features, next to that of pixels."""
    adversarial_weight: float = 0.02
    """Weight of the discriminator's verdict."""
    adversarial_from: float = 0.4
    """Part of the run after which the discriminator comes in."""
    features: str = "vgg-lite"
    """Network of the perceptual loss: `vgg19`, `vgg-lite` or a file."""
    judge_channels: int = 32
    """Of the discriminator's first layer."""
    judge_layers: int = 2
    """Its convolutions of stride 2: 2 see patches of 34 x 34 pixels."""
    learning_rate: float = 1e-3
    judge_rate: float = 2e-4
    """Learning rate of the discriminator."""


class Inpainter(nn.Module):
    """N x 3 x H x W in [0, 1], holes filled somehow, and N x 1 x H x W (1 is hole): the holes filled better.

    Sides are multiples of 8. Outside the holes the pictures come back as they are.
    """

    def __init__(self, c: Config) -> None:
        super().__init__()
        n = c.channels
        widths = [n, 2 * n, 4 * n, 8 * n]
        self.first = layer(4, n, 7)
        self.down = nn.Sequential(*(layer(i, o, stride=2) for i, o in pairwise(widths)))
        self.blocks = nn.Sequential(*(FourierBlock(8 * n) for _ in range(c.blocks)))
        self.up = nn.ModuleList(layer(i, o) for i, o in pairwise(widths[::-1]))
        self.last = nn.Conv2d(n, 3, 7, padding=3, padding_mode="replicate")
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, pictures: Tensor, mask: Tensor) -> Tensor:
        x = self.blocks(self.down(self.first(torch.cat([2 * pictures - 1, mask], 1))))
        for up in self.up:
            x = up(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        found: Tensor = pictures + mask * self.last(x)
        return found


def layer(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU; borders repeated."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, padding_mode="replicate", bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class Method:
    """Training."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    averaged: ClassVar[tuple[str, ...]] = ("inpainter",)
    players: ClassVar[tuple[str, str]] = ("inpainter", "judge")

    def __init__(self, config: Config) -> None:
        check_patch_judge(config.resolution, config.judge_layers)
        self.config = config
        self.resolution = config.resolution
        self.seeing: FeatureNetwork | None = None

    def networks(self) -> dict[str, nn.Module]:
        c = self.config
        return {"inpainter": Inpainter(c), "judge": PatchJudge(c.judge_channels, c.judge_layers)}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        c = self.config
        own, judge = networks["inpainter"].parameters(), networks["judge"].parameters()
        return {
            "inpainter": torch.optim.Adam(own, lr=c.learning_rate, betas=(0.9, 0.99)),
            "judge": torch.optim.Adam(judge, lr=c.judge_rate, betas=(0.5, 0.99)),
        }

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A random square of a picture, and what is missing of it."""
        c, pictures = self.config, data["data"]
        index = pictures.draw(rng)
        picture = crop(pictures[index], rng, size=self.resolution, scale=c.crop_scale, flip=c.flip)
        return picture, self.missing(rng)

    def judged(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """The largest square, somewhere along the long side, and what is missing of it."""
        pictures = data["data"]
        picture = crop(pictures[pictures.draw(rng)], rng, size=self.resolution, scale=(1.0, 1.0), flip=False)
        return picture, self.missing(rng)

    def missing(self, rng: np.random.Generator) -> Tensor:
        """1 x R x R of 0 and 1, 1 is missing."""
        c, side = self.config, self.resolution
        if rng.random() >= c.thin:
            return holes(side, side, rng, share=c.share)
        lines = scratches(side, side, rng, count=int(rng.integers(2, 9)))[None]
        return F.max_pool2d((lines > 0.2).float(), 3, 1, 1)

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """L1 in the hole, features, and later on the discriminator's verdict on patches that the hole touches."""
        c, net, (real, mask) = self.config, run.networks, batch
        made = net["inpainter"](self.begun(run, real, mask), mask)
        pixels = (mask * (made - real).abs()).sum() / (3 * mask.sum()).clamp_min(1)
        losses = {"pixels": pixels}
        total = pixels
        if c.perceptual_weight > 0:
            losses["features"] = self.feature_distance(made, real)
            total = total + c.perceptual_weight * losses["features"]
        playing = c.adversarial_weight > 0 and run.progress >= c.adversarial_from
        if playing:
            scores = net["judge"](made)
            losses["adversarial"] = wasserstein_generator(scores[touched(mask, scores)])
            total = total + c.adversarial_weight * losses["adversarial"]
        run.minimize("inpainter", total)
        if playing:
            doubts, scores = net["judge"](real), net["judge"](made.detach().clamp(0, 1))
            losses["judge"] = hinge_discriminator(doubts, scores[touched(mask, scores)])
            run.minimize("judge", losses["judge"])
        return losses

    def begun(self, run: Run, real: Tensor, mask: Tensor) -> Tensor:
        """Membranes; or what is missing at a half to an eighth of the size, as coarser scales give it."""
        chance = run.rand("begun", len(real), 2)
        smooth = membrane(real, mask)
        if self.config.refined <= 0:
            return smooth
        blurred = torch.stack([coarse(x, 2 << int(3 * u)) for x, u in zip(real, chance[:, 1].tolist(), strict=True)])
        known = torch.where(mask > 0, blurred, real)
        return torch.where((chance[:, 0] < self.config.refined).view(-1, 1, 1, 1), known, smooth)

    def feature_distance(self, made: Tensor, real: Tensor) -> Tensor:
        """Mean absolute difference of features over their root mean square, a mean over the layers."""
        if self.seeing is None:
            self.seeing = load_features(self.config.features).to(made.device)
        found = self.seeing(made, LAYERS)
        with torch.no_grad():
            wanted = self.seeing(real, LAYERS)
        each = [F.l1_loss(found[k], wanted[k]) / level for k, level in zip(LAYERS, LEVELS, strict=True)]
        return torch.stack(each).mean()

    @torch.no_grad()
    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """What is known, the membrane, what was made of it, the truth: a row each."""
        real, mask = batch
        smooth = membrane(real, mask)
        rows = [real * (1 - mask) + 0.5 * mask, smooth, run.ema["inpainter"](smooth, mask).clamp(0, 1), real]
        return torch.cat([torch.cat(list(row.cpu()), 2) for row in rows], 1)

    @torch.no_grad()
    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Errors of pixels in the hole and of features, those of the membrane beside them; the score is their sum's."""
        sums = torch.zeros(4, dtype=torch.float64)
        for real, mask in batches:
            smooth = membrane(real, mask)
            for k, picture in enumerate((run.ema["inpainter"](smooth, mask).clamp(0, 1), smooth)):
                pixels = (mask * (picture - real).abs()).sum() / (3 * mask.sum()).clamp_min(1)
                sums[2 * k] += float(pixels)
                sums[2 * k + 1] += float(self.feature_distance(picture, real))
        pixels, features, smooth_pixels, smooth_features = (sums / max(1, len(batches))).tolist()
        return {
            "score": pixels + self.config.perceptual_weight * features,
            "L1": pixels,
            "features": features,
            "L1 of the membrane": smooth_pixels,
            "features of the membrane": smooth_features,
        }

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        if steps * batch >= 20_000:
            return None
        return f"{steps * batch:,} samples are few for an inpainter: give it 20,000 or more"


def coarse(picture: Tensor, factor: int) -> Tensor:
    """3 x H x W made `factor` times smaller and enlarged again by straight lines."""
    height, width = picture.shape[1:]
    small = F.interpolate(
        picture[None], (max(1, height // factor), max(1, width // factor)), mode="bilinear", antialias=True
    )
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)[0]


def touched(mask: Tensor, scores: Tensor) -> Tensor:
    """Which scores N x 1 x h x w are of patches with a piece of the hole in their middle."""
    return F.adaptive_max_pool2d(mask, (scores.shape[2], scores.shape[3])) > 0


class Filler:
    """A trained inpainter at work."""

    def __init__(self, network: Inpainter, config: Config, device: torch.device | str = "cpu") -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.device, self.side = device, config.resolution
        """`side`: of the squares seen in training, in pixels."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> tuple[Self, str]:
        """From a bundled model's name, a file of weights or the folder of a run; and the file's sha256.

        Raises as `load_model`.
        """
        model = load_model(source, "inpainter")
        config = config_from(Config, model.config)
        network = Inpainter(config)
        model.fill({"inpainter": network})
        return cls(network, config, device), model.sha256

    @torch.no_grad()
    def __call__(self, planes: Tensor) -> Tensor:
        """N x 4 x H x W, a picture with its holes filled somehow and the mask: N x 3 x H x W in [0, 1], filled better.

        Sides are multiples of 8; the result is on the network's device.
        """
        planes = planes.to(self.device)
        found: Tensor = self.network(planes[:, :3], planes[:, 3:])
        return found.float().clamp(0, 1)
