"""Style distances of one layer, each a function of sums over positions, so that a picture can be read in tiles.

`StyleDistance` compares statistics of whole regions. `NeighbourDistance` and `AttentionDistance` look at every position
by itself: what it is compared with comes from at most `CANDIDATES` positions of each style, read once and kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.style.attention import attended
from sfumato.style.neighbours import Bag, Neighbours, chosen
from sfumato.style.statistics import (
    GramNormalisation,
    Moments,
    bures_distance,
    gram_matrix,
    matrix_sqrt,
    mean_std,
    moments,
)

LOCAL = ("neighbours", "attention")
"""Statistics that look at positions."""
FINEST = 4
"""Side in pixels of the smallest cells compared; finer layers are averaged over them (to leave positions out instead
draws a mesh)."""
SPREAD = 0.5
"""Share of a local distance that is the region's mean and deviation: without it contrast would be free."""


@dataclass(frozen=True)
class Terms:
    """Which distances, on which layers, with which weights."""

    style_layers: tuple[str, ...]
    style_layer_weights: tuple[float, ...]
    content_layers: tuple[str, ...]
    statistics: Literal["gram", "mean_std", "w2", "neighbours", "attention"] = "gram"
    gram_normalisation: GramNormalisation = "hw"
    relative: bool = True
    content_weight: float = 0.3
    style_weight: float = 1.0
    tv_weight: float = 0.0

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.style_layers, *self.content_layers)))


class StyleDistance:
    """The style distance of one layer: K regions' statistics against what the styles ask for.

    `wanted` are the styles' moments and `shares` (styles x K) how much of each style a region takes; `own` are the
    content picture's moments. `strength` s moves the target from the content's statistics to the style's,
    T = G_c + s (G_s - G_c).
    """

    count = 3
    """Sums."""
    reads_content = False

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

    def prepared(self, content: Tensor, weights: Tensor | None) -> None:
        """Nothing of the content's positions is needed."""

    def sums(self, features: Tensor, prepared: Tensor | None, weights: Tensor | None) -> Moments:  # noqa: ARG002
        """Of the positions of a tile's core: features 1 x C x h x w, weights K x h x w."""
        return moments(features, weights)

    def __call__(self, *sums: Tensor) -> Tensor:
        return (self.share * self.distance(Moments(*sums)) / self.unit).sum()


class Samples(NamedTuple):
    """What a local distance needs of a picture at one layer, region by region.

    The moments of its positions and of its cells (see `averaged`), and a bag of cells that stand for each region.
    """

    moments: Moments
    cells: Moments
    bags: tuple[Bag, ...]


class Gathering:
    """Reads `Samples` of one layer tile by tile; `weights` K x h x w, `side` the positions along a cell."""

    def __init__(self, weights: Tensor, side: int) -> None:
        self.weights, self.side = weights, side
        cells = averaged(weights, side)
        self.picked = [chosen(w) for w in cells]
        self.picked_weights = [w.flatten()[i] for w, i in zip(cells, self.picked, strict=True)]
        numbers = torch.arange(cells[0].numel(), device=weights.device).reshape(cells.shape[1:])
        numbers = numbers.repeat_interleave(side, 0).repeat_interleave(side, 1)
        self.numbers = numbers[: weights.shape[1], : weights.shape[2]]
        """Each position's cell, h x w."""
        self.sums: list[Moments] = []
        self.found: list[Tensor] = []

    def add(self, features: Tensor, weights: Tensor, numbers: Tensor) -> None:
        """A tile's core, 1 x C x h x w, and its parts of `weights` and `numbers`."""
        coarse = averaged(features, self.side)
        both = [moments(features, weights), moments(coarse, averaged(weights, self.side))]
        self.sums = [a.plus(b) for a, b in zip(self.sums, both, strict=True)] if self.sums else both
        rows, numbers = _rows(coarse), numbers[:: self.side, :: self.side].flatten()
        if not self.found:
            self.found = [rows.new_zeros(len(p), rows.shape[1]) for p in self.picked]
        for picked, found in zip(self.picked, self.found, strict=True):
            place = torch.searchsorted(picked, numbers).clamp_max(len(picked) - 1)
            here = picked[place] == numbers
            found[place[here]] = rows[here]

    def samples(self) -> Samples:
        bags = (Bag(f, w.to(f)) for f, w in zip(self.found, self.picked_weights, strict=True))
        return Samples(self.sums[0], self.sums[1], tuple(bags))


