"""Paint a photograph in the style of a painting, with NumPy, Pillow and onnxruntime alone.

    python stylize.py photo.jpg painting.jpg out.png [short side] [seed]

Written by `sfumato export`; generator.onnx and style_encoder.onnx lie beside this file.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageOps

Array = NDArray[Any]

STRIDES = (1, 2, 4, 8)
CONTRAST = 4.0
"""Times that contrast grows at most."""
NOISE = 0.3
"""Deviation of the noise that stirs the brush: 1 as the network was trained, which draws a relief on flat areas."""


def read(path: str, short: int) -> Array:
    """1 x 3 x H x W in [0, 1], with a short side of `short` pixels; smaller pictures stay as they are."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    scale = min(1, short / min(picture.size))
    size = [max(16, round(side * scale)) for side in picture.size]
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC), np.float32).transpose(2, 0, 1)[None] / 255


def color_moments(picture: Array) -> tuple[Array, Array]:
    """Mean 3 x 1 and covariance 3 x 3."""
    flat = picture[0].reshape(3, -1).astype(np.float64)
    return flat.mean(1, keepdims=True), np.cov(flat, bias=True) + (0.5 / 255) ** 2 * np.eye(3)


def root(matrix: Array) -> Array:
    """Square root of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    found: Array = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return found


def color_map(photo: Array, mean: Array, covariance: Array) -> dict[str, Array]:
    """What the generator is told of colours: from the photograph's to those of `mean` and `covariance`."""
    own_mean, own = color_moments(photo)
    inverse = np.linalg.inv(root(own))
    values, vectors = np.linalg.eigh(inverse @ root(root(own) @ covariance[0] @ root(own)) @ inverse)
    found = {
        "mean": own_mean,
        "scale": 1 / (np.sqrt(np.diag(own).mean(keepdims=True))[:, None] + 0.05),
        "matrix": vectors * np.clip(values, 0, CONTRAST) @ vectors.T,
        "offset": mean[0],
    }
    return {name: value[None].astype(np.float32) for name, value in found.items()}


def paint(folder: str | Path, photo: Array, painting: Array, noise: Callable[[int, int], Array]) -> Array:
    """Both pictures 1 x 3 x H x W in [0, 1]; `noise(height, width)` gives random numbers; the result likewise."""
    sessions = [
        onnxruntime.InferenceSession(Path(folder) / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("style_encoder", "generator")
    ]
    code, mean, covariance = sessions[0].run(None, {"picture": painting})
    height, width = photo.shape[2:]
    padded = np.pad(photo, ((0, 0), (0, 0), (0, -height % 8), (0, -width % 8)), "edge")
    inputs = {"picture": padded, "code": code, **color_map(photo, mean, covariance)}
    for stride in STRIDES:
        inputs[f"noise_{stride}"] = noise(*(side // stride for side in padded.shape[2:]))[None, None]
    (painted,) = sessions[1].run(None, inputs)
    made: Array = painted[:, :, :height, :width].clip(0, 1)
    return made


def main() -> None:
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    short = int(sys.argv[4]) if len(sys.argv) > 4 else 512
    random = np.random.default_rng(int(sys.argv[5]) if len(sys.argv) > 5 else 0)
    photo, painting = read(sys.argv[1], short), read(sys.argv[2], short)
    made = paint(Path(__file__).parent, photo, painting, lambda *size: NOISE * random.standard_normal(size, np.float32))
    Image.fromarray(np.rint(made[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(sys.argv[3])


if __name__ == "__main__":
    main()
