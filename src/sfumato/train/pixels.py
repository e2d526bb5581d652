"""Bytes of a picture's file as pixels no larger than training needs, and bytes of a label map as they are."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfumato.errors import InputError
from sfumato.picture.decode import check_size, limits, orientation_of, upright
from sfumato.picture.formats import sniff
from sfumato.picture.icc import is_srgb, space_of, usable
from sfumato.picture.io import read_picture
from sfumato.picture.resize import fit_short_side

Pixels = NDArray[np.uint8]


def decoded(data: bytes, side: int, max_pixels: int) -> Pixels:
    """H x W x 3 of a file's bytes, upright, sRGB, its short side at most `side`. Raises `InputError`."""
    pixels = _jpeg(data, side, max_pixels)
    return _any(data, side, max_pixels) if pixels is None else pixels


def _jpeg(data: bytes, side: int, max_pixels: int) -> Pixels | None:
    """A plain JPEG, H x W x 3, decoded no larger than needed; None where the house's reader must look at it."""
    if sniff(data) != "JPEG":
        return None
    try:
        with limits(max_pixels):
            image: Image.Image = Image.open(BytesIO(data), formats=["JPEG", "MPO"])
            check_size(*image.size, max_pixels)
            orientation = orientation_of(image)
        icc = image.info.get("icc_profile") or None
        if image.mode not in ("L", "RGB") or (icc is not None and not _plain(icc)):
            return None
        height, width = fit_short_side(image.height, image.width, side)
        image.draft(image.mode, (2 * width, 2 * height))  # the codec halves up to three times; the rest is bicubic
        return upright(reduced(image.convert("RGB"), side), orientation)
    except MemoryError:
        raise
    except Exception:  # the reader says what is wrong
        return None


def _plain(icc: bytes) -> bool:
    """A profile that changes nothing: sRGB, or one that cannot be used."""
    return (space_of(icc) == "rgb" and is_srgb(icc)) if usable(icc) else True


def _any(data: bytes, side: int, max_pixels: int) -> Pixels:
    """Whatever the house reads, H x W x 3; what is transparent lies on white."""
    picture = read_picture(data, max_pixels=max_pixels)
    rgb = picture.rgb
    if picture.alpha is not None:
        rgb = 1 + (rgb - 1) * picture.alpha[..., None]
    return reduced(Image.fromarray((rgb * 255 + 0.5).astype(np.uint8)), side)


def label_map(data: bytes, side: int, max_pixels: int) -> Pixels:
    """An 8-bit label map, 1 x H x W of raw values."""
    try:
        with limits(max_pixels):
            image = Image.open(BytesIO(data))
            check_size(*image.size, max_pixels)
        if image.mode not in ("1", "L", "P"):
            raise InputError(f"labels need one 8-bit channel, not Pillow's mode {image.mode}")
        image.load()
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"cannot be read as a label map ({error})") from error
    size = _fitted(image, side)
    pixels = np.array(image if size == image.size else image.resize(size, Image.Resampling.NEAREST), np.uint8)
    return pixels[None]


def reduced(image: Image.Image, side: int) -> Pixels:
    """H x W x 3, antialiased, its short side at most `side`."""
    size = _fitted(image, side)
    return np.array(image if size == image.size else image.resize(size, Image.Resampling.BICUBIC))


def _fitted(image: Image.Image, side: int) -> tuple[int, int]:
    """Width and height with the short side at `side` pixels at most."""
    height, width = fit_short_side(image.height, image.width, min(side, *image.size))
    return width, height
