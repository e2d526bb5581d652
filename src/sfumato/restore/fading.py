"""Contrast and colours brought back to a faded photograph, in closed form.

A print fades channel by channel: its blacks rise, its whites sink and turn. So each channel's darkest and brightest
(robustly: percentiles of the inner part) are put back to black and white, as far as they have moved together and, where
they have, also as far as they have moved apart; a scene that has black and white may have a colour of its own. After
Limare et al., "Simplest Color Balance" (IPOL 2011), with the channels held together.
"""

import torch
from torch import Tensor

from sfumato.picture.resize import fit_short_side, resize

TAILS = (0.005, 0.995)
"""Shares of the pixels below which is black, and above which is white."""
INNER = 0.04
"""Share of each side that is left out: frames and torn borders."""
APART = (0.3, 0.9)
"""How far the channels' blacks and whites are moved each by itself, next to how far they have come apart: the best of
ten pairs on 60 held-out photographs faded by `train/damage.py`."""
FADED = 0.1
"""Range that all channels together have lost, in [0, 1], from which a picture is taken for faded."""
LEAST = 0.2
"""Range of brightness, in [0, 1], that a picture is taken to have at least: fog is not stretched without end."""
LOOK = 256
"""Short side in pixels of the copy that is measured."""


def unfaded(picture: Tensor, strength: float = 1.0, marks: Tensor | None = None) -> Tensor:
    """A picture 1 x 3 x H x W in [0, 1] with its range and balance restored.

    A picture that has black and white already stays as it is, to a percentile.

    Args:
        picture: the picture.
        strength: 0 leaves it as it is, to the bit; 1 is all of it.
        marks: 1 x 1 x H x W, above 0 where the picture is not to be believed: scratches.
    """
    if strength == 0:
        return picture
    low, high = endpoints(picture, marks)
    low, high = strength * low, 1 + strength * (high - 1)
    return ((picture - low) / (high - low)).clamp(0, 1)


def endpoints(picture: Tensor, marks: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What was black and what was white, 1 x 3 x 1 x 1 each; `unfaded` puts them at 0 and 1."""
    height, width = picture.shape[2:]
    size = fit_short_side(height, width, min(LOOK, height, width))
    small = resize(picture, *size)
    valid = torch.zeros(1, 1, *size, dtype=torch.bool)
    y, x = (round(INNER * side) for side in size)
    valid[:, :, y : size[0] - y, x : size[1] - x] = True
    if marks is not None:
        clear = resize((marks > 0).float(), *size) < 0.05
        valid = valid & clear if bool((valid & clear).any()) else valid
    seen = small[:, :, valid[0, 0]][0]
    found = torch.quantile(seen, torch.tensor(TAILS), dim=1)
    low, high = found[0], found[1]
    faded = ((low.min() + 1 - high.max()) / FADED).clamp(0, 1)
    low = low.min() + APART[0] * faded * (low - low.min())
    high = high.max() + APART[1] * faded * (high - high.max())
    missing = (LEAST - (high - low)).clamp_min(0)
    low, high = (low - missing / 2).clamp_min(0), (high + missing / 2).clamp_max(1)
    return low.view(1, 3, 1, 1), torch.maximum(high, low + LEAST / 2).view(1, 3, 1, 1)
