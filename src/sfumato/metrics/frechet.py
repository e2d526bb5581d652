"""The Frechet distance between the features of two sets of pictures.

Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local
Nash Equilibrium" (NIPS 2017), equation 6: both sets of features are taken for Gaussians, whose distance has a closed
form (Dowson & Landau 1982). It is called FID with the features of Inception-v3 only; elsewhere the network is named.

The estimate is biased upwards, by about 1 / N: numbers from other counts cannot be compared (Chong & Forsyth 2020).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.errors import InputError


@dataclass(frozen=True)
class Gaussian:
    """Mean D and covariance D x D in float64, of so many samples."""

    mean: Tensor
    covariance: Tensor
    count: int


def gaussian(features: Tensor) -> Gaussian:
    """Of features N x D. Sums are float64: in float32 a large mean drowns the covariance. Raises `InputError`."""
    if len(features) < 2:
        raise InputError(f"the Frechet distance needs at least two pictures, not {len(features)}")
    x = features.double()
    mean = x.mean(0)
    centred = x - mean
    return Gaussian(mean, centred.mT @ centred / (len(x) - 1), len(x))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)).

    The trace of the root is the sum of the roots of the eigenvalues of A C_b A with A = C_a^(1/2), which is symmetric,
    so singular covariances (fewer samples than features) need no correction.
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
    between = root @ b.covariance @ root
    cross = torch.linalg.eigvalsh((between + between.mT) / 2).clamp_min(0).sqrt().sum()
    gap = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * cross
    return max(0.0, float(gap))
