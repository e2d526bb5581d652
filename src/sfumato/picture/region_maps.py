"""Pictures of regions in flat colours, as mask pairs are published: the same colour in two of them is the same region.

Edges of such files are off the palette (JPEG, resampling), so the palette is found first, in all of the pictures
together, and every pixel takes the nearest of its colours.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.errors import InputError
from sfumato.picture.io import Picture, Source, read_picture
from sfumato.picture.label_files import read_label_map
from sfumato.picture.label_maps import Color, snapped
from sfumato.picture.regions import Regions

APART = 80
"""Distance of two colours of a palette at least, in levels of 255."""
SMALLEST = 0.002
"""Share of one of the pictures that a colour must have."""
MOST = 20
"""Colours of a palette at most: what has more is no picture of regions."""
FLAT = 24
"""Largest difference of levels within 5 x 5 pixels inside a region; at edges it is larger, and colours are mixtures."""
NAMES = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
}


def regions_of_maps(pictures: Sequence[Picture], sizes: Sequence[tuple[int, int]]) -> list[Regions]:
    """The regions of pictures in flat colours at the sizes given (height, width); equal names are equal colours.

    Raises `InputError` for a picture of more than MOST colours, and where the first has no colour of any other.
    """
    pixels = [np.rint(p.rgb * 255).astype(np.uint8) for p in pictures]
    palette = joint_palette(pixels)
    if len(palette) > MOST:
        raise InputError(f"{pictures[0].name!r} is not a picture of regions in flat colours: it has too many colours")
    names = [color_name(color) for color in palette]
    found = []
    for values, size in zip(pixels, sizes, strict=True):
        labels = snapped(values, palette, ignore=255, tolerance=np.inf).labels.astype(np.int64)
        regions = Regions.of_labels(torch.from_numpy(labels), names)
        found.append(regions.without_small(SMALLEST).resized(*size))
    first, *others = found
    if others and not any(set(first.names) & set(other.names) for other in others):
        raise InputError(
            f"{pictures[0].name!r} and {pictures[1].name!r} have no colour in common, so no region takes its style: "
            f"{', '.join(first.names)}; {', '.join(others[0].names)}"
        )
    return found


def read_regions(sources: Sequence[Source], sizes: Sequence[tuple[int, int]]) -> tuple[list[Regions], list[Picture]]:
    """Regions from files or arrays, at the sizes given, and the pictures read.

    Label maps that `sfumato segment` wrote have the names of classes; anything else is a picture in flat colours.
    Raises `InputError` as `regions_of_maps`, and where only some are label maps.
    """
    pictures = [read_picture(source) for source in sources]
    known = [None if p.path is None else read_label_map(p.path) for p in pictures]
    named = [regions.resized(*size) for regions, size in zip(known, sizes, strict=True) if regions is not None]
    if named and len(named) < len(pictures):
        raise InputError("some pictures of regions are label maps with names and some are not: give one kind")
    return named or regions_of_maps(pictures, sizes), pictures


def joint_palette(pictures: Sequence[NDArray[np.uint8]]) -> list[Color]:
    """The flat colours of pictures H x W x 3: the most frequent first, each APART from those before it."""
    counts: dict[int, float] = {}
    for pixels in pictures:
        codes = (pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1]))[inside(pixels)]
        values, shares = np.unique(codes, return_counts=True)
        for value, share in zip(values.tolist(), (shares * 3 / pixels.size).tolist(), strict=True):
            counts[value] = max(counts.get(value, 0.0), share)
    codes = np.array(sorted(counts, key=lambda code: (-counts[code], code)), np.int64)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1)
    shares = np.array([counts[code] for code in codes.tolist()])
    palette: list[Color] = []
    left = np.ones(len(codes), bool)
    while left.any() and len(palette) <= MOST:
        first = colors[np.argmax(left)]
        near = left & (np.square(colors - first).sum(1) < APART**2)
        if shares[near].sum() >= SMALLEST:
            palette.append((int(first[0]), int(first[1]), int(first[2])))
        left &= ~near
    return palette


def inside(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a picture H x W x 3 is flat: everywhere, if it is nowhere."""
    from scipy.ndimage import maximum_filter, minimum_filter

    size = (5, 5, 1)
    flat: NDArray[np.bool_] = (maximum_filter(pixels, size) - minimum_filter(pixels, size) <= FLAT).all(2)
    return flat if flat.any() else np.ones_like(flat)


def color_name(color: Color) -> str:
    """'blue', or '#0a7fc0' where no common name is near."""
    for name, value in NAMES.items():
        if sum((a - b) ** 2 for a, b in zip(color, value, strict=True)) < (APART / 2) ** 2:
            return name
    return "#" + bytes(color).hex()
