"""CycleGAN: translation between two picture domains without pairs.

Zhu, Park, Isola & Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (ICCV
2017): a generator each way, a discriminator a domain, and there and back again must be where one came from. With
`mask` the generators also say where they paint (Chen et al. 2018; Mejjati et al. 2018), so that only an object changes.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.layers.patches import PatchJudge, check_patch_judge
from sfumato.layers.residual import Generator, Painted
from sfumato.models.adversaries import too_few
from sfumato.models.domain_style import DomainStyle
from sfumato.models.feature_judge import seeing
from sfumato.models.sampler import config_from
from sfumato.models.translating import (
    Critic,
    Pair,
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
    way,
)
from sfumato.models.translator import DIRECTIONS, Direction, WholeTranslator, ready
from sfumato.train.data import Pictures
from sfumato.train.run import Run
from sfumato.weights.files import load_model

RANGES: dict[str, tuple[float, float]] = {
    "resolution": (8, 4096),
    "channels": (1, 1024),
    "blocks": (0, 64),
    "judge_channels": (1, 1024),
    "judge_layers": (1, 6),
    "cycle_weight": (0, 1e6),
    "identity_weight": (0, 1e6),
    "simplify": (0, 1),
    "mask_weight": (0, 1e6),
    "style_weight": (0, 1e6),
    "pool_size": (0, 10_000),
    "learning_rate": (1e-7, 1),
    "judge_rate": (1e-7, 1),
    "momentum": (0, 0.999),
}


@dataclass(frozen=True)
class Config:
    """Sizes and weights; the defaults are those of the paper's section 4 and appendix."""

    resolution: int = 256
    """Side in pixels of the crops, a multiple of 4."""
    channels: int = 64
    """Of the generators' first layer; four times as many in the residual blocks."""
    blocks: int = 9
    """Residual blocks: 6 for 128 px, 9 from 256 px."""
    upsampling: Literal["transposed", "bilinear", "nearest"] = "transposed"
    """How the generators double the sides: by transposed convolutions as in the official code, or enlarged first and
    then convolved, without checkerboards."""
    separable: bool = False
    """Residual blocks in two parts, every channel by itself and then all at a pixel: a light generator for CPUs."""
    onto: bool = False
    """Paint onto the picture: the generators begin as copies and learn a change of colours and the difference; few
    steps do, details stay."""
    simplify: float = 0.0
    """Texture that deviates by less (of 1) is taken off the picture that is painted onto, and its edges stay: with 0.1
    details are painted and not kept."""
    antialias: bool = False
    """Residual blocks that let nothing through which alternates from one position to the next: lattices on flat places
    are half as strong."""
    mask: bool = False
    """The generators say where they paint; elsewhere the picture stays."""
    mask_weight: float = 1.0
    """Weight of the mean of these masks: what need not change should not."""
    judge_channels: int = 64
    """Of the discriminators' first layer."""
    judge_layers: int = 3
    """Convolutions of stride 2 in the discriminators: 3 see patches of 70 x 70 pixels, 2 of 34 x 34."""
    feature_judge: str = ""
    """Trained network (`onepass`, `vgg-lite`, `vgg19`, a file) on whose features a second judge of each stands."""
    judge_whole: bool = False
    """That judge gives a crop one score a layer and not one a place: it sees the composition, and tells sooner."""
    cycle_weight: float = 10.0
    """Weight of there and back again."""
    identity_weight: float = 5.0
    """Weight of pictures that are of the wanted domain already; 0 lets the generators change the overall colours."""
    style_weight: float = 0.0
    """Weight of the gap between the domains' Gram matrices and covariances that translations leave."""
    style_features: str = "vgg19"
    """Network on whose features these are taken: `vgg19`, `vgg-lite`, `onepass` or a file."""
    pool_size: int = 50
    """Earlier fakes that the discriminators are shown."""
    augment: tuple[str, ...] = ()
    """What the discriminators see is augmented, for small sets: any of `color`, `translation`, `cutout`."""
    crop_scale: tuple[float, float] = (0.8, 1.0)
    """Side of a crop relative to the picture's short side."""
    flip: bool = True
    """Mirror half of the pictures."""
    learning_rate: float = 2e-4
    judge_rate: float = 2e-4
    """Learning rate of the discriminators."""
    momentum: float = 0.5
    """Adam's first decay rate."""
    features: str = "vgg19"
    """Network that judges translations while training: `vgg19`, `vgg-lite` or a file; nothing where empty."""


def generator(c: Config) -> Generator:
    return Generator(
        c.channels,
        c.blocks,
        upsampling=c.upsampling,
        separable=c.separable,
        mask=c.mask,
        onto=c.onto,
        simplify=c.simplify,
        antialias=c.antialias,
    )


