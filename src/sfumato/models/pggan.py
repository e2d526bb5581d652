"""The progressive GAN: first small pictures, then new layers fade in for every doubling.

Karras, Aila, Laine & Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability, and Variation" (ICLR
2018). How far it has grown, `grown`, is the number of doublings: 2.3 is a third of the way from 16 to 32 pixels.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.layers.progressive import EqualConv, EqualLinear, minibatch_deviation, pixel_norm
from sfumato.losses.adversarial import gradient_penalty, wasserstein_discriminator, wasserstein_generator
from sfumato.models.adversaries import SHOWN, Judge, drawn, noise_of, shown, too_few
from sfumato.models.feature_judge import beside, heads_optimizer, teach
from sfumato.models.sampler import NoiseSampler, load_generator
from sfumato.train.data import Pictures
from sfumato.train.run import Run


@dataclass(frozen=True)
class Config:
    """Sizes and weights of appendix A."""

    resolution: int = 64
    """Side in pixels: 4 doubled some times."""
    latent: int = 512
    """Length of the noise."""
    channel_base: int = 16384
    """A layer for S x S pixels has this over S channels ..."""
    channel_max: int = 512
    """... but no more than this."""
    growth: float = 0.6
    """Share of the run in which it grows; fading and standing still take turns, equally long."""
    penalty: float = 10.0
    """Weight of the gradient penalty (lambda)."""
    drift: float = 1e-3
    """Weight of the real scores' square, which keeps them near 0."""
    flip: bool = True
    """Mirror half of the pictures; not where left and right mean something."""
    learning_rate: float = 1e-3
    """Adam's step, for both sides."""
    feature_judge: str = ""
    """Trained feature network (`onepass`, `vgg-lite`, `vgg19`, a file) on which a second discriminator stands, once the
    pictures have grown up."""
    feature_weight: float = 1.0
    """Weight of the second discriminator."""
    features: str = "vgg19"
    """Network that judges the pictures while training: a name or a file; nothing where empty."""

    def doublings(self) -> int:
        """From 4 pixels to the resolution. Raises `InputError` where that cannot be."""
        if self.resolution < 8 or self.resolution.bit_count() > 1:
            raise InputError(f"pggan makes pictures of 8, 16, 32, 64, 128 ... pixels, not {self.resolution}")
        return self.resolution.bit_length() - 3

    def width(self, level: int) -> int:
        """Channels after so many doublings."""
        return max(1, min(self.channel_max, self.channel_base // (4 << level)))


RANGES: dict[str, tuple[float, float]] = {
    "resolution": (8, 1024),
    "latent": (1, 4096),
    "channel_base": (16, 1 << 20),
    "channel_max": (1, 4096),
    "growth": (0, 1),
    "penalty": (0, 1e6),
    "drift": (0, 1e6),
    "feature_weight": (0, 1e4),
    "learning_rate": (1e-9, 1),
}
"""Smallest and largest value of a field."""


def grown_at(share: float, doublings: int, growth: float) -> float:
    """Doublings after a share of the run: still, fade, still, fade, ..., each as long, and still from `growth` on."""
    turns = 2 * doublings * share / growth if growth > 0 else math.inf
    if turns >= 2 * doublings:
        return float(doublings)
    level, within = divmod(max(0.0, turns - 1), 2)
    return level + min(1.0, within)


def halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def doubled(x: Tensor, times: int = 1) -> Tensor:
    """Nearest neighbours, as in the paper."""
    return F.interpolate(x, scale_factor=2.0**times) if times else x


def at_size(pictures: Tensor, grown: float) -> Tensor:
    """Pictures N x 3 x R x R as the discriminator sees them at `grown`: reduced to 4 x 2^ceil, and while new layers
    fade in, mixed with what the smaller size can show (appendix A)."""
    level = math.ceil(grown)
    x = pictures
    while x.shape[3] > 4 << level:
        x = halved(x)
    return x if level == grown else torch.lerp(doubled(halved(x)), x, grown - level + 1)


class Grows(nn.Module):
    """Keeps `grown` with the weights."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.top = c.doublings()
        self.register_buffer("grown", torch.tensor(0.0))

    def level(self) -> float:
        return float(cast(Tensor, self.grown))


class Generator(Grows):
    """Noise N x latent to pictures; table 2, left. Every layer but the last of a size is pixel-normalised."""

    def __init__(self, c: Config) -> None:
        super().__init__(c)
        self.first = EqualLinear(c.latent, 16 * c.width(0), gain=math.sqrt(2) / 4)  # their gain for this layer
        self.second = EqualConv(c.width(0), c.width(0))
        sizes = range(1, self.top + 1)
        self.convs0 = nn.ModuleList([EqualConv(c.width(i - 1), c.width(i)) for i in sizes])
        self.convs1 = nn.ModuleList([EqualConv(c.width(i), c.width(i)) for i in sizes])
        self.to_rgb = nn.ModuleList([EqualConv(c.width(i), 3, 1, gain=1) for i in range(self.top + 1)])

    def forward(self, noise: Tensor, grown: float | None = None) -> Tensor:
        """N x 3 x S x S about [0, 1], S = 4 x 2^ceil(grown); without `grown` as far as it got, R x R in [0, 1]."""
        level = self.level() if grown is None else grown
        x = self.first(pixel_norm(noise)).view(len(noise), -1, 4, 4)
        x = normed(self.second(normed(x)))
        before = x
        for conv0, conv1 in list(zip(self.convs0, self.convs1, strict=True))[: math.ceil(level)]:
            before, x = x, normed(conv1(normed(conv0(doubled(x)))))
        picture = self.to_rgb[math.ceil(level)](x)
        if level != math.ceil(level):
            old = doubled(self.to_rgb[math.floor(level)](before))
            picture = torch.lerp(old, picture, level - math.floor(level))
        made: Tensor = (picture + 1) / 2
        return made if grown is not None else doubled(made, self.top - math.ceil(level)).clamp(0, 1)


class Discriminator(Grows):
    """Pictures N x 3 x S x S, S = 4 x 2^ceil(grown), to N scores; table 2, right."""

    def __init__(self, c: Config) -> None:
        super().__init__(c)
        sizes = range(1, self.top + 1)
        self.from_rgb = nn.ModuleList([EqualConv(3, c.width(i), 1) for i in range(self.top + 1)])
        self.convs0 = nn.ModuleList([EqualConv(c.width(i), c.width(i)) for i in sizes])
        self.convs1 = nn.ModuleList([EqualConv(c.width(i), c.width(i - 1)) for i in sizes])
        self.last = EqualConv(c.width(0) + 1, c.width(0))
        self.whole = EqualLinear(16 * c.width(0), c.width(0), gain=math.sqrt(2))
        self.score = EqualLinear(c.width(0), 1)

    def forward(self, pictures: Tensor, grown: float | None = None) -> Tensor:
        level = self.level() if grown is None else grown
        top, pixels = math.ceil(level), pictures * 2 - 1
        x = leaky(self.from_rgb[top](pixels))
        for i in range(top, 0, -1):
            x = halved(leaky(self.convs1[i - 1](leaky(self.convs0[i - 1](x)))))
            if i == top and level != top:
                x = torch.lerp(leaky(self.from_rgb[i - 1](halved(pixels))), x, level - top + 1)
        x = leaky(self.last(minibatch_deviation(x)))
        scores: Tensor = self.score(leaky(self.whole(x.flatten(1))))[:, 0]
        return scores


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def normed(x: Tensor) -> Tensor:
    return pixel_norm(leaky(x))


class Method:
    """Training: WGAN-GP at the size of the moment, discriminator first."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    players: ClassVar[tuple[str, str]] = ("generator", "discriminator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: Config) -> None:
        config.doublings()
        self.config, self.resolution = config, config.resolution
        self.judge = Judge(config.features)

    def networks(self) -> dict[str, nn.Module]:
        players = {"generator": Generator(self.config), "discriminator": Discriminator(self.config)}
        return players | beside(self.config.feature_judge, (self.resolution, self.resolution))

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        rate, betas = self.config.learning_rate, (0.0, 0.99)
        players = {k: torch.optim.Adam(networks[k].parameters(), lr=rate, betas=betas, eps=1e-8) for k in self.players}
        return players | heads_optimizer(networks)

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A picture 3 x R x R, its largest square."""
        c = self.config
        return drawn(data, rng, resolution=c.resolution, channels=3, flip=c.flip)[:1]

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        c, generator, critic = self.config, run.networks["generator"], run.networks["discriminator"]
        grown = self.grow(run)
        real = at_size(batch[0], grown)

        with torch.no_grad():
            made = generator(self.noise(run, "judged", len(real)), grown)
        of_real = critic(real, grown)
        gap = wasserstein_discriminator(of_real, critic(made, grown))
        penalty = gradient_penalty(lambda x: critic(x, grown), real, made, run.rand("mixed", len(real)))
        drift = of_real.square().mean()
        run.minimize("discriminator", gap + c.penalty * penalty + c.drift * drift)

        made = generator(self.noise(run, "made", len(real)), grown)
        loss, logs = wasserstein_generator(critic(made, grown)), dict[str, Tensor]()
        if grown < c.doublings():
            run.minimize("generator", loss)
        else:  # small pictures enlarged are not what the judge's features are of: with them it collapsed
            logs = teach(run, real, made, loss, c.feature_weight)
        return {"generator": loss, "distance": -gap, "penalty": penalty, "pixels": torch.tensor(4 * 2**grown)} | logs

    def grow(self, run: Run) -> float:
        """The step's `grown`, noted in the networks; optimisers begin anew at every size, as in the authors' code.

        Steps at a larger size take longer. So where a run has a time instead of a number of steps, its share is added
        up of what every step takes of the time left.
        """
        share = run.progress
        if run.options.hours is not None:
            spent = run.state.get("spent", torch.zeros((), device=run.device))
            share = float(spent)
            run.state["spent"] = spent + (1 - spent) / max(1, run.steps - run.step + 1)
        grown = grown_at(share, self.config.doublings(), self.config.growth)
        for name in ("generator", "discriminator"):
            network = cast(Grows, run.networks[name])
            if math.ceil(grown) > math.ceil(network.level()):
                run.optimizers[name].state.clear()
            cast(Tensor, network.grown).fill_(grown)
        return grown

    def noise(self, run: Run, purpose: str, count: int) -> Tensor:
        return noise_of(run, purpose, count, self.config.latent, "normal")

    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:  # noqa: ARG002
        """The same noises every time, at the full size: one sees it grow."""
        return shown(run.ema["generator"](self.noise(run, "preview", SHOWN)))

    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Distances to held-out pictures on named features; the score is the Frechet distance."""
        generator = run.ema["generator"]
        return self.judge(run.device, lambda i, n: generator(self.noise(run, f"judged {i}", n)), batches)

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        return too_few(steps * batch, 500_000, "a progressive GAN")


class Sampler(NoiseSampler):
    """A trained generator at work. Its noise is brought to one length, so truncation has nothing to act on."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """From a bundled model's name, a file of weights or the folder of a run. Raises as `load_model`."""
        c, generator = load_generator(source, "pggan", Config, Generator)
        return cls(generator, latent=c.latent, prior="normal", resolution=c.resolution, device=device)

    def draw(self, seeds: Sequence[int], *, truncation: float = 1.0, label: int | None = None) -> Tensor:
        """N x latent. Raises `InputError` for a truncation."""
        if truncation != 1:
            raise InputError("a progressive GAN has no truncation: its noise lies on a sphere; leave it at 1")
        return super().draw(seeds, label=label)
