"""BigGAN: classes, spectral norm, attention, and a piece of the noise for every size.

Brock, Donahue & Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (ICLR 2019), section 3
and appendices B and C. Batch normalisation is each process's own.
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sfumato.errors import InputError
from sfumato.losses.adversarial import OBJECTIVES
from sfumato.losses.orthogonal import orthogonal_penalty
from sfumato.models.adversaries import Judge, drawn, shown, told_apart, too_few
from sfumato.models.feature_judge import beside, heads_optimizer, teach
from sfumato.models.latent import Reader, Space
from sfumato.models.sampler import Code, load_generator, slerp, uniform
from sfumato.train.data import Pictures
from sfumato.train.labels import Numbers, classes_of, indices
from sfumato.train.run import Run

COLUMNS = 8
"""Pictures of a class on a preview."""
STANDING = 16
"""Batches from which the averaged generator's normalisation is measured."""


@dataclass(frozen=True)
class Config:
    """Sizes and weights of appendices B and C; the learning rates are for batches of 2048."""

    resolution: int = 128
    """Side in pixels: 4 doubled some times."""
    width: int = 96
    """Channels of the last size (ch)."""
    chunk: int = 20
    """Numbers of noise for the first layer, and for every doubling."""
    embedding: int = 128
    """Numbers of a class's code, which all layers share."""
    attention: int | None = None
    """Side in pixels where the attention is; half the resolution when left out, 0 leaves it out."""
    judge_steps: int = 2
    """Discriminator steps for each of the generator, which share the batch's pictures."""
    orthogonal: float = 1e-4
    """Weight of the generator's orthogonal regularisation (beta)."""
    conditional: bool = True
    """Learn classes: the pictures' sub-folders, or the column `label`."""
    label: str = ""
    """Column of labels.csv that names a picture's class."""
    classes: tuple[str, ...] = ()
    """Names of the classes; read from the data."""
    flip: bool = True
    """Mirror half of the pictures; not where left and right mean something."""
    learning_rate: float = 5e-5
    """Adam's step for the generator."""
    judge_rate: float = 2e-4
    """Adam's step for the discriminator."""
    feature_judge: str = ""
    """Trained feature network (`onepass`, `vgg-lite`, `vgg19`, a file) on which a second discriminator stands."""
    feature_weight: float = 1.0
    """Weight of the second discriminator."""
    features: str = "vgg19"
    """Network that judges the pictures while training: a name or a file; nothing where empty."""

    def doublings(self) -> int:
        """From 4 pixels to the resolution. Raises `InputError` where that cannot be."""
        if self.resolution < 8 or self.resolution.bit_count() > 1:
            raise InputError(f"biggan makes pictures of 8, 16, 32, 64, 128 ... pixels, not {self.resolution}")
        return self.resolution.bit_length() - 3

    def latent(self) -> int:
        """Numbers of noise in all."""
        return self.chunk * (self.doublings() + 1)

    def widths(self) -> list[int]:
        """Channels from 4 pixels on: tables 4 to 6 at 128, 256 and 512 pixels."""
        rows = {5: (16, 16, 8, 4, 2, 1), 6: (16, 16, 8, 8, 4, 2, 1), 7: (16, 16, 8, 8, 4, 2, 1, 1)}
        count = self.doublings()
        return [self.width * m for m in rows.get(count, rows[5])[: count + 1]]

    def judge_widths(self) -> list[int]:
        """Channels from half the resolution to 4 pixels, of the discriminator."""
        mirrored = self.widths()[:0:-1]
        return mirrored if self.doublings() >= 5 else [self.width << i for i in range(self.doublings())]

    def attended(self) -> int:
        """Doublings after which the attention comes; 0 for none."""
        side = self.resolution // 2 if self.attention is None else self.attention
        return max(0, side.bit_length() - 3) if side.bit_count() == 1 and side <= self.resolution else 0


RANGES: dict[str, tuple[float, float]] = {
    "resolution": (8, 512),
    "width": (1, 512),
    "chunk": (1, 512),
    "embedding": (1, 4096),
    "attention": (0, 256),
    "judge_steps": (1, 16),
    "orthogonal": (0, 1e3),
    "feature_weight": (0, 1e4),
    "learning_rate": (1e-9, 1),
    "judge_rate": (1e-9, 1),
}
"""Smallest and largest value of a field."""


def conv(inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> nn.Module:
    return spectral_norm(orthogonal(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)), eps=1e-6)


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Module:
    return spectral_norm(orthogonal(nn.Linear(inputs, outputs, bias=bias)), eps=1e-6)


