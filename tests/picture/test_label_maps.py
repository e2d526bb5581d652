"""Colours of a palette as labels: exact, off by JPEG, unknown."""

import io

import numpy as np
from PIL import Image

from sfumato.picture.label_maps import TOLERANCE, distinct_colors, painted, snapped

COLORS = ((0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255), (128, 128, 0))
IGNORE = 200


def quarters(size: int = 64) -> np.ndarray:
    labels = np.zeros((size, size), np.uint8)
    labels[: size // 2, size // 2 :] = 2
    labels[size // 2 :, : size // 2] = 3
    labels[size // 2 :, size // 2 :] = 4
    return labels


def test_painted_labels_come_back_exactly() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (9, 14), dtype=np.uint8)
    found = snapped(painted(labels, COLORS), COLORS, ignore=IGNORE)
    assert np.array_equal(found.labels, labels)
    assert found[1:] == (9 * 14, 0, 0)


def test_jpeg_errors_are_snapped_and_counted() -> None:
    labels, file = quarters(), io.BytesIO()
    Image.fromarray(painted(labels, COLORS)).save(file, "JPEG", quality=90, subsampling=0)
    rgb = np.asarray(Image.open(file))
    found = snapped(rgb, COLORS, ignore=IGNORE)
    assert np.array_equal(found.labels, labels)
    exact = sum(int((rgb == color).all(-1).sum()) for color in COLORS)
    assert found[1:] == (exact, 64 * 64 - exact, 0)
    assert found.near > 50


def test_the_nearest_colour_wins_and_beyond_the_tolerance_none() -> None:
    row = [(60, 0, 0), (255, 62, 0), (TOLERANCE, 0, 0), (TOLERANCE + 1, 0, 0), (128, 128, 128), (100, 100, 20)]
    found = snapped(np.array([row], np.uint8), COLORS, ignore=IGNORE)
    assert found.labels.tolist() == [[0, 2, 0, IGNORE, IGNORE, 4]]
    assert found[1:] == (0, 4, 2)


def test_made_colours_can_be_told_apart() -> None:
    colors = np.array(distinct_colors(20), np.float64)
    gaps = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
    assert gaps[~np.eye(20, dtype=bool)].min() > 30
    assert gaps[:9, :9][~np.eye(9, dtype=bool)].min() > TOLERANCE / 2
