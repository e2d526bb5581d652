"""Holes of any size in pictures of any size, filled.

Without a network thin holes are closed by a plate and deep ones with what the picture shows elsewhere (exemplar.py). A
hole is worked on within its surroundings only. Where it is deeper than a network has learnt it is halved until it is
not, filled there, enlarged, and filled again at every size on the way up: coarse to fine.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.models.tiling import padded_to
from sfumato.picture.membrane import membrane
from sfumato.picture.plate import plate
from sfumato.picture.tiles import tiles
from sfumato.restore.exemplar import exemplar
from sfumato.restore.holes import boxes, deepest, halved

Network = Callable[[Tensor], Tensor]
"""N x 4 x H x W, pictures with their holes filled somehow and the masks, to N x 3 x H x W with them filled better."""

THIN = 4
"""Pixels from a hole's border to its middle up to which a plate closes it best."""
DEPTH = 12
"""Pixels from a hole's border to its middle that are filled at once."""
TILE, HALO, ALIGN = 320, 64, 8
"""Sides in pixels of what is filled at once, and of what is seen around it."""


def filled(
    network: Network | None, picture: Tensor, hole: Tensor, *, depth: int = DEPTH, smooth: bool = False
) -> Tensor:
    """A picture 1 x 3 x H x W in [0, 1] whose hole (1 x 1 x H x W, above 0.5) is filled; outside it is as it was.

    Args:
        network: as `Network`; without one see above.
        picture: what it shows in the hole does not matter.
        hole: neither empty nor everything.
        depth: pixels from a hole's border that the network fills at once.
        smooth: without a network: deep holes by membranes, nothing is copied.
    """
    left = (hole > 0.5).float()
    found, left = thin_filled(picture, left) if network is None else (picture.clone(), left)
    for box in boxes(left):
        part = (..., slice(box.top, box.bottom), slice(box.left, box.right))
        known, inside = found[part], left[part]
        if network is not None:
            found[part] = coarse_to_fine(network, known, inside, depth)
        else:
            found[part] = membrane(known, inside, 40).clamp(0, 1) if smooth else exemplar(known, inside)
    return found


def thin_filled(picture: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """A copy with thin parts of the hole (1 x 1 x H x W of 0 and 1) closed, and the hole that is left.

    What is left is the hole's opening: wherever in it a square of more than twice THIN fits.
    """
    cores = 1 - F.max_pool2d(1 - hole, 2 * THIN + 1, 1, THIN)  # nothing known within so many pixels
    deep = hole * F.max_pool2d(cores, 2 * THIN + 1, 1, THIN)
    thin = hole - deep
    return plate(picture, hole, thin).clamp_(0, 1), deep


def coarse_to_fine(network: Network, picture: Tensor, hole: Tensor, depth: int) -> Tensor:
    """One hole in its surroundings, filled."""
    begun = membrane(picture, hole)
    if deepest(hole) > depth and min(picture.shape[2:]) >= 16:
        small, small_hole = halved(picture, hole)
        below = coarse_to_fine(network, small, small_hole, depth)
        up = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)
        begun = torch.where(hole > 0, up[:, :, : hole.shape[2], : hole.shape[3]], picture)
    return in_tiles(network, begun, hole)


def in_tiles(network: Network, picture: Tensor, hole: Tensor) -> Tensor:
    """The network wherever the hole is, in bounded memory; what one tile has filled the next one sees."""
    found = picture.clone()
    for y, x in _cores(hole):
        crop = torch.cat([found, hole], 1)[:, :, y.low : y.high, x.low : x.high]
        made = network(padded_to(crop, ALIGN)).to(picture)
        core = (slice(y.start - y.low, y.stop - y.low), slice(x.start - x.low, x.stop - x.low))
        here = (slice(None), slice(None), slice(y.start, y.stop), slice(x.start, x.stop))
        found[here] = torch.where(hole[here] > 0, made[(..., *core)], picture[here])
    return found


def _cores(hole: Tensor) -> Iterator[tuple]:  # type: ignore[type-arg]
    """Tiles that the hole reaches into."""
    height, width = hole.shape[2:]
    whole = max(height, width) <= TILE + 2 * HALO
    for y, x in tiles(height, width, max(height, width) if whole else TILE, ALIGN, HALO):
        if bool(hole[0, 0, y.start : y.stop, x.start : x.stop].any()):
            yield y, x
