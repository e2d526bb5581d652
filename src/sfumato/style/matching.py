"""Which part of the style a part of the picture takes its style from.

By meaning where regions have the names of classes: sky from sky, and what the style lacks from the nearest meaning, or
from what looks nearest. By looks where there are no classes, as in paintings that a segmenter trained on photographs
cannot read: both pictures' deep features are clustered together.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.picture.regions import Regions
from sfumato.style.attention import each_chunk, normalised

RELATED: Mapping[str, tuple[str, ...]] = {
    "sky": ("water",),
    "water": ("sky", "ground"),
    "vegetation": ("ground",),
    "ground": ("vegetation", "water"),
    "building": ("object", "vehicle"),
    "person": ("animal",),
    "animal": ("person",),
    "vehicle": ("object", "building"),
    "object": ("vehicle", "building"),
}
"""Classes that may stand in for one another, the nearest first."""
SMALLEST = 0.01
"""Share of a picture from which a region counts."""
LEAST = 0.05
"""The same for clusters: the statistics of a smaller one are those of a few strokes."""
COMPONENTS = 24
"""Principal components of the features that are clustered."""
POSITION = 0.7
"""Weight of the height in the picture beside the features: skies lie above meadows in paintings too."""
LOOKING_UP = 0.3
"""The same for attention, in deviations of a position's features. Both were chosen on the 20 training pairs of the
deep-photo set: pixels whose style pixels have their published region 0.77 and 0.79, with all of the style 0.52."""
ROUNDS = 40


class Pair(NamedTuple):
    """A region of the picture and what it takes its style from."""

    content: str
    style: str | None
    """A region of the style; None for all of it."""
    why: str


def match_classes(
    content: Regions, style: Regions, content_features: Tensor | None = None, style_features: Tensor | None = None
) -> list[Pair]:
    """A pair for every region of `content`, in order: same name, else nearest meaning, else nearest features.

    `..._features` 1 x C x h x w of the two pictures, any sizes; without them what has no meaning here takes all of the
    style. Regions of the style below SMALLEST of its area are passed over.
    """
    there = [name for name, share in zip(style.names, style.shares.tolist(), strict=True) if share >= SMALLEST]
    near = None
    if content_features is not None and style_features is not None and there:
        part = Regions(tuple(there), torch.stack([style.of(name) for name in there]))
        near = likeness(content_features, content, style_features, part)
    pairs = []
    for k, name in enumerate(content.names):
        related = [other for other in RELATED.get(name, ()) if other in there]
        if name in there:
            pairs.append(Pair(name, name, "same class"))
        elif related:
            pairs.append(Pair(name, related[0], "nearest meaning"))
        elif near is not None:
            pairs.append(Pair(name, there[int(near[k].argmax())], "nearest features"))
        else:
            pairs.append(Pair(name, None, "not in the style"))
    return pairs


def likeness(content: Tensor, content_regions: Regions, style: Tensor, style_regions: Regions) -> Tensor:
    """Cosines of the regions' mean features, K_content x K_style; features 1 x C x h x w, centred on both pictures."""
    means = [_means(f, r) for f, r in ((content, content_regions), (style, style_regions))]
    centre = (content.mean((0, 2, 3)) + style.mean((0, 2, 3))) / 2
    a, b = (F.normalize(m - centre, dim=1) for m in means)
    found: Tensor = a @ b.T
    return found


def _means(features: Tensor, regions: Regions) -> Tensor:
    weights = regions.resized(features.shape[2], features.shape[3]).weights.to(features)
    sums = torch.einsum("khw,chw->kc", weights, features[0])
    return sums / weights.sum((1, 2)).clamp_min(1e-6)[:, None]


