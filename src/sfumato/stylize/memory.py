"""The tile with which a picture is stylized within the memory that is allowed."""

import math
from collections.abc import Callable

import psutil

from sfumato.errors import InputError
from sfumato.memory import RESERVE

BYTES_A_PIXEL = 4400
"""Peak of one evaluation of VGG-19 to relu5_1 with its gradient, per pixel of a tile's crop (bench/README.md)."""
BYTES_A_PIXEL_LOCAL = 600
"""What neighbours and attention take on top: positions in rows, centred, and those they are compared with."""
BYTES_A_BAG = 48 << 20
"""A style region's positions at five layers, twice (`sfumato.style.neighbours.CANDIDATES`)."""
BYTES_OF_SCORES = 64 << 20
"""Similarities of one chunk, and their softmax."""
LARGEST_TILE = 1024
"""Of a picture that does not fit as a whole; larger tiles are no faster."""
SMALLEST_TILE = 96
WHOLE = 400_000
"""Pixels up to which the one pass paints a picture as a whole."""
LARGEST_CROP = 280_000
"""Pixels that it paints at a time of a larger one, at most: more are hardly faster."""
SMALLEST_CORE = 64


def tile_for(
    height: int,
    width: int,
    pictures: Callable[[int], float],
    halo: int,
    limit: int,
    *,
    a_pixel: int = BYTES_A_PIXEL,
    beside: int = 0,
) -> int:
    """Side of the largest tile (core) with which a picture of this size can be worked on within `limit` bytes.

    `pictures` counts the float32 pictures of so many pixels that will be held beyond what the process holds now; it
    does not grow with them. `a_pixel` are bytes a pixel of a tile's crop, `beside` bytes held whatever the tile.
    Raises `InputError` that names the size that would fit.
    """
    held = psutil.Process().memory_info().rss + RESERVE + beside
    pixels, short = height * width, min(height, width)
    free = limit - held - pictures(pixels) * 12 * pixels
    if free >= a_pixel * pixels:
        return max(height, width, SMALLEST_TILE)
    side = int((max(free, 0) / a_pixel) ** 0.5)
    core = min(LARGEST_TILE, side - 2 * halo)
    if core < SMALLEST_TILE:
        needed = a_pixel * (SMALLEST_TILE + 2 * halo) ** 2
        spare = limit - held - needed
        fits, before = short, 0
        while fits != before:  # a smaller picture may hold more copies
            before, copies = fits, pictures(round(pixels * (fits / short) ** 2))
            fits = min(fits, int((max(spare, 0) / (copies * 12) / pixels) ** 0.5 * short))
        advice = (
            f"a short side of {fits} pixels fits (--size {fits})" if fits >= 16 else "not even a small picture fits"
        )
        raise InputError(
            f"{width} x {height} pixels need more than the {limit / (1 << 30):.2f} GiB of memory allowed: {advice}, "
            f"or allow {(held + needed + pictures(pixels) * 12 * pixels) / (1 << 30):.2f} GiB (--max-memory)"
        )
    return core


def tile_of_pass(height: int, width: int, cost: float, fixed: int, overlap: int, limit: int) -> int:
    """Side of the largest tile (core) with which one pass paints a picture of this size within `limit` bytes.

    `cost` is bytes a pixel of a tile's crop, which is `overlap` pixels wider on each side; `fixed` are bytes that the
    whole picture takes. Raises `InputError` that names the memory it would take.
    """
    held = psutil.Process().memory_info().rss + RESERVE + fixed
    largest = WHOLE if height * width <= WHOLE else LARGEST_CROP
    most, parts, side = min(largest, (limit - held) / cost), 0, SMALLEST_CORE + 1
    while side > SMALLEST_CORE:
        parts += 1
        side = max(SMALLEST_CORE, -(-max(height, width) // (8 * parts)) * 8)
        cores = (-(-s // (8 * -(-s // side))) * 8 for s in (height, width))  # equal ones
        crop = math.prod(min(s, core + 2 * overlap) for s, core in zip((height, width), cores, strict=True))
        if crop <= most:
            return side
    raise InputError(
        f"{width} x {height} pixels need more than the {limit / (1 << 30):.2f} GiB of memory allowed: "
        f"allow {(held + crop * cost) / (1 << 30):.2f} GiB (--max-memory), or take a smaller --size"
    )
