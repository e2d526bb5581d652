"""Contact sheets: pictures side by side, to compare."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sfumato.picture.io import read_picture, write_picture

GAP = 4


def contact_sheet(rows: Sequence[Sequence[Path]], target: Path, side: int = 320) -> None:
    """Write picture files as a sheet, row by row, each fitted into a square of `side` pixels. Raises `InputError`."""
    sheet = Image.new("RGB", (max(map(len, rows)) * side, len(rows) * side), "white")
    room = (side - 2 * GAP, side - 2 * GAP)
    for y, row in enumerate(rows):
        for x, path in enumerate(row):
            picture = Image.fromarray(np.rint(read_picture(path).rgb * 255).astype(np.uint8))
            sheet.paste(ImageOps.pad(picture, room, color="white"), (x * side + GAP, y * side + GAP))
    write_picture(target, np.asarray(sheet))


def square(paths: Sequence[Path]) -> list[list[Path]]:
    """Paths in rows, about as many rows as columns."""
    columns = math.ceil(math.sqrt(len(paths)))
    return [list(paths[i : i + columns]) for i in range(0, len(paths), columns)]