def cluster_jointly(features: Sequence[Tensor], count: int = 5, seed: int = 0) -> list[Regions]:
    """Regions of several pictures by k-means of their features together; equal names belong together.

    Args:
        features: 1 x C x h x w of one layer for each picture, any sizes.
        count: clusters at most.

    Every channel is normalised over its own picture first, so that a painting's paint does not part it from a
    photograph; then positions by their length, so that contrast does not count. Deterministic for one seed.

    Returns:
        Regions at the features' sizes, named "1", "2" ... from the top of the first picture downwards.
    """
    points = torch.cat(_described(features)).double()
    labels = _k_means(points, min(count, len(points)), seed)
    sizes = [f.shape[2:] for f in features]
    maps = [part.view(size) for part, size in zip(torch.split(labels, [h * w for h, w in sizes]), sizes, strict=True)]
    first = maps[0]
    rows = torch.arange(first.shape[0]).double()[:, None].expand_as(first)
    heights = {k: float(rows[first == k].mean()) for k in torch.unique(first).tolist()}
    order = sorted(range(int(labels.max()) + 1), key=lambda k: heights.get(k, float("inf")))
    rank = torch.empty(len(order), dtype=torch.int64)
    rank[torch.tensor(order)] = torch.arange(len(order))
    return [Regions.of_labels(rank[m], [str(k + 1) for k in range(len(order))]) for m in maps]


def regions_by_attention(style: Tensor, content: Tensor, regions: Regions) -> Regions:
    """A style's regions by what its positions look at: each belongs to the content's region it attends to most.

    softmax(Q K^T / sqrt(d)) V with the style's positions as queries, the content's as keys and the regions' weights as
    values, on channel-normalised features 1 x C x h x w of any sizes, the height in the picture beside them. Returns
    hard regions at the style's features' size, with the content's names; some may be missing.
    """
    queries, keys = (_with_height(normalised(f)) for f in (style, content))
    values = regions.resized(content.shape[2], content.shape[3]).weights.to(content).flatten(1).T
    paid = each_chunk(queries, keys, None, None, lambda a: a @ values)
    return Regions.of_labels(paid.argmax(1).view(style.shape[2:]), regions.names)


def _with_height(features: Tensor) -> Tensor:
    """Positions x (C + 1)."""
    c, h = features.shape[1:3]
    rows = torch.linspace(-1, 1, h).to(features)[:, None].expand(features.shape[2:])
    return torch.cat([features[0], LOOKING_UP * math.sqrt(c) * rows[None]]).flatten(1).T


def _described(features: Sequence[Tensor]) -> list[Tensor]:
    """Positions x (COMPONENTS + 1): features of unit variance in all, and the height in the picture."""
    flat = [F.normalize(normalised(f)[0].flatten(1).T, dim=1) for f in features]
    points = torch.cat(flat)
    centred = points - points.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    main = centred @ vectors[:, -COMPONENTS:]
    main = main / main.square().sum(1).mean().sqrt().clamp_min(1e-6)
    parts = main.split([len(f) for f in flat])
    rows = [
        torch.linspace(-1, 1, f.shape[2]).to(f)[:, None].expand(f.shape[2], f.shape[3]).reshape(-1, 1) for f in features
    ]
    return [torch.cat([p, POSITION * r], 1) for p, r in zip(parts, rows, strict=True)]


def _k_means(points: Tensor, count: int, seed: int) -> Tensor:
    """Labels of N points, by Lloyd's rounds from k-means++ (Arthur & Vassilvitskii 2007)."""
    from scipy.cluster.vq import kmeans2

    data = points.cpu().numpy()
    count = min(count, len(np.unique(data, axis=0)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")  # fewer kinds than were asked for
        _, labels = kmeans2(data, count, iter=ROUNDS, minit="++", missing="warn", rng=seed)
    return torch.from_numpy(labels).long()


def match_clusters(
    content: Regions, style: Regions, content_features: Tensor, style_features: Tensor, why: str = "same cluster"
) -> list[Pair]:
    """A pair for every region of `content`: the style's of the same name, because of `why`, where it is large enough.

    Where it is less than LEAST of the style the one whose features are nearest takes its place.
    """
    large = [name for name, share in zip(style.names, style.shares.tolist(), strict=True) if share >= LEAST]
    part = Regions(tuple(large), torch.stack([style.of(name) for name in large]))
    near = likeness(content_features, content, style_features, part)
    return [
        Pair(name, name, why) if name in large else Pair(name, large[int(near[k].argmax())], "nearest features")
        for k, name in enumerate(content.names)
    ]
