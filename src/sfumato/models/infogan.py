"""InfoGAN: a generator some of whose noise means something, found without labels.

Chen, Duan, Houthooft, Schulman, Sutskever & Abbeel, "InfoGAN: Interpretable Representation Learning by Information
Maximizing Generative Adversarial Nets" (NIPS 2016). The latents are noise z and codes c, categorical and continuous.
The discriminator's body has a second head Q that reads the codes off the pictures, and both players maximise the lower
bound of their mutual information, E log Q(c | G(z, c)) + H(c) (equation 5), as in the authors' code. Networks and rates
of appendix C.1, for any side.

The bound says that a category can be read, not what it means. `agreement`, which the paper does not have, asks that the
categories read off a real picture and off the same one redrawn by another hand agree: after Ojha, Singh, Hsieh & Lee,
"Elastic-InfoGAN" (NeurIPS 2020), with the objective of Ji, Henriques & Vedaldi, "Invariant Information Clustering"
(ICCV 2019). Still nobody tells it a class.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError, unknown
from sfumato.losses.adversarial import bce_discriminator, bce_generator
from sfumato.losses.contrast import shared_information
from sfumato.models.adversaries import Judge, drawn, halvings, shown, told_apart, too_few
from sfumato.models.sampler import Code, NoiseSampler, generator, load_generator, normal, uniform
from sfumato.train.data import Pictures
from sfumato.train.run import Run
from sfumato.train.strokes import CHANCES, redrawn

RANGES = {
    "resolution": (8, 256),
    "channels": (1, 3),
    "latent": (1, 4096),
    "continuous": (0, 100),
    "width": (1, 512),
    "hidden": (1, 8192),
    "categorical_weight": (0, 100),
    "continuous_weight": (0, 100),
    "agreement": (0, 100),
    "learning_rate": (1e-7, 1),
    "judge_rate": (1e-7, 1),
    "momentum": (0, 0.999),
}
ROWS, TURNED, REACH = 6, 9, 2.0
"""Rows of a preview; values of a continuous code that are shown, from -2 to 2 as in the paper's figure 2."""


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of appendix C.1."""

    resolution: int = 28
    """Side in pixels: 4 to 8 doubled some times."""
    channels: int = 1
    """3 for colour, 1 for grey pictures."""
    latent: int = 62
    """Length of the noise that means nothing."""
    categorical: tuple[int, ...] = (10,)
    """Categories of every categorical code."""
    continuous: int = 2
    """Continuous codes, uniform in [-1, 1]."""
    width: int = 64
    """Channels at half the side; every halving doubles them."""
    hidden: int = 1024
    """Length of the fully connected layers."""
    flip: bool = False
    """Mirror half of the pictures; not digits."""
    categorical_weight: float = 1.0
    """Weight of the categorical codes' information, the paper's lambda; 0 leaves a plain GAN."""
    continuous_weight: float = 0.1
    """Weight of the continuous codes' information."""
    agreement: float = 0.0
    """Weight of what categories read off real drawings tell of those of the same drawings slanted, turned, scaled and
    with another pen, so that categories are shapes; 0 is the paper. For bright strokes on dark."""
    learning_rate: float = 1e-3
    judge_rate: float = 2e-4
    momentum: float = 0.5
    """Adam's first decay rate."""
    features: str = "vgg19"
    """Network that judges the pictures while training: a name or a file; nothing where empty."""

    @property
    def inputs(self) -> int:
        return self.latent + sum(self.categorical) + self.continuous


class Reading(NamedTuple):
    """What the discriminator says of pictures."""

    score: Tensor
    """N: real or made."""
    categories: tuple[Tensor, ...]
    """N x K each: scores of a categorical code's values."""
    mean: Tensor
    log_deviation: Tensor
    """N x continuous codes: Q is a Gaussian there."""


