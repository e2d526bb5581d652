"""How well label maps agree: intersection over union of every class, their mean, and the share of right pixels.

Everingham et al., "The Pascal Visual Object Classes Challenge" (IJCV 2010), section 4.1; Long, Shelhamer & Darrell
(CVPR 2015), section 5. All figures are functions of one confusion matrix, and the matrices of many pictures add.
"""

import torch
from torch import Tensor


def confusion(found: Tensor, wanted: Tensor, classes: int, ignore: int | None = None) -> Tensor:
    """How many positions of class i (row) were taken for class j (column): K x K whole numbers.

    Args:
        found: labels below `classes`, any shape.
        wanted: true labels of the same shape; those equal to `ignore` are left out.
    """
    counts = torch.ones_like(wanted, dtype=torch.bool) if ignore is None else wanted != ignore
    pairs = wanted[counts].long() * classes + found[counts].long()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def intersection_over_union(matrix: Tensor) -> Tensor:
    """K shares in [0, 1] of a confusion matrix: right / (true or found); NaN for a class that has no true position."""
    right = matrix.diagonal().double()
    true = matrix.sum(1).double()
    shares = right / (true + matrix.sum(0) - right)
    return shares.masked_fill(true == 0, torch.nan)


def mean_iou(matrix: Tensor) -> float:
    """Mean over the classes that occur; 0 where none does.

    A class that is found but does not occur costs the classes that it was found in place of.
    """
    shares = intersection_over_union(matrix)
    return float(shares.nanmean()) if bool((~shares.isnan()).any()) else 0.0


def pixel_accuracy(matrix: Tensor) -> float:
    """Share of the positions on the diagonal."""
    return float(matrix.trace() / matrix.sum().clamp_min(1))
