"""Covering a picture with tiles: cores that meet without overlap, crops that hold a core and what it sees."""

from collections.abc import Iterator
from typing import NamedTuple


class Span(NamedTuple):
    """A tile along one axis, in pixels: `start:stop` is its core, `low:high` its core with the halo."""

    start: int
    stop: int
    low: int
    high: int
    last: bool


class Tile(NamedTuple):
    """A tile of a picture: its rows and its columns."""

    y: Span
    x: Span


def spans(side: int, size: int, align: int, halo: int) -> list[Span]:
    """Cores of about `size` that start at multiples of `align`, their crops `halo` wider (also aligned) but clipped."""
    size = max(align, size // align * align)
    halo = -(-halo // align) * align
    starts = list(range(0, side, size))
    if len(starts) > 1 and side - starts[-1] < align:  # a sliver shorter than one deep cell joins its neighbour
        starts.pop()
    ends = [*starts[1:], side]
    return [Span(a, b, max(0, a - halo), min(side, b + halo), b == side) for a, b in zip(starts, ends, strict=True)]


def tiles(height: int, width: int, size: int, align: int, halo: int) -> Iterator[Tile]:
    """Tiles row by row; see `spans`."""
    for y in spans(height, size, align, halo):
        for x in spans(width, size, align, halo):
            yield Tile(y, x)