class Generator(nn.Module):
    """N x (noise, one-hot categories, continuous codes) to N x C x R x R in [0, 1]."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        count = halvings(c.resolution)
        width, side = c.width << (count - 1), c.resolution >> count
        layers: list[nn.Module] = [nn.Linear(c.inputs, c.hidden, bias=False), nn.BatchNorm1d(c.hidden), nn.ReLU()]
        layers += [nn.Linear(c.hidden, width * side**2, bias=False), nn.BatchNorm1d(width * side**2), nn.ReLU()]
        layers.append(nn.Unflatten(1, (width, side, side)))
        for k in reversed(range(count - 1)):
            layers += [nn.ConvTranspose2d(width, c.width << k, 4, 2, 1, bias=False), nn.BatchNorm2d(c.width << k)]
            layers.append(nn.ReLU())
            width = c.width << k
        self.body = nn.Sequential(*layers, nn.ConvTranspose2d(width, c.channels, 4, 2, 1), nn.Sigmoid())

    def forward(self, latents: Tensor) -> Tensor:
        made: Tensor = self.body(latents)
        return made


class Discriminator(nn.Module):
    """N x C x R x R in [0, 1] to a `Reading`; both heads share all but their last layers."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        count, inputs, layers = halvings(c.resolution), c.channels, list[nn.Module]()
        for k in range(count):
            layers.append(nn.Conv2d(inputs, c.width << k, 4, 2, 1, bias=k == 0))
            layers += [nn.BatchNorm2d(c.width << k)] if k else []
            layers.append(nn.LeakyReLU(0.1))
            inputs = c.width << k
        flat = inputs * (c.resolution >> count) ** 2
        layers += [nn.Flatten(), nn.Linear(flat, c.hidden, bias=False), nn.BatchNorm1d(c.hidden), nn.LeakyReLU(0.1)]
        self.body = nn.Sequential(*layers)
        self.score = nn.Linear(c.hidden, 1)
        self.read = nn.Sequential(nn.Linear(c.hidden, 128, bias=False), nn.BatchNorm1d(128), nn.LeakyReLU(0.1))
        self.codes = nn.Linear(128, sum(c.categorical) + 2 * c.continuous)
        self.parts = [*c.categorical, c.continuous, c.continuous]

    def forward(self, pictures: Tensor) -> Reading:
        x = self.body(pictures * 2 - 1)
        *categories, mean, log_deviation = torch.split(self.codes(self.read(x)), self.parts, dim=1)
        return Reading(self.score(x).flatten(), tuple(categories), mean, log_deviation)


class Codes(NamedTuple):
    """The part of the latents that means something."""

    categories: tuple[Tensor, ...]
    """N whole numbers each."""
    values: Tensor
    """N x continuous codes."""

    def beside(self, noise: Tensor, c: Config) -> Tensor:
        """Latents N x inputs."""
        hot = [F.one_hot(k, count).to(noise) for k, count in zip(self.categories, c.categorical, strict=True)]
        return torch.cat([noise, *hot, self.values.to(noise)], 1)


def information(reading: Reading, codes: Codes) -> tuple[Tensor, Tensor]:
    """-E log Q(c | x) of the categorical codes, summed over them, and of the continuous ones: equation 5 but for H(c).

    Both are what is to be minimised; H(c) is constant and left out.
    """
    pairs = zip(reading.categories, codes.categories, strict=True)
    categorical = sum((F.cross_entropy(scores, wanted) for scores, wanted in pairs), start=reading.score.new_zeros(()))
    gap = (codes.values - reading.mean) * (-reading.log_deviation).exp()
    continuous = (0.5 * gap.square() + reading.log_deviation + 0.5 * np.log(2 * np.pi)).sum(1).mean()
    return categorical, continuous


