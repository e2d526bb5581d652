"""UNIT: translation without pairs through a latent space that two domains share.

Liu, Breuel & Kautz, "Unsupervised Image-to-Image Translation Networks" (NIPS 2017): a variational autoencoder a domain,
of deviation 1, the last block of both encoders and the first of both decoders the same; what one encodes the other
decodes. Discriminators at several scales with least squares, as the authors' later code has them. The mean comes from
a convolution without normalisation, so its size is free and the KL term has something to hold.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError, unknown
from sfumato.layers.patches import ScaledJudge, check_scaled_judge
from sfumato.layers.residual import CELL, Doubling, Parts, Residual, Through, convolution, normed, small_start
from sfumato.losses.contrast import unit_kl
from sfumato.models.adversaries import too_few
from sfumato.models.domain_style import DomainStyle
from sfumato.models.feature_judge import seeing
from sfumato.models.sampler import config_from
from sfumato.models.translating import (
    Critic,
    Pair,
    Way,
    augmented,
    check_onto,
    check_resolution,
    doubted,
    drawn,
    fooled,
    from_pool,
    judged,
    right,
    sheet,
)
from sfumato.models.translator import DIRECTIONS, WholeTranslator, ready, whole_cells
from sfumato.train.data import Pictures
from sfumato.train.run import Run
from sfumato.weights.files import load_model

PIXELS = 3 * CELL**2
"""Numbers of a cell."""
LOUD = 6.0
"""How much louder than the noise pictures enter the latents at the start where `onto` lets them."""
STRIP = 8
"""Pictures from one latent to another on a sheet."""
RANGES: dict[str, tuple[float, float]] = {
    "resolution": (8, 4096),
    "channels": (1, 1024),
    "blocks": (0, 64),
    "shared_blocks": (0, 64),
    "judge_channels": (1, 1024),
    "judge_layers": (1, 6),
    "scales": (1, 5),
    "adversarial_weight": (0, 1e6),
    "reconstruction_weight": (0, 1e6),
    "cycle_weight": (0, 1e6),
    "kl_weight": (0, 1e6),
    "style_weight": (0, 1e6),
    "simplify": (0, 1),
    "pool_size": (0, 10_000),
    "learning_rate": (1e-7, 1),
    "judge_rate": (1e-7, 1),
    "momentum": (0, 0.999),
}


@dataclass(frozen=True)
class Config:
    """Sizes and weights; weights are those of the authors' code."""

    resolution: int = 256
    """Side in pixels of the crops, a multiple of 4."""
    channels: int = 64
    """Of the first layer; four times as many in the latents."""
    blocks: int = 4
    """Residual blocks of every encoder, and of every decoder."""
    shared_blocks: int = 1
    """How many of them the domains share, at the end of the encoders and at the start of the decoders; with 0 nothing
    ties the two latent spaces together."""
    upsampling: Literal["transposed", "bilinear", "nearest"] = "nearest"
    """How the decoders double the sides: by transposed convolutions, or enlarged first and then convolved."""
    separable: bool = False
    """Residual blocks in two parts, every channel by itself and then all at a pixel: light networks for CPUs."""
    antialias: bool = False
    """Residual blocks that let nothing through which alternates from one position to the next: lattices on flat places
    are half as strong."""
    onto: bool = False
    """A linear path beside the networks, pixels to latents to pixels, exact at the start: both domains begin as copies,
    and few steps do. Between two pictures it fades the one into the other."""
    simplify: float = 0.0
    """With `onto`: what that path shows loses texture that deviates by less, in [0, 1], and the cells' borders with it;
    details are then painted."""
    judge_channels: int = 64
    """Of the discriminators' first layer."""
    judge_layers: int = 4
    """Convolutions of stride 2 in the discriminators."""
    scales: int = 3
    """Scales that they look at, each half of the one before."""
    feature_judge: str = ""
    """Trained network (`onepass`, `vgg-lite`, `vgg19`, a file) on whose features a second judge of each stands."""
    judge_whole: bool = False
    """That judge gives a crop one score a layer and not one a place: it sees the composition, and tells sooner."""
    adversarial_weight: float = 3.0
    """Weight of the adversarial loss, a mean over the scales: 1 a scale."""
    reconstruction_weight: float = 10.0
    """Weight of pictures that are encoded and decoded in their own domain."""
    cycle_weight: float = 10.0
    """Weight of there and back again."""
    kl_weight: float = 0.02
    """Weight of the latents' distance from the normal distribution, mean^2 / 2, both ways."""
    style_weight: float = 0.0
    """Weight of the gap between the domains' Gram matrices and covariances that translations leave."""
    style_features: str = "vgg19"
    """Network on whose features these are taken: `vgg19`, `vgg-lite`, `onepass` or a file."""
    pool_size: int = 0
    """Earlier fakes that the discriminators are shown."""
    augment: tuple[str, ...] = ()
    """What the discriminators see is augmented, for small sets: any of `color`, `translation`, `cutout`."""
    crop_scale: tuple[float, float] = (0.8, 1.0)
    """Side of a crop relative to the picture's short side."""
    flip: bool = True
    """Mirror half of the pictures."""
    learning_rate: float = 1e-4
    judge_rate: float = 1e-4
    """Learning rate of the discriminators."""
    momentum: float = 0.5
    """Adam's first decay rate."""
    features: str = "vgg19"
    """Network that judges translations while training: `vgg19`, `vgg-lite` or a file; nothing where empty."""


