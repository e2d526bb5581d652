"""The textbook's one-pass style transfer between two domains, to the letter.

A generator (encoder, and decoder with instance norm, on content and noise), a style encoder (the same encoder and one
linear layer), a discriminator of stride-2 convolutions to one sigmoid score; trained by the sum of
binary cross-entropy (Goodfellow et al. 2014), content MSE and the Gram loss (Gatys et al. 2016, equations 3 to 5).
It stands here to be compared with `onepass`, and as the plainest working example of a family.

What the linear layer implies: style codes are made at one size of picture, that of training. The generator has only
convolutions and takes any size.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import log2
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.features.sources import load_features
from sfumato.losses.adversarial import bce_discriminator, bce_generator
from sfumato.losses.perceptual import content_distance, relative_gap
from sfumato.picture.resize import resize
from sfumato.train.data import Pictures, crop
from sfumato.train.options import check_values
from sfumato.train.run import Run
from sfumato.weights.files import load_model

ROWS = 4
"""Pictures on a preview."""


@dataclass(frozen=True)
class Config:
    """Sizes of the networks and weights of the losses."""

    ngf: int = 32
    """Width of the first convolution; it doubles to 8 times that."""
    resolution: int = 128
    """Side in pixels of the pictures that style encoder and discriminator see, a power of two."""
    code: int = 128
    """Numbers of a style code."""
    noise: int = 8
    """Channels of noise beside the content's cells."""
    reverse: bool = False
    """Paint pictures of domain b in the style of domain a."""
    adversarial_weight: float = 1.0
    """Weight of the binary cross-entropy."""
    content_weight: float = 4e-5
    """Weight of the content's mean squared error, which is about 2e5 between two photographs."""
    style_weight: float = 1e-9
    """Weight of the Gram loss, which is about 1e9 between a photograph and a painting."""
    content_layer: str = "relu4_1"
    """Layer of VGG-19 whose activations are the content."""
    style_layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    """Layers whose Gram matrices are the style, with equal shares."""
    features: str = "vgg19"
    """Feature network: `vgg19` (installed with sfumato) or a file of weights in torchvision's layout."""
    learning_rate: float = 2e-4
    """Adam's step, for both sides."""
    momentum: float = 0.5
    """Adam's first decay (Radford et al. 2016)."""

    @property
    def depth(self) -> int:
        """Stride-2 convolutions on the way to 4 x 4 cells: 5 from 128 pixels."""
        return self.resolution.bit_length() - 3

    def widths(self) -> list[int]:
        """Channels after each stride-2 convolution."""
        return [self.ngf * min(8, 1 << i) for i in range(self.depth)]


RANGES: dict[str, tuple[float, float]] = {
    "ngf": (1, 1024),
    "resolution": (16, 1024),
    "code": (1, 65536),
    "noise": (1, 1024),
    "adversarial_weight": (0, 1e12),
    "content_weight": (0, 1e12),
    "style_weight": (0, 1e12),
    "learning_rate": (1e-9, 1),
    "momentum": (0, 0.999),
}
"""Smallest and largest value of a field."""


class Encoder(nn.Module):
    """N x 3 x H x W in [0, 1] to N x 8 ngf x H / 2^depth x W / 2^depth; sides are multiples of 2^depth."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        layers, inputs = list[nn.Module](), 3
        for width in c.widths():
            layers += [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2)]
            inputs = width
        self.body = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.body(2 * pictures - 1)
        return features


class Generator(nn.Module):
    """Content, a style code and noise to a picture.

    Content and noise are instance-normalised where they meet the code, and so is every layer of the decoder. The code
    enters before a ReLU without normalisation: instance norm would take a constant plane away again.
    """

    def __init__(self, c: Config) -> None:
        super().__init__()
        widths = c.widths()
        self.encoder = Encoder(c)
        self.content_norm = nn.InstanceNorm2d(widths[-1])
        self.noise_norm = nn.InstanceNorm2d(c.noise)
        self.merge = nn.Sequential(nn.Conv2d(widths[-1] + c.noise + c.code, widths[-1], 3, 1, 1), nn.ReLU())
        layers, inputs = list[nn.Module](), widths[-1]
        for width in widths[-2::-1]:
            layers += [nn.ConvTranspose2d(inputs, width, 4, 2, 1), nn.InstanceNorm2d(width, affine=True), nn.ReLU()]
            inputs = width
        self.decoder = nn.Sequential(*layers, nn.ConvTranspose2d(inputs, 3, 4, 2, 1), nn.Tanh())

    def forward(self, pictures: Tensor, codes: Tensor, noise: Tensor) -> Tensor:
        """N x 3 x H x W in [0, 1], N x code, N x noise x H / 2^depth x W / 2^depth; to N x 3 x H x W in [0, 1]."""
        content = self.content_norm(self.encoder(pictures))
        planes = codes[:, :, None, None].expand(-1, -1, *content.shape[2:])
        merged = self.merge(torch.cat([content, self.noise_norm(noise), planes], 1))
        made: Tensor = (self.decoder(merged) + 1) / 2
        return made


class StyleEncoder(nn.Module):
    """N x 3 x R x R in [0, 1] to codes N x code."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.encoder = Encoder(c)
        self.linear = nn.Linear(c.widths()[-1] * 4 * 4, c.code)

    def forward(self, styles: Tensor) -> Tensor:
        codes: Tensor = self.linear(self.encoder(styles).flatten(1))
        return codes