class Method:
    """Training."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    players: ClassVar[tuple[str, str]] = ("generator", "discriminator")
    averaged: ClassVar[tuple[str, ...]] = ("generator", "discriminator")

    def __init__(self, config: Config) -> None:
        halvings(config.resolution)
        if any(count < 2 for count in config.categorical):
            raise InputError("a categorical code needs at least two categories")
        if config.agreement and not config.categorical:
            raise InputError("agreement is about categories, and there is no categorical code")
        self.config = config
        self.resolution = config.resolution
        self.judge = Judge(config.features)

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": Generator(self.config), "discriminator": Discriminator(self.config)}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        c = self.config
        rates, betas = {"generator": c.learning_rate, "discriminator": c.judge_rate}, (c.momentum, 0.999)
        return {name: torch.optim.Adam(networks[name].parameters(), lr=r, betas=betas) for name, r in rates.items()}

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A picture C x R x R, its largest square."""
        c = self.config
        return drawn(data, rng, resolution=c.resolution, channels=c.channels, flip=c.flip)[:1]

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Equation 6: both players pay for codes that cannot be read."""
        (real,) = batch
        c, discriminator = self.config, run.networks["discriminator"]
        noise, codes = self.latents(run, "made", len(real))
        made = run.networks["generator"](codes.beside(noise, c))

        of_real, of_made = discriminator(real), discriminator(made.detach())
        doubt = bce_discriminator(of_real.score, of_made.score)
        categorical, continuous = information(of_made, codes)
        loss = doubt + c.categorical_weight * categorical + c.continuous_weight * continuous
        agreed = self.agreed(run, real, of_real)
        run.minimize("discriminator", loss - c.agreement * agreed if c.agreement else loss)

        of_made = discriminator(made)
        loss = bce_generator(of_made.score)
        categorical, continuous = information(of_made, codes)
        run.minimize("generator", loss + c.categorical_weight * categorical + c.continuous_weight * continuous)
        right = told_apart(of_real.score, of_made.score)
        players = {"generator": loss, "discriminator": doubt, "told apart": right}
        logs = {**players, "categorical": categorical, "continuous": continuous}
        return logs | ({"agreement": agreed} if c.agreement else {})

    def agreed(self, run: Run, real: Tensor, reading: Reading) -> Tensor:
        """Information shared by the categories of real pictures and of their copies by another hand; over all codes."""
        if not self.config.agreement:
            return real.new_zeros(())
        copies = redrawn(real, run.rand("another hand", len(real), CHANCES))
        again = run.networks["discriminator"](copies)
        pairs = zip(reading.categories, again.categories, strict=True)
        return sum((shared_information(a.softmax(1), b.softmax(1)) for a, b in pairs), start=real.new_zeros(()))

    def latents(self, run: Run, purpose: str, count: int) -> tuple[Tensor, Codes]:
        """Noise and codes by the run's named chance."""
        c = self.config
        noise = run.randn(f"{purpose} noise", count, c.latent)
        chance = run.rand(f"{purpose} codes", count, len(c.categorical) + c.continuous)
        categories = tuple((chance[:, i] * k).long() for i, k in enumerate(c.categorical))
        return noise, Codes(categories, 2 * chance[:, len(c.categorical) :] - 1)

    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:  # noqa: ARG002
        """A column a category of the first code (or a value of the first continuous one), a row a noise."""
        c = self.config
        noise, codes = self.latents(run, "preview", ROWS)
        columns = c.categorical[0] if c.categorical else TURNED
        turned = torch.arange(columns, device=noise.device).repeat(ROWS)
        noise, values = (x.repeat_interleave(columns, 0) for x in (noise, codes.values))
        categories = [k.repeat_interleave(columns, 0) for k in codes.categories]
        if c.categorical:
            categories[0] = turned
        else:
            values[:, 0] = torch.linspace(-REACH, REACH, TURNED, device=noise.device)[turned]
        made = run.ema["generator"](Codes(tuple(categories), values).beside(noise, c))
        return shown(made, columns)

    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Distances to held-out pictures, and `codes read`: how often Q finds the first category of a made picture."""
        c, right, made = self.config, list[Tensor](), list[Tensor]()
        for i, (real,) in enumerate(batches):
            noise, codes = self.latents(run, f"judged {i}", len(real))
            made.append(run.ema["generator"](codes.beside(noise, c)))
            if c.categorical:
                guesses = run.ema["discriminator"](made[-1]).categories[0].argmax(1)
                right.append((guesses == codes.categories[0]).float())
        found = self.judge(run.device, lambda i, _: made[i], batches)
        return found | ({"codes read": float(torch.cat(right).mean())} if right else {})

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        return too_few(steps * batch, 200_000, "an InfoGAN")


class Sampler(NoiseSampler):
    """A trained generator at work; its codes are `category` (2, 3, ...) and `value` (2, 3, ...)."""

    def __init__(self, c: Config, network: nn.Module, device: torch.device | str = "cpu") -> None:
        super().__init__(network, latent=c.latent, prior="normal", resolution=c.resolution, device=device)
        self.config = c
        self.columns: dict[str, slice] = {}
        start, found = c.latent, list[Code]()
        for i, count in enumerate(c.categorical, 1):
            name = f"category {i}" if len(c.categorical) > 1 else "category"
            found.append(Code(name, tuple(map(float, range(count))), tuple(map(str, range(count)))))
            self.columns[name] = slice(start, start + count)
            start += count
        values = tuple(np.linspace(-REACH, REACH, TURNED).tolist())
        for i in range(1, c.continuous + 1):
            name = f"value {i}" if c.continuous > 1 else "value"
            found.append(Code(name, values, tuple(f"{v:g}" for v in values)))
            self.columns[name] = slice(start, start + 1)
            start += 1
        self.codes = tuple(found)

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """From a bundled model's name, a file of weights or the folder of a run. Raises as `load_model`."""
        c, network = load_generator(source, "infogan", Config, Generator)
        return cls(c, network, device)

    def draw(self, seeds: Sequence[int], *, truncation: float = 1.0, label: int | None = None) -> Tensor:
        """N x inputs: noise times `truncation`, and codes drawn for each seed."""
        assert label is None
        c = self.config
        noise = truncation * normal(seeds, c.latent)
        picked = [
            [torch.randint(k, (), generator=generator(s, f"category {i}")) for s in seeds]
            for i, k in enumerate(c.categorical)
        ]
        values = 2 * uniform(seeds, c.continuous, purpose="values") - 1
        return Codes(tuple(map(torch.stack, picked)), values).beside(noise, c)

    def blend(self, first: Tensor, last: Tensor, share: float) -> Tensor:
        """The noise along the sphere, the codes straight."""
        n = self.config.latent
        noise = super().blend(first[:, :n], last[:, :n], share)
        return torch.cat([noise, torch.lerp(first[:, n:], last[:, n:], share)], 1)

    def turn(self, latents: Tensor, code: str, value: float) -> Tensor:
        """Latents with a code at `value`. Raises `InputError` for a code or category that is not there."""
        if code not in self.columns:
            raise unknown("code", code, self.columns)
        turned, where = latents.clone(), self.columns[code]
        if code.startswith("value"):
            turned[:, where] = value
            return turned
        count = where.stop - where.start
        if not 0 <= value < count or value != int(value):
            raise InputError(f"{code} must be a whole number below {count}, not {value:g}")
        turned[:, where] = F.one_hot(torch.tensor(int(value)), count).to(turned)
        return turned
