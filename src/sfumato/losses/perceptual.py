"""Losses on pixels and features."""

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
