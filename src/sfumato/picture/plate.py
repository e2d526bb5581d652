"""Thin gaps closed as a thin plate would: the biharmonic equation, so that edges and slopes run on through them.

Within the gap the Laplacian of the Laplacian is zero (Chui & Mhaskar 2010, "MRA Contextual-Recovery Extension of Smooth
Functions on Manifolds", the method of scikit-image). Its matrix is symmetric and positive, so conjugate gradients solve
it, from the membrane on; their number grows with the square of the gap's width: for gaps of a few pixels. In deep holes
a plate swings beyond what is around it, where a membrane cannot.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.picture.membrane import membrane
from sfumato.picture.tiles import tiles

STEPS = 120
"""Of conjugate gradients, at most."""
ENOUGH = 1e-4
"""Root mean square residual, of the values' range, at which they end."""
TILE, HALO = 256, 32
"""What is solved at once, and seen around it: a plate's memory is as short as its gap is narrow."""


def plate(values: Tensor, hole: Tensor, wanted: Tensor | None = None) -> Tensor:
    """`values` with thin holes filled; outside exactly as they were.

    Args:
        values: 1 x C x H x W of any range; what they are inside the hole does not matter.
        hole: 1 x 1 x H x W, where above 0 nothing is known. A picture that is all hole becomes 0.
        wanted: the part of the hole that is filled; all of it where left out.
    """
    height, width = values.shape[2:]
    wanted = hole if wanted is None else wanted
    found = values.clone()
    for y, x in tiles(height, width, TILE, 1, HALO):
        core = (..., slice(y.start, y.stop), slice(x.start, x.stop))
        if bool((wanted[core] > 0).any()):
            seen = (..., slice(y.low, y.high), slice(x.low, x.high))
            made = _solved(values[seen], hole[seen] > 0)
            inner = (..., slice(y.start - y.low, y.stop - y.low), slice(x.start - x.low, x.stop - x.low))
            found[core] = torch.where(wanted[core] > 0, made[inner], values[core])
    return found


def _solved(values: Tensor, hole: Tensor) -> Tensor:
    """One tile, by conjugate gradients; every channel with steps of its own."""
    x, inside = membrane(values, hole), hole.to(values)
    residual = -inside * _laplacian(_laplacian(x))
    direction, before = residual, _dots(residual, residual)
    enough = ENOUGH**2 * inside.sum()
    for _ in range(STEPS):
        if bool((before <= enough).all()):
            break
        image = inside * _laplacian(_laplacian(direction))
        step = before / _dots(direction, image).clamp_min(1e-20)
        x, residual = x + step * direction, residual - step * image
        after = _dots(residual, residual)
        direction, before = residual + after / before.clamp_min(1e-20) * direction, after
    return x


def _dots(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((2, 3), keepdim=True)


def _laplacian(x: Tensor) -> Tensor:
    """Sum of the four neighbours minus four times the value; nothing flows across the border, so it is symmetric."""
    p = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return p[..., :-2, 1:-1] + p[..., 2:, 1:-1] + p[..., 1:-1, :-2] + p[..., 1:-1, 2:] - 4 * x
