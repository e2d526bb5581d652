"""What the optimiser minimises: style and content distances of a picture, and their gradient, in bounded memory.

Both distances are functions of sums over positions. The picture is read tile by tile, the sums added, the loss and
its gradient with respect to the sums computed, and that gradient sent back through each tile: exactly the gradient of
the whole picture, for a second pass over the tiles. A picture that fits is one tile and needs one pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.features import FeatureNetwork
from sfumato.losses.perceptual import add_total_variation
from sfumato.memory import release
from sfumato.picture.tiles import Tile, tiles
from sfumato.style.statistics import Moments, moments
from sfumato.stylize.distances import (
    FINEST,
    LOCAL,
    AttentionDistance,
    Gathering,
    LocalDistance,
    NeighbourDistance,
    Samples,
    StyleDistance,
    Terms,
)

Wanted = Moments | Samples
"""What the styles ask for at one layer, from `picture_moments` or `picture_samples`."""
ALIGN = 32
"""Tiles start at multiples of the deepest stride of any feature network."""


class ContentSums(NamedTuple):
    """Per channel, over positions: weight (one number), x, x^2, x c, (x - c)^2 of activations x, the content's c."""

    weight: Tensor
    x: Tensor
    xx: Tensor
    xc: Tensor
    gap: Tensor