def orthogonal(layer: nn.Module) -> nn.Module:
    """Saxe et al. 2014; appendix C."""
    nn.init.orthogonal_(cast(Tensor, layer.weight))
    if getattr(layer, "bias", None) is not None:
        nn.init.zeros_(cast(Tensor, layer.bias))
    return layer


class ConditionalNorm(nn.Module):
    """Batch normalisation whose gain and bias are read from a code (de Vries et al. 2017), the gain about 1."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.bias = linear(code, channels, bias=False), linear(code, channels, bias=False)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return torch.addcmul(self.bias(code)[:, :, None, None], self.norm(x), 1 + self.gain(code)[:, :, None, None])


class Attention(nn.Module):
    """Zhang et al. 2019, "Self-Attention GAN", equations 1 to 3; keys and values are pooled 2 x 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = max(1, channels // 8), max(1, channels // 2)
        self.queries, self.keys = (conv(channels, narrow, 1, bias=False) for _ in range(2))
        self.values, self.back = conv(channels, half, 1, bias=False), conv(half, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        queries = self.queries(x).flatten(2)
        keys, values = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.keys, self.values))
        weights = torch.einsum("ncq,nck->nqk", queries, keys).softmax(2)
        read = torch.einsum("nqk,nck->ncq", weights, values).view(len(x), -1, *x.shape[2:])
        whole: Tensor = x + self.gain * self.back(read)
        return whole


