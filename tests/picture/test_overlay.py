"""Regions on their picture."""

import numpy as np
import pytest
import torch

from sfumato.picture.overlay import SHARE, middle, overlay
from sfumato.picture.regions import Regions


def test_every_region_has_its_colour_and_the_pictures_lightness() -> None:
    labels = torch.zeros(200, 300, dtype=torch.int64)
    labels[:, 150:] = 1
    rgb = np.full((200, 300, 3), 0.5, np.float32)
    shown = np.asarray(overlay(rgb, Regions.of_labels(labels, ("a", "b")), {"a": (255, 0, 0), "b": (0, 0, 255)}))
    high, low = round(255 * (SHARE + 0.5 * (1 - SHARE))), round(255 * 0.5 * (1 - SHARE))
    assert shown[0, 0].tolist() == pytest.approx([high, low, low], abs=1)
    assert shown[0, 299].tolist() == pytest.approx([low, low, high], abs=1)
    named = np.asarray((shown > 200).all(2))
    assert named[60:140, 50:100].any()  # the names, white, in the middle of each
    assert named[60:140, 200:250].any()
    assert not named[:50].any()


def test_the_middle_is_inside_and_far_from_the_edge() -> None:
    ring = np.zeros((101, 101), bool)
    ring[10:91, 10:91] = True
    ring[40:61, 40:61] = False
    column, row = middle(ring) or (0, 0)
    assert ring[row - 10 : row + 11, column - 10 : column + 11].all()
    assert middle(np.zeros((4, 4), bool)) is None
    assert middle(np.ones((1, 1), bool)) == (0, 0)
