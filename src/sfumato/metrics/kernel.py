"""The kernel distance (KID): the squared maximum mean discrepancy between two sets of features.

Binkowski, Sutherland, Arbel & Gretton, "Demystifying MMD GANs" (ICLR 2018), section 4: the polynomial kernel
k(x, y) = (x.y / D + 1)^3 and the unbiased estimator (equation 4), mean over subsets. Unlike the Frechet distance its
expectation does not depend on how many samples there are; for equal distributions it is zero, give or take.
"""

import torch
from torch import Tensor

from sfumato.errors import InputError

SUBSETS, SUBSET = 100, 1000


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """(x.y / D + 1)^3 of every pair of rows of N x D and M x D."""
    return (a @ b.mT / a.shape[1] + 1) ** 3


def mmd(a: Tensor, b: Tensor) -> float:
    """The unbiased estimate from m x D and n x D features in float64: Gretton et al. 2012, equation 3."""
    m, n = len(a), len(b)
    within_a, within_b, between = kernel(a, a), kernel(b, b), kernel(a, b)
    own_a = (within_a.sum() - within_a.trace()) / (m * (m - 1))
    own_b = (within_b.sum() - within_b.trace()) / (n * (n - 1))
    return float(own_a + own_b - 2 * between.mean())


def kernel_distance(
    made: Tensor, real: Tensor, *, subset: int = SUBSET, subsets: int = SUBSETS, seed: int = 0
) -> tuple[float, float]:
    """Mean and deviation over `subsets` random subsets of `subset` features each (fewer where there are fewer).

    Where both sets are no larger than a subset there is one estimate, from all, and no deviation. Raises `InputError`
    for fewer than two pictures on a side.
    """
    size = min(subset, len(made), len(real))
    if size < 2:
        raise InputError("the kernel distance needs at least two pictures on either side")
    a, b = made.double(), real.double()
    if max(len(a), len(b)) <= subset:
        return mmd(a, b), 0.0
    chance = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(subsets):
        one, other = (x[torch.randperm(len(x), generator=chance)[:size]] for x in (a, b))
        drawn.append(mmd(one, other))
    estimates = torch.tensor(drawn, dtype=torch.float64)
    return float(estimates.mean()), float(estimates.std(correction=0))
