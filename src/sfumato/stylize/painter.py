"""The trained one-pass network as the verb uses it: loaded once, styles encoded once, kernels folded a picture.

`Folded` is `Generator.encode` and `Generator.decode` again, for speed: whatever a picture's code and statistics fix is
multiplied into the kernels, activations are changed in place, and the deep part is apart from the rest, so that tiles
need only the rest's small halo. Its plain twin, which it is tested against, is in `sfumato.models.onepass`.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import InputError
from sfumato.layers.modulated import Conv, ModulatedConv, double, replicate_conv
from sfumato.models.onepass import STRIDE, STRIDES, Colors, Config, Generator, Residual, StyleEncoder
from sfumato.models.onepass import Style as Encoded
from sfumato.picture.resize import fit_short_side, resize
from sfumato.weights.files import Model, load_model, locate

FAMILY = "onepass"
KEPT = 64
"""Encoded styles that are kept."""
MAPS, MAPS_OF_REGIONS, DEEP_MAPS = 5, 10, 5
"""Peak of painting, in copies of all the encoder's features (bench/onepass.py)."""

Statistics = Sequence[tuple[Tensor, Tensor]]
"""Mean and deviation, 1 x C x 1 x 1 each, of the features at every stride over the whole picture."""


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

    def deep_bytes(self, pixels: int, block: int, kept: int) -> int:
        """What the deep part takes for a picture of so many pixels, `block` at a time, `kept` whole up to there."""
        cell = 4 * self.channels[-1]
        return cell * ((pixels if pixels <= kept else 0) + DEEP_MAPS * min(pixels, block)) // STRIDE**2

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


def _kernels(block: torch.nn.Module) -> int:
    """Positions that a block's convolutions see, all together."""
    return sum(m.weight.shape[-1] // 2 for m in block.modules() if isinstance(m, ModulatedConv))


class Kernel(NamedTuple):
    """A convolution with everything folded in."""

    weight: Tensor
    bias: Tensor


class Folded:
    """A generator for one picture: `code` 1 x K x D, `colors` 1 x ..., with K maps of colours where K > 1."""

    def __init__(self, generator: Generator, colors: Colors, code: Tensor) -> None:
        self.net, self.colors, self.code = generator, colors, code
        self.single = code.shape[1] == 1
        self.entry = [
            # leaky(y) * 1.4 = leaky(1.4 * y)
            (Kernel(conv.weight * 1.4, conv.bias * 1.4), conv.stride)
            for conv in generator.encoder
            if isinstance(conv, Conv)
        ]
        layers = [m for m in generator.modules() if isinstance(m, ModulatedConv)]
        self.kernels = {m: folded(m, code[:, 0]) for m in layers} if self.single else {}
        self.statistics: Statistics = ()

    @torch.inference_mode()
    def normalise(self, statistics: Statistics) -> None:
        """Take the whole picture's statistics of the features, before anything is painted."""
        self.statistics = statistics
        if self.single:
            for layer, (mean, deviation) in zip(self.net.skip, reversed(statistics[:-1]), strict=True):
                assert isinstance(layer, ModulatedConv)
                weight, bias = folded(layer, self.code[:, 0])
                weight = weight / deviation
                self.kernels[layer] = Kernel(weight, bias - (weight * mean).sum((1, 2, 3)))

    def encode(self, x: Tensor, levels: int = 4) -> list[Tensor]:
        """`Generator.encode` down to the first `levels` strides."""
        x = (x - self.colors.mean[..., None]) * self.colors.scale[..., None]
        found = []
        for (weight, bias), stride in self.entry[:levels]:
            x = F.leaky_relu_(replicate_conv(x, weight, bias, stride), 0.2)
            found.append(x)
        return found

    def trunk(self, deepest: Tensor, noise: Tensor | None, regions: Tensor | None) -> Tensor:
        """The deep part, at stride 8; `deepest` are the encoder's features there."""
        mean, deviation = self.statistics[-1]
        h = (deepest - mean) / deviation
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
        """From the trunk's `h` up to pixels, with the `features` at strides 1, 2, 4; all of one crop `x`."""
        for i, level in enumerate((2, 1, 0)):
            h = double(self._conv(self.net.up[i], h, regions[level + 1], None, leaky=True))
            f = features[level]
            if not self.single:
                mean, deviation = self.statistics[level]
                f = (f - mean) / deviation
            h += self._conv(self.net.skip[i], f, regions[level], None)
            h = self._block(self.net.block[i], h, regions[level], noise[level])
        paint = self.net.paint
        painted = replicate_conv(F.leaky_relu_(h, 0.2), paint.weight, paint.bias)
        return painted.add_(self.net.canvas(x, self.colors, regions[-1]))

    def _block(self, block: torch.nn.Module, x: Tensor, regions: Tensor | None, noise: Tensor | None) -> Tensor:
        if not isinstance(block, Residual):
            return self._conv(block, x, regions, noise)
        y = self._conv(block.first, x, regions, noise, leaky=True)
        return self._conv(block.second, y, regions, None).add_(x)

    def _conv(
        self, layer: torch.nn.Module, x: Tensor, regions: Tensor | None, noise: Tensor | None, *, leaky: bool = False
    ) -> Tensor:
        assert isinstance(layer, ModulatedConv)
        if self.single:
            y = replicate_conv(x, *self.kernels[layer])
            if noise is not None:
                y.addcmul_(noise, layer.strength[:, None, None])
        else:
            y = layer(x, self.code, regions, noise)
        return F.leaky_relu_(y, 0.2) if leaky else y


def folded(layer: ModulatedConv, code: Tensor) -> Kernel:
    """A modulated convolution for one code, 1 x D: scale, norm and gain in the kernel, the shift as its bias."""
    (scale,) = layer.scale(code)
    energy = layer.weight.square().sum((2, 3))
    norm = (energy @ scale.square() + 1e-6).rsqrt() * layer.gain * math.sqrt(2.0)
    return Kernel(layer.weight * scale[:, None, None] * norm[:, None, None, None], layer.shift(code)[0])