class Discriminator(nn.Module):
    """N x 3 x R x R in [0, 1] to N scores; the sigmoid is left to the losses, which are exact without it."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.encoder = Encoder(c)
        self.last = nn.Conv2d(c.widths()[-1], 1, 4, 2, 0)

    def forward(self, pictures: Tensor) -> Tensor:
        scores: Tensor = self.last(self.encoder(pictures)).flatten()
        return scores

    def probability(self, pictures: Tensor) -> Tensor:
        """That each picture is real: N numbers in [0, 1]."""
        return torch.sigmoid(self(pictures))


def grams(features: Tensor) -> Tensor:
    """F F^T / M of N x C x h x w at M = h w positions, N x C x C; Gatys et al. 2016, equation 3."""
    flat = features.float().flatten(2)
    return flat @ flat.mT / flat.shape[2]


def gram_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """sum (G - A)^2 / (N^2 M^2) for N channels, mean over the pictures; Gatys et al. 2016, equation 4 but for the 4.

    Both are pictures x N x h x w. Where they have other numbers of positions, each Gram matrix is divided by its own.
    """
    return (grams(found) - grams(wanted)).square().mean()


class Method:
    """A family for the engine: crops of domain a painted in the style of domain b (or the other way)."""

    roles: ClassVar[tuple[str, ...]] = ("a", "b")
    averaged: ClassVar[tuple[str, ...]] = ("generator", "style_encoder")

    def __init__(self, config: Config) -> None:
        check_values(config, RANGES)
        if config.resolution.bit_count() != 1:
            near = 1 << max(4, round(log2(config.resolution)))
            raise InputError(
                f"a crossdomain network needs a resolution of 2, 4, 8 ... pixels: {near}, not {config.resolution}"
            )
        if not config.style_layers:
            raise InputError("style_layers must name at least one layer")
        self.config = config
        self.resolution = config.resolution
        self._features: tuple[torch.device, FeatureNetwork] | None = None

    def networks(self) -> dict[str, nn.Module]:
        c = self.config
        return {"generator": Generator(c), "style_encoder": StyleEncoder(c), "discriminator": Discriminator(c)}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, Optimizer]:
        c = self.config
        painter = [*networks["generator"].parameters(), *networks["style_encoder"].parameters()]
        groups = {"generator": painter, "discriminator": [*networks["discriminator"].parameters()]}
        betas = (c.momentum, 0.999)
        return {name: Adam(weights, lr=c.learning_rate, betas=betas) for name, weights in groups.items()}

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A crop of the content's domain and one of the style's, 3 x R x R each."""
        content, style = (data[role] for role in (self.roles[::-1] if self.config.reverse else self.roles))
        return tuple(crop(p[p.draw(rng, by_group=True)], rng, size=self.config.resolution) for p in (content, style))

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The discriminator's turn, then the generator's and the style encoder's."""
        content, style = batch
        judge = run.networks["discriminator"]
        made = self._painted(run, run.networks, content, style, "noise")

        doubt = bce_discriminator(judge(style), judge(made.detach()))
        run.minimize("discriminator", doubt)

        losses = self.losses(judge, self._network(run), made, content, style)
        run.minimize("generator", losses["total"])
        return {**losses, "discriminator": doubt}

    def losses(
        self, judge: nn.Module, features: FeatureNetwork, made: Tensor, content: Tensor, style: Tensor
    ) -> dict[str, Tensor]:
        """ "total" = weighted sum of "adversarial", "content" and "style", for N x 3 x R x R pictures."""
        c = self.config
        with torch.no_grad():
            kept = features(content, [c.content_layer])[c.content_layer].float()
            wanted = features(style, c.style_layers)
        found = features(made, tuple(dict.fromkeys((c.content_layer, *c.style_layers))))
        adversarial = bce_generator(judge(made))
        distance = F.mse_loss(found[c.content_layer].float(), kept)
        grams = torch.stack([gram_loss(found[layer], wanted[layer]) for layer in c.style_layers]).mean()
        total = c.adversarial_weight * adversarial + c.content_weight * distance + c.style_weight * grams
        return {"total": total, "adversarial": adversarial, "content": distance, "style": grams}

    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """Content, style and result of some pictures, side by side."""
        content, style = (x[:ROWS] for x in batch)
        made = self._painted(run, run.ema, content, style, "preview")
        rows = torch.cat([content, style, made], 3)  # N x 3 x R x 3 R
        return torch.cat(list(rows), 1).float().cpu()

    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Content lost and style left, each 0 at best and 1 for nothing kept or nothing done; "score" is their sum."""
        c, features = self.config, self._network(run)
        layers = tuple(dict.fromkeys((c.content_layer, *c.style_layers)))
        lost, left = list[Tensor](), list[Tensor]()
        for i, (content, style) in enumerate(batches):
            made = self._painted(run, run.ema, content, style, f"evaluate {i}")
            before, wanted, now = (features(x, layers) for x in (content, style, made))
            lost.append(content_distance(now[c.content_layer], before[c.content_layer]))
            gaps = [relative_gap(grams(now[n]), grams(before[n]), grams(wanted[n])) for n in c.style_layers]
            left.append(torch.stack(gaps).mean(0))
        found = {"content_lost": torch.cat(lost).mean().item(), "style_left": torch.cat(left).mean().item()}
        return {"score": sum(found.values()), **found}

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        if steps * batch >= 20_000:
            return None
        return f"{steps * batch:,} samples are too few for a crossdomain network: give it 20,000 or more"

    def _painted(
        self, run: Run, networks: Mapping[str, nn.Module], content: Tensor, style: Tensor, purpose: str
    ) -> Tensor:
        noise = run.randn(purpose, len(content), self.config.noise, 4, 4)
        made: Tensor = networks["generator"](content, networks["style_encoder"](style), noise)
        return made

    def _network(self, run: Run) -> FeatureNetwork:
        """The feature network on the run's device, loaded when first needed."""
        if self._features is None or self._features[0] != run.device:
            network = load_features(self.config.features, pooling="average")
            half = torch.bfloat16 if run.options.precision == "bf16-mixed" else torch.float32
            self._features = run.device, network.to(run.device, half)
        return self._features[1]


