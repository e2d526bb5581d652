"""Values at some positions carried to all others, as far as the picture is alike: colours along surfaces.

Levin, Lischinski & Weiss, "Colorization using Optimization" (SIGGRAPH 2004), as a quadratic form: neighbours of equal
lightness want equal values, given positions keep theirs. With `pull` everything also wants to be 0, so a value reaches
only so far.
"""

import numpy as np
import torch
from torch import Tensor

SIGMA = 0.05
"""Difference of lightness, in [0, 1], at which neighbours begin to part."""
FIRM = 1e3
"""Weight of the given values."""


def spread(values: Tensor, given: Tensor, lightness: Tensor, *, pull: float = 0.0) -> Tensor:
    """The values 1 x K x H x W that minimise equation (1) of the text above, float32.

    sum over neighbours of w (x_i - x_j)^2 + 1000 sum over given of (x_i - v_i)^2 + pull sum over all of x_i^2, with
    w = exp(-(difference of lightness)^2 / (2 sigma^2)) + 0.00001.

    Args:
        values: 1 x K x H x W; only those at given positions matter.
        given: 1 x 1 x H x W, above 0 where a value is given; without any the result is 0.
        lightness: 1 x 1 x H x W in [0, 1].
        pull: weight of being 0; at 0.01 a value reaches some ten positions on an even surface.
    """
    from scipy.sparse import coo_array, diags_array
    from scipy.sparse.linalg import spsolve

    height, width = values.shape[2:]
    if not bool((given > 0).any()):
        return torch.zeros_like(values, dtype=torch.float32)
    number = np.arange(height * width).reshape(height, width)
    light = lightness[0, 0].double().numpy()
    first, second, weight = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        left = max(0, -right)
        here = (slice(0, height - down), slice(left, width - max(0, right)))
        there = (slice(down, height), slice(left + right, width - max(0, right) + right))
        first.append(number[here].ravel())
        second.append(number[there].ravel())
        weight.append((np.exp(-((light[here] - light[there]) ** 2) / (2 * SIGMA**2)) + 1e-5).ravel())
    i, j, w = (np.concatenate(parts) for parts in (first, second, weight))
    shape = (height * width, height * width)
    links = coo_array((np.r_[w, w], (np.r_[i, j], np.r_[j, i])), shape=shape).tocsr()
    firm = FIRM * (given[0, 0] > 0).double().numpy().ravel()
    matrix = (diags_array(np.asarray(links.sum(1)).ravel() + firm + pull) - links).tocsc()
    wanted = firm[:, None] * values[0].double().flatten(1).T.numpy()
    found = spsolve(matrix, wanted).reshape(height * width, -1)
    return torch.from_numpy(found.T.copy()).float().reshape(1, -1, height, width)
