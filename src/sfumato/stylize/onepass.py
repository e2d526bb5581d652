"""Style transfer in one pass of a trained network, at any size.

Every layer is normalised by statistics of the picture. A picture of up to 400,000 pixels is its own sample, and
has been painted when they are known. Of a larger one evenly spread windows are painted first, for the statistics; then
it is painted tile by tile, every crop as much larger than its tile as the network sees. The deep part, which sees
furthest and costs little memory, is computed in large blocks, so that the rest needs only a small overlap. Noise
belongs to places, not to tiles: tiled equals whole.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sfumato.errors import InputError
from sfumato.models.onepass_networks import STRIDE, STRIDES, Colors
from sfumato.models.onepass_networks import Style as Encoded
from sfumato.picture.finish import Finish
from sfumato.picture.icc import bands
from sfumato.picture.result import floats
from sfumato.picture.tiles import Span, Tile
from sfumato.style.statistics import Moments, moments
from sfumato.stylize.iterate import Iterate, Style
from sfumato.stylize.memory import WHOLE, tile_of_pass
from sfumato.stylize.options import StylizeOptions
from sfumato.stylize.painter import Folded, Painter, Reach

LARGEST_STYLE = 1 << 20
"""Pixels at which a style picture is read at most."""
SMALLEST_STYLE = 16
"""Its short side at least."""
PERIOD = 512
"""Positions after which the noise repeats, at every stride."""
BLOCK = 1024
"""Side of the blocks in which the deep part is computed."""
SAMPLE = 1 << 18
"""Pixels of a larger picture than `WHOLE`, at most, whose statistics stand for its own."""
WINDOW = 128
"""Side of the windows in which they are sampled."""
PREVIEW = 1 << 20
"""Pixels of a preview, about, at most."""
Noise = tuple[Tensor, ...]
"""A map PERIOD x PERIOD for every stride."""


class OnePass:
    """One picture being painted: iterate over it; `pixels` is finished when the step is made.

    `content` 1 x 3 x H x W in [0, 1] and `masks` 1 x K x H x W with a sum of at most 1 (None: everywhere) are on the
    CPU. With K > 1 every style has a mask of its own, in their order. `tile` overrules the options' and the memory's.
    """

    def __init__(
        self,
        painter: Painter,
        content: Tensor,
        styles: Sequence[Style],
        masks: Tensor | None,
        options: StylizeOptions,
        finish: Finish,
        limit: int,
        tile: int | None = None,
    ) -> None:
        self.painter, self.options, self.finish = painter, options, finish
        self.content, self.styles, self.masks = content, styles, masks
        self.height, self.width = content.shape[2:]
        self.end = (Reach.rounded(self.height), Reach.rounded(self.width))
        self.overlap = Reach.rounded(painter.reach.rise)
        parts = 1 if masks is None else masks.shape[1]
        self.pixels = finish.canvas()
        fixed = self.pixels.nbytes + painter.deep_bytes(min(math.prod(self.end), BLOCK * BLOCK))
        self.tile = tile or options.tile or tile_of_pass(*self.end, painter.bytes(parts), fixed, self.overlap, limit)
        self.shares = None if masks is None or parts == 1 else masks.mean((2, 3))[0] / masks.mean((2, 3)).sum()
        self.cast = torch.autocast(painter.device.type, torch.bfloat16, enabled=options.precision == "bfloat16")
        self.steps = 0

    def finished(self) -> NDArray[Any] | None:
        return self.pixels if self.steps else None

    def resolved(self) -> dict[str, object]:
        return {"tile": self.tile} if self.steps else {}

    def weights(self) -> dict[str, str]:
        return {self.painter.name: self.painter.sha256}

    def picture(self) -> Tensor:
        """The finished result, or the photograph while there is none."""
        return torch.from_numpy(floats(self.pixels)).permute(2, 0, 1)[None] if self.steps else self.content

    def __iter__(self) -> Iterator[Iterate]:
        folded, reach = self._folded(), self.painter.reach
        noise = noise_of(self.options.seed, self.options.noise)
        whole = Tile(*(Span(0, end, 0, end, True) for end in self.end))
        if math.prod(self.end) <= WHOLE and max(self.end) <= self.tile and self.shares is None:
            self._put(self._measured(folded, [whole], noise), whole)
            self.steps = 1
            yield Iterate(1, 1, (self.height, self.width), {}, self._preview())
            return
        windows = [whole] if math.prod(self.end) <= WHOLE else spread_windows(*self.end)
        blocks = self._grid(max(BLOCK, self.tile), Reach.rounded(reach.trunk) + self.overlap)
        painting = [(block, tile) for block in blocks for tile in self._inside(block)]
        step, total = 1, len(painting) + 1
        self._measured(folded, windows, noise)
        yield Iterate(step, total, (self.height, self.width), {}, self._preview())
        at, h = None, torch.empty(0)
        for block, tile in painting:
            if block is not at:
                at, h = block, self._lay_out(folded, block, noise)
            self._put(self._rise(folded, tile, block, h, noise), tile)
            step += 1
            self.steps = int(step == total)
            yield Iterate(step, total, (self.height, self.width), {}, self._preview())

    @torch.inference_mode()
    def _folded(self) -> Folded:
        """Codes and colours, which are the whole picture's."""
        everywhere, inside = color_sums(self.content, self.masks)
        short = min(self.height, self.width) * self.options.style_scale
        styles = [self._encoded(s.picture, s.mask, short, s.key) for s in self.styles]
        if self.shares is None:
            total = sum(s.share for s in self.styles)
            styles = [mixture(styles, [s.share / total for s in self.styles])]
        if self.options.strength < 1:
            own = [self._own(k, inside) for k in range(len(styles))]
            styles = [a.mixed(b, self.options.strength) for a, b in zip(own, styles, strict=True)]
        codes = Encoded(*(torch.cat(parts) for parts in zip(*styles, strict=True)))
        colors = Colors.per_region(everywhere, inside, codes)
        if self.shares is None:
            colors = Colors(colors.mean, colors.scale, colors.matrix[0], colors.offset[0])
        device = self.painter.device
        return Folded(self.painter.generator, Colors(*(c.to(device) for c in colors)), codes.code[None].to(device))

    def _encoded(self, picture: Tensor, mask: Tensor | None, short: float, key: str | None = None) -> Encoded:
        """A picture's style at a short side of `short`, within bounds."""
        height, width = picture.shape[2:]
        most = math.sqrt(LARGEST_STYLE * min(height, width) / max(height, width))
        side = max(SMALLEST_STYLE, round(min(short, most)))
        return self.painter.encode(picture, mask, side, key)

    def _own(self, region: int, inside: tuple[Tensor, Tensor]) -> Encoded:
        """The photograph's own style in a region, which `strength` mixes in."""
        factor = max(1, min(self.height, self.width) // 1024)
        mask = None if self.masks is None else reduced(self.masks[:, region : region + 1], factor)
        found = self._encoded(reduced(self.content, factor), mask, min(self.height, self.width))
        mean, covariance = (m[region : region + 1].to(found.mean) for m in inside)
        return Encoded(found.code, mean, covariance)

    @torch.inference_mode()
    def _measured(self, folded: Folded, windows: Sequence[Tile], noise: Noise) -> Tensor:
        """Windows of one size painted, for their statistics."""
        with self.cast:
            crops = torch.cat([self._crop(self.content, w) for w in windows])
            maps = [torch.cat(parts) for parts in zip(*(self._noise(noise, w) for w in windows), strict=True)]
            return folded.measure(crops, maps)

    @torch.inference_mode()
    def _lay_out(self, folded: Folded, block: Tile, noise: Noise) -> Tensor:
        """The deep part of a block's crop."""
        with self.cast:
            regions = self._regions(block, STRIDES[-1:])
            return folded.lay_out(self._deepest(folded, block), self._noise(noise, block)[-1], regions[-1])

    def _deepest(self, folded: Folded, block: Tile) -> Tensor:
        """The deepest features of a block's crop, tile by tile."""
        found = None
        halo = Reach.rounded(self.painter.reach.encoder)
        rows, columns = (cut(s.low, s.high, self.tile, halo, end) for s, end in zip(block, self.end, strict=True))
        for tile in (Tile(y, x) for y in rows for x in columns):
            part = _core(folded.encode(self._crop(self.content, tile))[-1], tile, STRIDE)
            if found is None:
                height, width = ((s.high - s.low) // STRIDE for s in block)
                found = part.new_empty(1, part.shape[1], height, width)
            y, x = (
                slice((t.start - b.low) // STRIDE, (t.stop - b.low) // STRIDE) for t, b in zip(tile, block, strict=True)
            )
            found[:, :, y, x] = part
        assert found is not None
        return found

    @torch.inference_mode()
    def _rise(self, folded: Folded, tile: Tile, block: Tile, h: Tensor, noise: Noise) -> Tensor:
        """A tile's crop, painted."""
        y, x = (slice((t.low - b.low) // STRIDE, (t.high - b.low) // STRIDE) for t, b in zip(tile, block, strict=True))
        with self.cast:
            crop = self._crop(self.content, tile)
            features = folded.encode(crop, len(STRIDES) - 1)
            return folded.rise(crop, features, h[:, :, y, x], self._noise(noise, tile), self._regions(tile, STRIDES))

    def _put(self, painted: Tensor, tile: Tile) -> None:
        """A painted crop's core into the result."""
        core = _core(painted, tile, 1)[:, :, : self.height - tile.y.start, : self.width - tile.x.start]
        if not bool(core.isfinite().all()):
            raise InputError(f"{self.painter.name}: the network's result is not a number")
        rows, columns = (slice(s.start, s.start + side) for s, side in zip(tile, core.shape[2:], strict=True))
        self.finish.put(self.pixels, core, rows, columns)

    def _crop(self, x: Tensor, tile: Tile) -> Tensor:
        """A tile's crop on the network's device; beyond the picture its border is repeated."""
        y, x_ = tile
        part = x[:, :, y.low : min(y.high, self.height), x_.low : min(x_.high, self.width)]
        beyond = (0, max(0, x_.high - self.width), 0, max(0, y.high - self.height))
        return F.pad(part.to(self.painter.device), beyond, "replicate")

    def _regions(self, tile: Tile, strides: Sequence[int]) -> list[Tensor | None]:
        """Soft labels of a tile's crop at the strides; what no mask takes is shared out, for it is not seen."""
        if self.shares is None or self.masks is None:
            return [None] * len(strides)
        taken = self._crop(self.masks, tile)
        labels = taken + (1 - taken.sum(1, keepdim=True)) * self.shares.to(taken.device)[None, :, None, None]
        return [F.avg_pool2d(labels, stride) if stride > 1 else labels for stride in strides]

    def _noise(self, noise: Noise, tile: Tile) -> list[Tensor]:
        """Every stride's noise in a tile's crop, 1 x 1 x h x w."""
        found = []
        for values, stride in zip(noise, STRIDES, strict=True):
            y, x = (torch.arange(s.low // stride, s.high // stride).remainder(PERIOD) for s in tile)
            found.append(values[y[:, None], x][None, None].to(self.painter.device))
        return found

    def _grid(self, largest: int, halo: int) -> list[Tile]:
        rows, columns = (cut(0, end, largest, halo, end) for end in self.end)
        return [Tile(y, x) for y in rows for x in columns]

    def _inside(self, block: Tile) -> list[Tile]:
        """The tiles of a block."""
        rows, columns = (
            cut(s.start, s.stop, self.tile, self.overlap, end) for s, end in zip(block, self.end, strict=True)
        )
        return [Tile(y, x) for y in rows for x in columns]

    def _preview(self) -> Tensor:
        """What is painted so far, every k-th pixel of a large picture."""
        k = math.ceil(math.sqrt(self.height * self.width / PREVIEW))
        return torch.from_numpy(floats(self.pixels[::k, ::k])).permute(2, 0, 1)[None]


@lru_cache(maxsize=4)
def noise_of(seed: int, deviation: float = 1.0) -> Noise:
    """Noise for every stride: pure functions of the seed and the place."""
    generator = torch.Generator().manual_seed(seed)
    return tuple((deviation * torch.randn(len(STRIDES), PERIOD, PERIOD, generator=generator)).unbind())


def cut(start: int, stop: int, largest: int, halo: int, end: int) -> list[Span]:
    """start:stop in equal cores of at most `largest` (and a cell at least), crops wider by `halo` within 0:end."""
    count = -(-(stop - start) // max(STRIDE, largest // STRIDE * STRIDE))
    size = Reach.rounded(-(-(stop - start) // count))
    cores = [(a, min(a + size, stop)) for a in range(start, stop, size)]
    return [Span(a, b, max(0, a - halo), min(end, b + halo), b == end) for a, b in cores]


def spread_windows(height: int, width: int) -> list[Tile]:
    """Equal windows, SAMPLE pixels together at most, evenly spread over a larger picture of whole cells."""
    h, w = min(WINDOW, height), min(WINDOW, width)
    count = max(1, SAMPLE // (h * w))
    down = min(max(1, round(math.sqrt(count * height / width))), count, -(-height // h))
    across = min(count // down, -(-width // w))
    rows, columns = (
        [_span(i, n, size, side) for i in range(n)] for n, size, side in ((down, h, height), (across, w, width))
    )
    return [Tile(y, x) for y in rows for x in columns]


def _span(index: int, count: int, size: int, side: int) -> Span:
    """The window `index` of `count` along a side."""
    free = side - size
    low = (free // 2 if count == 1 else free * index // (count - 1)) // STRIDE * STRIDE
    return Span(low, low + size, low, low + size, low + size == side)


def _core(x: Tensor, tile: Tile, stride: int) -> Tensor:
    """A map of a tile's crop without its halo."""
    y, x_ = (slice((s.start - s.low) // stride, (s.stop - s.low) // stride) for s in tile)
    return x[:, :, y, x_]


def mixture(styles: Sequence[Encoded], shares: Sequence[float]) -> Encoded:
    """Styles mixed linearly; `shares` have a sum of 1."""
    pairs = list(zip(styles, shares, strict=True))
    return Encoded(*(torch.stack([share * style[i] for style, share in pairs]).sum(0) for i in range(3)))


def color_sums(content: Tensor, masks: Tensor | None) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """`color_moments` of the picture and of it at each of K masks, a band of rows at a time.

    Two pairs of mean (1 or K x 3 x 1) and covariance (1 or K x 3 x 3), float64.
    """
    total: Moments | None = None
    for rows in bands(content.shape[2], content.shape[3]):
        band = content[:, :, rows].double()
        weights = torch.ones_like(band[0, :1])
        if masks is not None:
            weights = torch.cat([weights, masks[0, :, rows].double()])
        found = moments(band, weights)
        total = found if total is None else total.plus(found)
    assert total is not None
    mean = total.mean[:, :, None]
    covariance = total.covariance + (0.5 / 255) ** 2 * torch.eye(3, dtype=mean.dtype)
    first = 0 if masks is None else 1
    return (mean[:1], covariance[:1]), (mean[first:], covariance[first:])


def reduced(x: Tensor, factor: int) -> Tensor:
    """Cells of factor x factor pixels averaged, a band of rows at a time; what is over at the edges is left out."""
    if factor == 1:
        return x
    lines = -(-1024 // factor) * factor
    parts = [x[:, :, top : top + lines] for top in range(0, x.shape[2], lines)]
    return torch.cat([F.avg_pool2d(p, factor) for p in parts if p.shape[2] >= factor], 2)