class Painter:
    """Trained networks at work on pictures of any size."""

    def __init__(self, config: Config, networks: Mapping[str, nn.Module]) -> None:
        """`networks` has at least "generator" and "style_encoder", on one device."""
        self.config = config
        self.generator, self.style_encoder = networks["generator"].eval(), networks["style_encoder"].eval()

    @classmethod
    def load(cls, source: str | os.PathLike[str]) -> "Painter":
        """From a bundled model's name, a file of weights or the folder of a run. Raises as `load_model`."""
        model = load_model(source, "crossdomain")
        known = {f.name for f in fields(Config)}
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in model.config.items() if k in known
        }
        method = Method(Config(**values))
        networks = {k: n for k, n in method.networks().items() if k in method.averaged}
        model.fill(networks)
        return cls(method.config, networks)

    @torch.no_grad()
    def translate(self, pictures: Tensor, style: Tensor, *, seed: int = 0) -> Tensor:
        """`pictures` painted as `style`.

        Args:
            pictures: N x 3 x H x W in [0, 1], any size; sides are padded to whole cells and cut back.
            style: 1 or N pictures x 3 x h x w in [0, 1], any size; its middle square is seen at the size of training.
            seed: chooses the noise.

        Returns:
            N x 3 x H x W in [0, 1].
        """
        count, _, height, width = pictures.shape
        if len(style) not in (1, count):
            raise InputError(f"{len(style)} style pictures for {count} pictures: give one, or one for each")
        codes = self.style_encoder(self._square(style)).expand(count, -1)
        cell = 1 << self.config.depth
        rows, columns = (max(2, -(-side // cell)) for side in (height, width))  # one cell alone has no deviation
        padded = F.pad(pictures, (0, columns * cell - width, 0, rows * cell - height), "replicate")
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(count, self.config.noise, rows, columns, generator=generator).to(pictures)
        made: Tensor = self.generator(padded, codes, noise)
        return made[:, :, :height, :width].clamp(0, 1)

    def _square(self, style: Tensor) -> Tensor:
        height, width = style.shape[2:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return resize(style[:, :, top : top + side, left : left + side], *(self.config.resolution,) * 2)
