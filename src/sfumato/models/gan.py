"""The generative adversarial network: a generator and a discriminator that learn from one another.

Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville & Bengio, "Generative Adversarial Nets" (NIPS
2014). Two forms: `dense`, fully connected, with the sizes of the paper's own code for digits (two layers of 1200
rectifiers against two of 240 maxout units of five pieces with dropout), and `convolutional`, the small network of the
textbooks (transposed convolutions against two convolutions with dropout 0.3).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.losses.adversarial import OBJECTIVES, bce_discriminator
from sfumato.models.adversaries import SHOWN, Judge, drawn, noise_of, shown, told_apart, too_few
from sfumato.models.sampler import NoiseSampler, load_generator
from sfumato.train.data import Pictures
from sfumato.train.run import Run

RANGES = {
    "resolution": (8, 256),
    "channels": (1, 3),
    "latent": (1, 4096),
    "pieces": (1, 16),
    "dropout": (0, 0.99),
    "smoothing": (0, 0.99),
    "learning_rate": (1e-7, 1),
    "judge_rate": (1e-7, 1),
    "momentum": (0, 0.999),
}


@dataclass(frozen=True)
class Config:
    """Sizes and weights."""

    form: Literal["dense", "convolutional"] = "convolutional"
    """Fully connected, or with convolutions."""
    resolution: int = 28
    """Side in pixels; of a convolutional one a multiple of 4."""
    channels: int = 1
    """3 for colour, 1 for grey pictures."""
    latent: int = 100
    """Length of the noise."""
    prior: Literal["uniform", "normal"] = "uniform"
    hidden: tuple[int, ...] = (1200, 1200)
    """Rectifiers of the dense generator's layers."""
    maxout: tuple[int, ...] = (240, 240)
    """Maxout units of the dense discriminator's layers."""
    pieces: int = 5
    """Linear pieces of a maxout unit."""
    widths: tuple[int, int, int] = (256, 128, 64)
    """Channels of the convolutional generator; the discriminator has the last one, then the one before it."""
    dropout: float = 0.3
    """Of the discriminator's layers."""
    flip: bool = False
    """Mirror half of the pictures; not digits."""
    objective: Literal["bce", "minimax", "lsgan", "hinge"] = "bce"
    """`bce` is the paper's non-saturating form, `minimax` its equation 1 as printed."""
    smoothing: float = 0.0
    """What real labels lack to 1, of bce and minimax (Salimans et al. 2016)."""
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 2e-4
    judge_rate: float = 2e-4
    momentum: float = 0.5
    """Adam's first decay rate, or that of plain descent."""
    features: str = "vgg19"
    """Network that judges the pictures while training: a name or a file; nothing where empty."""


