"""Semantic transfer: every region of the picture takes its style from the part of the style that belongs to it.

Regions come from a segmenter (classes), from pictures of regions given by the user, or from clustering both pictures'
deep features together. What comes out is what every method takes already: a mask for each part of the picture, and a
part of a style for each mask.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.picture.guided import along_edges
from sfumato.picture.regions import Regions
from sfumato.picture.resize import fit_short_side, resize
from sfumato.segment.work import Seen
from sfumato.style.matching import Pair, cluster_jointly, match_classes, match_clusters, regions_by_attention
from sfumato.stylize.options import Match

SIDE = 256
"""Short side at which pictures are compared."""
LAYER = "relu4_1"
SMALLEST = 0.01
"""Share of the picture below which a region is given to its neighbours."""
RADIUS, EPS = 2, 1e-3
"""Cells and variance of the filter that puts the edges of clusters onto the picture's."""
CERTAIN = 0.9
"""Mean confidence of the segmenter, in the picture or style where it is least sure, from which `auto` believes its
classes: chosen on the 20 training pairs of the deep-photo set (docs/semantic.md)."""
READ = 0.75
"""The same where classes of the photograph are needed anyway, for styles of their own: below, attention finds them."""


Segmenter = Callable[[Tensor], Seen]
"""Of a picture 1 x 3 x H x W in [0, 1]."""


class Choice(NamedTuple):
    """Where one region of the picture takes its style from."""

    pair: Pair
    source: int
    """Number of the style picture."""
    mask: Tensor | None
    """1 x 1 x H x W of that picture; None for all of it."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What each region of a picture takes."""

    content: Regions
    """At the picture's size."""
    choices: tuple[Choice | None, ...]
    """One a region; None where the picture stays as it is."""
    styles: tuple[Regions | None, ...]
    """The style pictures' regions, where they were looked for."""
    how: str
    """`regions`, `classes`, `attention` or `clusters`."""
    confidence: float | None
    """Of the segmenter, in the picture or style where it is least sure."""

    def masks(self, feather: float) -> Tensor:
        """1 x K x H x W: where each of the choices goes; hard edges are softened by `feather` pixels."""
        regions = self.content.feathered(feather) if self.how == "regions" else self.content
        kept = [k for k, choice in enumerate(self.choices) if choice is not None]
        return regions.weights[kept][None]

    def made(self) -> list[Choice]:
        return [choice for choice in self.choices if choice is not None]


def plan(
    content: Tensor,
    styles: Sequence[Tensor],
    by_class: Mapping[str, int],
    *,
    match: Match,
    maps: Sequence[Regions] = (),
    segmenter: Segmenter,
    features: Callable[[], FeatureNetwork],
) -> Plan:
    """Decide which region takes its style from where.

    Args:
        content: 1 x 3 x H x W in [0, 1].
        styles: the style pictures likewise; those that `by_class` names are for their class alone.
        by_class: {class: number of its style picture}; where no style is left for a region, it stays as it is.
        match: how; `maps` overrule it.
        maps: regions of `content` and of every style, at their sizes, where the user gave them.
        segmenter: asked for classes.
        features: called when pictures have to be compared.

    A region takes its style from the first of the styles that has its class, else from the one where the nearest
    meaning or look is. Raises `InputError` for a class of `by_class` that the picture does not have.
    """
    general = [k for k in range(len(styles)) if k not in by_class.values()]
    how: str = "regions" if maps else match
    confidence: float | None = None
    known: Sequence[Regions | None] = [None] * len(styles)
    if maps:
        own, known = maps[0], maps[1:]
    elif how != "clusters":
        seen = [segmenter(p) for p in (content, *styles)]
        own, known, confidence = seen[0].regions, [s.regions for s in seen[1:]], min(s.confidence for s in seen)
        if how == "auto":
            enough, other = (READ, "attention") if by_class else (CERTAIN, "clusters")
            how = "classes" if confidence >= enough else other
    compared = list[Tensor]()
    if how != "regions":
        network = features()
        compared = [_features(network, p) for p in (content, *styles)]
    if how == "clusters":
        own, *known = _on(cluster_jointly(compared), (content, *styles))
    if how == "attention":
        known = _on([regions_by_attention(f, compared[0], own) for f in compared[1:]], styles)
    own = own.without_small(SMALLEST)
    for name in by_class:
        if name not in own.names:
            raise InputError(f"there is no {name} in the picture to give a style of its own: {', '.join(own.names)}")
    pairs = [_pairs(own, regions, how, compared[:1], compared[k + 1 : k + 2]) for k, regions in enumerate(known)]
    choices = [
        _best(k, known, pairs, [by_class[name]] if name in by_class else general) for k, name in enumerate(own.names)
    ]
    return Plan(own, tuple(choices), tuple(known), how, confidence)


@torch.no_grad()
def _features(network: FeatureNetwork, picture: Tensor) -> Tensor:
    """1 x C x h x w of the picture at a short side of SIDE."""
    size = fit_short_side(picture.shape[2], picture.shape[3], SIDE)
    return network(resize(picture, *size), [LAYER])[LAYER].float()


def _on(coarse: Sequence[Regions], pictures: Sequence[Tensor]) -> list[Regions]:
    """Regions of features' cells at their pictures' sizes."""
    return [along_edges(regions, picture, RADIUS, EPS) for regions, picture in zip(coarse, pictures, strict=True)]


def _pairs(
    own: Regions, regions: Regions | None, how: str, mine: Sequence[Tensor], theirs: Sequence[Tensor]
) -> list[Pair]:
    """What every region of the picture would take of one style; `mine` and `theirs` are features, where there are."""
    if regions is None:
        return [Pair(name, None, "not in the style") for name in own.names]
    if how in WHY:
        return match_clusters(own, regions, mine[0], theirs[0], WHY[how])
    return match_classes(own, regions, *mine, *theirs)


def _best(
    k: int, known: Sequence[Regions | None], pairs: Sequence[Sequence[Pair]], sources: Sequence[int]
) -> Choice | None:
    """The best of the sources for region k: the first of those with the best reason."""
    if not sources:
        return None
    source = min(sources, key=lambda s: ORDER[pairs[s][k].why])
    pair, regions = pairs[source][k], known[source]
    mask = None if pair.style is None or regions is None else regions.of(pair.style)[None, None]
    return Choice(pair, source, mask)


WHY = {"clusters": "same cluster", "attention": "most attention"}
ORDER = {
    "same class": 0,
    "same cluster": 0,
    "most attention": 0,
    "nearest meaning": 1,
    "nearest features": 2,
    "not in the style": 3,
}
"""Of the reasons, the best first."""
