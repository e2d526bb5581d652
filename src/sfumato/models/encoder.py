"""An encoder of pictures into a trained generator's codes, in one pass and where the codes can be edited.

Tov, Alaluf, Nitzan, Patashnik & Cohen-Or, "Designing an Encoder for StyleGAN Image Manipulation" (e4e, SIGGRAPH 2021):
one code and small differences from it for the layers, which are let in one after another (section 5.2.1, "progressive
training"), a penalty on the differences (equation 3) and a discriminator of codes (equation 2). The feature pyramid of
the paper is a plain network here, as the generators are small. With `feature_judge` what is painted must pass for real
too (Zhu, Shen, Zhao & Zhou, "In-Domain GAN Inversion for Real Image Editing", ECCV 2020, equations 2 and 3):
distances alone are content with a blur.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.features.sources import load_features
from sfumato.losses.adversarial import bce_discriminator, bce_generator, r1_penalty
from sfumato.metrics.perceptual_path_length import perceptual_distance
from sfumato.models.adversaries import shown
from sfumato.models.feature_judge import beside, heads_optimizer, teach
from sfumato.models.latent import Space
from sfumato.models.registry import FAMILIES, family
from sfumato.models.sampler import config_from
from sfumato.train.data import Pictures, crop
from sfumato.train.run import Run
from sfumato.weights.files import load_model

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
"""Of the features that compare pictures."""
DRAWN = 1024
"""Codes whose mean and deviation the encoder's outputs are measured in."""
SHOWN = 8


@dataclass(frozen=True)
class Config:
    """Sizes and weights."""

    generator: str = ""
    """The generator: a bundled model's name, a file of weights or a training run."""
    generator_sha256: str = ""
    """Of its file; filled in."""
    layers: int = 0
    """Of the generator's codes; filled in."""
    code: int = 0
    """Numbers of a code; filled in."""
    size: tuple[int, int] = (0, 0)
    """Height and width of its pictures; filled in."""
    tied: bool = True
    """Whether one drawn code serves all layers; filled in."""
    channels: int = 24
    """Of the first layer; doubled with every halving, up to 8 times as many."""
    pixels: float = 1.0
    """Weight of the pixels' mean square."""
    perceptual: float = 0.3
    """Weight of the features' distance."""
    codes: float = 0.1
    """Weight of the distance to the codes of pictures that the generator made, half of every batch."""
    delta: float = 0.002
    """Weight of the layers' differences from their common code (equation 3)."""
    adversarial: float = 0.05
    """Weight of the discriminator of codes (equation 2)."""
    feature_judge: str = ""
    """Trained feature network (`onepass`, `vgg-lite`, a file) on which a discriminator of the pictures stands."""
    feature_weight: float = 0.03
    """Weight of this discriminator."""
    first: float = 0.2
    """Share of the run after which the layers' differences begin to be let in ..."""
    last: float = 0.6
    """... and that after which all are."""
    flip: bool = True
    """Mirror half of the pictures; not where left and right mean something."""
    features: str = "vgg-lite"
    """Network that compares pictures: a name or a file; pixels alone where empty."""
    learning_rate: float = 1e-3
    judge_rate: float = 2e-4


RANGES: dict[str, tuple[float, float]] = {
    "channels": (1, 512),
    "pixels": (0, 1e6),
    "perceptual": (0, 1e6),
    "codes": (0, 1e6),
    "delta": (0, 1e6),
    "adversarial": (0, 1e6),
    "feature_weight": (0, 1e4),
    "first": (0, 1),
    "last": (0, 1),
    "learning_rate": (1e-9, 1),
    "judge_rate": (1e-9, 1),
}