class Maxout(nn.Module):
    """max_j (x W_j + b_j): Goodfellow et al. 2013, "Maxout Networks", section 3."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, units * pieces)
        self.shape = (units, pieces)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.linear(x).unflatten(1, self.shape).amax(2)
        return found


class DenseGenerator(nn.Sequential):
    """N x latent to N x C x R x R in [0, 1], rectifiers and at last a sigmoid."""

    def __init__(self, c: Config) -> None:
        sizes, layers = (c.latent, *c.hidden), list[nn.Module]()
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        shape = (c.channels, c.resolution, c.resolution)
        super().__init__(*layers, nn.Linear(sizes[-1], c.channels * c.resolution**2), nn.Sigmoid())
        self.append(nn.Unflatten(1, shape))


class DenseDiscriminator(nn.Sequential):
    """N x C x R x R in [0, 1] to N scores; maxout and dropout."""

    def __init__(self, c: Config) -> None:
        layers, inputs = list[nn.Module]([nn.Flatten()]), c.channels * c.resolution**2
        for units in c.maxout:
            layers += [Maxout(inputs, units, c.pieces), nn.Dropout(c.dropout)]
            inputs = units
        super().__init__(*layers, nn.Linear(inputs, 1), nn.Flatten(0))


class Generator(nn.Module):
    """N x latent to N x C x R x R in [0, 1]: a quarter of the side, transposed convolutions 5 x 5, doubled twice."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        first, second, third = c.widths
        self.shape = (first, c.resolution // 4, c.resolution // 4)
        self.linear = nn.Linear(c.latent, first * self.shape[1] ** 2, bias=False)
        self.norm = nn.BatchNorm1d(first * self.shape[1] ** 2)
        self.up = nn.Sequential(
            nn.ConvTranspose2d(first, second, 5, 1, 2, bias=False),
            nn.BatchNorm2d(second),
            nn.LeakyReLU(0.3),
            nn.ConvTranspose2d(second, third, 5, 2, 2, output_padding=1, bias=False),
            nn.BatchNorm2d(third),
            nn.LeakyReLU(0.3),
            nn.ConvTranspose2d(third, c.channels, 5, 2, 2, output_padding=1, bias=False),
            nn.Tanh(),
        )

    def forward(self, noise: Tensor) -> Tensor:
        x = F.leaky_relu(self.norm(self.linear(noise)), 0.3)
        made: Tensor = (self.up(x.view(-1, *self.shape)) + 1) / 2
        return made


class Discriminator(nn.Module):
    """N x C x R x R in [0, 1] to N scores: two convolutions 5 x 5 of stride 2, each with dropout."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        first, second = c.widths[:0:-1]
        self.body = nn.Sequential(
            nn.Conv2d(c.channels, first, 5, 2, 2),
            nn.LeakyReLU(0.3),
            nn.Dropout(c.dropout),
            nn.Conv2d(first, second, 5, 2, 2),
            nn.LeakyReLU(0.3),
            nn.Dropout(c.dropout),
            nn.Flatten(),
            nn.Linear(second * (c.resolution // 4) ** 2, 1),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """The sigmoid is left to the losses, which are exact without it."""
        scores: Tensor = self.body(pictures * 2 - 1).flatten()
        return scores


class Method:
    """Training, algorithm 1 with one step of the discriminator."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    players: ClassVar[tuple[str, str]] = ("generator", "discriminator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: Config) -> None:
        if config.form == "convolutional" and config.resolution % 4:
            raise InputError(f"a convolutional GAN doubles twice: {config.resolution} px is no multiple of 4")
        if config.smoothing and config.objective not in ("bce", "minimax"):
            raise InputError(f"smoothed labels are for the objectives bce and minimax, not {config.objective}")
        self.config = config
        self.resolution = config.resolution
        self.judge = Judge(config.features)

    def networks(self) -> dict[str, nn.Module]:
        c = self.config
        if c.form == "dense":
            return {"generator": DenseGenerator(c), "discriminator": DenseDiscriminator(c)}
        return {"generator": Generator(c), "discriminator": Discriminator(c)}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        c = self.config
        rates = {"generator": c.learning_rate, "discriminator": c.judge_rate}
        if c.optimizer == "sgd":
            return {k: torch.optim.SGD(networks[k].parameters(), lr=r, momentum=c.momentum) for k, r in rates.items()}
        betas = (c.momentum, 0.999)
        return {k: torch.optim.Adam(networks[k].parameters(), lr=r, betas=betas) for k, r in rates.items()}

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A picture C x R x R, its largest square."""
        c = self.config
        return drawn(data, rng, resolution=c.resolution, channels=c.channels, flip=c.flip)[:1]

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The discriminator's turn (equation 1), then the generator's, with noise of its own."""
        (real,) = batch
        generator, discriminator = run.networks["generator"], run.networks["discriminator"]
        objective = OBJECTIVES[self.config.objective]

        with torch.no_grad():
            made = generator(self.noise(run, "judged", len(real)))
        real_scores, made_scores = discriminator(real), discriminator(made)
        if self.config.smoothing:
            doubt = bce_discriminator(real_scores, made_scores, smoothing=self.config.smoothing)
        else:
            doubt = objective.discriminator(real_scores, made_scores)
        run.minimize("discriminator", doubt)

        loss = objective.generator(discriminator(generator(self.noise(run, "made", len(real)))))
        run.minimize("generator", loss)
        return {"generator": loss, "discriminator": doubt, "told apart": told_apart(real_scores, made_scores)}

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
        return too_few(steps * batch, 200_000, "a GAN")


class Sampler(NoiseSampler):
    """A trained generator at work."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """From a bundled model's name, a file of weights or the folder of a run. Raises as `load_model`."""
        c, generator = load_generator(source, "gan", Config, lambda c: Method(c).networks()["generator"])
        return cls(generator, latent=c.latent, prior=c.prior, resolution=c.resolution, device=device)
