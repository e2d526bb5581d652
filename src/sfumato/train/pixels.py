"""Bytes of a picture's file as pixels no larger than training needs, and bytes of a label map as labels."""

from collections.abc import Sequence
from io import BytesIO
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfumato.errors import InputError
from sfumato.picture.decode import check_size, limits, orientation_of, upright
from sfumato.picture.formats import sniff
from sfumato.picture.icc import is_srgb, space_of, usable
from sfumato.picture.io import read_picture
from sfumato.picture.label_maps import Color, snapped
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


def label_map(
    data: bytes, side: int, max_pixels: int, colors: Sequence[Color] = (), ignore: int = 255
) -> tuple[Pixels, dict[str, int]]:
    """A label map as 1 x H x W of labels, and of one in colours how many of its pixels had what colours.

    One 8-bit channel is taken as it is. Colours are snapped to `colors`, where there are some.
    """
    try:
        with limits(max_pixels):
            image: Image.Image = Image.open(BytesIO(data))
            check_size(*image.size, max_pixels)
        coloured = image.mode in ("RGB", "RGBA")
        if coloured and not colors:
            raise InputError(
                f"labels need one 8-bit channel, not Pillow's mode {image.mode}, or a class list with colors"
            )
        if not coloured and image.mode not in ("1", "L", "P"):
            raise InputError(f"labels need one 8-bit channel or RGB colours, not Pillow's mode {image.mode}")
        image.load()
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"cannot be read as a label map ({error})") from error
    size = _fitted(image, side)
    image = image if size == image.size else image.resize(size, Image.Resampling.NEAREST)
    if not coloured:
        return np.array(image, np.uint8)[None], {}
    found = snapped(np.asarray(image.convert("RGB")), colors, ignore=ignore)
    if found.unknown == found.labels.size:
        raise InputError("none of its pixels has a colour of the class list")
    return found.labels[None], {"exact": found.exact, "near": found.near, "unknown": found.unknown}


def reduced(image: Image.Image, side: int) -> Pixels:
    """H x W x 3, antialiased, its short side at most `side`."""
    size = _fitted(image, side)
    return np.array(image if size == image.size else image.resize(size, Image.Resampling.BICUBIC))


def _fitted(image: Image.Image, side: int) -> tuple[int, int]:
    """Width and height with the short side at `side` pixels at most."""
    height, width = fit_short_side(image.height, image.width, min(side, *image.size))
    return width, height


def header_size(data: BinaryIO) -> tuple[int, int] | None:
    """Height and width, upright, that a picture's file claims; None where Pillow cannot say."""
    try:
        with Image.open(data) as image:
            turned = orientation_of(image) >= 5
            return (image.width, image.height) if turned else (image.height, image.width)
    except MemoryError:
        raise
    except Exception:  # the reader says what is wrong
        return None
