"""CUT: translation without pairs in one direction, held to the picture by contrast between patches.

Park, Efros, Zhang & Zhu, "Contrastive Learning for Unpaired Image-to-Image Translation" (ECCV 2020): a place of the
translation should be told, by the generator's own encoder, from all places of the picture but the one it was made of.
One generator and one discriminator: half of CycleGAN's work a step.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.layers.patches import PatchJudge, check_patch_judge
from sfumato.layers.residual import Generator
from sfumato.losses.contrast import patch_contrast
from sfumato.models.adversaries import too_few
from sfumato.models.domain_style import DomainStyle
from sfumato.models.feature_judge import seeing
from sfumato.models.sampler import config_from
from sfumato.models.translating import (
    Critic,
    at_once,
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
from sfumato.models.translator import WholeTranslator, ready
from sfumato.train.data import Pictures
from sfumato.train.run import Run
from sfumato.weights.files import load_model

DEEPEST = 5
"""The residual block whose activations are compared last."""
RANGES: dict[str, tuple[float, float]] = {
    "resolution": (8, 4096),
    "channels": (1, 1024),
    "blocks": (1, 64),
    "judge_channels": (1, 1024),
    "judge_layers": (1, 6),
    "patches": (2, 65536),
    "code": (1, 4096),
    "temperature": (1e-3, 100),
    "adversarial_weight": (0, 1e6),
    "contrast_weight": (0, 1e6),
    "identity_weight": (0, 1e6),
    "style_weight": (0, 1e6),
    "simplify": (0, 1),
    "pool_size": (0, 10_000),
    "learning_rate": (1e-7, 1),
    "judge_rate": (1e-7, 1),
    "momentum": (0, 0.999),
}


@dataclass(frozen=True)
class Config:
    """Sizes and weights; the defaults are the paper's. FastCUT: contrast_weight 10, identity_weight 0."""

    resolution: int = 256
    """Side in pixels of the crops, a multiple of 4."""
    channels: int = 64
    """Of the generator's first layer; four times as many in the residual blocks."""
    blocks: int = 9
    """Residual blocks."""
    upsampling: Literal["transposed", "bilinear", "nearest"] = "bilinear"
    """How the generator doubles the sides: by transposed convolutions, or enlarged first and then convolved."""
    separable: bool = False
    """Residual blocks in two parts, every channel by itself and then all at a pixel: a light generator for CPUs."""
    antialias: bool = False
    """Residual blocks that let nothing through which alternates from one position to the next: lattices on flat places
    are half as strong."""
    onto: bool = False
    """Paint onto the picture: the generator begins as a copy and learns a change of colours and the difference; few
    steps do, details stay."""
    simplify: float = 0.0
    """Texture that deviates by less (of 1) is taken off the picture that is painted onto, and its edges stay: with 0.1
    details are painted and not kept."""
    judge_channels: int = 64
    """Of the discriminator's first layer."""
    judge_layers: int = 3
    """Convolutions of stride 2 in the discriminator: 3 see patches of 70 x 70 pixels, 2 of 34 x 34."""
    feature_judge: str = ""
    """Trained network (`onepass`, `vgg-lite`, `vgg19`, a file) on whose features a second discriminator stands."""
    judge_whole: bool = False
    """That judge gives a crop one score a layer and not one a place: it sees the composition, and tells sooner."""
    patches: int = 256
    """Places of a picture that are told from one another, a layer."""
    code: int = 256
    """Numbers that a place is described by."""
    temperature: float = 0.07
    """The smaller, the more the nearest wrong place counts."""
    adversarial_weight: float = 1.0
    """Weight of the adversarial loss."""
    contrast_weight: float = 0.5
    """Weight of the contrast between pictures and their translations (with the next one the mean of both, as in the
    authors' code)."""
    identity_weight: float = 0.5
    """Weight of the contrast between pictures of domain b and what the generator makes of them, which is themselves."""
    style_weight: float = 0.0
    """Weight of the gap between the domains' Gram matrices and covariances that translations leave."""
    style_features: str = "vgg19"
    """Network on whose features these are taken: `vgg19`, `vgg-lite`, `onepass` or a file."""
    pool_size: int = 0
    """Earlier fakes that the discriminator is shown."""
    augment: tuple[str, ...] = ()
    """What the discriminator sees is augmented, for small sets: any of `color`, `translation`, `cutout`."""
    crop_scale: tuple[float, float] = (0.8, 1.0)
    """Side of a crop relative to the picture's short side."""
    flip: bool = True
    """Mirror half of the pictures."""
    learning_rate: float = 2e-4
    judge_rate: float = 2e-4
    """Learning rate of the discriminator."""
    momentum: float = 0.5
    """Adam's first decay rate."""
    features: str = "vgg19"
    """Network that judges translations while training: `vgg19`, `vgg-lite` or a file; nothing where empty."""

    def taps(self) -> dict[str, int]:
        """{layer: channels} of what is compared: pixels, both reductions, the first and the fifth block."""
        n = self.channels
        last = min(DEEPEST, self.blocks)
        return {"pixels": 3, "down1": 2 * n, "down2": 4 * n, "block1": 4 * n, f"block{last}": 4 * n}


def generator(c: Config) -> Generator:
    return Generator(
        c.channels,
        c.blocks,
        upsampling=c.upsampling,
        separable=c.separable,
        onto=c.onto,
        simplify=c.simplify,
        antialias=c.antialias,
    )


