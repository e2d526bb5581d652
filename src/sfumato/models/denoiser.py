"""A blind denoiser: it finds how noisy a picture is where, then takes that noise away. JPEG's blocks count as noise.

Guo, Yan, Zhang, Zuo & Zhang, "Toward Convolutional Blind Denoising of Real Photographs" (CVPR 2019): an estimator of a
noise level map, and a network that is told that map, trained together (section 3.2). The second network is the small
U-Net of `layers/hourglass.py`, without biases, so that levels not trained on are met too. Differences: the estimator's
loss is symmetric; half of the samples are told their true levels, so that the map can be turned by hand; a level is
the root mean square of what is wrong around a pixel, whatever made it, so grain, film and compression share one map.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.layers.hourglass import FOLD, Hourglass, bands
from sfumato.models.sampler import config_from
from sfumato.models.tiling import over_tiles
from sfumato.train.damage import noisy
from sfumato.train.data import Pictures, crop_box, cut
from sfumato.train.run import Run
from sfumato.weights.files import load_model

RANGES: dict[str, tuple[float, float]] = {
    "blocks": (1, 16),
    "estimator": (4, 256),
    "resolution": (16, 1024),
    "strongest": (2.0, 255.0),
    "level_weight": (0, 100),
    "learning_rate": (1e-7, 1),
}
PHASES = 8
"""Blocks of JPEG begin at any of so many rows and columns of a crop."""
WINDOW = 5
"""Positions a side that a level is the mean of, at a quarter of the resolution."""


@dataclass(frozen=True)
class Config:
    """Sizes and weights."""

    widths: tuple[int, ...] = (48, 96, 160)
    """Channels of the levels, from half the resolution down."""
    blocks: int = 3
    """Residual blocks a level and way."""
    estimator: int = 32
    """Channels of the network that finds the noise level."""
    resolution: int = 96
    """Side in pixels of the squares seen in training."""
    crop_scale: tuple[float, float] = (0.4, 0.8)
    """Side of a square relative to the picture's short side; pictures that are reduced are cleaner and sharper."""
    flip: bool = True
    """Mirror half of the pictures."""
    strongest: float = 50.0
    """Largest deviation of the noise, in 255ths."""
    level_weight: float = 0.5
    """Weight of the estimator's own loss next to that of the pictures."""
    learning_rate: float = 1e-3


class Denoised(NamedTuple):
    """What the network makes of a picture."""

    picture: Tensor
    """N x 3 x H x W, not clipped."""
    level: Tensor
    """N x 1 x H/2 x W/2: the noise found, as a deviation in units of the range."""


class Estimator(nn.Module):
    """N x 3 x H x W to the noise level N x 1 x H/2 x W/2, at least 0; sides are multiples of 4."""

    reach = 32
    """How far in pixels it sees, at most."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3 * FOLD * FOLD, width, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(width, 1, 3, 1, 1),
        )
        last = self.body[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, 0.05)  # a usual level, 12 / 255

    def forward(self, pictures: Tensor) -> Tensor:
        fine = bands(pictures)[:, 3:]
        found: Tensor = F.softplus(self.body(F.pixel_unshuffle(fine, FOLD)), beta=30)
        return F.interpolate(smoothed(found), scale_factor=2, mode="bilinear", align_corners=False)


class Network(nn.Module):
    """Both networks: `Denoised` of N x 3 x H x W; sides are multiples of `stride`."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.estimator = Estimator(c.estimator)
        self.remover = Hourglass(6, 3, c.widths, c.blocks, bias=False, beside=1)
        self.stride = max(4, self.remover.stride)
        self.reach = self.remover.reach + self.estimator.reach + self.stride  # the bands see 2 pixels

    def forward(self, pictures: Tensor, strength: float = 1.0) -> Denoised:
        """`strength` times the noise found is told to be there."""
        level = self.estimator(pictures)
        return Denoised(self.remove(pictures, strength * level), level)

    def remove(self, pictures: Tensor, level: Tensor) -> Tensor:
        """The picture less the noise of `level`, as the estimator gives it."""
        return torch.sub(pictures, self.remover(bands(pictures), level))


