"""Colours: kept from the photograph, or all that is taken from the style."""

import torch
from torch import Tensor

from sfumato.picture.color import rgb_to_yiq, yiq_to_rgb
from sfumato.style.statistics import matrix_sqrt


def keep_luminance(stylized: Tensor, content: Tensor) -> Tensor:
    """The stylized picture's luminance with the content's chroma, N x 3 x H x W in [0, 1].

    Gatys et al. 2017, "Controlling Perceptual Factors in Neural Style Transfer", section 5.1 (YIQ).
    """
    y = rgb_to_yiq(stylized)[:, :1]
    chroma = rgb_to_yiq(content)[:, 1:]
    return yiq_to_rgb(torch.cat([y, chroma], 1)).clamp(0, 1)


def match_color(
    picture: Tensor, reference: Tensor, weight: Tensor | None = None, own_weight: Tensor | None = None
) -> Tensor:
    """The picture with the reference's mean and covariance of colours, 1 x 3 x H x W in [0, 1].

    The map is the optimal transport of Gaussians, A = S^-1/2 (S^1/2 R S^1/2)^1/2 S^-1/2 (Pitie & Kokaram 2007, "The
    linear Monge-Kantorovitch linear colour mapping"): of all maps that match, the one that changes colours least.
    `weight` 1 x 1 x h x w says which of the reference's pixels count, `own_weight` which of the picture's.
    """
    mean, cov = color_moments(picture, own_weight)
    wanted_mean, wanted_cov = color_moments(reference, weight)
    a = transport(cov, wanted_cov)
    flat = picture.flatten(2).to(a.dtype)
    moved: Tensor = a @ (flat - mean) + wanted_mean
    return moved.to(picture.dtype).reshape(picture.shape).clamp(0, 1)


def transport(cov: Tensor, wanted: Tensor) -> Tensor:
    """The symmetric map that turns covariance `cov` into `wanted`, both N x 3 x 3: optimal transport of Gaussians."""
    root = matrix_sqrt(cov)
    inverse = torch.linalg.inv(root)
    found: Tensor = inverse @ matrix_sqrt(root @ wanted @ root) @ inverse
    return found


def color_moments(pictures: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean N x 3 x 1 and covariance N x 3 x 3 of colours N x 3 x h x w in float64, at `weight` N x 1 x h x w.

    A flat picture gets a spread of half a grey level.
    """
    x = pictures.flatten(2).double()
    w = torch.ones_like(x[:, :1]) if weight is None else weight.flatten(2).double()
    total = w.sum(2, keepdim=True)
    mean = (x * w).sum(2, keepdim=True) / total
    cov = ((x - mean) * w) @ (x - mean).mT / total
    return mean, cov + (0.5 / 255) ** 2 * torch.eye(3, dtype=x.dtype, device=x.device)
