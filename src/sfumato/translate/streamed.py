"""A picture of any size by a network that normalises every layer by the whole picture, piece by piece.

Instance norm makes a network see everything, so a tile painted by its own statistics has colours of its own. Here
every layer's statistics are those of the whole picture, exactly, and tiled equals whole to float tolerance. Why not
those of a smaller copy: a quarter of the sides has other deviations (fine detail is gone), and so other colours.

The part at stride 4 holds most of the arithmetic and little memory (16 floats a pixel at 64 channels): its activations
are kept, for the whole picture and twice, and its layers follow one another over bands of rows. The outer layers, at
strides 1 and 2, hold much memory and little arithmetic: they are computed anew over tiles, once for every statistic
that is still unknown, 12 % on top with the full network. The plain twin is `WholeTranslator.translate`.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.layers.residual import CELL, InstanceNorm, Parts, Residual, Through, painted
from sfumato.picture.tiles import Tile, tiles

INWARDS, OUTWARDS = 8, 12
"""Pixels that the stem and the rest see beyond a tile, whole cells: 3 + 1 + 2, and 4 + 2 + 2 + 1 + 3."""
EPS = nn.InstanceNorm2d(1).eps
PASSES = 6
"""Readings of the picture by tiles: three inwards, three outwards."""


class Moments:
    """Mean and variance of channels, from parts that come one after the other (Chan, Golub & LeVeque 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros(1), torch.zeros(1)

    def add(self, x: Tensor) -> None:
        """1 x C x h x w more."""
        channels, count = x.shape[1], x.shape[2] * x.shape[3]
        _, mean, inverse = torch.native_group_norm(x.contiguous(), None, None, 1, channels, count, channels, 0.0)
        mean, variance = mean[0].cpu().double(), inverse[0].cpu().double().pow(-2)
        total = self.count + count
        apart = mean - self.mean
        self.squares = self.squares + count * variance + apart.square() * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total

    def normalise(self, x: Tensor) -> Tensor:
        """Instance norm of 1 x C x h x w with these statistics."""
        mean, variance = (t.to(x) for t in (self.mean, self.squares / self.count))
        return F.batch_norm(x, mean, variance, eps=EPS)


class Streamed:
    """One picture 1 x 3 x H x W in [0, 1], sides multiples of 4 and at least 8, by the parts of one network."""

    def __init__(self, parts: Parts, picture: Tensor, tile: int, device: torch.device | str = "cpu") -> None:
        """`tile` is the side of a tile's core in pixels; `picture` may lie on another device than the network."""
        self.parts, self.picture, self.device = parts, picture, device
        self.height, self.width = picture.shape[2:]
        self.tile = max(CELL, tile // CELL * CELL)
        self.rows = max(1, self.tile**2 // self.width // CELL)
        self.moments: dict[nn.Module, Moments] = {}
        layers = sum(2 if isinstance(m, Residual) else 1 for m in parts.inner)
        self.shown: tuple[Through, Tensor] | None = None
        """What is painted onto, where it is not the picture itself: 1 x 3 x H x W before the tanh, not yet `simple`."""
        self.total = PASSES * len(self._tiles(INWARDS)) + layers * len(list(self._bands()))
        """Steps of `run`."""

    @torch.inference_mode()
    def run(self, put: Callable[[Tensor, Tile], None]) -> Iterator[int]:
        """Steps made, from 1; `put` is given every tile's core 1 x 3 x h x w in [0, 1] in the last pass."""
        step = 0
        inner = torch.empty(0)
        for depth, layer in enumerate(self.parts.stem):
            found, stride = Moments(), 1 << depth
            for tile in self._tiles(INWARDS):
                core = _core(self._inwards(tile, depth), tile, stride)
                found.add(core)
                if stride == CELL:
                    if not inner.numel():
                        inner = core.new_empty(1, core.shape[1], self.height // CELL, self.width // CELL)
                    _core_of(inner, tile, CELL).copy_(core)
                step += 1
                yield step
            self.moments[layer] = found
        for band in self._bands():
            inner[:, :, band] = F.relu_(self.moments[self.parts.stem[-1]].normalise(inner[:, :, band]))
        other = torch.empty_like(inner)
        for block in self.parts.inner:
            if isinstance(block, Through):
                for _ in self._join(block, inner):
                    step += 1
                    yield step
                continue
            if not isinstance(block, Residual):
                for _ in self._convolve(block, inner, inner, None, Moments()):
                    step += 1
                    yield step
                continue
            first, second = Moments(), Moments()
            for layer, source, norm, statistics in (
                (block.body[0], inner, None, first),
                (block.body[3], other, first, second),
            ):
                for _ in self._convolve(layer, source, other, norm, statistics):
                    step += 1
                    yield step
            for band in self._bands():
                inner[:, :, band] += second.normalise(other[:, :, band])
        del other
        for depth in range(len(self.parts.rise) + 1):
            found = Moments()
            for tile in self._tiles(OUTWARDS):
                made = self._outwards(inner, tile, depth)
                if depth < len(self.parts.rise):
                    found.add(_core(made, tile, CELL >> (depth + 1)))
                else:
                    if self.shown is not None:
                        through, shown = self.shown
                        made += through.simple(self._crop(tile, shown))
                    put(_core(painted(made, self._crop(tile), onto=self.parts.onto).picture, tile, 1), tile)
                step += 1
                yield step
            if depth < len(self.parts.rise):
                self.moments[self.parts.rise[depth]] = found

    def _inwards(self, tile: Tile, depth: int) -> Tensor:
        """A tile's crop after the convolution of stem layer `depth`, those before it normalised."""
        return self._through(self.parts.stem, 2 * self._crop(tile) - 1, depth)

    def _outwards(self, inner: Tensor, tile: Tile, depth: int) -> Tensor:
        """Likewise of rise layer `depth`, or of what leaves."""
        y, x = (slice(s.low // CELL, s.high // CELL) for s in tile)
        return self._through((*self.parts.rise, self.parts.leave), inner[:, :, y, x], depth)

    def _through(self, layers: Sequence[nn.Module], x: Tensor, depth: int) -> Tensor:
        for layer in layers[:depth]:
            assert isinstance(layer, nn.Sequential)
            x = F.relu_(self.moments[layer].normalise(layer[0](x)))
        last = layers[depth]
        y: Tensor = last[0](x) if isinstance(last, nn.Sequential) and isinstance(last[1], InstanceNorm) else last(x)
        return y

    def _convolve(
        self, layer: nn.Module, source: Tensor, target: Tensor, norm: Moments | None, found: Moments
    ) -> Iterator[None]:
        """Rows of `source` (normalised by `norm` and rectified) through a layer that sees one row more on each side.

        `target` may be `source`: the last row that was overwritten is kept.
        """
        above = source[:, :, :0]
        for band in self._bands():
            below = min(band.stop + 1, source.shape[2])
            x = torch.cat([above, source[:, :, band.start : below]], 2)
            above = source[:, :, band.stop - 1 : band.stop].clone()
            if norm is not None:
                x = F.relu_(norm.normalise(x))
            first = min(1, band.start)
            y = layer(x)[:, :, first : first + band.stop - band.start]
            found.add(y)
            target[:, :, band] = y
            yield

    def _join(self, through: Through, inner: Tensor) -> Iterator[None]:
        """The picture's cells join the latents, row by row, and leave what is painted onto."""
        shown = torch.empty_like(self.picture)
        self.shown = through, shown
        for band in self._bands():
            pixels = slice(band.start * CELL, band.stop * CELL)
            inner[:, :, band] = through.join(inner[:, :, band], self.picture[:, :, pixels].to(self.device))
            shown[:, :, pixels] = through.shown(inner[:, :, band])
            yield

    def _bands(self) -> Iterator[slice]:
        rows = self.height // CELL
        return (slice(top, min(top + self.rows, rows)) for top in range(0, rows, self.rows))

    def _tiles(self, halo: int) -> list[Tile]:
        return list(tiles(self.height, self.width, self.tile, CELL, halo))

    def _crop(self, tile: Tile, whole: Tensor | None = None) -> Tensor:
        """Of the picture, or of another map of its size."""
        whole = self.picture if whole is None else whole
        return whole[:, :, tile.y.low : tile.y.high, tile.x.low : tile.x.high].to(self.device)


def _core(x: Tensor, tile: Tile, stride: int) -> Tensor:
    """A map of a tile's crop without its halo."""
    y, x_ = (slice((s.start - s.low) // stride, (s.stop - s.low) // stride) for s in tile)
    return x[:, :, y, x_]


def _core_of(whole: Tensor, tile: Tile, stride: int) -> Tensor:
    """A tile's place in a map of the whole picture."""
    y, x = (slice(s.start // stride, s.stop // stride) for s in tile)
    return whole[:, :, y, x]


def inner_bytes(parts: Parts, pixels: int) -> int:
    """What the part at stride 4 takes, its activations, twice; what is painted onto where that is not the picture."""
    base = 3 * 4 * pixels if any(isinstance(m, Through) for m in parts.inner) else 0
    return 2 * 4 * deep_channels(parts) * pixels // CELL**2 + base


def deep_channels(parts: Parts) -> int:
    """Channels at stride 4, four times those at stride 1."""
    return next(m.out_channels for m in parts.stem[-1].modules() if isinstance(m, nn.Conv2d))


def crop_bytes(parts: Parts) -> int:
    """Peak of the outer layers a pixel of a tile's crop (bench/README.md)."""
    return 4 * math.ceil(deep_channels(parts) / CELL) * MAPS


MAPS = 7
"""Maps of the outermost width that are held at once."""
