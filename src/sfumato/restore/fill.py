"""Holes of any size in pictures of any size, filled by a network that was trained on small ones.

A hole is worked on within its surroundings only. Where it is deeper than the network has learnt it is halved until it
is not, filled there, enlarged, and filled again at every size on the way up: coarse to fine.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.models.tiling import padded_to
from sfumato.picture.membrane import membrane
from sfumato.picture.tiles import tiles

Network = Callable[[Tensor], Tensor]
"""N x 4 x H x W, pictures with their holes filled somehow and the masks, to N x 3 x H x W with them filled better."""

DEPTH = 12
"""Pixels from a hole's border to its middle that are filled at once."""
AROUND = 48
"""Pixels of surroundings at least, and as many as the hole's own size."""
TILE, HALO, ALIGN = 320, 64, 8
"""Sides in pixels of what is filled at once, and of what is seen around it."""


class Box(NamedTuple):
    """Rows and columns."""

    top: int
    bottom: int
    left: int
    right: int

    def meets(self, other: "Box") -> bool:
        return (
            self.top < other.bottom and other.top < self.bottom and self.left < other.right and other.left < self.right
        )

    def with_(self, other: "Box") -> "Box":
        return Box(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )


def filled(network: Network | None, picture: Tensor, hole: Tensor, *, depth: int = DEPTH) -> Tensor:
    """A picture 1 x 3 x H x W in [0, 1] whose hole (1 x 1 x H x W, above 0.5) is filled; outside it is as it was.

    Args:
        network: as `Network`; None fills by membranes alone.
        picture: what it shows in the hole does not matter.
        hole: neither empty nor everything.
        depth: pixels from a hole's border that the network fills at once.
    """
    found = picture.clone()
    for box in boxes(hole):
        part = (..., slice(box.top, box.bottom), slice(box.left, box.right))
        inside = (hole[part] > 0.5).float()
        found[part] = torch.where(inside > 0, coarse_to_fine(network, picture[part], inside, depth), picture[part])
    return found


def boxes(hole: Tensor) -> list[Box]:
    """Where the parts of the hole lie, with surroundings; parts whose boxes meet go together."""
    from scipy.ndimage import find_objects, label

    height, width = hole.shape[2:]
    numbered, _ = label((hole[0, 0] > 0.5).numpy(), np.ones((3, 3)))
    found = list[Box]()
    for rows, columns in find_objects(numbered):
        around = max(AROUND, rows.stop - rows.start, columns.stop - columns.start)
        box = Box(
            max(0, rows.start - around),
            min(height, rows.stop + around),
            max(0, columns.start - around),
            min(width, columns.stop + around),
        )
        while meeting := [other for other in found if box.meets(other)]:
            found = [other for other in found if not box.meets(other)]
            for other in meeting:
                box = box.with_(other)
        found.append(box)
    return found


def coarse_to_fine(network: Network | None, picture: Tensor, hole: Tensor, depth: int) -> Tensor:
    """One hole in its surroundings, filled."""
    if network is None:
        return membrane(picture, hole, 40).clamp(0, 1)
    begun = membrane(picture, hole)
    if deepest(hole) > depth and min(picture.shape[2:]) >= 16:
        small, small_hole = halved(picture, hole)
        below = coarse_to_fine(network, small, small_hole, depth)
        up = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)
        begun = torch.where(hole > 0, up[:, :, : hole.shape[2], : hole.shape[3]], picture)
    return in_tiles(network, begun, hole)


def deepest(hole: Tensor) -> float:
    """Distance in pixels of the hole's innermost point from what is known."""
    from scipy.ndimage import distance_transform_edt

    return float(distance_transform_edt(hole[0, 0].numpy()).max())


def halved(picture: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """Half the sides, rounded up: means of what is known; a hole is where less than half is."""
    pad = (0, picture.shape[3] % 2, 0, picture.shape[2] % 2)
    known = F.pad(1 - hole, pad, mode="replicate")
    share = F.avg_pool2d(known, 2)
    small = F.avg_pool2d(F.pad(picture, pad, mode="replicate") * known, 2) / share.clamp_min(1e-6)
    return small, (share < 0.5).to(hole)


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
