"""Fixtures; the pictures themselves are made in made.py."""

import numpy as np
import pytest

from .made import smooth


@pytest.fixture
def rgb8() -> np.ndarray:
    return np.rint(smooth(19, 31) * 255).astype(np.uint8)


@pytest.fixture
def rgb16() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 65536, (19, 31, 3)).astype(np.uint16)
