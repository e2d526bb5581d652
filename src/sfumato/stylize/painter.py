"""The trained one-pass network as the verb uses it: loaded once, styles encoded once, kernels folded a picture.

`Folded` is `Generator` again, for speed: whatever a picture's code and statistics fix is multiplied into the kernels,
and activations are changed in place. Its plain twin, which it is tested against, is in `sfumato.models.onepass`.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.layers.modulated import (
    AdaptiveConv,
    Conv,
    channel_statistics,
    double,
    replicate_conv,
)
from sfumato.models.onepass import Config
from sfumato.models.onepass_networks import STRIDE, STRIDES, Colors, Generator, Residual, StyleEncoder
from sfumato.models.onepass_networks import Style as Encoded
from sfumato.picture.resize import fit_short_side, resize
from sfumato.weights.files import Model, load_model, locate

FAMILY = "onepass"
KEPT = 64
"""Encoded styles that are kept."""
MAPS, MAPS_OF_REGIONS, DEEP_MAPS = 5, 10, 5
"""Peak of painting, in copies of all the encoder's features (bench/onepass.py)."""


def load_painter(source: str, device: torch.device) -> "Painter":
    """The network `source` (bundled name, file or run), kept while its file stays as it is. Raises `InputError`."""
    path, _ = locate(source)
    status = path.stat()
    return _load(source, device, str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _load(source: str, device: torch.device, *_: object) -> "Painter":
    return Painter(load_model(source, FAMILY), device)


class Painter:
    """Generator and style encoder of one file of weights."""

    def __init__(self, model: Model, device: torch.device) -> None:
        self.name, self.sha256, self.device = model.name, model.sha256, device
        known = {f.name for f in fields(Config)}
        try:
            config = Config(**{k: v for k, v in model.config.items() if k in known})
            with torch.random.fork_rng(devices=[]):  # their random start is not the caller's affair
                self.generator, self.encoder = Generator(config), StyleEncoder(config)
        except (TypeError, ValueError, RuntimeError, AttributeError):
            raise InputError(f"{model.name}: its configuration is not a one-pass network's") from None
        model.fill({"generator": self.generator, "style_encoder": self.encoder})
        self.generator.to(device).eval().requires_grad_(False)
        # the encoder's sums are in float64, which Apple's GPUs lack; its work is small
        self.encoding = torch.device("cpu") if device.type == "mps" else device
        self.encoder.to(self.encoding).eval().requires_grad_(False)
        self.encoded = OrderedDict[tuple[str, int], Encoded]()
        self.reach = Reach(self.generator)
        self.channels = [conv.weight.shape[0] for conv in self.generator.encoder if isinstance(conv, Conv)]

    def bytes(self, parts: int) -> float:
        """What painting takes a pixel of a crop, with so many styles side by side."""
        maps = MAPS if parts == 1 else MAPS_OF_REGIONS
        return 4 * sum(c / stride**2 for c, stride in zip(self.channels, STRIDES, strict=True)) * maps + 64 * parts

    def deep_bytes(self, pixels: int) -> int:
        """What the deep part takes for a block of so many pixels."""
        return 4 * self.channels[-1] * DEEP_MAPS * pixels // STRIDE**2

    @torch.inference_mode()
    def encode(self, picture: Tensor, mask: Tensor | None, side: int, key: str | None = None) -> Encoded:
        """The style of a picture 1 x 3 x H x W at a short side of `side`, on the CPU; kept under `key`."""
        if key is not None and (key, side) in self.encoded:
            self.encoded.move_to_end((key, side))
            return self.encoded[key, side]
        size = fit_short_side(picture.shape[2], picture.shape[3], side)
        weight = None if mask is None else resize(mask.to(self.encoding), *size)
        found = self.encoder(resize(picture.to(self.encoding), *size), weight)
        found = Encoded(*(t.cpu() for t in found))
        if key is not None:
            self.encoded[key, side] = found
            if len(self.encoded) > KEPT:
                self.encoded.popitem(last=False)
        return found


class Reach:
    """How far the parts of a generator see beyond a position's own cell, in pixels."""

    def __init__(self, generator: Generator) -> None:
        strides = [STRIDE >> level for level in range(STRIDE.bit_length())]  # 8, 4, 2, 1
        seen, at = list[int](), 1
        for conv in generator.encoder:
            assert isinstance(conv, Conv)
            k, s = conv.weight.shape[-1], conv.stride
            pad = (k - 1) // 2
            seen.append((seen[-1] if seen else 0) + at * max(pad, k - pad - s))
            at *= s
        self.encoder = seen[-1]
        """Of the deepest features."""
        self.trunk = sum(_kernels(block) for block in generator.trunk) * STRIDE
        """Of the deep part, beyond the deepest features."""
        rise = generator.paint.weight.shape[-1] // 2
        for block, coarse, stride in zip(generator.block, strides[:-1], strides[1:], strict=True):
            rise += coarse + _kernels(block) * stride  # doubling looks at one coarse neighbour
        self.rise = max(rise + seen[-2], 2 * STRIDE)
        """Of the rest, shallow features included; the canvas of colours sees less than two cells."""

    @staticmethod
    def rounded(pixels: int) -> int:
        return -(-pixels // STRIDE) * STRIDE


def _kernels(block: nn.Module) -> int:
    """Positions that a block's convolutions see, all together."""
    return sum(m.weight.shape[-1] // 2 for m in block.modules() if isinstance(m, AdaptiveConv))


class Kernel(NamedTuple):
    """A layer with everything folded in, for one code."""

    weight: Tensor
    bias: Tensor
    noise: Tensor
    """What noise is multiplied with."""


class Folded:
    """A generator for one picture: `code` 1 x K x D, `colors` 1 x ..., with K maps of colours where K > 1."""

    def __init__(self, generator: Generator, colors: Colors, code: Tensor) -> None:
        self.net, self.colors, self.code = generator, colors, code
        self.single = code.shape[1] == 1
        self.entry = [
            # leaky(y) * 1.4 = leaky(1.4 * y)
            (conv.weight * 1.4, conv.bias * 1.4, conv.stride)
            for conv in generator.encoder
            if isinstance(conv, Conv)
        ]
        self.kernels: dict[nn.Module, Kernel] = {}
        self.statistics: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    @torch.inference_mode()
    def measure(self, x: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Take the statistics for all that follows from equally large parts of the picture, N x 3 x h x w.

        Every style has its own, of the parts painted in it alone: far from the others a region is what the picture
        would be without them. Returns the parts painted (in the last style).
        """
        if self.single:
            features = self.encode(x)
            return self.rise(x, features, self.lay_out(features[-1], noise[-1], None), noise, [None] * len(noise))
        each = []
        for k in range(self.code.shape[1]):
            colors = self.colors._replace(matrix=self.colors.matrix[:, k], offset=self.colors.offset[:, k])
            each.append(Folded(self.net, colors, self.code[:, k : k + 1]))
            painted = each[-1].measure(x, noise)
        for layer in each[0].statistics:
            means, deviations = zip(*(one.statistics[layer] for one in each), strict=True)
            self.statistics[layer] = (torch.cat(means, 1), torch.cat(deviations, 1))
        return painted

    def _statistics(self, layer: nn.Module, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation, C each, of what `layer` makes: those kept, or of `y`, kept from now on."""
        if layer not in self.statistics:
            mean, deviation = channel_statistics(y)
            self.statistics[layer] = (mean[None, None], deviation[None, None])
        mean, deviation = self.statistics[layer]
        return mean[0, 0], deviation[0, 0]

    def encode(self, x: Tensor, levels: int = 4) -> list[Tensor]:
        """`Generator.encode` down to the first `levels` strides."""
        x = (x - self.colors.mean[..., None]) * self.colors.scale[..., None]
        found = []
        for weight, bias, stride in self.entry[:levels]:
            x = F.leaky_relu_(replicate_conv(x, weight, bias, stride), 0.2)
            found.append(x)
        return found

    def lay_out(self, deepest: Tensor, noise: Tensor | None, regions: Tensor | None) -> Tensor:
        """The deep part of `Generator.decode`, at stride 8: where strokes go."""
        mean, deviation = self._statistics(self.net.encoder, deepest)
        h = (deepest - mean[:, None, None]) / deviation[:, None, None]
        for block in self.net.trunk:
            h = self._block(block, h, regions, noise)
        return h

    def rise(
        self,
        x: Tensor,
        features: Sequence[Tensor],
        h: Tensor,
        noise: Sequence[Tensor | None],
        regions: Sequence[Tensor | None],
    ) -> Tensor:
        """The rest of `Generator.decode` of a crop `x`, with its features at strides 1, 2, 4."""
        for i, level in enumerate((2, 1, 0)):
            h = double(self._conv(self.net.up[i], h, regions[level + 1], None, leaky=True))
            if level > 0:
                h += self._conv(self.net.skip[i], features[level], regions[level], None)
            h = self._block(self.net.block[i], h, regions[level], noise[level])
        paint = self.net.paint
        painted = replicate_conv(F.leaky_relu_(h, 0.2), paint.weight, paint.bias)
        return painted.add_(self.net.canvas(x, self.colors, regions[-1]))

    def _block(self, block: nn.Module, x: Tensor, regions: Tensor | None, noise: Tensor | None) -> Tensor:
        if not isinstance(block, Residual):
            return self._conv(block, x, regions, noise)
        y = self._conv(block.first, x, regions, noise, leaky=True)
        return self._conv(block.second, y, regions, None).add_(x)

    def _conv(
        self, layer: nn.Module, x: Tensor, regions: Tensor | None, noise: Tensor | None, *, leaky: bool = False
    ) -> Tensor:
        assert isinstance(layer, AdaptiveConv)
        if not self.single:
            y: Tensor = layer(x, self.code, regions, noise, self.statistics)
            return F.leaky_relu_(y, 0.2) if leaky else y
        if layer in self.kernels:
            kernel = self.kernels[layer]
            y = replicate_conv(x, kernel.weight, kernel.bias)
        else:
            y = replicate_conv(x, layer.weight)
            factor, kernel = folded(layer, self.code[:, 0], *self._statistics(layer, y))
            self.kernels[layer] = kernel
            y.mul_(factor[:, None, None]).add_(kernel.bias[:, None, None])
        if noise is not None:
            y.addcmul_(noise, kernel.noise[:, None, None])
        return F.leaky_relu_(y, 0.2) if leaky else y


def folded(layer: AdaptiveConv, code: Tensor, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Kernel]:
    """What the plain convolution's channels are multiplied with, and all of it, for one code 1 x D."""
    scale = layer.scale(code)[0]
    factor = scale / deviation
    bias = layer.shift(code)[0] - factor * mean
    return factor, Kernel(layer.weight * factor[:, None, None, None], bias, scale * layer.strength)
