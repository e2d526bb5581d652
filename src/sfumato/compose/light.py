"""An object in another picture's light: its colours, and its seam."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.picture.color import lab_to_rgb, linear_to_srgb, rgb_to_lab, srgb_to_linear
from sfumato.picture.membrane import membrane
from sfumato.style.recolor import match_color

MOST = 3.0
"""Factor on a channel of linear light at most, and one over it at least."""
SPREAD = (0.6, 1.6)
"""Factors on the contrast, likewise."""


class Seen(NamedTuple):
    """A picture 1 x 3 x H x W and which of its pixels count, 1 x 1 x H x W in [0, 1]."""

    picture: Tensor
    weight: Tensor


def relit(pasted: Tensor, there: Seen, here: Seen, strength: float = 1.0) -> Tensor:
    """What was lit as the surroundings `there`, lit as the surroundings `here`.

    Every channel of linear light times the ratio of the surroundings' means: von Kries' adaptation with the grey world
    as the illuminant (Buchsbaum 1980), which takes exposure along. Works without knowing what the object looks like.
    """
    gain = (_mean_light(here) / _mean_light(there)).clamp(1 / MOST, MOST) ** strength
    return linear_to_srgb(srgb_to_linear(pasted.clamp(0, 1)) * gain).clamp(0, 1)


def like_surroundings(pasted: Tensor, own: Tensor, here: Seen, strength: float = 1.0) -> Tensor:
    """An object that comes without surroundings: Lab's mean and deviation moved towards those around its new place.

    Reinhard et al. 2001, "Color Transfer between Images". `own` 1 x 1 x H x W says which pixels of `pasted` are the
    object's. The deviation changes by `SPREAD` at most.
    """
    lab, around = rgb_to_lab(pasted), rgb_to_lab(here.picture)
    mean, deviation = _moments(lab, own)
    wanted_mean, wanted_deviation = _moments(around, here.weight)
    factor = (wanted_deviation / deviation.clamp_min(1e-3)).clamp(*SPREAD)
    moved = (lab - mean) * factor + wanted_mean
    return lab_to_rgb(torch.lerp(lab, moved, strength))


def transported(pasted: Tensor, own: Tensor, here: Seen) -> Tensor:
    """As `like_surroundings` with mean and covariance in sRGB (`style/recolor.py`)."""
    return match_color(pasted, here.picture, here.weight, own)


def seamless(pasted: Tensor, background: Tensor, mask: Tensor, sweeps: int = 60) -> Tensor:
    """Gradients of `pasted` within the mask, `background` outside and on the mask's outermost pixels.

    Perez, Gangnet & Blake 2003, "Poisson Image Editing", equation 8: pasted + the membrane of the difference. 1 x 3 x H
    x W each, the mask 1 x 1 x H x W of 0 and 1. Where the mask reaches the picture's border, the border is free.
    """
    inner = -F.max_pool2d(-F.pad(mask, (1, 1, 1, 1), mode="replicate"), 3, 1)
    correction = membrane(background - pasted, inner, sweeps)
    return torch.where(inner > 0, pasted + correction, background).clamp(0, 1)


def clean_colors(pasted: Tensor, mask: Tensor) -> Tensor:
    """The object's colours carried outwards over its soft edge, whose pixels are mixed with the old background's."""
    edge = ((mask > 0.02) & (mask < 0.98)).to(mask)
    if not bool(edge.any()) or not bool((mask >= 0.98).any()):
        return pasted
    inside = (mask >= 0.98).to(mask)
    carried = membrane(pasted, 1 - inside, 6)
    return torch.where(edge > 0, carried, pasted)


def around(mask: Tensor, pixels: int) -> Tensor:
    """What lies outside a mask 1 x 1 x H x W within so many pixels of it, 0 or 1; all outside where that is none."""
    from scipy.ndimage import distance_transform_edt

    outside = mask[0, 0].numpy() < 0.02
    near = outside & (distance_transform_edt(outside) <= pixels)
    chosen = near if near.any() else outside
    return torch.from_numpy(chosen)[None, None].to(mask)


def _mean_light(seen: Seen) -> Tensor:
    """1 x 3 x 1 x 1: of linear light, at least a black that is not quite one."""
    total = seen.weight.sum().clamp_min(1e-6)
    return ((srgb_to_linear(seen.picture) * seen.weight).sum((2, 3), keepdim=True) / total).clamp_min(1e-3)


def _moments(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of channels, 1 x 3 x 1 x 1."""
    total = weight.sum().clamp_min(1e-6)
    mean = (x * weight).sum((2, 3), keepdim=True) / total
    return mean, ((x - mean).square() * weight).sum((2, 3), keepdim=True).div(total).sqrt()
