"""Piece by piece equals whole: in float64 to rounding, in float32 to a stated bound, also where tiles meet."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.models.translator import Direction, WholeTranslator, load_translator
from sfumato.picture.tiles import Tile
from sfumato.translate.streamed import Moments, Streamed

from .made import SMALL, landscape, write_model


def loaded(folder: Path, name: str, dtype: torch.dtype = torch.float32) -> Any:
    translator, _ = load_translator(write_model(folder, name))
    assert isinstance(translator, WholeTranslator)
    if dtype != torch.float32:
        for direction in translator.directions:
            parts = translator.parts(direction)
            for layer in (*parts.stem, *parts.inner, *parts.rise, parts.leave, *filter(None, [parts.onto])):
                layer.to(dtype)
    return translator


def streamed(translator: Any, picture: Tensor, tile: int, direction: Direction = "a_to_b") -> Tensor:
    work, made, steps = Streamed(translator.parts(direction), picture, tile), torch.full_like(picture, -1), 0

    def put(core: Tensor, where: Tile) -> None:
        y, x = where
        assert bool((made[:, :, y.start : y.stop, x.start : x.stop] == -1).all())
        made[:, :, y.start : y.stop, x.start : x.stop] = core

    for step in work.run(put):
        steps += 1
        assert step == steps
    assert steps == work.total
    return made


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("size", "tile"), [((48, 64), 16), ((64, 36), 24), ((40, 40), 64), ((8, 52), 16)])
def test_tiled_equals_whole(name: str, size: tuple[int, int], tile: int, tmp_path: Path) -> None:
    translator, picture = loaded(tmp_path, name, torch.float64), landscape(*size).double()
    for direction in translator.directions:
        with torch.no_grad():
            whole = translator.ways[direction](picture)
        assert whole.std() > 0.05  # something is painted
        torch.testing.assert_close(streamed(translator, picture, tile, direction), whole, atol=1e-9, rtol=0)


def test_no_colour_jumps_where_tiles_meet(tmp_path: Path) -> None:
    """Against the whole picture: the error beside a border is no larger than elsewhere, and tiles alone do jump."""
    translator, picture, tile = loaded(tmp_path, "transposed"), landscape(96, 128), 32
    whole = translator.translate(picture)
    made = streamed(translator, picture, tile)
    error = (made - whole).abs()
    assert error.max() < 2e-4

    alone = torch.cat(
        [
            torch.cat([translator.translate(part) for part in torch.split(row, tile, 3)], 3)
            for row in torch.split(picture, tile, 2)
        ],
        2,
    )

    def jump(x: Tensor) -> float:
        """Mean colour of the four columns after a border less that of the four before, less the whole picture's."""
        return max(
            float(((x - whole)[..., k : k + 4].mean((2, 3)) - (x - whole)[..., k - 4 : k].mean((2, 3))).abs().max())
            for k in range(tile, 128, tile)
        )

    assert jump(made) < 1e-5
    assert jump(alone) > 1000 * jump(made)
    assert jump(alone) > 0.01


def test_moments_of_parts_are_those_of_the_whole() -> None:
    x = 100 + torch.randn(1, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    x[:, 2] = 7  # does not vary
    found = Moments()
    for part in (x[:, :, :7], x[:, :, 7:8], x[:, :, 8:]):
        found.add(part)
    exact = x.double()
    torch.testing.assert_close(found.mean, exact.mean((0, 2, 3)), rtol=1e-6, atol=0)
    variance = exact.var((0, 2, 3), correction=0)
    torch.testing.assert_close(found.squares / found.count, variance, rtol=1e-4, atol=1e-12)
    norm = torch.nn.functional.instance_norm(exact)
    torch.testing.assert_close(found.normalise(x)[:, :2], norm[:, :2].float(), atol=1e-4, rtol=0)
