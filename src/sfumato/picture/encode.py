"""sRGB pixels as the bytes of a file."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfumato.errors import InputError
from sfumato.picture.formats import Format
from sfumato.picture.icc import Array, bands, from_srgb, space_of, unit
from sfumato.picture.record import description, exif_with, png_chunk, png_profile, png_text

_ONE_GO = 1 << 24  # pixels up to which a JPEG is made progressive and with tables of its own
_HEIC_LONGEST = 15 << 20  # bytes; libde265, the usual decoder, reads no unit over 16 MiB
Float = NDArray[np.float32]


def encode(
    rgb: Array,
    chosen: Format,
    alpha: Float | None,
    icc: bytes | None,
    bits: int | None,
    source_bits: int,
    quality: int,
    record: str | None,
) -> tuple[bytes, bool]:
    """One file's bytes, and whether the record is inside.

    Args:
        rgb: H x W x 3 floats, clamped to [0, 1], or full-range uint8 or uint16.
        alpha: h x w in [0, 1], resized to `rgb`; laid on white where the format has none.
        icc: the profile to convert to and embed; one that is not of RGB is left out.
        bits: 8, 16, or None for `source_bits` where the format holds 16.

    Raises:
        InputError: not finite, too large for the format, 16 bits where it has 8, an encoder's refusal.
    """
    height, width = rgb.shape[:2]
    if max(height, width) > chosen.longest:
        raise InputError(f"{chosen.name} holds {chosen.longest} pixels a side at most, not {width} x {height}")
    if bits not in (None, 8, 16):
        raise InputError(f"bits must be 8 or 16, not {bits}")
    if bits == 16 and not chosen.deep:
        raise InputError(f"{chosen.name} holds 8 bits a channel; use PNG or TIFF for 16")
    if not 1 <= quality <= 100:
        raise InputError(f"quality must be from 1 to 100, not {quality}")
    depth = bits or (source_bits if chosen.deep else 8)
    icc = icc if chosen.icc and space_of(icc) == "rgb" else None
    if alpha is not None and alpha.shape != (height, width):
        alpha = resize_alpha(alpha, height, width)
    pixels, embedded = quantise(rgb, alpha, chosen.alpha, icc, depth)
    inside = record if record is not None and len(record) <= chosen.metadata else None
    try:
        data = _bytes(pixels, chosen, embedded, quality, inside)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"the {chosen.name} encoder refuses ({error})") from error
    return data, inside is not None


def resize_alpha(alpha: Float, height: int, width: int) -> Float:
    """Alpha at another size, antialiased, in [0, 1]."""
    resized = Image.fromarray(alpha).resize((width, height), Image.Resampling.BICUBIC)
    clipped: Float = np.clip(np.asarray(resized, np.float32), 0, 1)
    return clipped


def quantise(
    rgb: Array, alpha: Float | None, keep_alpha: bool, icc: bytes | None, bits: int
) -> tuple[Array, bytes | None]:
    """Rounded integers H x W x 3 or 4 in the colours of `icc`, and the profile they are in (None is sRGB)."""
    height, width = rgb.shape[:2]
    kind, top = (np.uint16, 65535.0) if bits == 16 else (np.uint8, 255.0)
    if rgb.dtype == kind and alpha is None and icc is None:
        return rgb, None
    out = np.empty((height, width, 4 if alpha is not None and keep_alpha else 3), kind)
    for rows in bands(height, width):
        part = rgb[rows]
        if not np.isfinite(part).all():
            raise InputError("the pixels contain NaN or infinity")
        part = np.clip(unit(part), 0, 1)
        if alpha is not None and keep_alpha:
            out[rows, :, 3] = np.rint(alpha[rows] * top)
        elif alpha is not None:
            part = 1 - (1 - part) * alpha[rows][..., None]  # laid on white
        if icc is not None:
            converted = from_srgb(np.rint(part * 65535.0).astype(np.uint16), icc)
            if converted is None:  # a profile with no way back
                return quantise(rgb, alpha, keep_alpha, None, bits)
            part = converted.astype(np.float32) / 65535.0
        out[rows, :, :3] = np.rint(part * top)
    return out, icc


def _bytes(pixels: Array, chosen: Format, icc: bytes | None, quality: int, record: str | None) -> bytes:
    if chosen.codec == "PNG":
        return _png(pixels, icc, record)
    if chosen.codec == "TIFF":
        return _tiff(pixels, icc, record)
    small = pixels.shape[0] * pixels.shape[1] <= _ONE_GO  # else all its coefficients would be held, 6 bytes a pixel
    settings: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": quality, "subsampling": 0, "progressive": small, "optimize": small},
        "WEBP": {"quality": quality, "method": 4, "exact": True},
        "AVIF": {"quality": max(1, quality - 5), "subsampling": "4:4:4"},
        "HEIF": {"quality": max(1, quality - 5), "chroma": 420, "enc_params": {"preset": "fast"}},  # 444: few read it
    }
    options = settings.get(chosen.codec, {})
    if icc is not None:
        options["icc_profile"] = icc
    if record is not None:
        options["exif"] = exif_with(record)
    file = BytesIO()
    Image.fromarray(pixels).save(file, chosen.codec, **options)
    if chosen.codec == "HEIF" and file.tell() > _HEIC_LONGEST and quality > 10:
        return _bytes(pixels, chosen, icc, quality - 10, record)
    return file.getvalue()


def _png(pixels: Array, icc: bytes | None, record: str | None) -> bytes:
    """Through libpng, which has 16 bits; profile and record are chunks put in after the header."""
    import imagecodecs

    data = bytes(imagecodecs.png_encode(pixels, 6))
    header = 33  # signature and IHDR
    chunks = png_profile(icc) if icc is not None else png_chunk(b"sRGB", b"\0")
    if record is not None:
        chunks += png_text(record)
    return data[:header] + chunks + data[header:]


def _tiff(pixels: Array, icc: bytes | None, record: str | None) -> bytes:
    import tifffile

    file = BytesIO()
    tifffile.imwrite(
        file,
        pixels,
        photometric="rgb",
        extrasamples=["unassalpha"] if pixels.shape[2] == 4 else None,
        compression="zlib",
        predictor=True,
        iccprofile=icc,
        description=description(record) if record is not None else None,
        metadata=None,
        software=False,
    )
    return file.getvalue()