class Coder(nn.Module):
    """Both autoencoders: pictures N x 3 x H x W in [0, 1], latents N x 4 channels x H / 4 x W / 4."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        n, shared = c.channels, min(c.shared_blocks, c.blocks)
        self.shared = shared > 0

        def residuals(count: int) -> list[nn.Module]:
            return [Residual(4 * n, separable=c.separable, antialias=c.antialias) for _ in range(count)]

        self.enter, self.end, self.begin, self.leave = (nn.ModuleDict() for _ in range(4))
        for domain in "ab":
            stem = [normed(convolution(3, n, 7), n)]
            stem += [normed(nn.Conv2d(k * n, 2 * k * n, 3, 2, 1), 2 * k * n) for k in (1, 2)]
            self.enter[domain] = nn.Sequential(*stem, *residuals(c.blocks - shared))
            up = [normed(Doubling(2 * k * n, k * n, c.upsampling), k * n) for k in (2, 1)]
            self.leave[domain] = nn.Sequential(*residuals(c.blocks - shared), *up, convolution(n, 3, 7))
        for name in ("ab",) if self.shared else ("a", "b"):
            self.end[name] = nn.Sequential(*residuals(shared), convolution(4 * n, 4 * n))
            self.begin[name] = nn.Sequential(*residuals(shared))
        small_start(self)
        self.simplify = c.simplify
        self.look, self.show = nn.ModuleDict(), nn.ModuleDict()
        if c.onto:
            self.copying(4 * n)

    def copying(self, channels: int) -> None:
        """The linear path, one start for both domains; of a cell's numbers no more come through than `channels`."""
        ways = nn.init.orthogonal_(torch.empty(channels, PIXELS))[:, :, None, None]
        for domain in "ab":
            look, show = (nn.Conv2d(k, n, 1, bias=False) for k, n in ((PIXELS, channels), (channels, PIXELS)))
            look.weight.data.copy_(LOUD * ways)
            show.weight.data.copy_(ways.transpose(0, 1) / LOUD)
            self.look[domain], self.show[domain] = look, show

    def through(self, source: str, target: str) -> Through | None:
        return Through(self.look[source], self.show[target], self.simplify) if self.look else None

    def encode(self, pictures: Tensor, domain: str) -> Tensor:
        """The latents' mean."""
        mean: Tensor = self.end["ab" if self.shared else domain](self.enter[domain](2 * pictures - 1))
        through = self.through(domain, domain)
        return mean if through is None else through.join(mean, pictures)

    def decode(self, latents: Tensor, domain: str) -> Tensor:
        made: Tensor = self.leave[domain](self.begin["ab" if self.shared else domain](latents))
        through = self.through(domain, domain)
        return (torch.tanh(made if through is None else made + through.base(latents)) + 1) / 2

    def parts(self, direction: str) -> Parts:
        """The autoencoders of one direction, as `decode` after `encode` computes it."""
        source, target = direction[0], direction[-1]
        first, last = ("ab", "ab") if self.shared else (source, target)
        enter, end, begin, leave = (
            tuple(part[name].children())
            for part, name in ((self.enter, source), (self.end, first), (self.begin, last), (self.leave, target))
        )
        through = self.through(source, target)
        middle = () if through is None else (through,)
        return Parts(enter[:3], (*enter[3:], *end, *middle, *begin, *leave[:-3]), leave[-3:-1], leave[-1])

    def forward(
        self, pictures: Tensor, source: str, targets: Sequence[str], noise: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Pictures of domain `source`: their latents' mean, and what they, with `noise`, are in every target."""
        mean = self.encode(pictures, source)
        latents = mean if noise is None else mean + noise
        return mean, tuple(self.decode(latents, target) for target in targets)


class Method:
    """Training, equations 3 to 6."""

    roles: ClassVar[tuple[str, ...]] = ("a", "b")
    players: ClassVar[tuple[str, str]] = ("coder", "judges")
    averaged: ClassVar[tuple[str, ...]] = ("coder",)

    def __init__(self, config: Config) -> None:
        check_resolution(config.resolution)
        check_onto(config.simplify, onto=config.onto)
        check_scaled_judge(config.resolution, config.judge_layers, config.scales)
        if config.shared_blocks > config.blocks:
            raise InputError(f"of {config.blocks} blocks {config.shared_blocks} cannot be shared")
        self.config = config
        self.resolution = config.resolution
        self.critic = Critic(config.features)
        self.style = DomainStyle(config.style_features) if config.style_weight > 0 else None

    def networks(self) -> dict[str, nn.Module]:
        c = self.config
        judges = {f"judge_{domain}": ScaledJudge(c.judge_channels, c.judge_layers, c.scales) for domain in "ab"}
        return {
            "coder": Coder(c),
            **{name: seeing(j, c.feature_judge, c.resolution, whole=c.judge_whole) for name, j in judges.items()},
        }

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        c, betas = self.config, (self.config.momentum, 0.999)
        judges = [p for domain in "ab" for p in networks[f"judge_{domain}"].parameters()]
        return {
            "coder": torch.optim.Adam(networks["coder"].parameters(), lr=c.learning_rate, betas=betas),
            "judges": torch.optim.Adam(judges, lr=c.judge_rate, betas=betas),
        }

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A crop of each domain, 3 x R x R."""
        return drawn(data, rng, self.resolution, self.config.crop_scale, flip=self.config.flip)

    def judged(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """The largest square of each."""
        return drawn(data, rng, self.resolution)

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The autoencoders' turn: reconstruction, KL, adversarial loss, cycle; then the discriminators'."""
        c, net, real = self.config, run.networks, Pair(*batch)
        coder = net["coder"]
        mean_a, (same_a, fake_b) = coder(real.a, "a", ("a", "b"), self.noise(run, "a", real.a))
        mean_b, (same_b, fake_a) = coder(real.b, "b", ("b", "a"), self.noise(run, "b", real.b))
        again_a, (back_a,) = coder(fake_b, "b", ("a",), self.noise(run, "a again", real.a))
        again_b, (back_b,) = coder(fake_a, "a", ("b",), self.noise(run, "b again", real.b))
        fake = Pair(fake_a, fake_b)

        seen = Pair(*(augmented(run, f"fake {k}", x, c.augment) for k, x in zip("ab", fake, strict=True)))
        adversarial = fooled(net["judge_a"](seen.a)) + fooled(net["judge_b"](seen.b))
        reconstruction = F.l1_loss(same_a, real.a) + F.l1_loss(same_b, real.b)
        cycle = F.l1_loss(back_a, real.a) + F.l1_loss(back_b, real.b)
        kl = unit_kl(mean_a) + unit_kl(mean_b) + unit_kl(again_a) + unit_kl(again_b)
        losses = {"adversarial": adversarial, "reconstruction": reconstruction, "cycle": cycle, "kl": kl}
        total = c.adversarial_weight * adversarial + c.reconstruction_weight * reconstruction
        total = total + c.cycle_weight * cycle + c.kl_weight * kl
        if self.style is not None:
            losses["style"] = self.style(run, real._asdict(), fake._asdict())
            total = total + c.style_weight * losses["style"]
        run.minimize("coder", total)

        told, doubts = list[Tensor](), list[Tensor]()
        for k, x, made in zip("ab", real, fake, strict=True):
            shown = from_pool(run, k, made, c.pool_size)
            pictures = (augmented(run, f"real {k}", x, c.augment), augmented(run, f"shown {k}", shown, c.augment))
            scores = judged(run, f"judge_{k}", *pictures)
            doubts.append(doubted(*scores))
            told.append(right(*scores))
        judges = torch.stack(doubts).sum()
        run.minimize("judges", judges)
        return {**losses, "judges": judges, "told apart": torch.stack(told).mean()}

    def noise(self, run: Run, purpose: str, pictures: Tensor) -> Tensor:
        """What is added to the latents of some pictures: deviation 1."""
        count, _, height, width = pictures.shape
        return run.randn(f"latent {purpose}", count, 4 * self.config.channels, height // CELL, width // CELL)

    @torch.no_grad()
    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """A row: a, decoded, as b, back; the same of b. Below: from the first a to the first b, decoded as both."""
        coder = run.ema["coder"]
        assert isinstance(coder, Coder)
        columns = list[Tensor]()
        for pictures, source, target in zip(batch, "ab", "ba", strict=True):
            _, (same, there) = coder(pictures, source, (source, target))
            _, (back,) = coder(there, target, (source,))
            columns += [pictures, same, there, back]
        rows = [sheet(columns)]
        latents = blended(coder, batch[0][:1], "a", batch[1][:1], "b", STRIP)
        rows += [sheet(list(coder.decode(latents, domain)[:, None])) for domain in "ab"]
        return torch.cat(rows, 1)

    @torch.no_grad()
    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Both directions on held-out pictures, as `Critic`."""
        return self.critic(run, {d: way(run.ema["coder"], d) for d in DIRECTIONS}, batches)

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        return too_few(steps * batch, 20_000, "UNIT")


def way(coder: nn.Module, direction: str) -> Way:
    """One direction, without noise."""

    def paint(pictures: Tensor) -> Tensor:
        made: Tensor = coder(pictures, direction[0], (direction[-1],))[1][0]
        return made

    return paint


def blended(coder: Coder, first: Tensor, first_domain: str, last: Tensor, last_domain: str, count: int) -> Tensor:
    """Latents, `count` of them, on the straight line between those of two pictures 1 x 3 x H x W of one size."""
    begin, end = coder.encode(first, first_domain), coder.encode(last, last_domain)
    shares = torch.linspace(0, 1, count, device=first.device).view(-1, 1, 1, 1)
    return torch.lerp(begin, end, shares)


class Translator(WholeTranslator):
    """Trained autoencoders at work; between pictures they blend in the latent space that the domains share."""

    def __init__(self, coder: Coder, side: int, device: torch.device | str = "cpu") -> None:
        ready(coder, device)
        super().__init__({d: way(coder, d) for d in DIRECTIONS}, coder.parts, side, device)
        self.coder = coder

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """As `sfumato.models.translator.Translator.load`."""
        model = load_model(source, "unit")
        config = config_from(Config, model.config)
        coder = Coder(config)
        model.fill({"coder": coder})
        return cls(coder, config.resolution, device)

    @torch.no_grad()
    def interpolate(
        self, first: Tensor, last: Tensor, *, domains: tuple[str, str] = ("a", "b"), decoded: str = "b", count: int = 8
    ) -> Tensor:
        """From one picture to another through the shared latent space.

        Args:
            first, last: 1 x 3 x H x W in [0, 1], of one size.
            domains: of the two pictures, "a" or "b" each.
            decoded: the domain of the pictures that are made; the same call with the other one shows both.
            count: how many, both ends included.

        Returns:
            count x 3 x H x W in [0, 1] on the CPU.

        Raises:
            InputError: pictures of two sizes, an unknown domain.
        """
        if first.shape != last.shape or len(first) != 1:
            sizes = " and ".join(" x ".join(map(str, x.shape)) for x in (first, last))
            raise InputError(f"two single pictures of one size can be blended, not {sizes}")
        for domain in (*domains, decoded):
            if domain not in ("a", "b"):
                raise unknown("domain", domain, ("a", "b"))
        one, other = (whole_cells(x.to(self.device)) for x in (first, last))
        made = self.coder.decode(blended(self.coder, one, domains[0], other, domains[1], count), decoded)
        return made[:, :, : first.shape[2], : first.shape[3]].float().clamp(0, 1).cpu()