def smoothed(level: Tensor) -> Tensor:
    """Means over squares of `WINDOW`; of fewer positions at the border."""
    return F.avg_pool2d(level, WINDOW, 1, WINDOW // 2, count_include_pad=False)


def true_level(wrong: Tensor) -> Tensor:
    """N x 1 x H/2 x W/2: root mean square of what is wrong (N x 3 x H x W, sides multiples of 4) around a position."""
    around = smoothed(F.avg_pool2d(wrong.square().mean(1, keepdim=True), 4))
    return F.interpolate(around.clamp_min(1e-8).sqrt(), scale_factor=2, mode="bilinear", align_corners=False)


class Method:
    """Training."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    averaged: ClassVar[tuple[str, ...]] = ("denoiser",)

    def __init__(self, config: Config) -> None:
        self.config = config
        self.resolution = config.resolution

    def networks(self) -> dict[str, nn.Module]:
        return {"denoiser": Network(self.config)}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        weights = networks["denoiser"].parameters()
        return {"denoiser": torch.optim.Adam(weights, lr=self.config.learning_rate, betas=(0.9, 0.99))}

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A crop with noise, blocks or nothing at all, and as it was."""
        return self._pair(data, rng, self.config.flip)

    def judged(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """The same, never mirrored."""
        return self._pair(data, rng, False)

    def _pair(self, data: Mapping[str, Pictures], rng: np.random.Generator, flip: bool) -> tuple[Tensor, ...]:
        c, size = self.config, self.resolution + PHASES
        picture = data["data"][data["data"].draw(rng)]
        box = crop_box(picture.shape[1], picture.shape[2], rng, size=size, scale=c.crop_scale, flip=flip)
        clean = cut(picture, box, size)
        damaged = noisy(clean, rng, c.strongest / 255)
        y, x = rng.integers(0, PHASES, 2)
        part = np.s_[:, y : y + self.resolution, x : x + self.resolution]
        return damaged[part].contiguous(), clean[part].contiguous()

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Mean absolute error of pictures and of levels; every other sample is told its true level."""
        damaged, clean = (x.contiguous(memory_format=torch.channels_last) for x in batch)
        network = run.networks["denoiser"]
        assert isinstance(network, Network)
        with run.autocast():
            wanted, found = true_level(damaged - clean), network.estimator(damaged)
            told = torch.where(run.rand("told", len(clean), 1, 1, 1) < 0.5, wanted, found)
            made = network.remove(damaged, told)
        pixels, level = F.l1_loss(made, clean), F.l1_loss(found, wanted)
        run.minimize("denoiser", pixels + self.config.level_weight * level)
        return {"pixels": pixels, "level": level}

    @torch.no_grad()
    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """Rows: damaged, denoised, as it was, five times what is left, the level found times five."""
        damaged, clean = batch
        made, level = run.ema["denoiser"](damaged)
        shown = F.interpolate(level.clamp(0, 0.2) * 5, scale_factor=2).expand(-1, 3, -1, -1)
        rows = (damaged, made.clamp(0, 1), clean, (0.5 + 5 * (made - clean)).clamp(0, 1), shown)
        return torch.cat([torch.cat(list(row.cpu()), 2) for row in rows], 1)

    @torch.no_grad()
    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Share of the error that is left (root mean square of all samples), and mean PSNR before and after."""
        before, after, level = list[Tensor](), list[Tensor](), list[Tensor]()
        for damaged, clean in batches:
            made, found = run.ema["denoiser"](damaged)
            before.append((damaged - clean).square().mean((1, 2, 3)))
            after.append((made.clamp(0, 1) - clean).square().mean((1, 2, 3)))
            level.append((found - true_level(damaged - clean)).abs().mean((1, 2, 3)))
        was, left = torch.cat(before), torch.cat(after)
        share = float((left.mean() / was.mean().clamp_min(1e-12)).sqrt())
        return {
            "score": share,
            "PSNR damaged": float(psnr_of(was[was > 0]).mean()) if bool((was > 0).any()) else 0.0,
            "PSNR": float(psnr_of(left[was > 0]).mean()) if bool((was > 0).any()) else 0.0,
            "PSNR of clean pictures": float(psnr_of(left[was == 0]).mean()) if bool((was == 0).any()) else 0.0,
            "level error": float(torch.cat(level).mean()),
        }

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        if steps * batch >= 10_000:
            return None
        return f"{steps * batch:,} samples are few for a denoiser: give it 10,000 or more"


def psnr_of(squared: Tensor) -> Tensor:
    """Decibels of mean squared errors in units of the range."""
    return -10 * squared.clamp_min(1e-10).log10()


class Denoiser:
    """A trained denoiser at work."""

    def __init__(self, network: Network, device: torch.device | str = "cpu") -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.device = device

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> tuple[Self, str]:
        """From a bundled model's name, a file of weights or the folder of a run; and the file's sha256.

        Raises as `load_model`.
        """
        model = load_model(source, "denoiser")
        network = Network(config_from(Config, model.config))
        model.fill({"denoiser": network})
        return cls(network, device), model.sha256

    def denoise(self, pictures: Tensor, strength: float = 1.0, *, tile: int = 768) -> Tensor:
        """N x 3 x H x W in [0, 1], float32 on the CPU, of pictures of the same shape and any size.

        `strength` 0 leaves them as they are, between 0 and 1 so much of the noise found is taken away, and above 1 the
        network is told that there is so many times more noise than it found.
        """
        if strength == 0:
            return pictures.float().cpu()

        def work(crop: Tensor) -> Tensor:
            made: Tensor = self.network(crop.contiguous(memory_format=torch.channels_last), max(1.0, strength)).picture
            return made

        n = self.network
        made = over_tiles(work, pictures, align=n.stride, halo=n.reach, tile=tile, device=self.device).clamp(0, 1)
        return torch.lerp(pictures.float().cpu(), made, strength) if strength < 1 else made
