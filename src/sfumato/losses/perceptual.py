"""Losses on pixels and features."""

from torch import Tensor


def total_variation(pictures: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels, down plus across (scalar).

    The squared form that the field's code uses (Mahendran & Vedaldi 2015, section 3.2, beta = 2); as a mean it does
    not grow with the picture.
    """
    down = (pictures[:, :, 1:] - pictures[:, :, :-1]).square()
    across = (pictures[:, :, :, 1:] - pictures[:, :, :, :-1]).square()
    total = pictures.new_zeros(())
    for part in (down, across):
        if part.numel():  # a side of one pixel has no neighbours
            total = total + part.mean()
    return total
