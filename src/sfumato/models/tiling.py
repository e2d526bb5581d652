"""A small network over a picture of any size, in bounded memory: overlapping tiles, padded where the picture ends.

A crop starts at a multiple of `align` and holds its core and `halo` pixels around it. With a halo as wide as the
network sees, tiled equals whole to float tolerance.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.picture.tiles import tiles

TILE = 512
"""Side of a core in pixels."""


@torch.no_grad()
def over_tiles(
    network: Callable[[Tensor], Tensor],
    planes: Tensor,
    *,
    align: int,
    halo: int,
    tile: int = TILE,
    device: torch.device | str = "cpu",
) -> Tensor:
    """What `network` makes of N x C x H x W planes: N x K x H x W float32 on the CPU.

    Args:
        network: takes N x C x h x w on `device`, h and w multiples of `align`, and keeps the size.
        planes: a picture and whatever lies beside it (masks, hints), stacked; any size of at least one pixel.
        align: the network's total stride.
        halo: how many pixels a core sees around it; as far as the network sees for tiled to equal whole.
        tile: side of a core; a picture no larger than a core and its halo is one crop.
        device: where the network is.
    """
    height, width = planes.shape[2:]
    if max(height, width) <= tile + 2 * halo:
        tile = max(height, width)
    made: Tensor | None = None
    for part in tiles(height, width, tile, align, halo):
        y, x = part
        crop = padded_to(planes[:, :, y.low : y.high, x.low : x.high], align).to(device)
        core = network(crop)[:, :, y.start - y.low : y.stop - y.low, x.start - x.low : x.stop - x.low].float().cpu()
        if made is None:
            made = torch.empty(planes.shape[0], core.shape[1], height, width)
        made[:, :, y.start : y.stop, x.start : x.stop] = core
    assert made is not None
    return made


def padded_to(planes: Tensor, align: int) -> Tensor:
    """Sides as multiples of `align`: the last row and column repeated."""
    height, width = planes.shape[2:]
    below, right = -height % align, -width % align
    return F.pad(planes, (0, right, 0, below), mode="replicate") if below or right else planes
