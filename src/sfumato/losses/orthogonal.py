"""Filters that should be orthogonal to one another."""

from collections.abc import Iterable

import torch
from torch import Tensor


def orthogonal_penalty(weights: Iterable[Tensor]) -> Tensor:
    """Sum over matrices W of |W W^T * (1 - I)|_F^2, a row a filter, whose own lengths are free (scalar).

    Brock et al. 2019, equation 3 (which has columns for rows); weights O x ... are taken as O x the rest. Raises
    ValueError for none.
    """
    found = []
    for weight in weights:
        rows = weight.flatten(1)
        products = rows @ rows.T
        found.append((products - torch.diag(products.diagonal())).square().sum())
    if not found:
        raise ValueError("no weights")
    return torch.stack(found).sum()
