"""Where holes lie, how deep they are, and the same at half the size."""

from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

AROUND = 48
"""Pixels of surroundings at least, and as many as the hole's own size."""


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
