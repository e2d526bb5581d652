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
