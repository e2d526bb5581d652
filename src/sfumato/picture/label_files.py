"""Label maps as files: 8-bit PNGs whose palette shows the classes and whose metadata name them."""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sfumato.errors import InputError
from sfumato.picture.decode import check_size, limits
from sfumato.picture.io import check_output, write_bytes
from sfumato.picture.label_maps import Color
from sfumato.picture.record import png_text, read_record, to_json
from sfumato.picture.regions import Regions

KEY = "classes"
"""Entry of the record under which the names stand, in the order of the labels."""
HEADER = 33
"""Bytes of a PNG's signature and IHDR, after which the record is put in."""


def write_label_map(
    path: str | os.PathLike[str], labels: Tensor, names: Sequence[str], colors: Sequence[Color], record: dict[str, Any]
) -> None:
    """Write labels H x W, whole numbers below len(names), as a PNG with a palette. Raises `InputError`.

    The pixels are the labels themselves, so that the file is a label map to other programs and to `train` too.
    """
    target = check_output(path)
    if target.suffix.lower() != ".png":
        raise InputError(f"cannot write {os.fspath(path)!r}: a label map is a PNG, which keeps its numbers")
    image = Image.fromarray(labels.numpy().astype(np.uint8), "P")
    image.putpalette([value for color in colors for value in color])
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    data = file.getvalue()
    write_bytes(target, data[:HEADER] + png_text(to_json({**record, KEY: list(names)})) + data[HEADER:])


def read_label_map(path: str | os.PathLike[str], *, max_pixels: int = 200_000_000) -> Regions | None:
    """The regions of a label map that `write_label_map` wrote, with their names; None for any other picture.

    Raises `InputError` for a file that cannot be read, or has labels beyond its names.
    """
    try:
        names = read_record(path).get(KEY)
    except InputError:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return None
    try:
        with limits(max_pixels), Image.open(path, formats=["PNG"]) as image:
            check_size(*image.size, max_pixels)
            if image.mode not in ("P", "L"):
                return None
            labels = torch.from_numpy(np.array(image, np.int64))
        return Regions.of_labels(labels, names)
    except MemoryError:
        raise
    except ValueError:
        raise InputError(f"{os.fspath(path)!r} has labels beyond the {len(names)} classes that it names") from None
    except Exception as error:
        raise InputError(f"cannot read {os.fspath(path)!r}: {error}") from error


def label_map_name(picture: Path) -> str:
    """What the label map of a picture is called: photo-regions.png."""
    return f"{picture.stem}-regions.png"
