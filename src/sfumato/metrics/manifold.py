"""Precision, recall, density and coverage: how good the made pictures are, and how many of the real ones they reach.

Kynkaanniemi, Karras, Laine, Lehtinen & Aila, "Improved Precision and Recall Metric for Assessing Generative Models"
(NeurIPS 2019), equations 1 and 2: a set's manifold is the union of balls around its features, each as wide as the
distance to the k-th nearest neighbour in the set. Naeem, Oh, Uh, Choi & Yoo, "Reliable Fidelity and Diversity Metrics
for Generative Models" (ICML 2020), equations 5 and 7: balls are counted, and only those of real pictures are used,
so that an outlier does not cover everything.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.errors import InputError

NEAREST, NEAREST_DENSITY = 3, 5
"""k of the two papers."""
CHUNK = 1024


@dataclass(frozen=True)
class Manifold:
    """All in [0, 1] but density, which may be larger."""

    precision: float
    """Share of made pictures inside the real manifold."""
    recall: float
    """Share of real pictures inside the made manifold."""
    density: float
    """Balls of real pictures that a made one lies in, over k."""
    coverage: float
    """Share of real pictures whose ball holds a made one."""


def manifold(made: Tensor, real: Tensor) -> Manifold:
    """Of features N x D and M x D. Raises `InputError` for fewer pictures than the balls need."""
    least = max(NEAREST, NEAREST_DENSITY) + 1
    if min(len(made), len(real)) < least:
        raise InputError(f"precision and recall need at least {least} pictures on either side")
    centre = real.double().mean(0)
    x, y = made.double() - centre, real.double() - centre  # differences of large numbers keep their digits
    radii = {k: radius(y, k) for k in {NEAREST, NEAREST_DENSITY}}
    made_radius = radius(x, NEAREST)
    inside, balls, reached, met = 0, 0, 0, torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for part in torch.split(x, CHUNK):
        gaps = distances(part, y)
        inside += int((gaps <= radii[NEAREST]).any(1).sum())
        held = gaps <= radii[NEAREST_DENSITY]
        balls += int(held.sum())
        met |= held.any(0)
    for part in torch.split(y, CHUNK):
        reached += int((distances(part, x) <= made_radius).any(1).sum())
    return Manifold(
        precision=inside / len(x),
        recall=reached / len(y),
        density=balls / (NEAREST_DENSITY * len(x)),
        coverage=float(met.double().mean()),
    )


def radius(x: Tensor, k: int) -> Tensor:
    """Distance of every row of N x D to its k-th nearest other row; copies of a row are other rows."""
    found = []
    for start in range(0, len(x), CHUNK):
        gaps = distances(x[start : start + CHUNK], x)
        own = torch.arange(len(gaps), device=x.device)
        gaps[own, start + own] = torch.inf
        found.append(gaps.kthvalue(k, dim=1).values)
    return torch.cat(found)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of every pair of rows; 0 for rows that are the same."""
    squares = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.mT
    scale = a.square().sum(1, keepdim=True) + b.square().sum(1)
    return torch.where(squares > 1e-12 * scale, squares, torch.zeros_like(squares)).sqrt()