class Heads(nn.Module):
    """A perceptron of two layers for every tap: activations of places to vectors of length 1."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.heads = nn.ModuleDict()
        for name, width in c.taps().items():
            self.heads[name] = nn.Sequential(nn.Linear(width, c.code), nn.ReLU(), nn.Linear(c.code, c.code))

    def forward(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{name: N x S x D} of {name: N x S x C}."""
        return {name: F.normalize(self.heads[name](x).float(), dim=2) for name, x in found.items()}


class Method:
    """Training, equation 6."""

    roles: ClassVar[tuple[str, ...]] = ("a", "b")
    players: ClassVar[tuple[str, str]] = ("generator", "judge")
    averaged: ClassVar[tuple[str, ...]] = ("a_to_b",)

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
        return {
            "a_to_b": generator(c),
            "heads": Heads(c),
            "judge": seeing(
                PatchJudge(c.judge_channels, c.judge_layers), c.feature_judge, c.resolution, whole=c.judge_whole
            ),
        }

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        c, betas = self.config, (self.config.momentum, 0.999)
        painter = [p for name in ("a_to_b", "heads") for p in networks[name].parameters()]
        return {
            "generator": torch.optim.Adam(painter, lr=c.learning_rate, betas=betas),
            "judge": torch.optim.Adam(networks["judge"].parameters(), lr=c.judge_rate, betas=betas),
        }

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A crop of each domain, 3 x R x R."""
        return drawn(data, rng, self.resolution, self.config.crop_scale, flip=self.config.flip)

    def judged(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """The largest square of each."""
        return drawn(data, rng, self.resolution)

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The generator's turn on equation 6, then the discriminator's."""
        c, net, (a, b) = self.config, run.networks, batch
        if c.identity_weight > 0:
            fake, same = at_once(way(net["a_to_b"]), a, b)
        else:
            fake, same = way(net["a_to_b"])(a), None
        adversarial = fooled(net["judge"](augmented(run, "fake", fake, c.augment)))
        losses = {"adversarial": adversarial, "contrast": self.contrast(run, "a", a, fake)}
        total = c.adversarial_weight * adversarial + c.contrast_weight * losses["contrast"]
        if same is not None:
            losses["identity"] = self.contrast(run, "b", b, same)
            total = total + c.identity_weight * losses["identity"]
        if self.style is not None:
            losses["style"] = self.style(run, {"a": a, "b": b}, {"b": fake})
            total = total + c.style_weight * losses["style"]
        run.minimize("generator", total)

        shown = from_pool(run, "b", fake, c.pool_size)
        pictures = (augmented(run, "real", b, c.augment), augmented(run, "shown", shown, c.augment))
        scores = judged(run, "judge", *pictures)
        doubts = doubted(*scores)
        run.minimize("judge", doubts)
        return {**losses, "judge": doubts, "told apart": right(*scores)}

    def contrast(self, run: Run, purpose: str, given: Tensor, made: Tensor) -> Tensor:
        """PatchNCE between pictures and what was made of them, mean over the taps: equations 4 and 5."""
        painter, heads, taps = run.networks["a_to_b"], run.networks["heads"], self.config.taps()
        assert isinstance(painter, Generator)
        with run.autocast():
            with torch.no_grad():
                before = painter.seen(given, taps)
            after = painter.seen(made, taps)
        places = {k: self.places(run, f"{purpose} {k}", x) for k, x in before.items()}
        with torch.no_grad():
            keys: dict[str, Tensor] = heads({k: at(x, places[k]) for k, x in before.items()})
        queries: dict[str, Tensor] = heads({k: at(x, places[k]) for k, x in after.items()})
        found = [patch_contrast(queries[k].float(), keys[k].float(), self.config.temperature) for k in places]
        return torch.stack(found).mean()

    def places(self, run: Run, purpose: str, x: Tensor) -> Tensor:
        """Positions of N x C x h x w that are looked at, N x S, every picture its own."""
        positions = x.shape[2] * x.shape[3]
        chance = run.rand(f"places {purpose}", len(x), positions)
        return chance.topk(min(self.config.patches, positions), dim=1).indices

    @torch.no_grad()
    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """A row: a, as b; b, what becomes of it."""
        paint = way(run.ema["a_to_b"])
        return sheet([x for pictures in batch for x in (pictures, paint(pictures))])

    @torch.no_grad()
    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Held-out pictures, as `Critic`."""
        return self.critic(run, {"a_to_b": way(run.ema["a_to_b"])}, batches)

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        return too_few(steps * batch, 20_000, "CUT")


def at(x: Tensor, places: Tensor) -> Tensor:
    """N x S x C: what N x C x h x w has at the positions N x S."""
    flat = x.flatten(2).mT
    return flat.gather(1, places[:, :, None].expand(-1, -1, flat.shape[2]))


class Translator(WholeTranslator):
    """A trained generator at work, from a to b."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """As `sfumato.models.translator.Translator.load`."""
        model = load_model(source, "cut")
        config = config_from(Config, model.config)
        network = generator(config)
        model.fill({"a_to_b": network})
        return cls({"a_to_b": way(ready(network, device))}, lambda _: network.parts(), config.resolution, device)