class Encoder(nn.Module):
    """Pictures N x 3 x H x W in [0, 1] to codes N x layers x code."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, c: Config) -> None:
        super().__init__()
        side, width, layers = min(c.size), c.channels, list[nn.Module]()
        layers += [nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.2)]
        while side > 4:
            wider = min(2 * width, 8 * c.channels)
            layers += [nn.Conv2d(width, wider, 3, 2, 1), nn.GroupNorm(1, wider), nn.LeakyReLU(0.2)]
            layers += [nn.Conv2d(wider, wider, 3, padding=1), nn.LeakyReLU(0.2)]
            width, side = wider, (side + 1) // 2
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * width, 8 * c.channels))
        self.common = nn.Linear(8 * c.channels, c.code)
        self.differences = nn.Linear(8 * c.channels, c.layers * c.code)
        nn.init.zeros_(self.differences.weight)
        nn.init.zeros_(self.differences.bias)
        self.register_buffer("mean", torch.zeros(c.layers, c.code))
        self.register_buffer("deviation", torch.ones(()))

    def forward(self, pictures: Tensor, let_in: int | None = None) -> Tensor:
        """Layers from `let_in` on have the common code; all have their own without it."""
        return self.mean + self.deviation * torch.add(*self.parts(pictures, let_in))

    def parts(self, pictures: Tensor, let_in: int | None = None) -> tuple[Tensor, Tensor]:
        """The common code N x 1 x code and the layers' differences N x layers x code, in deviations from the mean."""
        seen = F.leaky_relu(self.body(pictures * 2 - 1), 0.2)
        differences = self.differences(seen).view(len(pictures), *self.mean.shape)
        layers = len(self.mean)
        allowed = torch.arange(layers, device=pictures.device) < (layers if let_in is None else let_in)
        return self.common(seen)[:, None], differences * allowed[:, None]


class CodeJudge(nn.Module):
    """Codes N x code, in deviations from their mean, to N scores; a network of four layers (section 5.2.2)."""

    def __init__(self, code: int) -> None:
        super().__init__()
        width = max(32, code)
        hidden = [m for k in range(3) for m in (nn.Linear(width if k else code, width), nn.LeakyReLU(0.2))]
        self.body = nn.Sequential(*hidden, nn.Linear(width, 1))

    def forward(self, codes: Tensor) -> Tensor:
        scores: Tensor = self.body(codes)[:, 0]
        return scores


