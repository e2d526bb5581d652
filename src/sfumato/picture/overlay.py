"""Regions shown on their picture: coloured, with their names."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sfumato.picture.label_maps import Color
from sfumato.picture.regions import Regions

SHARE = 0.55
"""Of the colour in a coloured pixel; the rest is the picture's lightness."""


def overlay(rgb: NDArray[np.float32], regions: Regions, colors: Mapping[str, Color]) -> Image.Image:
    """The picture H x W x 3 in [0, 1], its regions (of its size) in their colours, each with its name in its middle.

    `colors` has one for every name. Raises ValueError for regions of another size.
    """
    if regions.size != rgb.shape[:2]:
        raise ValueError(f"regions of {regions.size} on a picture of {rgb.shape[:2]}")
    table = np.array([colors[name] for name in regions.names], np.float32) / 255
    tint = np.tensordot(regions.weights.numpy(), table, (0, 0))
    grey = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    shown = (1 - SHARE) * grey[..., None] + SHARE * tint
    image = Image.fromarray(np.rint(shown.clip(0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(10, round(min(image.size) / 24)))
    labels = regions.labels.numpy()
    for k, name in enumerate(regions.names):
        if (place := middle(labels == k)) is not None:
            draw.text(place, name, font=font, anchor="mm", fill="white", stroke_width=2, stroke_fill="black")
    return image


def middle(inside: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Column and row of the pixel furthest from the region's edge; None for an empty region."""
    if not inside.any():
        return None
    from scipy.ndimage import distance_transform_edt

    step = max(1, min(inside.shape) // 256)
    depth = distance_transform_edt(np.pad(inside[::step, ::step], 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(column) * step, int(row) * step
