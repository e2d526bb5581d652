"""Translate a picture, with NumPy, Pillow and onnxruntime alone.

    python translate.py a_to_b.onnx photo.jpg out.png [short side]

Written by `sfumato export`. Near the short side that model.json names changes are bold, on larger pictures fine.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageOps

CELL, LEAST = 4, 8
"""Sides are multiples of the first, and at least the second."""


def read(path: str, short: int | None) -> NDArray[Any]:
    """1 x 3 x H x W in [0, 1], with a short side of `short` pixels; smaller pictures stay as they are."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    scale = min(1.0, (short or min(picture.size)) / min(picture.size))
    size = [max(1, round(side * scale)) for side in picture.size]
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC), np.float32).transpose(2, 0, 1)[None] / 255


def translate(graph: str | Path, picture: NDArray[Any]) -> NDArray[Any]:
    """1 x 3 x H x W in [0, 1] to the same, any size: the border is repeated to whole cells and cut off again."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    height, width = picture.shape[2:]
    more = [max(LEAST, -(-side // CELL) * CELL) - side for side in (height, width)]
    padded = np.pad(picture, ((0, 0), (0, 0), (0, more[0]), (0, more[1])), "edge")
    (made,) = session.run(None, {"picture": padded})
    found: NDArray[Any] = made[:, :, :height, :width].clip(0, 1)
    return found


def main() -> None:
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    made = translate(sys.argv[1], read(sys.argv[2], int(sys.argv[4]) if len(sys.argv) > 4 else None))
    Image.fromarray(np.rint(made[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(sys.argv[3])


if __name__ == "__main__":
    main()
