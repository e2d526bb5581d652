"""StyleGAN2 with adaptive augmentation: codes steer every layer, and small sets are not learnt by heart.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN" (CVPR), and "Training Generative
Adversarial Networks with Limited Data" (NeurIPS); style mixing and truncation are those of Karras et al. 2019. The
networks are in `stylegan2_networks`.
"""

import dataclasses
import os
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError, unknown
from sfumato.losses.adversarial import bce_discriminator, bce_generator, r1_penalty
from sfumato.losses.path_length import DECAY, path_length_penalty, path_lengths
from sfumato.models.adversaries import Judge, shown, told_apart
from sfumato.models.feature_judge import beside, heads_optimizer, teach
from sfumato.models.latent import Reader, Space
from sfumato.models.sampler import Code, config_from, normal, uniform
from sfumato.models.stylegan2_networks import Discriminator, Mapping, Synthesis
from sfumato.train import ada, augment
from sfumato.train.attributes import Attributes, attribute_classes, sizes, spans
from sfumato.train.data import Pictures, crop
from sfumato.train.run import Run
from sfumato.weights.files import load_model

SHOWN = 32
"""Pictures on a preview."""
CLASS_EVERY = 4
"""Steps from one use of `class_weight` to the next, each as many times stronger."""
CLASS_FROM = 0.5
"""Share of the run from which it is used: at first a class moves all there is, and held back then it is not learnt."""
CLASS_CELL = 8
"""Pixels a side over which pictures of two classes are averaged before they are compared."""
CLASS_MOST = 0.15
"""Distance of colours, RGB in [0, 1], past which a place counts as what the class is about, and is left alone."""
FEATURE_RATE = 0.4
"""Learning rate of the feature judge's heads, next to that of the others: they win early enough."""


