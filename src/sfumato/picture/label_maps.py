"""Label maps: a class a pixel, as numbers or as the colours of a palette. No torch is imported here."""

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
Labels = NDArray[np.uint8]

TOLERANCE = 64
"""How far a colour may be from the declared one, as a distance of 8-bit RGB: JPEG's errors and soft edges."""
MOST = 256
"""Classes at most: labels are bytes."""


class Snapped(NamedTuple):
    """A picture of palette colours as labels, and how many of its pixels had what colours."""

    labels: Labels
    """H x W."""
    exact: int
    """Pixels of a declared colour."""
    near: int
    """Pixels within the tolerance, given to the nearest declared colour."""
    unknown: int
    """Pixels of other colours."""


def snapped(rgb: NDArray[np.uint8], colors: Sequence[Color], *, ignore: int, tolerance: float = TOLERANCE) -> Snapped:
    """Labels of H x W x 3 whose colours mean classes: the number of the nearest in `colors`, `ignore` where none is."""
    height, width = rgb.shape[:2]
    packed = rgb[..., 0].astype(np.uint32) << 16 | rgb[..., 1].astype(np.uint32) << 8 | rgb[..., 2]
    found, place, counts = np.unique(packed, return_inverse=True, return_counts=True)  # few, so distances are cheap
    parts = np.stack([found >> 16, found >> 8 & 255, found & 255], -1).astype(np.float64)
    distances = np.linalg.norm(parts[:, None] - np.asarray(colors, np.float64)[None], axis=-1)
    nearest, distance = distances.argmin(1), distances.min(1)
    labels = np.where(distance <= tolerance, nearest, ignore).astype(np.uint8)
    exact, unknown = int(counts[distance == 0].sum()), int(counts[distance > tolerance].sum())
    return Snapped(labels[place.reshape(height, width)], exact, height * width - exact - unknown, unknown)


def distinct_colors(count: int) -> tuple[Color, ...]:
    """Colours for classes that have none of their own: hues by the golden ratio, three brightnesses in turn."""
    found = []
    for k in range(count):
        parts = colorsys.hsv_to_rgb(0.58 + 0.61803398875 * k, 0.75 - 0.25 * (k % 2), 0.95 - 0.2 * (k % 3))
        found.append((round(255 * parts[0]), round(255 * parts[1]), round(255 * parts[2])))
    return tuple(found)


def painted(labels: NDArray[np.integer], colors: Sequence[Color]) -> NDArray[np.uint8]:
    """H x W x 3 of labels H x W; labels beyond the colours are black."""
    table = np.zeros((MOST, 3), np.uint8)
    table[: len(colors)] = colors
    return table[labels.astype(np.uint8)]