class LocalDistance:
    """A distance summed over positions, and that of the region's mean and deviation beside it.

    `wanted` are the styles' samples, `own` the content picture's; positions are averaged over cells of `side` x `side`.
    Units are those of the content picture itself, which `start` is told when its sums are known.
    """

    count = 4
    reads_content = True
    """Whether `prepared` is needed."""

    def __init__(
        self,
        terms: Terms,
        wanted: Sequence[Samples],
        shares: Tensor,
        own: Samples,
        strength: float,
        side: int,
    ) -> None:
        self.relative, self.strength, self.side, self.own = terms.relative, strength, side, own.cells
        plain = replace(terms, statistics="mean_std")
        self.spread = StyleDistance(plain, [w.moments for w in wanted], shares, own.moments, strength)
        columns = (shares / shares.sum(0)).T.tolist()
        self.shares = [[s for s in column if s > 0] for column in columns]
        self.bags = [
            [w.bags[min(k, len(w.bags) - 1)] for w, s in zip(wanted, column, strict=True) if s > 0]
            for k, column in enumerate(columns)
        ]
        self.weight = own.cells.weight.clamp_min(1e-12)
        self.unit = torch.ones_like(self.weight)

    def start(self, sums: Sequence[Tensor]) -> None:
        """The content picture's own sums: the distance of the untouched picture is the unit."""
        if self.relative:
            self.unit = (sums[0] / self.weight).clamp_min(1e-12)

    def sums(self, features: Tensor, prepared: Tensor | None, weights: Tensor | None) -> list[Tensor]:
        """K sums of the positions' distances, then the moments."""
        return [self.gaps(*self.cells(features, weights), prepared), *moments(features, weights)]

    def cells(self, features: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features P x C and weights K x P of a tile's cells."""
        rows = _rows(averaged(features, self.side))
        if weights is None:
            return rows, rows.new_ones(1, len(rows))
        return rows, averaged(weights, self.side).flatten(1).to(rows)

    def prepared(self, content: Tensor, weights: Tensor | None) -> Tensor | None:
        """What is kept of the content's positions in a tile, for `sums`."""
        raise NotImplementedError

    def gaps(self, rows: Tensor, weights: Tensor, prepared: Tensor | None) -> Tensor:
        """K sums over cells P x C, weighed by K x P."""
        raise NotImplementedError

    def __call__(self, *sums: Tensor) -> Tensor:
        near = (self.spread.share * sums[0] / self.weight / self.unit).sum()
        return (1 - SPREAD) * near + SPREAD * self.spread(*sums[1:])


class NeighbourDistance(LocalDistance):
    """1 - cos to the nearest position of the region's styles; with a strength s below 1 also to the content's own.

    s (1 - cos(x, n)) + (1 - s) (1 - cos(x, c)) is least where x lies between both, in the direction s n + (1 - s) c.
    """

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.reads_content = self.strength < 1
        self.styles = [Neighbours(bags, share) for bags, share in zip(self.bags, self.shares, strict=True)]

    def prepared(self, content: Tensor, weights: Tensor | None) -> Tensor | None:  # noqa: ARG002
        return self.cells(content, None)[0]

    def gaps(self, rows: Tensor, weights: Tensor, prepared: Tensor | None) -> Tensor:
        found = []
        for style, w in zip(self.styles, weights, strict=True):
            (inside,) = torch.nonzero(w > 0, as_tuple=True)
            mine = rows if len(inside) == len(rows) else rows[inside]
            gap = style.gaps(mine)
            if prepared is not None:
                gap = self.strength * gap + (1 - self.strength) * style.gaps_to(mine, prepared[inside])
            found.append(gap @ w[inside])
        return torch.stack(found)


class AttentionDistance(LocalDistance):
    """Squared distance to T = S * norm(c) + M, the content's own features with the mean and deviation attended to.

    AdaAttN (Liu et al. 2021), equation 8, as the target of an optimisation.
    """

    top: int | None = None

    def prepared(self, content: Tensor, weights: Tensor | None) -> Tensor:
        """T, P x C; between regions mixed by their weights, and with strength s that much of the way from c."""
        rows, w = self.cells(content, weights)
        total = torch.zeros_like(rows)
        for k, (bags, shares) in enumerate(zip(self.bags, self.shares, strict=True)):
            (inside,) = torch.nonzero(w[k] > 0, as_tuple=True)
            mean, spread = self.own.mean[k], (self.own.variance[k] + 1e-5).sqrt()
            norm = (rows[inside] - mean) / spread
            for bag, share in zip(bags, shares, strict=True):
                part = bag.weights / bag.weights.sum()
                middle = part @ bag.features
                keys = (bag.features - middle) / (part @ (bag.features - middle).square() + 1e-5).sqrt()
                m, s = attended(norm, keys, bag.features, bag.weights, self.top)
                total[inside] += w[k, inside, None] * share * (s * norm + m)
        target = total / w.sum(0).clamp_min(1e-12)[:, None]
        return rows + self.strength * (target - rows)

    def gaps(self, rows: Tensor, weights: Tensor, prepared: Tensor | None) -> Tensor:
        assert prepared is not None
        return weights @ (rows - prepared).square().sum(1)


def averaged(maps: Tensor, side: int) -> Tensor:
    """Means over cells of `side` x `side` positions of ... x h x w; those at the end may be smaller."""
    return maps if side == 1 else F.avg_pool2d(maps, side, ceil_mode=True)


def _rows(features: Tensor) -> Tensor:
    """1 x C x h x w as positions x channels, at least float32."""
    f = features[0].flatten(1).T
    return f.float() if f.dtype in (torch.bfloat16, torch.float16) else f