@dataclass(frozen=True)
class Config:
    """Sizes and weights; the defaults are those of the authors' `auto` settings at 128 pixels."""

    resolution: int = 128
    """Short side in pixels: that of `start`, doubled several times."""
    start: tuple[int, int] = (4, 4)
    """Height and width of the learnt constant; 4 x 6 makes oblong pictures, 2 to 3."""
    code: int = 512
    """Numbers of z and of w."""
    mapping_layers: int = 2
    """Layers from z to w; 8 in the first paper."""
    channel_base: int = 16384
    """A layer at the size S has this over S channels (S = 4, 8, 16, ...) ..."""
    channel_max: int = 512
    """... but no more than this."""
    clamp: float = 0.0
    """Largest value that a layer of the generator gives, either sign (the authors' models: 256); 0 leaves all."""
    mixing: float = 0.9
    """Chance of a picture to have two codes, the second from a random layer on."""
    r1: float | None = None
    """Weight of the discriminator's gradient (gamma); left out it is 0.0002 times the pixels over the batch."""
    r1_every: int = 16
    """Steps from one use of it to the next, each as many times stronger."""
    path_weight: float = 2.0
    """Weight of the path lengths' distance from their mean; 0 leaves it out."""
    path_every: int = 4
    """Steps from one use of it to the next, each as many times stronger."""
    augmentation: Literal["ada", "diff", "none"] = "ada"
    """What the discriminator sees: adaptively augmented pictures, DiffAugment's, or the pictures themselves."""
    augmentations: tuple[str, ...] = ("blit", "geometry", "color")
    """Kinds of adaptive augmentation."""
    ada_target: float = 0.6
    """Mean sign of real pictures' scores that it holds."""
    ada_pictures: float = 500_000
    """Real pictures in which its probability can go from 0 to 1."""
    feature_judge: str = ""
    """Trained feature network (`onepass`, `vgg-lite`, `vgg19`, a file) on which a second discriminator stands."""
    feature_weight: float = 1.0
    """Weight of the second discriminator."""
    class_weight: float = 0.0
    """Weight of what a class should leave alone, in the second half of a run: the mean square distance of pictures of
    one code and two classes, seen at an eighth of their size."""
    conditional: bool = False
    """Learn classes too: the pictures' sub-folders, or the column `label`."""
    label: str = ""
    """Column of labels.csv that names a picture's class; of several, with commas between, a picture has one of each."""
    classes: tuple[str, ...] = ()
    """Names of the classes, column by column; read from the data."""
    shares: tuple[float, ...] = ()
    """Share of the pictures that each has, so that made ones are as the data; read from them, all the same without."""
    crop_scale: tuple[float, float] = (1.0, 1.0)
    """Side of a crop relative to the largest that fits."""
    flip: bool = True
    """Mirror half of the pictures; not where left and right mean something."""
    learning_rate: float = 0.0025
    """Adam's step, for both sides."""
    features: str = "vgg19"
    """Network that judges the pictures while training: a name or a file; nothing where empty."""

    def doublings(self) -> int:
        """How often `start` is doubled. Raises `InputError` where that does not give the resolution."""
        short = min(self.start) if len(self.start) == 2 else 0
        times = self.resolution // max(1, short)
        if short < 2 or max(self.start) > 64 or times < 2 or short * times != self.resolution or times.bit_count() > 1:
            can = ", ".join(str(short << k) for k in range(1, 9)) if short > 1 else "nothing"
            start = " x ".join(map(str, self.start))
            raise InputError(
                f"stylegan2 cannot make {self.resolution} pixels from {start}; the short side can be {can}"
            )
        return times.bit_length() - 1

    def size(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return self.start[0] << self.doublings(), self.start[1] << self.doublings()

    def width(self, level: int) -> int:
        """Channels after so many doublings."""
        return max(1, min(self.channel_max, self.channel_base // (4 << level)))

    def codes(self) -> int:
        """Layers that take a code of their own."""
        return 2 * self.doublings() + 2


RANGES: dict[str, tuple[float, float]] = {
    "resolution": (8, 1024),
    "code": (1, 4096),
    "mapping_layers": (1, 32),
    "channel_base": (16, 1 << 20),
    "channel_max": (1, 4096),
    "clamp": (0, 1e6),
    "mixing": (0, 1),
    "r1": (0, 1e6),
    "r1_every": (1, 1024),
    "path_weight": (0, 1e6),
    "path_every": (1, 1024),
    "ada_target": (-1, 1),
    "ada_pictures": (1, 1e12),
    "feature_weight": (0, 1e4),
    "class_weight": (0, 1e6),
    "learning_rate": (1e-9, 1),
}
"""Smallest and largest value of a field."""


class Method:
    """Training: the non-saturating objective, lazy R1 and path length, adaptive augmentation."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    players: ClassVar[tuple[str, str]] = ("generator", "discriminator")
    averaged: ClassVar[tuple[str, ...]] = ("mapping", "synthesis")

    def __init__(self, config: Config) -> None:
        self.config, self.resolution = config, config.resolution
        config.doublings()
        for name in config.augmentations:
            if name not in ada.CATEGORIES:
                raise unknown("augmentation", name, ada.CATEGORIES)
        self.numbers, self.judge = Attributes(config.classes, config.label), Judge(config.features)
        self.sizes = sizes(config.classes, config.label)

    def fitted(self, data: Table[str, Pictures]) -> "Method":
        """With the classes that the data have."""
        c = self.config
        if c.classes:
            self.numbers.table(data["data"])
        elif c.conditional or c.label:
            classes = attribute_classes(data["data"], c.label)
            shares = Attributes(classes, c.label).shares(data["data"])
            return Method(dataclasses.replace(c, classes=classes, shares=shares))
        return self

    def networks(self) -> dict[str, nn.Module]:
        c = self.config
        mapping = Mapping(c.code, len(c.classes), c.code, c.mapping_layers)
        found = {"mapping": mapping, "synthesis": Synthesis(c), "discriminator": Discriminator(c)}
        return found | beside(c.feature_judge, c.size(), self.sizes)

    def optimizers(self, networks: Table[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        """Adam with its memory shortened for the lazy steps between the others (appendix B)."""
        c = self.config

        def adam(every: int, *names: str) -> torch.optim.Optimizer:
            share = every / (every + 1)
            weights = [p for name in names for p in networks[name].parameters()]
            return torch.optim.Adam(weights, lr=c.learning_rate * share, betas=(0.0, 0.99**share), eps=1e-8)

        found = {
            "generator": adam(c.path_every, "mapping", "synthesis"),
            "discriminator": adam(c.r1_every, "discriminator"),
        }
        return found | heads_optimizer(networks, c.learning_rate * FEATURE_RATE)

    def sample(self, data: Table[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A picture and, with classes, its class's number; of several columns a number each."""
        c, pictures = self.config, data["data"]
        index = pictures.draw(rng)
        picture = crop(pictures[index], rng, size=c.size(), scale=c.crop_scale, flip=c.flip)
        if not c.classes:
            return (picture,)
        numbers = torch.tensor(self.numbers(pictures, index))
        return picture, numbers if len(self.sizes) > 1 else numbers[0]

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The generator's turn, then the discriminator's; each is followed by its lazy regularisation."""
        c, net = self.config, run.networks
        real, label = batch[0], batch[1] if c.classes else None
        judge = net["discriminator"]

        made = self.seen(run, "generator", net["synthesis"](self.codes(run, "generator", len(real), label)))
        losses = {"generator": bce_generator(judge(made, label))}
        shown_real = self.seen(run, "features", real) if c.feature_judge else real
        losses |= teach(run, shown_real, made, losses["generator"], c.feature_weight, label)
        if c.path_weight and run.step % c.path_every == 0:
            losses["path"] = self.path(run, max(1, len(real) // 2), label)

        apart = c.class_weight and run.step % CLASS_EVERY == 0 and run.progress >= CLASS_FROM
        if apart and label is not None and len(c.classes) > 1:
            losses["class"] = self.classes_apart(run, label[: max(1, len(real) // 2)])

        with torch.no_grad():
            made = net["synthesis"](self.codes(run, "discriminator", len(real), label))
        of_made = judge(self.seen(run, "made", made), label)
        of_real = judge(self.seen(run, "real", real), label)
        losses["discriminator"] = bce_discriminator(of_real, of_made)
        run.minimize("discriminator", losses["discriminator"])
        if run.step % c.r1_every == 0:
            real = real.detach().requires_grad_()
            r1 = r1_penalty(judge(self.seen(run, "r1", real), label), real)
            gamma = c.r1 if c.r1 is not None else 0.0002 * real[0, 0].numel() / (len(real) * run.world)
            if gamma:
                run.minimize("discriminator", r1 * (gamma * c.r1_every))
            losses["slope"] = (2 * r1.detach()).sqrt()

        if c.augmentation == "ada":
            ada.adapt(run, of_real, target=c.ada_target, pictures=c.ada_pictures)
            losses["ada_p"] = ada.ada_probability(run)
        return losses | {"told apart": told_apart(of_real, of_made)}

    def codes(self, run: Run, purpose: str, count: int, label: Tensor | None) -> Tensor:
        """N x layers x code; two codes share a picture with the chance `mixing`."""
        c, layers = self.config, self.config.codes()
        z = run.randn(f"z {purpose}", count, 2, c.code)
        label = label if label is None else label[:count].repeat_interleave(2, 0)
        w = run.networks["mapping"](z.flatten(0, 1), label).view(count, 2, 1, c.code)
        chance = run.rand(f"mixing {purpose}", count, 2)
        crossing = torch.where(chance[:, 0] < c.mixing, 1 + (chance[:, 1] * (layers - 1)).long(), layers)
        first = torch.arange(layers, device=w.device) < crossing[:, None]
        return torch.where(first[:, :, None], w[:, 0], w[:, 1])

    def seen(self, run: Run, purpose: str, pictures: Tensor) -> Tensor:
        """Pictures as the discriminator sees them."""
        c = self.config
        if c.augmentation == "none":
            return pictures
        kinds = augment.CHANCES if c.augmentation == "diff" else ada.CHANCES
        chance = run.rand(f"augment {purpose}", len(pictures), kinds)
        if c.augmentation == "diff":
            return augment.diff_augment(pictures, chance)
        return ada.ada_augment(pictures, chance, ada.ada_probability(run), c.augmentations)

    def path(self, run: Run, count: int, label: Tensor | None) -> Tensor:
        """The lazy path length step, on half the batch; the root of the mean square deviation."""
        c = self.config
        ws = self.codes(run, "path", count, label)
        made = run.networks["synthesis"](ws)
        lengths = path_lengths(made, ws, torch.randn_like(made))
        newest = lengths.detach().mean()
        if run.world > 1:
            newest = torch.tensor(run.mean({"length": newest})["length"], device=newest.device)
        mean = torch.lerp(run.state.get("path_mean", torch.zeros_like(newest)), newest, DECAY)
        run.state["path_mean"] = mean
        penalty = path_length_penalty(lengths, mean)
        run.minimize("generator", penalty * (c.path_weight * c.path_every))
        return penalty.detach().sqrt()

    def classes_apart(self, run: Run, label: Tensor) -> Tensor:
        """The lazy step that keeps classes from changing all else: one factor changed, the others held (Deng et al.
        2020, "Disentangled and Controllable Face Image Generation via 3D Imitative-Contrastive Learning", section 3.3).
        """
        c, net, count = self.config, run.networks, len(label)
        z = run.randn("z classes", count, c.code)
        which = (run.rand("other column", count) * len(self.sizes)).long()
        size = torch.tensor(self.sizes, device=label.device)
        first, most = (size.cumsum(0) - size)[which], size[which]
        further = 1 + (run.rand("other classes", count) * (most - 1)).long()
        rows = label.view(count, -1)
        new = first + (rows.gather(1, which[:, None])[:, 0] - first + further) % most
        other = rows.scatter(1, which[:, None], new[:, None]).view_as(label)
        w = net["mapping"](z.repeat(2, 1), torch.cat([label, other]))
        made = F.avg_pool2d(net["synthesis"](w[:, None].expand(-1, c.codes(), -1)), CLASS_CELL, ceil_mode=True)
        one, two = made.chunk(2)
        apart = (one - two).square().sum(1)
        apart = (apart / (1 + apart / CLASS_MOST**2)).mean() / 3  # what must change may change wholly
        run.minimize("generator", apart * (c.class_weight * CLASS_EVERY))
        return apart.detach()

    def drawn(self, run: Run, purpose: str, count: int, label: Tensor | None) -> Tensor:
        """Pictures of the averaged networks, in [0, 1]."""
        w = run.ema["mapping"](run.randn(purpose, count, self.config.code), label)
        made: Tensor = run.ema["synthesis"](w[:, None].expand(-1, self.config.codes(), -1), "fixed")
        return made.clamp(0, 1)

    def every(self, rows: int, device: torch.device) -> Tensor:
        """The k-th class of every column in row k, the first again after a column's last: rows, or rows x columns."""
        numbers = [span.start + torch.arange(rows, device=device) % len(span) for span in spans(self.sizes)]
        return torch.stack(numbers, 1) if len(numbers) > 1 else numbers[0]

    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """The same codes every time; with classes one a row, as far as they fit."""
        columns, label = 8, None
        if self.sizes:
            label = self.every(min(max(self.sizes), 8), batch[0].device).repeat_interleave(columns, 0)
        count = SHOWN if label is None else len(label)
        return shown(self.drawn(run, "preview", count, label), columns)

    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Distances to held-out pictures of the same classes on named features; the score is the Frechet distance."""

        def make(i: int, count: int) -> Tensor:
            return self.drawn(run, f"judged {i}", count, batches[i][1] if self.config.classes else None)

        return self.judge(run.device, make, batches)

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        seen = steps * batch
        if seen >= 200_000:
            return None
        return (
            f"{seen:,} pictures are few for stylegan2: shapes come after some 200,000, detail after a million or more"
        )


@dataclass
class Sampler:
    """A trained generator at work; latents are w, one a layer: N x layers x code."""

    config: Config
    mapping: Mapping
    synthesis: Synthesis
    device: torch.device
    codes: tuple[Code, ...] = ()

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """From a bundled model's name, a file of weights or the folder of a run. Raises as `load_model`."""
        model = load_model(source, "stylegan2")
        config = dataclasses.replace(config_from(Config, model.config), feature_judge="")  # training's alone
        networks = {k: n for k, n in Method(config).networks().items() if k in Method.averaged}
        model.fill(networks)
        mapping, synthesis = (networks[k].to(device).eval().requires_grad_(False) for k in Method.averaged)
        return cls(config, cast(Mapping, mapping), cast(Synthesis, synthesis), torch.device(device))

    @property
    def size(self) -> tuple[int, int]:
        return self.config.size()

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.classes

    @property
    def groups(self) -> tuple[int, ...]:
        """How many classes each column has."""
        return sizes(self.config.classes, self.config.label)

    def draw(self, seeds: Sequence[int], *, truncation: float = 1.0, label: int | None = None) -> Tensor:
        """Codes pulled towards their mean: `truncation` 1 leaves them, 0 gives the mean picture (2019, appendix B)."""
        numbers, c = list[Tensor](), self.config
        chance = uniform(seeds, max(1, len(self.groups)), purpose="label")
        shares = torch.tensor(c.shares or [1 / size for size in self.groups for _ in range(size)])
        for column, span in enumerate(spans(self.groups)):
            ends = shares[span.start : span.stop - 1].cumsum(0)
            own = span.start + torch.bucketize(chance[:, column].contiguous(), ends, right=True)
            numbers.append(torch.full_like(own, cast(int, label)) if label in span else own)
        rows = torch.stack(numbers, 1).to(self.device) if numbers else None
        w = self.mapping(normal(seeds, c.code).to(self.device), rows)
        w = torch.lerp(cast(Tensor, self.mapping.w_avg), w, truncation)
        return w[:, None].expand(-1, c.codes(), -1).cpu()

    def blend(self, first: Tensor, last: Tensor, share: float) -> Tensor:
        """A straight line, which is what w is for."""
        return torch.lerp(first, last, share)

    def turn(self, latents: Tensor, code: str, value: float) -> Tensor:
        """There are no codes. Raises `InputError`."""
        raise InputError(f"this model has no code {code!r} to set to {value:g} for {len(latents)} pictures")

    def paint(self, latents: Tensor) -> Tensor:
        """With the noise that the weights hold, so that no picture depends on the others."""
        made: Tensor = self.synthesis(latents.to(self.device), "fixed")
        return made.clamp(0, 1).cpu()

    def space(self) -> Space:
        """W, or W+ where every layer has a code of its own; styles are what its `affine`s make of them."""

        def painted(network: nn.Module, codes: Tensor) -> Tensor:
            made: Tensor = network(codes, "fixed")
            return made

        def matrix(network: nn.Module, name: str) -> Tensor:
            affine = network.get_submodule(name)
            return cast(Tensor, affine.weight) * cast(float, affine.scale)

        names = [("b4.conv1", 0), ("b4.torgb", 1)]
        for level in range(1, self.config.doublings() + 1):
            block = f"b{4 << level}"
            names += [(f"{block}.{part}", 2 * level - 1 + i) for i, part in enumerate(("conv0", "conv1", "torgb"))]
        readers = tuple(
            Reader(f"{name}.affine", layer, partial(matrix, name=f"{name}.affine"), styles="torgb" not in name)
            for name, layer in names
        )
        return Space(
            "stylegan2", self.config.codes(), self.config.code, self.size, self.synthesis, self.device, painted,
            lambda seeds, label: self.draw(seeds, label=label), readers, self.classes, self.groups,
            noises=tuple(name for name, _ in self.synthesis.named_buffers() if name.endswith("noise_const")),
        )  # fmt: skip
