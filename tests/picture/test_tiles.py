"""Tiles cover every pixel once, start where deep cells do, and see what they must."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.picture.tiles import Span, spans, tiles

SIDES = st.integers(1, 700)


@settings(max_examples=200, deadline=None)
@given(side=SIDES, size=st.integers(1, 400), align=st.sampled_from([1, 8, 16, 32]), halo=st.integers(0, 100))
def test_spans(side: int, size: int, align: int, halo: int) -> None:
    found = spans(side, size, align, halo)
    assert found[0].start == 0
    assert found[-1].stop == side
    assert [s.last for s in found] == [False] * (len(found) - 1) + [True]
    for a, b in pairwise(found):
        assert a.stop == b.start
    for s in found:
        assert s.start % align == s.low % align == 0
        assert s.stop == side or s.stop % align == 0
        assert s.high == side or s.high % align == 0
        assert s.low <= max(0, s.start - halo)
        assert s.high >= min(side, s.stop + halo)
        assert 0 <= s.low <= s.start < s.stop <= s.high <= side
        assert s.stop - s.start < max(size, align) + align  # a sliver at the end may join
        assert s.stop - s.start >= min(align, side)  # at least a deep cell, or all there is
        assert s.start - s.low < halo + align
        assert s.high - s.stop < halo + align


def test_spans_by_hand() -> None:
    assert spans(100, 40, 16, 20) == [
        Span(0, 32, 0, 64, False),
        Span(32, 64, 0, 96, False),
        Span(64, 100, 32, 100, True),  # 96 to 100 would be a sliver
    ]
    assert spans(30, 1000, 32, 70) == [Span(0, 30, 0, 30, True)]


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(1, 64))
def test_cores_cover_each_pixel_once(height: int, width: int, size: int) -> None:
    seen = [[0] * width for _ in range(height)]
    for tile in tiles(height, width, size, 8, 5):
        for y in range(tile.y.start, tile.y.stop):
            for x in range(tile.x.start, tile.x.stop):
                seen[y][x] += 1
    assert all(n == 1 for row in seen for n in row)


def test_tiles_go_row_by_row() -> None:
    found = [(t.y.start, t.x.start) for t in tiles(64, 96, 32, 32, 0)]
    assert found == [(0, 0), (0, 32), (0, 64), (32, 0), (32, 32), (32, 64)]


@pytest.mark.parametrize("size", [96, 1 << 30])
def test_a_large_tile_is_the_whole_picture(size: int) -> None:
    (tile,) = tiles(90, 70, size, 32, 70)
    assert (tile.y, tile.x) == (Span(0, 90, 0, 90, True), Span(0, 70, 0, 70, True))