class Method:
    """Training on real pictures and on the generator's own, whose codes are known."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    averaged: ClassVar[tuple[str, ...]] = ("encoder",)

    def __init__(self, config: Config) -> None:
        self.config, self.resolution = config, max(config.size)
        self._space: Space | None = None
        self._features: FeatureNetwork | None = None

    def fitted(self, data: Mapping[str, Pictures]) -> "Method":  # noqa: ARG002
        """With the generator's sizes. Raises `InputError` where none is given, or its file has changed."""
        c = self.config
        if not c.generator:
            raise InputError("say which generator's codes to learn: --generator, a model's name, file or training run")
        space, sha256 = open_space(c.generator)
        if c.generator_sha256 and c.generator_sha256 != sha256:
            raise InputError(f"{c.generator}: not the generator that this encoder is for, its file has changed")
        made = Method(
            dataclasses.replace(
                c,
                generator_sha256=sha256,
                layers=space.layers,
                code=space.width,
                size=(space.size[0], space.size[1]),
                tied=space.tied,
            )
        )
        made._space = space
        return made

    def networks(self) -> dict[str, nn.Module]:
        encoder, codes = Encoder(self.config), self.space(torch.device("cpu")).draw(range(DRAWN))
        encoder.mean.copy_(codes.mean(0))
        encoder.deviation.copy_((codes - encoder.mean).square().mean().sqrt().clamp_min(1e-6))
        judges = {"judge": CodeJudge(self.config.code), **beside(self.config.feature_judge, self.config.size)}
        return {"encoder": encoder, **judges}

    def space(self, device: torch.device) -> Space:
        """The generator, loaded when first needed."""
        if self._space is None or self._space.device != device:
            self._space, _ = open_space(self.config.generator, device)
        return self._space

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        c = self.config
        rates = {"encoder": c.learning_rate, "judge": c.judge_rate}
        found = {k: torch.optim.Adam(networks[k].parameters(), lr=r, betas=(0.9, 0.99)) for k, r in rates.items()}
        return found | heads_optimizer(networks)

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A picture at the generator's size, and a seed for one that it makes."""
        pictures, c = data["data"], self.config
        picture = crop(pictures[pictures.draw(rng)], rng, size=c.size, scale=(1.0, 1.0), flip=c.flip)
        return picture, torch.tensor(int(rng.integers(2**31 - 1)))

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The encoder's turn, then the judge's of codes."""
        c, space = self.config, self.space(run.device)
        encoder, judge = cast(Encoder, run.networks["encoder"]), run.networks["judge"]
        real, seeds = batch
        known = space.draw(seeds.tolist()).to(run.device)
        with torch.no_grad():
            made = space.paint(known).clamp(0, 1)
        half = len(real) // 2
        wanted = torch.cat([real[: len(real) - half], made[:half]])
        common, differences = encoder.parts(wanted, self.let_in(run))
        whole = common + differences
        painted = space.paint(encoder.mean + encoder.deviation * whole)
        losses = {"pixels": (painted - wanted).square().mean()}
        loss = c.pixels * losses["pixels"]
        if c.features and c.perceptual:
            losses["perceptual"] = self.seen(painted, wanted)
            loss = loss + c.perceptual * losses["perceptual"]
        if half and c.codes:
            aimed = (known[:half] - encoder.mean) / encoder.deviation
            losses["codes"] = (whole[-half:] - aimed).square().mean()
            loss = loss + c.codes * losses["codes"]
        losses["delta"] = differences.square().mean()
        loss = loss + c.delta * losses["delta"]
        drawn = ((known - encoder.mean) / encoder.deviation)[:, 0]
        if c.adversarial and c.tied:
            losses["codes like drawn"] = bce_generator(judge(whole.flatten(0, 1)))
            loss = loss + c.adversarial * losses["codes like drawn"]
        losses |= teach(
            run, real[: len(real) - half], painted[: len(real) - half], loss, c.feature_weight, player="encoder"
        )
        if c.adversarial and c.tied:
            drawn = drawn.requires_grad_()
            of_drawn, of_found = judge(drawn), judge(whole.detach().flatten(0, 1))
            losses["judge"] = bce_discriminator(of_drawn, of_found) + 5 * r1_penalty(of_drawn, drawn)
            run.minimize("judge", losses["judge"])
        return losses

    def let_in(self, run: Run) -> int:
        """Layers whose differences are let in by now."""
        c = self.config
        share = (run.progress - c.first) / max(1e-6, c.last - c.first)
        return min(c.layers, max(0, 1 + int(share * c.layers)) if share > 0 else 0)

    def seen(self, made: Tensor, wanted: Tensor) -> Tensor:
        """Mean distance of features."""
        if self._features is None:
            self._features = load_features(self.config.features).to(made.device)
        layers = [k for k in LAYERS if k in self._features.layers]
        with torch.no_grad():
            aim = list(self._features(wanted, layers).values())
        return perceptual_distance(list(self._features(made, layers).values()), aim).mean().to(made.dtype)

    @torch.no_grad()
    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """Real pictures above what comes of their codes."""
        real = batch[0][:SHOWN]
        made = self.space(run.device).paint(run.ema["encoder"](real))
        return shown(torch.cat([real, made]), len(real))

    @torch.no_grad()
    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Mean square and features' distance on held-out pictures, as in training; PSNR."""
        c, space, totals = self.config, self.space(run.device), list[Tensor]()
        for real, *_ in batches:
            made = space.paint(run.ema["encoder"](real)).clamp(0, 1)
            square = (made - real).square().mean((1, 2, 3))
            seen = self.seen(made, real) if c.features else torch.zeros((), device=real.device)
            totals.append(torch.stack([square.mean(), seen, (-10 * square.clamp_min(1e-10).log10()).mean()]))
        pixels, seen, psnr = torch.stack(totals).mean(0).tolist()
        return {"score": c.pixels * pixels + c.perceptual * seen, "PSNR": psnr, "perceptual": seen}

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        return None if steps * batch >= 20_000 else f"{steps * batch:,} pictures are few for an encoder: 20,000 or more"


class Trained:
    """A trained encoder at work."""

    def __init__(self, config: Config, network: Encoder, name: str, sha256: str, device: torch.device) -> None:
        self.config, self.name, self.sha256, self.device = config, name, sha256, device
        self.network = network.to(device).eval().requires_grad_(False)

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """From a file of weights or the folder of a run. Raises as `load_model`."""
        model = load_model(source, "encoder")
        network = Encoder(config_from(Config, model.config))
        model.fill({"encoder": network})
        return cls(config_from(Config, model.config), network, model.name, model.sha256, torch.device(device))

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Codes N x layers x code on the CPU of pictures N x 3 x H x W in [0, 1] at the generator's size."""
        codes: Tensor = self.network(pictures.to(self.device)).cpu()
        return codes


def open_space(source: str | os.PathLike[str], device: torch.device | str = "cpu") -> tuple[Space, str]:
    """A generator's codes and pictures, and its file's sha256.

    Raises `InputError` as `load_model`, and for a model that makes no pictures of codes.
    """
    model = load_model(source)
    sampler = getattr(family(model.family), "Sampler", None) if model.family in FAMILIES else None
    if not hasattr(sampler, "space"):
        raise InputError(
            f"{model.name}: a {model.family} model makes no pictures of codes, so it cannot be edited with"
        )
    space: Space = sampler.load(source, device).space()  # type: ignore[union-attr]
    return space, model.sha256
