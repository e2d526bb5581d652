"""What the optimiser minimises: style and content distances of a picture, and their gradient, in bounded memory.

Both distances are functions of sums over positions. The picture is read tile by tile, the sums added, the loss and
its gradient with respect to the sums computed, and that gradient sent back through each tile: exactly the gradient of
the whole picture, for a second pass over the tiles. A picture that fits is one tile and needs one pass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.features import FeatureNetwork
from sfumato.losses.perceptual import add_total_variation
from sfumato.picture.tiles import Tile, tiles
from sfumato.style.statistics import (
    GramNormalisation,
    Moments,
    bures_distance,
    gram_matrix,
    matrix_sqrt,
    mean_std,
    moments,
)
from sfumato.stylize.memory import release

ALIGN = 32
"""Tiles start at multiples of the deepest stride of any feature network."""


@dataclass(frozen=True)
class Terms:
    """Which distances, on which layers, with which weights."""

    style_layers: tuple[str, ...]
    style_layer_weights: tuple[float, ...]
    content_layers: tuple[str, ...]
    statistics: Literal["gram", "mean_std", "w2"] = "gram"
    gram_normalisation: GramNormalisation = "hw"
    relative: bool = True
    content_weight: float = 0.3
    style_weight: float = 1.0
    tv_weight: float = 0.0

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.style_layers, *self.content_layers)))


class ContentSums(NamedTuple):
    """Per channel, over positions: weight (one number), x, x^2, x c, (x - c)^2 of activations x, the content's c."""

    weight: Tensor
    x: Tensor
    xx: Tensor
    xc: Tensor
    gap: Tensor


class Evaluation(NamedTuple):
    """`total` = weighted sum of `losses`; `gradient` has the picture's shape."""

    total: float
    losses: dict[str, float]
    gradient: Tensor