class Method:
    """Training, equation 3 and section 4."""

    roles: ClassVar[tuple[str, ...]] = ("a", "b")
    players: ClassVar[tuple[str, str]] = ("generators", "judges")
    averaged: ClassVar[tuple[str, ...]] = DIRECTIONS

    def __init__(self, config: Config) -> None:
        check_resolution(config.resolution)
        check_onto(config.simplify, onto=config.onto)
        check_patch_judge(config.resolution, config.judge_layers)
        self.config = config
        self.resolution = config.resolution
        self.critic = Critic(config.features)
        self.style = DomainStyle(config.style_features) if config.style_weight > 0 else None

    def networks(self) -> dict[str, nn.Module]:
        c = self.config
        painters = {direction: generator(c) for direction in DIRECTIONS}
        judges = {f"judge_{domain}": PatchJudge(c.judge_channels, c.judge_layers) for domain in "ab"}
        return painters | {
            name: seeing(j, c.feature_judge, c.resolution, whole=c.judge_whole) for name, j in judges.items()
        }

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        c = self.config

        def adam(rate: float, *names: str) -> torch.optim.Optimizer:
            weights = [p for name in names for p in networks[name].parameters()]
            return torch.optim.Adam(weights, lr=rate, betas=(c.momentum, 0.999))

        return {"generators": adam(c.learning_rate, *DIRECTIONS), "judges": adam(c.judge_rate, "judge_a", "judge_b")}

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A crop of each domain, 3 x R x R."""
        return drawn(data, rng, self.resolution, self.config.crop_scale, flip=self.config.flip)

    def judged(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """The largest square of each."""
        return drawn(data, rng, self.resolution)

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The generators' turn on equation 3 and the identity loss, then the discriminators' with the pool."""
        c, net, real = self.config, run.networks, Pair(*batch)
        fake, same, mask = self.painted(net, real)

        seen = Pair(*(augmented(run, f"fake {k}", x, c.augment) for k, x in zip("ab", fake, strict=True)))
        adversarial = fooled(net["judge_a"](seen.a)) + fooled(net["judge_b"](seen.b))
        cycle = F.l1_loss(net["b_to_a"](fake.b)[0], real.a) + F.l1_loss(net["a_to_b"](fake.a)[0], real.b)
        losses = {"adversarial": adversarial, "cycle": cycle}
        total = adversarial + c.cycle_weight * cycle
        if same is not None:
            losses["identity"] = F.l1_loss(same.a, real.a) + F.l1_loss(same.b, real.b)
            total = total + c.identity_weight * losses["identity"]
        if self.style is not None:
            losses["style"] = self.style(run, real._asdict(), fake._asdict())
            total = total + c.style_weight * losses["style"]
        if mask is not None:
            losses["mask"] = mask.a.mean() + mask.b.mean()
            total = total + c.mask_weight * losses["mask"]
        run.minimize("generators", total)

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

    def painted(self, net: Mapping[str, nn.Module], real: Pair) -> tuple[Pair, Pair | None, Pair | None]:
        """Fakes; what became of pictures that are of the domain already; the fakes' masks. One batch a generator."""
        count, same = len(real.a), self.config.identity_weight > 0
        to_a: Painted = net["b_to_a"](torch.cat([real.b, real.a]) if same else real.b)
        to_b: Painted = net["a_to_b"](torch.cat([real.a, real.b]) if same else real.a)
        fake = Pair(to_a.picture[:count], to_b.picture[:count])
        kept = Pair(to_a.picture[count:], to_b.picture[count:]) if same else None
        if to_a.mask is None or to_b.mask is None:
            return fake, kept, None
        return fake, kept, Pair(to_a.mask[:count], to_b.mask[:count])

    @torch.no_grad()
    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """A row: a, as b (the mask), back again; then b, as a (the mask), back again."""
        columns = list[Tensor]()
        for pictures, (there, back) in zip(batch, (DIRECTIONS, DIRECTIONS[::-1]), strict=True):
            made: Painted = run.ema[there](pictures)
            masks = [] if made.mask is None else [made.mask]
            columns += [pictures, made.picture, *masks, run.ema[back](made.picture)[0]]
        return sheet(columns)

    @torch.no_grad()
    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Both directions on held-out pictures, as `Critic`."""
        return self.critic(run, {d: way(run.ema[d]) for d in DIRECTIONS}, batches)

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        return too_few(steps * batch, 20_000, "CycleGAN")


class Translator(WholeTranslator):
    """Trained generators at work; a file may hold one of the two."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """As `sfumato.models.translator.Translator.load`."""
        model = load_model(source, "cyclegan")
        config = config_from(Config, model.config)
        networks: dict[Direction, Generator] = {d: generator(config) for d in DIRECTIONS if d in model.tensors}
        if not networks:
            raise InputError(f"{model.name}: holds neither of the generators a_to_b and b_to_a")
        model.fill(networks)  # type: ignore[arg-type]
        ways = {d: way(ready(n, device)) for d, n in networks.items()}
        return cls(ways, lambda direction: networks[direction].parts(), config.resolution, device)
