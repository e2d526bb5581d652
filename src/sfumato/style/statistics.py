"""Statistics of feature maps: Gram matrix, mean and deviation, covariance, and the distances between them.

Every statistic here is a function of three sums over positions (total weight, weighted sum, weighted sum of outer
products), kept in `Moments`. Sums add, so a picture may be read in tiles, and a region is a weight map.
"""

from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor

GramNormalisation = Literal["hw", "chw", "hw2"]


class Moments(NamedTuple):
    """Sums over the positions of a feature map, for K regions (or pictures) at once.

    `weight`: K, sum of w. `first`: K x C, sum of w f. `second`: K x C x C, sum of w f f^T. float32 (or float64).
    """

    weight: Tensor
    first: Tensor
    second: Tensor

    def plus(self, other: Self) -> "Moments":
        return Moments(self.weight + other.weight, self.first + other.first, self.second + other.second)

    @property
    def mean(self) -> Tensor:
        """K x C."""
        return self.first / self.weight[:, None]

    @property
    def variance(self) -> Tensor:
        """K x C, biased (divided by the weight), never negative."""
        return (self.second.diagonal(dim1=1, dim2=2) / self.weight[:, None] - self.mean.square()).clamp_min(0)

    @property
    def covariance(self) -> Tensor:
        """K x C x C, biased."""
        return self.second / self.weight[:, None, None] - self.mean[:, :, None] * self.mean[:, None, :]


def moments(features: Tensor, regions: Tensor | None = None) -> Moments:
    """The sums of one picture's features, region by region, or of several pictures' features.

    `features` N x C x h x w, any floating type (sums are at least float32); `regions` K x h x w weights in [0, 1] of
    a single picture, None for all of every picture (then K is N).
    """
    f = features.flatten(2)
    f = f.float() if f.dtype in (torch.bfloat16, torch.float16) else f
    if regions is None:
        count = torch.full((len(f),), float(f.shape[2]), dtype=f.dtype, device=f.device)
        return Moments(count, f.sum(2), f @ f.mT)
    (f,) = f
    w = regions.flatten(1).to(f)
    second = torch.stack([(f * row) @ f.T for row in w])
    return Moments(w.sum(1), w @ f.T, second)


def gram_matrix(m: Moments, normalisation: GramNormalisation = "hw") -> Tensor:
    """Gram matrices K x C x C (Gatys et al. 2016, equation 3), divided by H W, C H W or (H W)^2.

    In print: 1/(C H W), Johnson et al. 2016, section 3.2; 1/(H W), which is what equation 4's 1/(4 N^2 M^2) comes to
    inside G; 1/(H W)^2, in many re-implementations. Only 1/(H W) changes neither with the picture's size nor with
    the layer's width; with 1/(H W)^2 a style picture of another size asks for other statistics.
    """
    size = m.weight[:, None, None]
    divisor = {"hw": size, "chw": size * m.second.shape[1], "hw2": size.square()}[normalisation]
    return m.second / divisor


def mean_std(m: Moments, eps: float = 1e-5) -> Tensor:
    """Mean and standard deviation of every channel, K x 2C (AdaIN, Huang & Belongie 2017, section 5)."""
    return torch.cat([m.mean, (m.variance + eps).sqrt()], 1)


def matrix_sqrt(a: Tensor) -> Tensor:
    """Square root of symmetric positive semi-definite matrices ... x C x C, by eigenvalues."""
    values, vectors = torch.linalg.eigh(a)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()[..., None, :]) @ vectors.mT
    return root


def bures_distance(m: Moments, mean: Tensor, root: Tensor, eps: float = 1e-6) -> Tensor:
    """Squared Wasserstein-2 distance of Gaussians, K: |mu - mu_s|^2 + tr(S + S_s - 2 (S_s^1/2 S S_s^1/2)^1/2).

    `mean` K x C and `root` K x C x C (the square root of the other covariance) belong to the fixed side. The trace of
    the inner root needs eigenvalues only, whose gradient has no differences of eigenvalues in it; `eps` (relative to
    their mean) keeps it finite where covariances are singular. Dowson & Landau 1982; in style transfer:
    Mroueh 2020, "Wasserstein Style Transfer", section 3.
    """
    covariance = m.covariance
    inner = root @ covariance @ root
    floor = eps * inner.diagonal(dim1=1, dim2=2).mean(1)
    eye = torch.eye(inner.shape[1], dtype=inner.dtype, device=inner.device)
    values = torch.linalg.eigvalsh(inner + floor[:, None, None] * eye)
    roots = values.clamp_min(1e-12).sqrt()
    cross = (roots - floor[:, None] / roots).clamp_min(0).sum(1)  # v / sqrt(v + floor): off by the floor, not its root
    traces = covariance.diagonal(dim1=1, dim2=2).sum(1) + root.square().sum((1, 2))
    distance: Tensor = (m.mean - mean).square().sum(1) + (traces - 2 * cross).clamp_min(0)
    return distance
