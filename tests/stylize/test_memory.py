"""The tile that fits into the memory that is allowed."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from sfumato.errors import InputError
from sfumato.memory import RESERVE
from sfumato.stylize import memory
from sfumato.stylize.memory import BYTES_A_PIXEL, SMALLEST_TILE, tile_for

MIB, GIB = 1 << 20, 1 << 30


def copies(count: int) -> Callable[[int], float]:
    return lambda _: count


@pytest.fixture
def holds(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Make the process hold so many bytes while so many are free."""

    def hold(rss: int, free: int = 8 * GIB) -> None:
        process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=rss))
        fake = SimpleNamespace(Process=lambda: process, virtual_memory=lambda: SimpleNamespace(available=free))
        monkeypatch.setattr(memory, "psutil", fake)

    return hold


def test_a_picture_that_fits_is_one_tile(holds: Callable[[int, int], None]) -> None:
    holds(300 * MIB, 0)
    assert tile_for(512, 700, copies(27), 96, 4 * GIB) == 700
    assert tile_for(3, 5, copies(27), 96, 4 * GIB) >= 32  # a tile that options take, since records keep it


@pytest.mark.parametrize("size", [(4096, 4096), (1500, 3000), (600, 9000), (2048, 2048)])
@pytest.mark.parametrize("limit", [GIB, 3 * GIB // 2, 2 * GIB, 6 * GIB])
@pytest.mark.parametrize("pictures", [5, 13, 27])
def test_what_the_tile_needs_is_within_the_limit(
    holds: Callable[[int, int], None], size: tuple[int, int], limit: int, pictures: int
) -> None:
    held, halo = 300 * MIB, 96
    holds(held, 0)
    pixels = size[0] * size[1]
    try:
        core = tile_for(*size, copies(pictures), halo, limit)
    except InputError:
        least = BYTES_A_PIXEL * (SMALLEST_TILE + 2 * halo) ** 2
        assert held + RESERVE + pictures * 12 * pixels + least > limit  # refused only what does not fit
        return
    assert core >= SMALLEST_TILE
    crop = min(size[0], core + 2 * halo) * min(size[1], core + 2 * halo)
    assert held + pictures * 12 * pixels + BYTES_A_PIXEL * crop <= limit


def test_more_memory_never_means_smaller_tiles(holds: Callable[[int, int], None]) -> None:
    holds(300 * MIB, 0)
    cores = [tile_for(3000, 3000, copies(5), 96, limit * 64 * MIB) for limit in range(22, 200)]
    assert cores == sorted(cores)
    assert cores[0] < cores[-1]


@pytest.mark.parametrize("size", [(4096, 4096), (3000, 5000), (8000, 2500)])
@pytest.mark.parametrize("limit", [900 * MIB, 1100 * MIB, 1300 * MIB])
def test_too_large_a_picture_is_refused_with_a_size_that_fits(
    holds: Callable[[int, int], None], size: tuple[int, int], limit: int
) -> None:
    holds(300 * MIB, 0)
    with pytest.raises(InputError, match="need more than") as caught:
        tile_for(*size, copies(13), 96, limit)
    text = str(caught.value)
    assert "\n" not in text
    short = int(text.split("(--size ")[1].split(")")[0])
    scale = short / min(size)
    assert tile_for(round(size[0] * scale), round(size[1] * scale), copies(13), 96, limit) >= SMALLEST_TILE
    larger = scale * 1.02
    with pytest.raises(InputError):  # and not much more than that would
        tile_for(round(size[0] * larger), round(size[1] * larger), copies(13), 96, limit)
    enough = float(text.split("or allow ")[1].split(" GiB")[0])
    assert tile_for(*size, copies(13), 96, int((enough + 0.01) * GIB)) >= SMALLEST_TILE


def test_a_limit_below_what_is_held_says_that_nothing_fits(holds: Callable[[int, int], None]) -> None:
    holds(300 * MIB, 0)
    with pytest.raises(InputError, match="not even a small picture fits"):
        tile_for(512, 512, copies(27), 96, 100 * MIB)