class GeneratorBlock(nn.Module):
    """Figure 15 b: twice the sides."""

    def __init__(self, inputs: int, outputs: int, code: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ConditionalNorm(inputs, code), ConditionalNorm(outputs, code)
        self.conv1, self.conv2 = conv(inputs, outputs, 3), conv(outputs, outputs, 3)
        self.skip = conv(inputs, outputs, 1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y = self.conv1(F.interpolate(F.relu(self.norm1(x, code)), scale_factor=2.0))
        y = self.conv2(F.relu(self.norm2(y, code)))
        whole: Tensor = y + F.interpolate(self.skip(x), scale_factor=2.0)  # 1 x 1 goes with nearest neighbours
        return whole


class Generator(nn.Module):
    """Noise N x latent and classes N to N x 3 x R x R in [0, 1]; figure 15 a."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        widths, self.chunk, self.attended = c.widths(), c.chunk, c.attended()
        code = c.chunk + (c.embedding if c.classes else 0)
        if c.classes:
            self.shared = orthogonal(nn.Embedding(len(c.classes), c.embedding))
        self.first = linear(c.chunk, 16 * widths[0])
        pairs = pairwise(widths)
        self.blocks = nn.ModuleList([GeneratorBlock(a, b, code) for a, b in pairs])
        if self.attended:
            self.attention = Attention(widths[self.attended])
        self.last = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU(), conv(widths[-1], 3, 3), nn.Tanh())

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        return self.paint(noise, self.shared(label) if hasattr(self, "shared") else noise[:, :0])

    def paint(self, noise: Tensor, shared: Tensor) -> Tensor:
        """With the class's code N x embedding (N x 0 without classes), which may lie between two classes'.

        Or N x blocks x embedding: a code for every block.
        """
        first, *chunks = torch.split(noise, self.chunk, 1)
        own = shared.unbind(1) if shared.dim() == 3 else [shared] * len(chunks)
        x = self.first(first).view(len(noise), -1, 4, 4)
        for i, (block, chunk) in enumerate(zip(self.blocks, chunks, strict=True), 1):
            x = block(x, torch.cat([own[i - 1], chunk], 1))
            if i == self.attended:
                x = self.attention(x)
        made: Tensor = (self.last(x) + 1) / 2
        return made


class DiscriminatorBlock(nn.Module):
    """Figure 15 c: half the sides; the last one keeps them, the first one has no ReLU before it."""

    def __init__(self, inputs: int, outputs: int, *, first: bool = False, last: bool = False) -> None:
        super().__init__()
        self.first, self.last = first, last
        self.conv1, self.conv2 = conv(inputs, outputs, 3), conv(outputs, outputs, 3)
        self.skip = nn.Identity() if last and inputs == outputs else conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.last:
            return cast(Tensor, y + self.skip(x))
        return cast(Tensor, F.avg_pool2d(y, 2) + self.skip(F.avg_pool2d(x, 2)))


class Discriminator(nn.Module):
    """Pictures N x 3 x R x R in [0, 1] and classes N to N scores, the class by projection (Miyato & Koyama 2018)."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        widths, top = c.judge_widths(), c.width * 16
        self.attended = c.doublings() - c.attended() if c.attended() else 0
        pairs = list(zip([3, *widths[:-1]], widths, strict=True))
        self.blocks = nn.ModuleList([DiscriminatorBlock(a, b, first=a == 3) for a, b in pairs])
        self.blocks.append(DiscriminatorBlock(widths[-1], top, last=True))
        if self.attended:
            self.attention = Attention(widths[self.attended - 1])
        self.score = linear(top, 1)
        if c.classes:
            self.classes = spectral_norm(orthogonal(nn.Embedding(len(c.classes), top)), eps=1e-6)

    def forward(self, pictures: Tensor, label: Tensor | None = None) -> Tensor:
        x = pictures * 2 - 1
        for i, block in enumerate(self.blocks, 1):
            x = block(x)
            if i == self.attended:
                x = self.attention(x)
        x = F.relu(x).sum((2, 3))
        scores: Tensor = self.score(x)[:, 0]
        return scores + (self.classes(label) * x).sum(1) if hasattr(self, "classes") else scores


@torch.no_grad()
def settle(generator: nn.Module, batches: Iterator[tuple[Tensor, Tensor | None]]) -> None:
    """Standing statistics (section 3.1): normalisation measured anew over batches of noise and classes.

    Those gathered in training are those of older weights, and not of averaged ones.
    """
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean
        norm.train()
    for noise, label in batches:
        generator(noise, label)
    for norm in norms:
        norm.momentum = 0.1
        norm.eval()


class Method:
    """Training: hinge objective, several discriminator steps, orthogonal regularisation."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    players: ClassVar[tuple[str, str]] = ("generator", "discriminator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: Config) -> None:
        config.doublings()
        self.config, self.resolution = config, config.resolution
        self.judge, self.numbers = Judge(config.features), Numbers(config.classes, config.label)

    def fitted(self, data: Mapping[str, Pictures]) -> "Method":
        """With the classes that the data have."""
        c = self.config
        if c.classes:
            indices(data["data"], c.classes, c.label)
        elif c.conditional or c.label:
            return Method(dataclasses.replace(c, classes=classes_of(data["data"], c.label)))
        return self

    def networks(self) -> dict[str, nn.Module]:
        c = self.config
        players = {"generator": Generator(c), "discriminator": Discriminator(c)}
        return players | beside(c.feature_judge, (c.resolution, c.resolution), (len(c.classes),) * bool(c.classes))

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        rates = {"generator": self.config.learning_rate, "discriminator": self.config.judge_rate}
        players = {k: torch.optim.Adam(networks[k].parameters(), lr=r, betas=(0.0, 0.999)) for k, r in rates.items()}
        return players | heads_optimizer(networks)

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A picture, its largest square, and with classes its class's number."""
        c = self.config
        picture, index = drawn(data, rng, resolution=c.resolution, channels=3, flip=c.flip)
        return (picture, torch.tensor(self.numbers(data["data"], index))) if c.classes else (picture,)

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        c, generator, judge = self.config, run.networks["generator"], run.networks["discriminator"]
        objective, logs = OBJECTIVES["hinge"], dict[str, Tensor]()
        parts = [p for p in zip(*(t.tensor_split(c.judge_steps) for t in batch), strict=True) if len(p[0])]
        for i, (real, *label) in enumerate(parts):
            with torch.no_grad():
                made = generator(self.noise(run, f"judged {i}", len(real)), *label)
            of_real, of_made = judge(real, *label), judge(made, *label)
            logs["discriminator"] = objective.discriminator(of_real, of_made)
            logs["told apart"] = told_apart(of_real, of_made)
            run.minimize("discriminator", logs["discriminator"])

        real, *label = parts[0]
        made = generator(self.noise(run, "made", len(real)), *label)
        logs["generator"] = objective.generator(judge(made, *label))
        loss = logs["generator"]
        if c.orthogonal:
            loss = loss + c.orthogonal * orthogonal_penalty(regularised(generator))
        return logs | teach(run, real, made, loss, c.feature_weight, label[0] if label else None)

    def noise(self, run: Run, purpose: str, count: int) -> Tensor:
        return run.randn(purpose, count, self.config.latent())

    def settled(self, run: Run, batch: tuple[Tensor, ...]) -> nn.Module:
        """The averaged generator with standing statistics."""
        label = batch[1] if self.config.classes else None
        settle(run.ema["generator"], ((self.noise(run, f"settle {i}", len(batch[0])), label) for i in range(STANDING)))
        return run.ema["generator"]

    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """The same noises every time; a class a row, as far as they fit."""
        rows, label = COLUMNS, None
        if self.config.classes:
            rows = min(len(self.config.classes), COLUMNS)
            label = torch.arange(rows, device=run.device).repeat_interleave(COLUMNS)
        noise = self.noise(run, "preview", rows * COLUMNS)
        return shown(self.settled(run, batch)(noise, label), COLUMNS)

    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Distances to held-out pictures of the same classes on named features; the score is the Frechet distance."""
        generator = self.settled(run, batches[0])

        def make(i: int, count: int) -> Tensor:
            made: Tensor = generator(self.noise(run, f"judged {i}", count), *batches[i][1:])
            return made

        return self.judge(run.device, make, batches)

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        return too_few(steps * batch, 500_000, "BigGAN")


def regularised(generator: nn.Module) -> list[Tensor]:
    """The generator's matrices, but not its classes' codes (appendix C)."""
    return [p for name, p in generator.named_parameters() if p.dim() > 1 and not name.startswith("shared")]


class Sampler:
    """A trained generator at work; latents are the noise and the class's code beside it."""

    codes: tuple[Code, ...] = ()

    def __init__(self, config: Config, generator: Generator, device: torch.device | str = "cpu") -> None:
        self.config, self.device = config, device
        self.generator = generator.to(device).eval().requires_grad_(False)
        self.size, self.classes = (config.resolution, config.resolution), config.classes

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """From a bundled model's name, a file of weights or the folder of a run. Raises as `load_model`."""
        config, generator = load_generator(source, "biggan", Config, Generator)
        return cls(config, generator, device)

    def draw(self, seeds: Sequence[int], *, truncation: float = 1.0, label: int | None = None) -> Tensor:
        """N x (latent + embedding). Below 1 the noise is drawn within 2 `truncation` (section 3.1), 0 is its middle."""
        chance = uniform(seeds, self.config.latent()).double().clamp(2**-24, 1 - 2**-24)
        if truncation < 1:
            low = torch.special.ndtr(torch.tensor(-2.0 * truncation, dtype=torch.float64))
            chance = low + (1 - 2 * low) * chance
        noise: Tensor = torch.special.ndtri(chance).float()
        if not self.classes:
            return noise
        own = (uniform(seeds, purpose="label") * len(self.classes)).long()
        numbers = own if label is None else torch.full_like(own, label)
        return torch.cat([noise, self.generator.shared(numbers.to(self.device)).cpu()], 1)

    def blend(self, first: Tensor, last: Tensor, share: float) -> Tensor:
        """Noise along the sphere, classes straight."""
        size = self.config.latent()
        noise = slerp(first[:, :size], last[:, :size], share)
        return torch.cat([noise, torch.lerp(first[:, size:], last[:, size:], share)], 1)

    def turn(self, latents: Tensor, code: str, value: float) -> Tensor:
        """There are no codes. Raises `InputError`."""
        raise InputError(f"this model has no code {code!r} to set to {value:g} for {len(latents)} pictures")

    def paint(self, latents: Tensor) -> Tensor:
        """N x 3 x R x R in [0, 1] on the CPU."""
        size = self.config.latent()
        x = latents.to(self.device)
        made: Tensor = self.generator.paint(x[:, :size], x[:, size:])
        return made.cpu()

    def space(self) -> Space:
        """A layer's code is its chunk of the noise and the class's code, so that each may have a class of its own."""
        c, layers = self.config, self.config.doublings() + 1
        embedding = c.embedding if c.classes else 0

        def painted(network: nn.Module, codes: Tensor) -> Tensor:
            noise, shared = codes[..., : c.chunk].flatten(1), codes[:, 1:, c.chunk :]
            return cast(Generator, network).paint(noise, shared)

        def drawn_codes(seeds: Sequence[int], label: int | None) -> Tensor:
            latents = self.draw(seeds, label=label)
            noise, shared = latents[:, : c.latent()].view(-1, layers, c.chunk), latents[:, None, c.latent() :]
            return torch.cat([noise, shared.expand(-1, layers, -1)], 2)

        def matrix(network: nn.Module, name: str) -> Tensor:
            """Its columns in the order of the code: a block's input is the class's code, then the chunk."""
            weight = cast(Tensor, network.get_submodule(name).weight)
            if name == "first":
                return F.pad(weight, (0, embedding))
            return torch.cat([weight[:, embedding:], weight[:, :embedding]], 1)

        names = [("first", 0)]
        for i in range(layers - 1):
            names += [(f"blocks.{i}.{norm}.{part}", i + 1) for norm in ("norm1", "norm2") for part in ("gain", "bias")]
        readers = tuple(
            Reader(name, layer, partial(matrix, name=name), styles=name.endswith("gain")) for name, layer in names
        )
        return Space(
            "biggan", layers, c.chunk + embedding, self.size, self.generator, torch.device(self.device), painted,
            drawn_codes, readers, self.classes, tied=False,
        )  # fmt: skip