class Scanner:
    """Reads a picture's features tile by tile.

    `regions` K x H x W are soft weights of K regions (None: one, everything); `size` is the side of a tile's core.
    """

    def __init__(self, network: FeatureNetwork, layers: Sequence[str], height: int, width: int, size: int) -> None:
        self.network, self.layers = network, tuple(layers)
        halo = max(network.reach(layer) for layer in layers)
        whole = size >= max(height, width)
        self.tiles = [*tiles(height, width, max(height, width) if whole else size, ALIGN, halo)]

    def each(self) -> Iterator[Tile]:
        """The tiles in order; between them freed memory is given back, or its holes would add up over many tiles."""
        for tile in self.tiles:
            yield tile
            if len(self.tiles) > 1:
                release()

    def read(self, picture: Tensor, tile: Tile) -> dict[str, Tensor]:
        """{layer: 1 x C x h x w} of the tile's core; differentiable with respect to the picture."""
        crop = picture[:, :, tile.y.low : tile.y.high, tile.x.low : tile.x.high]
        found = self.network(crop, self.layers)
        return {layer: self.core(f, tile, layer, cropped=True) for layer, f in found.items()}

    def core(self, whole: Tensor, tile: Tile, layer: str, *, cropped: bool = False) -> Tensor:
        """The tile's core of a map at the layer's resolution (of the whole picture, or of the tile's crop)."""
        stride = self.network.stride(layer)
        cut = []
        for span in tile:
            low = span.low // stride if cropped else 0
            cut.append(slice(span.start // stride - low, None if span.last else span.stop // stride - low))
        return whole[..., cut[0], cut[1]]


def at_layers(network: FeatureNetwork, layers: Sequence[str], regions: Tensor | None) -> dict[str, Tensor | None]:
    """Region weights K x H x W averaged down to each layer's positions."""
    if regions is None:
        return dict.fromkeys(layers)
    out: dict[str, Tensor | None] = {}
    for layer in layers:
        height, width = (network.cells(side, layer) for side in regions.shape[1:])
        out[layer] = F.adaptive_avg_pool2d(regions[None], (height, width))[0]
    return out


@torch.no_grad()
def picture_moments(
    network: FeatureNetwork, layers: Sequence[str], picture: Tensor, regions: Tensor | None, tile: int
) -> dict[str, Moments]:
    """Moments of every layer of a whole picture, read in tiles."""
    scanner = Scanner(network, layers, picture.shape[2], picture.shape[3], tile)
    weights, out = at_layers(network, layers, regions), dict[str, Moments]()
    for t in scanner.each():
        for layer, f in scanner.read(picture, t).items():
            w = weights[layer]
            m = moments(f, None if w is None else scanner.core(w, t, layer))
            out[layer] = out[layer].plus(m) if layer in out else m
    return out


class StyleDistance:
    """The style distance of one layer: K regions' statistics against what the styles ask for.

    `wanted` are the styles' moments and `shares` (styles x K) how much of each style a region takes; `own` are the
    content picture's moments. `strength` s moves the target from the content's statistics to the style's,
    T = G_c + s (G_s - G_c).
    """

    def __init__(self, terms: Terms, wanted: Sequence[Moments], shares: Tensor, own: Moments, strength: float) -> None:
        self.terms, self.share = terms, own.weight / own.weight.sum().clamp_min(1e-12)
        if terms.statistics == "w2":
            share = shares / shares.sum(0)
            mixed = Moments(
                torch.ones_like(own.weight),
                sum(s[:, None] * m.mean for s, m in zip(share, wanted, strict=True)),
                torch.zeros_like(own.second),
            )
            covariance = sum(s[:, None, None] * m.covariance for s, m in zip(share, wanted, strict=True))
            mean = own.mean + strength * (mixed.first - own.mean)
            self.mean, self.root = mean, matrix_sqrt(own.covariance + strength * (covariance - own.covariance))
        else:
            share = (shares / shares.sum(0)).reshape(*shares.shape, *[1] * (self.statistic(own).ndim - 1))
            target = sum(s * self.statistic(m) for s, m in zip(share, wanted, strict=True))
            start = self.statistic(own)
            self.target: Tensor = start + strength * (target - start)
        self.unit = self.distance(own).clamp_min(1e-12) if terms.relative else torch.ones_like(own.weight)

    def statistic(self, m: Moments) -> Tensor:
        return gram_matrix(m, self.terms.gram_normalisation) if self.terms.statistics == "gram" else mean_std(m)

    def distance(self, m: Moments) -> Tensor:
        """K distances, not yet relative."""
        if self.terms.statistics == "w2":
            return bures_distance(m, self.mean, self.root)
        gap = (self.statistic(m) - self.target).square().flatten(1).sum(1)
        if self.terms.statistics == "gram" and not self.terms.relative:
            gap = gap / (4 * m.second.shape[1] ** 2)  # Gatys et al. 2016, equation 4
        return gap

    def __call__(self, m: Moments) -> Tensor:
        return (self.share * self.distance(m) / self.unit).sum()


class Objective:
    """Loss and gradient of a picture at one size.

    `content` 1 x 3 x H x W in [0, 1]; `wanted` the styles' moments by layer; `shares` styles x K; `regions` K x H x W
    or None; `tile` the side of a tile's core in pixels (at least the picture's: no tiling).
    """

    def __init__(
        self,
        network: FeatureNetwork,
        terms: Terms,
        content: Tensor,
        wanted: Sequence[dict[str, Moments]],
        *,
        shares: Tensor | None = None,
        regions: Tensor | None = None,
        strength: float = 1.0,
        tile: int = 1 << 30,
    ) -> None:
        self.terms, self.content = terms, content
        self.scanner = Scanner(network, terms.layers, content.shape[2], content.shape[3], tile)
        self.regions = at_layers(network, terms.layers, regions)
        if shares is None:
            shares = content.new_ones(len(wanted), 1)
        own = picture_moments(network, terms.style_layers, content, regions, tile)
        self.style = {
            layer: StyleDistance(terms, [w[layer] for w in wanted], shares, own[layer], strength)
            for layer in terms.style_layers
        }
        self.kept = self._read_content(self.scanner.tiles[0]) if len(self.scanner.tiles) == 1 else None
        self.content_moments = {}
        for layer in terms.content_layers:
            sums = (
                list(self._content_sums(c, c, self._weight(layer, t)))
                for t in self.scanner.each()
                for c in [self._content_at(t)[layer]]
            )
            self.content_moments[layer] = ContentSums(*reduce(_added, sums))

    @torch.no_grad()
    def _read_content(self, tile: Tile) -> dict[str, Tensor]:
        layers = self.terms.content_layers
        scanner = self.scanner
        crop = self.content[:, :, tile.y.low : tile.y.high, tile.x.low : tile.x.high]
        return {layer: scanner.core(f, tile, layer, cropped=True) for layer, f in scanner.network(crop, layers).items()}

    def _content_at(self, tile: Tile) -> dict[str, Tensor]:
        return self.kept if self.kept is not None else self._read_content(tile)

    def _weight(self, layer: str, tile: Tile) -> Tensor | None:
        w = self.regions[layer]
        return None if w is None else self.scanner.core(w, tile, layer).sum(0)

    @staticmethod
    def _content_sums(x: Tensor, c: Tensor, weight: Tensor | None) -> ContentSums:
        x, c = x[0].flatten(1), c[0].flatten(1)
        if x.dtype in (torch.bfloat16, torch.float16):
            x, c = x.float(), c.float()
        w = x.new_ones(x.shape[1]) if weight is None else weight.flatten().to(x)
        return ContentSums(w.sum(), x @ w, x.square() @ w, (x * c) @ w, (x - c).square().sum(0) @ w)

    def _sums(self, picture: Tensor, tile: Tile) -> list[Tensor]:
        """All the tile's sums, flat, so that they add and differentiate as one list."""
        found, content = self.scanner.read(picture, tile), self._content_at(tile)
        out: list[Tensor] = []
        for layer in self.terms.style_layers:
            w = self.regions[layer]
            out += moments(found[layer], None if w is None else self.scanner.core(w, tile, layer))
        for layer in self.terms.content_layers:
            out += self._content_sums(found[layer], content[layer], self._weight(layer, tile))
        return out

    def _losses(self, sums: list[Tensor]) -> dict[str, Tensor]:
        terms, rest = self.terms, iter(sums)
        style = [self.style[layer](Moments(next(rest), next(rest), next(rest))) for layer in terms.style_layers]
        weights = terms.style_layer_weights or (1.0,) * len(style)
        scale = sum(weights) if terms.relative else 1.0
        losses = {"style": sum((w * v for w, v in zip(weights, style, strict=True)), sums[0].new_zeros(())) / scale}
        if terms.content_layers:
            content = [
                self._content_loss(layer, ContentSums(*(next(rest) for _ in ContentSums._fields)))
                for layer in terms.content_layers
            ]
            losses["content"] = torch.stack(content).mean()
        return losses

    def _content_loss(self, layer: str, s: ContentSums) -> Tensor:
        """Share of the normalised activations that is lost: 1 - mean correlation of channels; or eq. 1 of the paper."""
        if not self.terms.relative:
            return s.gap / 2
        c = self.content_moments[layer]
        n = s.weight.clamp_min(1e-12)
        own, other = (c.xx / n - (c.x / n).square()).clamp_min(0), (s.xx / n - (s.x / n).square()).clamp_min(0)
        cross = s.xc / n - s.x * c.x / n.square()
        # A channel that is silent in the photograph, or constant to float32's rounding, says nothing.
        alive = (own > 1e-6 * own.amax().clamp_min(1e-30)) & (own > 1e-5 * c.xx / n)
        floor = 1e-8 * own.amax()
        own, other, cross = own[alive], other[alive], cross[alive]
        correlation = cross / ((own + floor).sqrt() * (other + floor).sqrt())
        return (1 - correlation).sum() / alive.sum().clamp_min(1)

    def evaluate(self, picture: Tensor) -> Evaluation:
        """Loss and gradient at `picture`, 1 x 3 x H x W; the picture itself needs no grad."""
        x = picture.detach()
        if len(self.scanner.tiles) == 1:
            x = x.requires_grad_()
            sums = self._sums(x, self.scanner.tiles[0])
            losses = self._losses(sums)
            (gradient,) = torch.autograd.grad(self._weighted(losses), x)
        else:
            with torch.no_grad():
                total = reduce(_added, (self._sums(x, t) for t in self.scanner.each()))  # one list held, not one a tile
            leaves = [s.requires_grad_() for s in total]
            losses = self._losses(leaves)
            wanted = torch.autograd.grad(self._weighted(losses), leaves, allow_unused=True)
            gradient = torch.zeros_like(x)
            for t in self.scanner.each():
                box = (..., slice(t.y.low, t.y.high), slice(t.x.low, t.x.high))
                gradient[box] += self._tile_gradient(x[box], t, wanted)
        values = {k: float(v.detach()) for k, v in losses.items()}
        total_loss = float(self._weighted(losses).detach())
        if self.terms.tv_weight:
            values["tv"] = add_total_variation(x.detach(), gradient, self.terms.tv_weight)
            total_loss += self.terms.tv_weight * values["tv"]
        return Evaluation(total_loss, values, gradient)

    def _weighted(self, losses: dict[str, Tensor]) -> Tensor:
        total = self.terms.style_weight * losses["style"]
        return total + self.terms.content_weight * losses["content"] if "content" in losses else total

    def _tile_gradient(self, crop: Tensor, tile: Tile, wanted: Sequence[Tensor | None]) -> Tensor:
        """The gradient of the whole objective that passes through one tile, on its crop."""
        leaf = crop.detach().requires_grad_()
        inside = Tile(
            *(s._replace(start=s.start - s.low, stop=s.stop - s.low, low=0, high=s.high - s.low) for s in tile)
        )
        found, content = self.scanner.read(leaf, inside), self._content_at(tile)
        sums: list[Tensor] = []
        for layer in self.terms.style_layers:
            w = self.regions[layer]
            sums += moments(found[layer], None if w is None else self.scanner.core(w, tile, layer))
        for layer in self.terms.content_layers:
            sums += self._content_sums(found[layer], content[layer], self._weight(layer, tile))
        pairs = [(s, g) for s, g in zip(sums, wanted, strict=True) if g is not None and s.requires_grad]
        (gradient,) = torch.autograd.grad([s for s, _ in pairs], leaf, [g for _, g in pairs])
        return gradient


def _added(one: list[Tensor], other: list[Tensor]) -> list[Tensor]:
    return [a + b for a, b in zip(one, other, strict=True)]
