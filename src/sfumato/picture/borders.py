"""Borders of regions put where the picture's own edges are: masks drawn by hand are a few pixels off.

A rim of sky that counts as hill gets the hill's colours, and shines. So within a band around the borders every pixel is
asked again which region it belongs to, by Bayes' rule: the colours of each region nearby, as a Gaussian of one variance
for all channels, times the region's share of the neighbourhood (as in the local colour models of Bai et al. 2009,
"Video SnapCut", section 3).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.picture.guided import box_mean

SURE = 0.9
"""Weight from which a mask holds a pixel; feathered edges have less."""
DOUBT = 0.01
"""What the unsure pixels count in a region's colours: they are all that a thin region has."""
NOISE = 0.03
"""Standard deviation of colours within a region at least."""


def at_edges(picture: Tensor, masks: Tensor, band: int, window: int) -> Tensor:
    """Masks that change hands where the picture does.

    Args:
        picture: 1 x C x H x W in [0, 1].
        masks: 1 x K x H x W in [0, 1], K at least 2; where none of them has any weight, none gets it.
        band: pixels from a border within which masks may err.
        window: radius in which a region's colours are looked at, wider than the band.

    Returns:
        1 x K x H x W. The sum over K stays what it was, and so does everything farther than `band` from all borders.
    """
    total = masks.sum(1, keepdim=True)
    held = (masks > SURE * total).to(masks) * (total > 0)
    sure = 1 - F.max_pool2d(1 - held, 2 * band + 1, 1, band)
    weight = sure + DOUBT * masks
    near = box_mean(weight, window)
    prior = box_mean(masks, band)
    scores = []
    for k in range(masks.shape[1]):
        w, n = weight[:, k : k + 1], near[:, k : k + 1].clamp_min(1e-12)
        mean = box_mean(w * picture, window) / n
        square = box_mean(w * picture.square().mean(1, keepdim=True), window) / n
        variance = (square - mean.square().mean(1, keepdim=True)).clamp_min(0) + NOISE**2
        distance = (picture - mean).square().sum(1, keepdim=True) / variance
        scores.append(prior[:, k : k + 1].clamp_min(1e-12).log() - distance / 2 - picture.shape[1] / 2 * variance.log())
    asked = torch.cat(scores, 1).softmax(1) * total
    return torch.where(sure.sum(1, keepdim=True) > 0, masks, asked)
