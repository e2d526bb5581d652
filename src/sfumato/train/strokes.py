"""The same sign by another hand: drawings turned, slanted, scaled, moved, their strokes thinner or thicker.

What stays is what the sign means, so a network that must give the same answer for both has to read that. Changes that
keep a thing's identity are what Ojha et al., "Elastic-InfoGAN" (NeurIPS 2020), section 3.2, and Ji et al., "Invariant
Information Clustering" (ICCV 2019), section 4.1, use; the figures here are ours, for bright strokes on dark.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CHANCES = 7
"""Uniform numbers that a picture takes."""
TURN, SLANT, SCALE, SHIFT = 0.35, 0.5, 0.25, 0.15
"""Most radians, shear, logarithm of each side's scale, and shares of half a side, either way."""


def redrawn(pictures: Tensor, chance: Tensor, strength: float = 1.0) -> Tensor:
    """Pictures N x C x H x W in [0, 1], each changed in its own way; differentiable; beyond the border it is 0.

    `chance` is N x `CHANCES` in [0, 1); all at 1/2, or no strength, leave the pictures as they are.
    """
    turn, slant, wide, high, right, down, pen = (strength * (2 * chance.to(pictures) - 1)).unbind(1)
    cos, sin = (TURN * turn).cos(), (TURN * turn).sin()
    wide, high = (SCALE * wide).exp(), (SCALE * high).exp()
    across = torch.stack([cos * wide, (SLANT * slant - sin) * high, SHIFT * right], 1)
    along = torch.stack([sin * wide, cos * high, SHIFT * down], 1)
    where = F.affine_grid(torch.stack([across, along], 1), list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures, where, align_corners=False)

    near = F.avg_pool2d(F.avg_pool2d(moved, 3, 1, 1), 3, 1, 1)
    pen = pen.view(-1, 1, 1, 1)
    thick, thin = (moved + 2 * near).clamp(max=1), (moved * (1.2 * near - 0.2)).clamp(min=0)
    return torch.lerp(moved, torch.where(pen > 0, thick, thin), pen.abs())
