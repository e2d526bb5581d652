"""A file's bytes as sRGB pixels. Every failure is an InputError whose message says what is wrong with the data."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from sfumato.errors import InputError
from sfumato.picture.formats import READABLE, need_heif, sniff
from sfumato.picture.icc import Array, Float, to_srgb, unit, usable

_pillow_limits = threading.RLock()  # Pillow's pixel limit and Python's warning filters are global
_BIG = 80_000_000  # pixels; below Pillow's own limit
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # damaged files are told about once, by us


class Decoded(NamedTuple):
    """Upright pixels: rgb H x W x 3 and alpha H x W, float32 in [0, 1]; bits 8 or 16; a usable profile or None."""

    rgb: Float
    alpha: Float | None
    bits: int
    icc: bytes | None


class Native(NamedTuple):
    """Pixels as the file has them: values H x W x C of a colour space, alpha H x W."""

    values: Array
    space: str
    alpha: Array | None
    icc: bytes | None
    orientation: int = 1


def decode(data: bytes, max_pixels: int) -> Decoded:
    """The pixels of a JPEG, PNG, WebP, TIFF, BMP, AVIF, HEIC or still GIF file; InputError on anything else."""
    if not data:
        raise InputError("the file is empty")
    kind = sniff(data)
    if kind is None:
        raise InputError(f"not a picture in a known format ({', '.join(READABLE)})")
    if kind == "HEIF":
        need_heif()
    try:
        native = _native(data, kind, max_pixels)
        return finish(native)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        detail = " ".join(str(error).replace("<_io.BytesIO object at", "<").split())
        detail = "" if "cannot identify" in detail or not detail else f" ({detail[:120]})"
        raise InputError(f"the {kind} data is truncated or damaged{detail}") from error


def finish(native: Native) -> Decoded:
    """Native pixels turned upright and converted to sRGB."""
    icc = native.icc if usable(native.icc) else None
    bits = 8 if native.values.dtype == np.uint8 else 16
    rgb = to_srgb(upright(native.values, native.orientation), native.space, icc)
    alpha = None if native.alpha is None else np.ascontiguousarray(unit(upright(native.alpha, native.orientation)))
    return Decoded(rgb, alpha, bits, icc)


def upright(values: Array, orientation: int) -> Array:
    """`values` (H x W or H x W x C) turned and mirrored as EXIF orientation 1 to 8 asks; others leave it alone."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def check_size(width: int, height: int, max_pixels: int) -> None:
    """InputError for no pixels, or more than `max_pixels`."""
    if width < 1 or height < 1:
        raise InputError(f"the picture has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise InputError(f"{width} x {height} is {width * height:,} pixels, more than the limit of {max_pixels:,}")


def check_still(frames: int) -> None:
    """InputError for several frames."""
    if frames > 1:
        raise InputError(f"it holds {frames} frames, and only still pictures of one frame are taken")


def pillow_native(image: Image.Image) -> Native:
    """The pixels of a Pillow picture of any mode."""
    icc, mode = image.info.get("icc_profile") or None, image.mode
    if mode.startswith("I;16"):
        return Native(np.asarray(image).astype(np.uint16)[..., None], "gray", None, icc)
    if mode == "I":
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > 65535:
            raise InputError("32-bit integer pixels beyond 0 to 65535 are not taken")
        return Native(wide.astype(np.uint16)[..., None], "gray", None, icc)
    if mode == "F":
        return Native(_unit_float(np.asarray(image))[..., None], "gray", None, icc)
    if mode == "LAB":
        image, icc = _lab_to_srgb(image), None
    elif image.has_transparency_data:
        image = image.convert("LA" if mode in ("1", "L", "LA", "La") else "RGBA")
    elif mode == "1":
        image = image.convert("L")
    elif mode not in ("L", "CMYK"):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if image.mode in ("LA", "RGBA"):
        return Native(pixels[..., :-1], "gray" if image.mode == "LA" else "rgb", pixels[..., -1], icc)
    if image.mode == "CMYK":
        return Native(pixels, "cmyk", None, icc)
    return Native(pixels[..., None] if pixels.ndim == 2 else pixels, "gray" if pixels.ndim == 2 else "rgb", None, icc)


def orientation_of(image: Image.Image) -> int:
    """EXIF (or XMP) orientation; 1 where there is none or it cannot be read."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except MemoryError:
        raise
    except Exception:  # broken metadata is no reason to refuse the pixels
        return 1


def _native(data: bytes, kind: str, max_pixels: int) -> Native:
    page = 0
    if kind == "TIFF":
        page, native = _tiff(data, max_pixels)
        if native is not None:
            return native
    names = {"JPEG": ["JPEG", "MPO"], "BMP": ["BMP", "DIB"]}.get(kind, [kind])
    with limits(max_pixels):
        image = Image.open(BytesIO(data), formats=names)
        check_size(*image.size, max_pixels)
        if kind == "TIFF":
            image.seek(page)
        elif image.format != "MPO":  # a phone's JPEG with a gain map or a second view: the first is the picture
            check_still(getattr(image, "n_frames", 1))
        orientation_of(image)  # keeps the EXIF, and its warnings in here
    alone = kind == "TIFF" or image.width * image.height > _BIG  # others are decoded side by side
    with limits(max_pixels) if alone else contextlib.nullcontext():
        image.load()
        native = _deep_png(data, image) if kind == "PNG" and data[24] == 16 else pillow_native(image)
    return native._replace(orientation=orientation_of(image))


@contextlib.contextmanager
def limits(max_pixels: int) -> Iterator[None]:
    """Our pixel limit in place of Pillow's, and no warnings: what can be shown is shown."""
    with _pillow_limits, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        except Image.DecompressionBombError as error:
            raise InputError(f"the picture has more pixels than the limit of {max_pixels:,}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _deep_png(data: bytes, image: Image.Image) -> Native:
    """16-bit PNG: Pillow reads colour of this depth as 8 bits."""
    import imagecodecs

    pixels: Array = imagecodecs.png_decode(data)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    alpha = pixels[..., -1] if pixels.shape[2] in (2, 4) else None
    values = pixels if alpha is None else pixels[..., :-1]
    return Native(values, "gray" if values.shape[2] == 1 else "rgb", alpha, image.info.get("icc_profile") or None)


def _tiff(data: bytes, max_pixels: int) -> tuple[int, Native | None]:
    """Index of the one full page, and its pixels where they are deeper than Pillow reads."""
    import tifffile

    with tifffile.TiffFile(BytesIO(data)) as tif:
        every: list[Any] = list(tif.pages)
        pages = [p for p in every if not (p.is_reduced or p.is_mask)]
        if not pages:
            raise InputError("the TIFF holds no full picture, only a preview (of a camera's raw file?)")
        check_still(len(pages))
        page = pages[0]
        check_size(page.imagewidth, page.imagelength, max_pixels)
        if page.is_tiled and page.tilewidth * page.tilelength > max(max_pixels, 1 << 20):
            raise InputError(f"the TIFF's tiles have more pixels than the limit of {max_pixels:,}")
        depth = page.bitspersample
        if (max(depth) if isinstance(depth, tuple) else depth) <= 8:
            return page.index, None
        return page.index, _deep_tiff(page)


def _deep_tiff(page: Any) -> Native:
    """16-bit integer, or float, grey, RGB or CMYK; alpha unassociated at the end."""
    photometric = page.photometric.name if hasattr(page.photometric, "name") else str(page.photometric)
    spaces = {"MINISBLACK": ("gray", 1), "MINISWHITE": ("gray", 1), "RGB": ("rgb", 3), "SEPARATED": ("cmyk", 4)}
    if photometric not in spaces or page.samplesperpixel < spaces[photometric][1] or page.imagedepth != 1:
        raise InputError(f"TIFF pixels of kind {photometric} with more than 8 bits are not taken: save it as RGB")
    space, channels = spaces[photometric]
    pixels: Array = page.asarray()
    if page.samplesperpixel == 1:
        pixels = pixels.reshape(page.imagelength, page.imagewidth, 1)
    elif page.planarconfig == 2:
        pixels = np.moveaxis(pixels, 0, -1)
    pixels = _full_range(pixels, page.bitspersample)
    extra = [int(e) for e in page.extrasamples]
    alpha = pixels[..., channels] if extra and extra[0] in (1, 2) else None
    values = pixels[..., :channels]
    if photometric == "MINISWHITE":
        values = (1.0 if values.dtype.kind == "f" else np.uint16(65535)) - values
    if alpha is not None and extra[0] == 1:  # stored multiplied by alpha
        opaque = np.maximum(unit(alpha), 1 / 65535)[..., None]
        values = np.minimum(unit(values) / opaque, 1).astype(np.float32)
    profile, orientation = page.tags.get(34675), page.tags.get(274)
    icc = bytes(profile.value) if profile is not None else None
    return Native(values, space, alpha, icc, int(orientation.value) if orientation is not None else 1)


def _full_range(pixels: Array, bits: int) -> Array:
    """9- to 32-bit unsigned integers as uint16 over its full range, floats as float32."""
    if pixels.dtype.kind == "f":
        return _unit_float(pixels)
    if pixels.dtype.kind != "u":
        raise InputError(f"TIFF pixels of type {pixels.dtype} are not taken: save it with 8 or 16 bits")
    if bits == 16:
        return pixels
    scaled: Array = np.rint(pixels * (65535.0 / (2**bits - 1))).astype(np.uint16)
    return scaled


def _unit_float(pixels: NDArray[Any]) -> Float:
    if not np.isfinite(pixels).all():
        raise InputError("the pixels contain NaN or infinity")
    low, high = float(pixels.min()), float(pixels.max())
    if low < -1e-6 or high > 1 + 1e-6:
        raise InputError(f"floating-point pixels lie in [{low:.4g}, {high:.4g}] where [0, 1] is expected")
    clipped: Float = np.clip(pixels.astype(np.float32), 0, 1)
    return clipped


def _lab_to_srgb(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # not in place
    return converted
