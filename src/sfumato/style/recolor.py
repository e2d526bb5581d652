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
    mean, cov = _colors(picture, own_weight)
    wanted_mean, wanted_cov = _colors(reference, weight)
    root = matrix_sqrt(cov)
    inverse = torch.linalg.inv(root)
    a = inverse @ matrix_sqrt(root @ wanted_cov @ root) @ inverse
    flat = picture[0].flatten(1).to(a.dtype)
    moved: Tensor = a @ (flat - mean) + wanted_mean
    return moved.to(picture.dtype).reshape(picture.shape).clamp(0, 1)


def _colors(picture: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean 3 x 1 and covariance 3 x 3 of the colours in float64; a flat picture gets a spread of half a grey level."""
    x = picture[0].flatten(1).double()
    w = torch.ones_like(x[:1]) if weight is None else weight[0].flatten(1).double()
    total = w.sum()
    mean = (x * w).sum(1, keepdim=True) / total
    cov = ((x - mean) * w) @ (x - mean).T / total
    return mean, cov + (0.5 / 255) ** 2 * torch.eye(3, dtype=x.dtype, device=x.device)
