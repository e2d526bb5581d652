"""Losses on pixels and features."""

import torch
from torch import Tensor


def total_variation(pictures: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels, down plus across (scalar).

    The squared form that the field's code uses (Mahendran & Vedaldi 2015, section 3.2, beta = 2); as a mean it does
    not grow with the picture.
    """
    down = (pictures[:, :, 1:] - pictures[:, :, :-1]).square()
    across = (pictures[:, :, :, 1:] - pictures[:, :, :, :-1]).square()
    # a side of one pixel has no neighbours: nothing, which still has a gradient
    return down.sum() / max(1, down.numel()) + across.sum() / max(1, across.numel())


def add_total_variation(picture: Tensor, gradient: Tensor, weight: float, band: int = 256) -> float:
    """`total_variation(picture)`, and `weight` times its gradient added to `gradient`, in bands of rows.

    Autograd would hold several pictures of the full size.
    """
    height, width = picture.shape[2:]
    lines = picture.numel() // max(1, height * width)
    down_count, across_count = max(1, lines * (height - 1) * width), max(1, lines * height * (width - 1))
    value = 0.0
    for y in range(0, height, band):
        rows = picture[:, :, y : y + band + 1]  # one more, the neighbour below
        down = rows[:, :, 1:] - rows[:, :, :-1]
        value += float(down.square().sum()) / down_count
        down.mul_(2 * weight / down_count)
        gradient[:, :, y + 1 : y + 1 + down.shape[2]] += down
        gradient[:, :, y : y + down.shape[2]] -= down
        own = rows[:, :, :band]
        across = own[..., 1:] - own[..., :-1]
        value += float(across.square().sum()) / across_count
        across.mul_(2 * weight / across_count)
        gradient[:, :, y : y + own.shape[2], 1:] += across
        gradient[:, :, y : y + own.shape[2], :-1] -= across
    return value


def content_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Distance of two activations in [0, 1], N: |a - b|^2 / (|a|^2 + |b|^2) with channels of mean 0 and deviation 1.

    N x C x h x w each. Colours and contrast, which a style may change, do not count.
    """
    a, b = (_standardised(f.float()) for f in (found, wanted))
    return (a - b).square().sum((1, 2, 3)) / (a.square() + b.square()).sum((1, 2, 3)).clamp_min(1e-12)


def _standardised(f: Tensor) -> Tensor:
    return (f - f.mean((2, 3), keepdim=True)) / (f.std((2, 3), keepdim=True) + 1e-5)


def relative_gap(found: Tensor, untouched: Tensor, wanted: Tensor, floor: float = 0.1) -> Tensor:
    """Share of a gap that is left, N: |found - wanted|^2 / |untouched - wanted|^2 of statistics N x ...

    The divisor is at least `floor` |wanted|^2: a style that the content has already asks for nothing.
    """
    gap = (found - wanted).square().flatten(1).sum(1)
    whole = (untouched - wanted).square().flatten(1).sum(1)
    return gap / torch.maximum(whole, floor * wanted.square().flatten(1).sum(1)).clamp_min(1e-12)


def distance_left(gap: Tensor) -> Tensor:
    """The distance instead of its square: what is nearly right still pulls, one bad sample does not steer the batch."""
    return (gap + 1e-3).sqrt()
