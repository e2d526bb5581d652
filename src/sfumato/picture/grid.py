"""Fields of affine colour maps: every pixel keeps its place and gets a colour map that changes smoothly.

A bilateral grid (Chen, Paris & Durand 2007) of 3 x 4 matrices, its axes luminance, height and width of the picture
(Chen et al. 2016, "Bilateral Guided Upsampling"; Gharbi et al. 2017, "Deep Bilateral Learning", section 3.3). Edges
stay where they are, whatever the grid holds; found on a small copy, it is applied to a picture of any size.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

COEFFICIENTS = 12
"""Of a 3 x 4 matrix M: a colour c becomes M[:, :3] (c - 1/2) + M[:, 3] + 1/2, so that the columns hardly correlate."""


def identity(like: Tensor) -> Tensor:
    """3 x 4: the map that changes nothing."""
    return torch.eye(3, 4, dtype=like.dtype, device=like.device)


def hats(position: Tensor, count: int) -> Tensor:
    """n x `count` weights of linear interpolation at `position` in [0, 1]; the first node is at 0, the last at 1."""
    at = position.clamp(0, 1)[:, None] * (count - 1)
    return (1 - (at - torch.arange(count, device=position.device)).abs()).clamp_min(0)


def centres(start: int, stop: int, size: int, like: Tensor) -> Tensor:
    """Where the pixels `start`:`stop` of a side of `size` pixels lie in [0, 1]."""
    return (torch.arange(start, stop, dtype=like.dtype, device=like.device) + 0.5) / size


def sliced(grids: Tensor, guide: Tensor, rows: slice, height: int) -> Tensor:
    """The matrices of every pixel of some rows.

    Args:
        grids: K x 12 x D x h x w, K grids at once; their corners are the picture's, their depth is the guide's [0, 1].
        guide: 1 x 1 x n x W in [0, 1]: the luminance of the rows.
        rows: which rows they are, of a picture `height` pixels high.

    Returns:
        K x 12 x n x W, differentiable with respect to the grids.
    """
    depth, down, across = grids.shape[2:]
    width = guide.shape[3]
    y = hats(centres(rows.start, rows.stop, height, grids), down)
    x = hats(centres(0, width, width, grids), across)
    level = guide[0, 0].clamp(0, 1) * (depth - 1)
    found: Tensor = torch.zeros((), dtype=grids.dtype, device=grids.device)
    for d in range(depth):  # a level at a time: the whole of them is `depth` times the result
        found = found + (y @ grids[:, :, d] @ x.T) * (1 - (level - d).abs()).clamp_min(0)
    return found


def applied(matrices: Tensor, colors: Tensor) -> Tensor:
    """K x 3 x n x W: the K maps (K x 12 x n x W) of colours 1 x 3 x n x W, not clamped."""
    m = matrices.reshape(len(matrices), 3, 4, *matrices.shape[2:])
    moved: Tensor = (m[:, :, :3] * (colors[:, None] - 0.5)).sum(2) + m[:, :, 3] + 0.5
    return moved


def summed(levels: Sequence[Tensor]) -> Tensor:
    """Grids K x 12 x D x h x w of several resolutions as one, at the last's."""
    size = list(levels[-1].shape[2:])
    fine = [F.interpolate(g, size, mode="trilinear", align_corners=True) for g in levels]
    return torch.stack(fine).sum(0)


def roughness(grids: Tensor, along_depth: float = 0.2) -> Tensor:
    """Mean of the squared gradient of the coefficients over picture and luminance, each side of length 1.

    Slopes along the luminance are tone curves and weigh `along_depth`.
    """
    total = grids.new_zeros(())
    for axis, weight in ((2, along_depth), (3, 1.0), (4, 1.0)):
        nodes = grids.shape[axis]
        if nodes > 1:
            slope = grids.diff(dim=axis) * (nodes - 1)
            total = total + weight * slope.square().sum(1).mean()
    return total
