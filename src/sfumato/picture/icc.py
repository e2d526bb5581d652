"""Native pixel values to sRGB and back, through the ICC profile that a picture carries.

Relative to Pillow's ImageCms (8 bits only) the same LittleCMS is asked for 16 bits and no shortcuts: its optimised
tables are off by up to 15/255 in dark wide-gamut colours, the plain pipeline by less than 0.1/255.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float = NDArray[np.float32]

_SPACES = {b"GRAY": "gray", b"RGB ": "rgb", b"CMYK": "cmyk"}
_NO_SHORTCUTS = 0x100  # cmsFLAGS_NOOPTIMIZE
_BAND = 1 << 20  # pixels converted at a time, so that temporaries stay small


def space_of(profile: bytes | None) -> str | None:
    """'rgb', 'gray' or 'cmyk' where `profile` is an input, display or output profile of that space, else None."""
    if profile is None or len(profile) < 132 or profile[36:40] != b"acsp":
        return None
    if profile[12:16] not in (b"mntr", b"scnr", b"prtr", b"spac"):
        return None
    return _SPACES.get(profile[16:20])


def usable(profile: bytes | None) -> bool:
    """Whether LittleCMS can convert from `profile` to sRGB."""
    space = space_of(profile)
    if profile is None or space is None:
        return False
    probe = np.zeros((1, 1) if space == "gray" else (1, 1, 4 if space == "cmyk" else 3), np.uint16)
    try:
        _transform(probe, profile, _srgb(), space, "rgb")
    except Exception:  # a broken profile is ignored, as viewers do
        return False
    return True


@lru_cache(maxsize=16)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB `profile` moves no colour of a 9 x 9 x 9 grid by more than 1/510: then nothing is converted."""
    if space_of(profile) != "rgb":
        return False
    axis = np.linspace(0, 65535, 9).round().astype(np.uint16)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(1, -1, 3)
    moved = _transform(grid, profile, _srgb(), "rgb", "rgb").astype(np.int64) - grid
    return bool(np.abs(moved).max() <= 65535 / 510)


def to_srgb(values: Array, space: str, profile: bytes | None) -> Float:
    """Native values as sRGB.

    Args:
        values: H x W x C, uint8 or uint16 over their full range, or float32 in [0, 1]; C is 1 for 'gray', 3 for
            'rgb', 4 for 'cmyk' (full range = full ink).
        profile: a usable profile of that space, or of RGB for grey values; others are ignored.

    Returns:
        H x W x 3 float32 in [0, 1], contiguous. Without a profile grey is repeated and CMYK is (1 - c)(1 - k).
    """
    height, width = values.shape[:2]
    out = np.empty((height, width, 3), np.float32)
    target = space_of(profile)
    if target == "rgb" and space == "gray":
        values, space = np.broadcast_to(values, (height, width, 3)), "rgb"
    convert = profile is not None and target == space and not is_srgb(profile)
    for rows in bands(height, width):
        part = values[rows]
        if convert and profile is not None:
            out[rows] = unit(_transform(_sixteen(part), profile, _srgb(), space, "rgb"))
        elif space == "cmyk":
            ink = unit(part)
            out[rows] = (1 - ink[..., :3]) * (1 - ink[..., 3:])
        else:
            out[rows] = unit(part)
    return out


def from_srgb(values: Array, profile: bytes) -> Array | None:
    """H x W x 3 uint16 sRGB in the colours of an RGB `profile` (uint16), or None where it cannot be converted to."""
    if space_of(profile) != "rgb":
        return None
    if is_srgb(profile):
        return values
    out = np.empty_like(values)
    try:
        for rows in bands(*values.shape[:2]):
            out[rows] = _transform(values[rows], _srgb(), profile, "rgb", "rgb")
    except Exception:  # a table profile with no way back
        return None
    return out


def bands(height: int, width: int) -> Iterator[slice]:
    """Slices of rows that cover a picture about a million pixels at a time."""
    step = max(1, _BAND // max(width, 1))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def unit(values: Array) -> Float:
    """Full-range unsigned integers, or floats in [0, 1], as float32 in [0, 1]."""
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    return np.divide(values, np.float32(np.iinfo(values.dtype).max), dtype=np.float32)


def _sixteen(values: Array) -> Array:
    if values.dtype == np.uint8:
        return values.astype(np.uint16) * np.uint16(257)
    if values.dtype == np.uint16:
        return values
    return np.rint(values * 65535.0).astype(np.uint16)


@lru_cache(maxsize=1)
def _srgb() -> bytes:
    import imagecodecs

    return bytes(imagecodecs.cms_profile("srgb"))


def _transform(values: Array, source: bytes, target: bytes, space: str, target_space: str) -> Array:
    import imagecodecs

    if space == "gray" and values.ndim == 3:
        values = values[..., 0]
    done: Array = imagecodecs.cms_transform(
        np.ascontiguousarray(values),
        source,
        target,
        colorspace=space,
        outcolorspace=target_space,
        outdtype="uint16",
        flags=_NO_SHORTCUTS,
    )
    return done