class ContentAt(NamedTuple):
    """Of a tile's core: the content's features by content layer, and what local style distances keep of it."""

    content: dict[str, Tensor]
    prepared: dict[str, Tensor | None]


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

    def read(self, picture: Tensor, tile: Tile, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """{layer: 1 x C x h x w} of the tile's core; differentiable with respect to the picture."""
        crop = picture[:, :, tile.y.low : tile.y.high, tile.x.low : tile.x.high]
        found = self.network(crop, self.layers if layers is None else layers)
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


def cell_side(network: FeatureNetwork, layer: str) -> int:
    """Positions along a side of the cells that local distances compare."""
    return max(1, FINEST // network.stride(layer))


@torch.no_grad()
def picture_samples(
    network: FeatureNetwork, layers: Sequence[str], picture: Tensor, regions: Tensor | None, tile: int
) -> dict[str, Samples]:
    """What local distances need of a whole picture, layer by layer, read in tiles."""
    scanner = Scanner(network, layers, picture.shape[2], picture.shape[3], tile)
    weights = at_layers(network, layers, picture.new_ones(1, *picture.shape[2:]) if regions is None else regions)
    gathered = {layer: Gathering(w, cell_side(network, layer)) for layer, w in weights.items() if w is not None}
    for t in scanner.each():
        for layer, f in scanner.read(picture, t).items():
            one = gathered[layer]
            one.add(f, scanner.core(one.weights, t, layer), scanner.core(one.numbers, t, layer))
    return {layer: gathered[layer].samples() for layer in layers}


class Objective:
    """Loss and gradient of a picture at one size.

    `content` 1 x 3 x H x W in [0, 1]; `wanted` the styles' moments (or samples) by layer; `shares` styles x K;
    `regions` K x H x W or None; `tile` the side of a tile's core in pixels (at least the picture's: no tiling).
    """

    def __init__(
        self,
        network: FeatureNetwork,
        terms: Terms,
        content: Tensor,
        wanted: Sequence[Mapping[str, Wanted]],
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
        read = picture_samples if terms.statistics in LOCAL else picture_moments
        own = read(network, terms.style_layers, content, regions, tile)
        self.style = {
            layer: self._distance(layer, [w[layer] for w in wanted], shares, own[layer], strength)
            for layer in terms.style_layers
        }
        self.kept = self._read_content(self.scanner.tiles[0]) if len(self.scanner.tiles) == 1 else None
        if terms.statistics in LOCAL:
            self._measure_start()
        self.content_moments = {}
        for layer in terms.content_layers:
            sums = (
                list(self._content_sums(c, c, self._weight(layer, t)))
                for t in self.scanner.each()
                for c in [self._content_at(t).content[layer]]
            )
            self.content_moments[layer] = ContentSums(*reduce(_added, sums))

    def _distance(
        self, layer: str, wanted: Sequence[Wanted], shares: Tensor, own: Wanted, strength: float
    ) -> StyleDistance | LocalDistance:
        terms = self.terms
        if isinstance(own, Moments):
            return StyleDistance(terms, [w for w in wanted if isinstance(w, Moments)], shares, own, strength)
        kind = NeighbourDistance if terms.statistics == "neighbours" else AttentionDistance
        side = cell_side(self.scanner.network, layer)
        return kind(terms, [w for w in wanted if isinstance(w, Samples)], shares, own, strength, side)

    @torch.no_grad()
    def _measure_start(self) -> None:
        """Units of local distances: those of the untouched content picture."""
        total: list[Tensor] | None = None
        for t in self.scanner.each():
            sums = self._style_sums(self.scanner.read(self.content, t), t, self._content_at(t))
            total = sums if total is None else _added(total, sums)
        rest = iter(total or ())
        for distance in (self.style[layer] for layer in self.terms.style_layers):
            sums = [next(rest) for _ in range(distance.count)]
            if isinstance(distance, LocalDistance):
                distance.start(sums)

    @torch.no_grad()
    def _read_content(self, tile: Tile) -> ContentAt:
        """What the distances need of the content's positions in a tile."""
        local = [layer for layer, distance in self.style.items() if distance.reads_content]
        layers = tuple(dict.fromkeys((*self.terms.content_layers, *local)))
        found = self.scanner.read(self.content, tile, layers)
        prepared = {layer: self.style[layer].prepared(found[layer], self._regions(layer, tile)) for layer in local}
        return ContentAt({layer: found[layer] for layer in self.terms.content_layers}, prepared)

    def _content_at(self, tile: Tile) -> ContentAt:
        return self.kept if self.kept is not None else self._read_content(tile)

    def _regions(self, layer: str, tile: Tile) -> Tensor | None:
        w = self.regions[layer]
        return None if w is None else self.scanner.core(w, tile, layer)

    def _weight(self, layer: str, tile: Tile) -> Tensor | None:
        w = self._regions(layer, tile)
        return None if w is None else w.sum(0)

    @staticmethod
    def _content_sums(x: Tensor, c: Tensor, weight: Tensor | None) -> ContentSums:
        x, c = x[0].flatten(1), c[0].flatten(1)
        if x.dtype in (torch.bfloat16, torch.float16):
            x, c = x.float(), c.float()
        w = x.new_ones(x.shape[1]) if weight is None else weight.flatten().to(x)
        return ContentSums(w.sum(), x @ w, x.square() @ w, (x * c) @ w, (x - c).square().sum(0) @ w)

    def _style_sums(self, found: dict[str, Tensor], tile: Tile, content: ContentAt) -> list[Tensor]:
        out: list[Tensor] = []
        for layer in self.terms.style_layers:
            out += self.style[layer].sums(found[layer], content.prepared.get(layer), self._regions(layer, tile))
        return out

    def _sums(self, found: dict[str, Tensor], tile: Tile) -> list[Tensor]:
        """All the sums of a tile's features, flat, so that they add and differentiate as one list."""
        content = self._content_at(tile)
        out = self._style_sums(found, tile, content)
        for layer in self.terms.content_layers:
            out += self._content_sums(found[layer], content.content[layer], self._weight(layer, tile))
        return out

    def _losses(self, sums: list[Tensor]) -> dict[str, Tensor]:
        terms, rest = self.terms, iter(sums)
        style = [d(*(next(rest) for _ in range(d.count))) for d in (self.style[k] for k in terms.style_layers)]
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
            sums = self._sums(self.scanner.read(x, self.scanner.tiles[0]), self.scanner.tiles[0])
            losses = self._losses(sums)
            (gradient,) = torch.autograd.grad(self._weighted(losses), x)
        else:
            with torch.no_grad():
                each = (self._sums(self.scanner.read(x, t), t) for t in self.scanner.each())
                total = reduce(_added, each)  # one list held, not one a tile
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
        sums = self._sums(self.scanner.read(leaf, inside), tile)
        pairs = [(s, g) for s, g in zip(sums, wanted, strict=True) if g is not None and s.requires_grad]
        (gradient,) = torch.autograd.grad([s for s, _ in pairs], leaf, [g for _, g in pairs])
        return gradient


def _added(one: list[Tensor], other: list[Tensor]) -> list[Tensor]:
    return [a + b for a, b in zip(one, other, strict=True)]
