"""Attention between the features of two pictures: which positions of the style a position of the content looks at.

softmax(Q K^T / sqrt(d)) V with channel-normalised features as queries and keys: Park & Lee 2019 (SANet), equations 2
and 3; the mean and deviation of what is attended to: Liu et al. 2021 (AdaAttN), equations 6 to 8. Regions narrow it: a
position of region k sees positions of region k only. Nothing is learnt here; projections, where a network has them,
go onto queries and keys before the call.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 1 << 23
"""Scores held at a time (32 MiB)."""


def normalised(features: Tensor, weights: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """N x C x h x w with every channel at mean 0 and deviation 1, over positions weighed by `weights` h x w."""
    w = features.new_ones(features.shape[2:]) if weights is None else weights.to(features)
    w = w / w.sum().clamp_min(1e-12)
    mean = (features * w).sum((2, 3), keepdim=True)
    gap = features - mean
    spread: Tensor = ((gap.square() * w).sum((2, 3), keepdim=True) + eps).sqrt()
    return gap / spread


def scores(queries: Tensor, keys: Tensor, bias: Tensor | None = None, top: int | None = None) -> Tensor:
    """softmax(Q K^T / sqrt(d) + bias), P x S, of queries P x d and keys S x d; rows have a sum of 1.

    `bias` S is added to every row: the logarithm of the keys' weights. With `top` only the so many best keys of each
    row keep a share.
    """
    logits = queries @ keys.T / math.sqrt(queries.shape[1])
    if bias is not None:
        logits = logits + bias
    if top is not None and top < keys.shape[0]:
        best = logits.topk(top, 1)
        return torch.zeros_like(logits).scatter(1, best.indices, best.values.softmax(1))
    return logits.softmax(1)


def each_chunk(
    queries: Tensor, keys: Tensor, bias: Tensor | None, top: int | None, then: Callable[[Tensor], Tensor]
) -> Tensor:
    """`then` of the scores, rows by rows, so that at most CHUNK of them are held."""
    step = max(1, CHUNK // max(1, len(keys)))
    return torch.cat([then(scores(part, keys, bias, top)) for part in torch.split(queries, step)])


def attended(
    queries: Tensor, keys: Tensor, values: Tensor, weights: Tensor | None = None, top: int | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of `values` S x C as each query sees them, P x C both (AdaAttN, equations 6 and 7).

    M = A V, S = sqrt(A (V * V) - M * M). `weights` S in [0, 1] say how much a key counts; its logarithm joins the
    scores. Differences of squares are taken of centred values, where float32 holds them.
    """
    bias = None if weights is None else weights.log()
    middle = values.mean(0)
    v = values - middle
    both = torch.cat([v, v.square()], 1)
    out = each_chunk(queries, keys, bias, top, lambda a: a @ both)
    mean, square = out.chunk(2, 1)
    return mean + middle, (square - mean.square()).clamp_min(0).sqrt()


def transport(
    content: Tensor,
    style: Tensor,
    content_regions: Tensor | None = None,
    style_regions: Tensor | None = None,
    top: int | None = None,
) -> Tensor:
    """The content's features with the style's statistics position by position: T = S * norm(c) + M, 1 x C x h x w.

    AdaAttN, equation 8, on features 1 x C x h x w of any sizes. Regions are soft weights K x h x w of both at their
    features' positions: region k is normalised by itself and sees the style's region k, and where regions meet their
    targets are mixed by the content's weights; where none has weight the content stays as it is.
    """
    mine = content.new_ones(1, *content.shape[2:]) if content_regions is None else content_regions.to(content)
    theirs = style.new_ones(1, *style.shape[2:]) if style_regions is None else style_regions.to(style)
    rows, values = (f[0].flatten(1).T for f in (content, style))
    total = torch.zeros_like(rows)
    for w, v in zip(mine, theirs, strict=True):
        inside, seen = w.flatten() > 0, v.flatten() > 0
        queries, keys = (normalised(f, x)[0].flatten(1).T for f, x in ((content, w), (style, v)))
        m, s = attended(queries[inside], keys[seen], values[seen], v.flatten()[seen], top)
        total[inside] += w.flatten()[inside, None] * (s * queries[inside] + m)
    weight = mine.sum(0).flatten()[:, None]
    found = torch.where(weight > 0, total / weight.clamp_min(1e-12), rows)
    return found.T.reshape(content.shape)


def correspondence(
    content: Tensor, style: Tensor, content_regions: Tensor, style_regions: Tensor, top: int | None = None
) -> Tensor:
    """How much of its attention each content region pays to each style region, K_c x K_s; rows have a sum of 1.

    `content` and `style` are features 1 x C x h x w (of any sizes), regions soft weights K x h x w at the same
    positions. Attention is over the whole style picture, every position counting by the sum of its weights; a row is
    the mean over the content region. Rows of regions without any weight are zero.
    """
    queries, keys = (
        normalised(f, w.sum(0))[0].flatten(1).T for f, w in ((content, content_regions), (style, style_regions))
    )
    theirs = style_regions.flatten(1).T.to(keys)
    bias = theirs.sum(1).clamp_max(1).log()
    share = theirs / theirs.sum(1, keepdim=True).clamp_min(1e-12)
    paid = each_chunk(queries, keys, bias, top, lambda a: a @ share)
    mine = content_regions.flatten(1).to(paid)
    return (mine @ paid) / mine.sum(1, keepdim=True).clamp_min(1e-12)
