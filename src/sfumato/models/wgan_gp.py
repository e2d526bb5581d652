"""The Wasserstein GAN with gradient penalty: a critic that measures a distance, and does not win.

Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville, "Improved Training of Wasserstein GANs" (NIPS 2017), algorithm 1 and
the convolutional networks of its code for digits, here for any side: the critic has no normalisation, because the
penalty is each picture's own (section 4); the generator may have batch normalisation.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from sfumato.losses.adversarial import gradient_penalty, wasserstein_discriminator, wasserstein_generator
from sfumato.models.adversaries import SHOWN, Judge, doubling, drawn, noise_of, shown, sides_of, too_few
from sfumato.models.feature_judge import beside, heads_optimizer, teach
from sfumato.models.sampler import NoiseSampler, load_generator
from sfumato.train.data import Pictures
from sfumato.train.run import Run

RANGES = {
    "resolution": (8, 512),
    "channels": (1, 3),
    "latent": (1, 4096),
    "width": (1, 512),
    "critic_steps": (1, 100),
    "penalty": (0, 1e4),
    "feature_weight": (0, 1e4),
    "learning_rate": (1e-7, 1),
}


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of algorithm 1."""

    resolution: int = 64
    """Side in pixels, one that halves to 4, rounded up: 28, 32, 64, 128 and others."""
    channels: int = 3
    """3 for colour, 1 for grey pictures."""
    latent: int = 128
    """Length of the noise."""
    width: int = 64
    """Channels at half the side; every halving doubles them."""
    normalised: bool = True
    """Batch normalisation in the generator."""
    flip: bool = False
    """Mirror half of the pictures; not digits."""
    critic_steps: int = 5
    """Steps of the critic for one of the generator."""
    penalty: float = 10.0
    """Weight of the gradient penalty, the paper's lambda."""
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.9)
    feature_judge: str = ""
    """Trained feature network (`onepass`, `vgg-lite`, `vgg19`, a file) on which a second discriminator stands."""
    feature_weight: float = 1.0
    """Weight of the second discriminator."""
    features: str = "vgg19"
    """Network that judges the pictures while training: a name or a file; nothing where empty."""


class Generator(nn.Module):
    """N x latent to N x C x R x R in [0, 1]: a linear layer, then transposed convolutions that double the sides."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        sides = sides_of(c.resolution)[::-1]
        width = c.width << (len(sides) - 2)
        layers: list[nn.Module] = [nn.Linear(c.latent, width * 16), nn.Unflatten(1, (width, 4, 4))]
        layers += self.after(c, width)
        for smaller, larger in pairwise(sides[:-1]):
            layers += [nn.ConvTranspose2d(width, width // 2, *doubling(smaller, larger)), *self.after(c, width // 2)]
            width //= 2
        last = nn.ConvTranspose2d(width, c.channels, *doubling(*sides[-2:]))
        self.body = nn.Sequential(*layers, last, nn.Sigmoid())

    @staticmethod
    def after(c: Config, width: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(width), nn.ReLU()] if c.normalised else [nn.ReLU()]

    def forward(self, noise: Tensor) -> Tensor:
        made: Tensor = self.body(noise)
        return made


class Critic(nn.Module):
    """N x C x R x R in [0, 1] to N numbers without bounds."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        inputs, layers = c.channels, list[nn.Module]()
        for k in range(len(sides_of(c.resolution)) - 1):
            layers += [nn.Conv2d(inputs, c.width << k, 5, 2, 2), nn.LeakyReLU(0.2)]
            inputs = c.width << k
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * 16, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.body(pictures * 2 - 1).flatten()
        return found


class Method:
    """Training: every step is the critic's, every `critic_steps`-th the generator's too."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    players: ClassVar[tuple[str, str]] = ("generator", "critic")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: Config) -> None:
        sides_of(config.resolution)
        self.config = config
        self.resolution = config.resolution
        self.judge = Judge(config.features)

    def networks(self) -> dict[str, nn.Module]:
        players = {"generator": Generator(self.config), "critic": Critic(self.config)}
        return players | beside(self.config.feature_judge, (self.resolution, self.resolution))

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        c = self.config
        players = {
            k: torch.optim.Adam(networks[k].parameters(), lr=c.learning_rate, betas=c.betas) for k in self.players
        }
        return players | heads_optimizer(networks)

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A picture C x R x R, its largest square."""
        c = self.config
        return drawn(data, rng, resolution=c.resolution, channels=c.channels, flip=c.flip)[:1]

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Lines 3 to 12 of algorithm 1."""
        (real,) = batch
        c, generator, critic = self.config, run.networks["generator"], run.networks["critic"]

        with torch.no_grad():
            made = generator(self.noise(run, "judged", len(real)))
        gap = wasserstein_discriminator(critic(real), critic(made))
        penalty = gradient_penalty(critic, real, made, run.rand("mixed", len(real)))
        run.minimize("critic", gap + c.penalty * penalty)
        logs = {"distance": -gap, "penalty": penalty}

        if run.step % c.critic_steps == 0:
            made = generator(self.noise(run, "made", len(real)))
            logs["generator"] = wasserstein_generator(critic(made))
            logs |= teach(run, real, made, logs["generator"], c.feature_weight)
        return logs

    def noise(self, run: Run, purpose: str, count: int) -> Tensor:
        return noise_of(run, purpose, count, self.config.latent, "normal")

    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:  # noqa: ARG002
        """The same 64 noises every time."""
        return shown(run.ema["generator"](self.noise(run, "preview", SHOWN)))

    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Distances to held-out pictures on named features; the score is the Frechet distance."""
        generator = run.ema["generator"]
        return self.judge(run.device, lambda i, n: generator(self.noise(run, f"judged {i}", n)), batches)

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        return too_few(steps * batch, 500_000, "a WGAN-GP, most of which are the critic's")


class Sampler(NoiseSampler):
    """A trained generator at work."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """From a bundled model's name, a file of weights or the folder of a run. Raises as `load_model`."""
        c, generator = load_generator(source, "wgan_gp", Config, Generator)
        return cls(generator, latent=c.latent, prior="normal", resolution=c.resolution, device=device)
