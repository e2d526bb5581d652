"""Nearest neighbours among features: each position of the work takes its nearest position of the style.

Matching patches of deep features: Li & Wand 2016, "Combining Markov Random Fields and Convolutional Neural Networks
for Image Synthesis", section 3.1. By the cosine of centred features: Kolkin, Salavon & Shakhnarovich 2019 (STROTSS),
section 2.2; Kolkin et al. 2022, "Neural Neighbor Style Transfer", sections 3.2 to 3.4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

CANDIDATES = 4096
"""Positions of a style that are looked at, at most: a layer, a region."""
CHUNK = 1 << 23
"""Similarities held at a time (32 MiB)."""


class Bag(NamedTuple):
    """Positions of one region of one picture at one layer: features S x C and their weights S in (0, 1]."""

    features: Tensor
    weights: Tensor


def chosen(weight: Tensor, most: int = CANDIDATES) -> Tensor:
    """Which positions stand for a region: numbers into its weights h x w, at most `most`, rising.

    Those with at least half of the region's largest weight, so that a soft edge lends nothing of the neighbours; of
    more than `most` a fixed random choice, which has no rhythm that a picture could share.
    """
    inside = torch.nonzero(weight.flatten() >= 0.5 * weight.max()).flatten()
    if len(inside) > most:
        order = torch.randperm(len(inside), generator=torch.Generator().manual_seed(most))[:most]
        inside = inside[order.sort().values.to(inside.device)]
    return inside


@torch.no_grad()
def nearest(rows: Tensor, style: Tensor, chunk: int = CHUNK) -> Tensor:
    """For each of `rows` P x C the number of the row of `style` S x C with the largest inner product, P.

    Of unit vectors that is the smallest angle. At most `chunk` products are held at a time.
    """
    step = max(1, chunk // max(1, len(style)))
    return torch.cat([(part @ style.T).argmax(1) for part in torch.split(rows, step)])


class Neighbours:
    """What `bags` of one layer, mixed in `shares`, ask of a position: the cosines to its neighbours in all of them.

    Features are centred by each bag's own mean, the work's too: a picture with the same features is nothing away.
    """

    def __init__(self, bags: Sequence[Bag], shares: Sequence[float]) -> None:
        self.shares = [s / sum(shares) for s in shares]
        self.means = [b.features.T @ b.weights / b.weights.sum() for b in bags]
        self.styles = [F.normalize(b.features - m, dim=1) for b, m in zip(bags, self.means, strict=True)]

    def gaps(self, rows: Tensor) -> Tensor:
        """1 - cos to the nearest position, P in [0, 2], of features P x C; differentiable, but not through the choice.

        The minimum over positions is continuous and has this gradient wherever only one is nearest.
        """
        found = rows.new_zeros(len(rows))
        for share, mean, style in zip(self.shares, self.means, self.styles, strict=True):
            mine = F.normalize(rows - mean, dim=1)
            found = found + share * (1 - (mine * style[nearest(mine.detach(), style)]).sum(1))
        return found

    def gaps_to(self, rows: Tensor, fixed: Tensor) -> Tensor:
        """1 - cos of rows with the rows of `fixed`, P x C each, centred the same way."""
        found = rows.new_zeros(len(rows))
        for share, mean in zip(self.shares, self.means, strict=True):
            found = found + share * (1 - F.cosine_similarity(rows - mean, fixed - mean, dim=1))
        return found
