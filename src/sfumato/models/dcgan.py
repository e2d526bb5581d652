"""The deep convolutional GAN: only convolutions, batch normalisation, no pooling.

Radford, Metz & Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks" (ICLR 2016), section 3 and figure 1, with the 4 x 4 kernels of the authors' code, which stride 2 divides.
The discriminator sees real and made pictures in batches of their own; with several processes each normalises by its
own share of the batch.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from sfumato.losses.adversarial import OBJECTIVES
from sfumato.models.adversaries import SHOWN, Judge, doubling, drawn, noise_of, shown, sides_of, told_apart, too_few
from sfumato.models.feature_judge import beside, heads_optimizer, teach
from sfumato.models.sampler import NoiseSampler, load_generator
from sfumato.train.data import Pictures
from sfumato.train.run import Run

RANGES = {
    "resolution": (8, 512),
    "channels": (1, 3),
    "latent": (1, 4096),
    "width": (1, 512),
    "feature_weight": (0, 1e4),
    "learning_rate": (1e-7, 1),
    "judge_rate": (1e-7, 1),
    "momentum": (0, 0.999),
}


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of section 4."""

    resolution: int = 64
    """Side in pixels, one that halves to 4, rounded up: 28, 32, 64, 128 and others."""
    channels: int = 3
    """3 for colour, 1 for grey pictures."""
    latent: int = 100
    """Length of the noise."""
    prior: Literal["uniform", "normal"] = "uniform"
    width: int = 64
    """Channels at half the side; every halving doubles them. 128 in the paper, 64 in its code."""
    flip: bool = False
    """Mirror half of the pictures; not digits."""
    objective: Literal["bce", "lsgan", "hinge"] = "bce"
    learning_rate: float = 2e-4
    judge_rate: float = 2e-4
    momentum: float = 0.5
    """Adam's first decay rate."""
    feature_judge: str = ""
    """Trained feature network (`onepass`, `vgg-lite`, `vgg19`, a file) on which a second discriminator stands."""
    feature_weight: float = 1.0
    """Weight of the second discriminator."""
    features: str = "vgg19"
    """Network that judges the pictures while training: a name or a file; nothing where empty."""


class Generator(nn.Module):
    """N x latent to N x C x R x R in [0, 1]; the first layer lays the noise out, every other one doubles the sides."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        sides = sides_of(c.resolution)[::-1]
        width = c.width << (len(sides) - 2)
        layers: list[nn.Module] = [nn.ConvTranspose2d(c.latent, width, 4, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        for smaller, larger in pairwise(sides[:-1]):
            up = nn.ConvTranspose2d(width, width // 2, *doubling(smaller, larger), bias=False)
            layers += [up, nn.BatchNorm2d(width // 2), nn.ReLU()]
            width //= 2
        last = nn.ConvTranspose2d(width, c.channels, *doubling(*sides[-2:]), bias=False)
        self.body = nn.Sequential(*layers, last, nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        made: Tensor = (self.body(noise[:, :, None, None]) + 1) / 2
        return made


class Discriminator(nn.Module):
    """N x C x R x R in [0, 1] to N scores; no normalisation at the input and the output."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        inputs, layers = c.channels, list[nn.Module]()
        for k, (larger, smaller) in enumerate(pairwise(sides_of(c.resolution))):
            layers.append(nn.Conv2d(inputs, c.width << k, *doubling(smaller, larger), bias=False))
            layers += [nn.BatchNorm2d(c.width << k)] if k else []
            layers.append(nn.LeakyReLU(0.2))
            inputs = c.width << k
        self.body = nn.Sequential(*layers, nn.Conv2d(inputs, 1, 4, bias=False))

    def forward(self, pictures: Tensor) -> Tensor:
        """The sigmoid is left to the losses, which are exact without it."""
        scores: Tensor = self.body(pictures * 2 - 1).flatten()
        return scores


def begin(module: nn.Module) -> None:
    """Weights from a normal distribution of deviation 0.02, section 4; those of normalisations around 1."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


class Method:
    """Training."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    players: ClassVar[tuple[str, str]] = ("generator", "discriminator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: Config) -> None:
        sides_of(config.resolution)
        self.config = config
        self.resolution = config.resolution
        self.judge = Judge(config.features)

    def networks(self) -> dict[str, nn.Module]:
        generator, discriminator = Generator(self.config), Discriminator(self.config)
        players = {"generator": generator.apply(begin), "discriminator": discriminator.apply(begin)}
        return players | beside(self.config.feature_judge, (self.resolution, self.resolution))

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        c = self.config
        rates, betas = {"generator": c.learning_rate, "discriminator": c.judge_rate}, (c.momentum, 0.999)
        players = {name: torch.optim.Adam(networks[name].parameters(), lr=r, betas=betas) for name, r in rates.items()}
        return players | heads_optimizer(networks)

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A picture C x R x R, its largest square."""
        c = self.config
        return drawn(data, rng, resolution=c.resolution, channels=c.channels, flip=c.flip)[:1]

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Both turns with the same noise, as in the authors' code."""
        (real,) = batch
        discriminator, objective = run.networks["discriminator"], OBJECTIVES[self.config.objective]
        made = run.networks["generator"](self.noise(run, "made", len(real)))

        real_scores, made_scores = discriminator(real), discriminator(made.detach())
        doubt = objective.discriminator(real_scores, made_scores)
        run.minimize("discriminator", doubt)

        loss = objective.generator(discriminator(made))
        logs = teach(run, real, made, loss, self.config.feature_weight)
        return {"generator": loss, "discriminator": doubt, "told apart": told_apart(real_scores, made_scores)} | logs

    def noise(self, run: Run, purpose: str, count: int) -> Tensor:
        return noise_of(run, purpose, count, self.config.latent, self.config.prior)

    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:  # noqa: ARG002
        """The same 64 noises every time."""
        return shown(run.ema["generator"](self.noise(run, "preview", SHOWN)))

    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Distances to held-out pictures on named features; the score is the Frechet distance."""
        generator = run.ema["generator"]
        return self.judge(run.device, lambda i, n: generator(self.noise(run, f"judged {i}", n)), batches)

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        return too_few(steps * batch, 200_000, "a DCGAN")


class Sampler(NoiseSampler):
    """A trained generator at work."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """From a bundled model's name, a file of weights or the folder of a run. Raises as `load_model`."""
        c, generator = load_generator(source, "dcgan", Config, Generator)
        return cls(generator, latent=c.latent, prior=c.prior, resolution=c.resolution, device=device)
