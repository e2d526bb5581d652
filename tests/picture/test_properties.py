"""Any mode, any size, any damage: a picture or one sentence, never a traceback."""

import io
from functools import cache

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sfumato.errors import InputError
from sfumato.picture.formats import FORMATS
from sfumato.picture.io import Picture, read_picture, write_picture
from sfumato.picture.record import read_record

from .made import DISPLAY_P3, WRITTEN, saved, smooth

EVERY = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SIZES = st.one_of(
    st.tuples(st.integers(1, 37), st.integers(1, 64)), st.tuples(st.integers(1, 37), st.integers(1, 4000))
)
LOSSLESS = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "BMP": ["1", "L", "P", "RGB"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"],
}
LOSSY = {"JPEG": ["L", "RGB", "CMYK"], "WEBP": ["RGB", "RGBA"], "AVIF": ["RGB", "RGBA"], "HEIF": ["L", "RGB", "RGBA"]}
PAIRS = [(form, mode) for forms in (LOSSLESS, LOSSY) for form, modes in forms.items() for mode in modes]


def image_of(mode: str, height: int, width: int) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.rint(smooth(height, width)[..., 0] * 65535).astype(np.uint16))
    if mode == "F":
        return Image.fromarray(smooth(height, width)[..., 0])
    colour = Image.fromarray(np.rint(smooth(height, width) * 255).astype(np.uint8))
    if mode.endswith("A"):
        colour.putalpha(colour.getchannel(0))
    return colour.convert(mode)


@settings(EVERY, max_examples=120)
@given(st.sampled_from(PAIRS), SIZES)
def test_every_mode_and_size_is_read(pair, size):
    form, mode = pair
    image = image_of(mode, *size)
    got = read_picture(saved(image, form))
    assert got.rgb.shape == (*size, 3)
    assert 0 <= got.rgb.min() <= got.rgb.max() <= 1
    assert (got.alpha is None) == (not mode.endswith("A"))
    if form in LOSSLESS:
        right = read_picture(image)
        assert np.abs(got.rgb - right.rgb).max() < 1e-6
        assert got.bits == right.bits


@settings(EVERY, max_examples=80)
@given(st.sampled_from(WRITTEN), SIZES, st.booleans(), st.sampled_from([8, 16]), st.sampled_from([None, DISPLAY_P3]))
def test_every_size_is_written(tmp_path_factory, extension, size, clear, bits, icc):
    path = tmp_path_factory.getbasetemp() / f"any.{extension}"
    like = Picture(smooth(3, 5), smooth(3, 5)[..., 0] if clear else None, bits, icc, "", "x", None)
    write_picture(path, smooth(*size), like=like, record={"size": list(size)})
    got = read_picture(path)
    holds = next(f for f in FORMATS if f".{extension}" in f.extensions)
    assert (got.height, got.width) == size
    assert (got.alpha is not None) == (clear and holds.alpha)
    assert got.bits == (bits if holds.deep else 8)
    assert got.icc == (icc if holds.icc else None)
    assert read_record(path) == {"size": list(size)}
    if holds.deep and not icc:
        assert np.abs(got.rgb - smooth(*size)).max() <= 0.51 / (2**bits - 1)


@cache
def seeds() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    colour = image_of("RGB", 24, 33)
    whole = [saved(image_of(mode, 24, 33), form) for form, mode in PAIRS]
    whole += [
        saved(colour, form, exif=exif, icc_profile=DISPLAY_P3) for form in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF")
    ]
    whole += [
        saved(colour, "GIF"),
        saved(colour, "TIFF", compression="tiff_lzw"),
        saved(colour, "JPEG", progressive=True),
    ]
    deep = np.rint(smooth(24, 33) * 65535).astype(np.uint16)
    whole.append(imagecodecs.png_encode(deep))
    for compression in (None, "zlib", "lzw"):
        file = io.BytesIO()
        tifffile.imwrite(file, deep, photometric="rgb", compression=compression, iccprofile=DISPLAY_P3)
        whole.append(file.getvalue())
    return whole


@st.composite
def damaged(draw) -> bytes:
    data = bytearray(draw(st.sampled_from(range(len(seeds()))).map(lambda i: seeds()[i])))
    near = st.integers(0, min(len(data) - 1, 400))  # headers matter most
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.one_of(near, st.integers(0, len(data) - 1)))
        data[at] = draw(st.integers(0, 255))
    kind = draw(st.sampled_from(["flip", "cut", "drop", "insert"]))
    at = draw(st.integers(0, len(data)))
    if kind == "cut":
        del data[at:]
    elif kind == "drop":
        del data[at : at + draw(st.integers(1, 64))]
    elif kind == "insert":
        data[at:at] = draw(st.binary(min_size=1, max_size=32))
    return bytes(data)


def outcome(read, source, **options):
    """What `read` gives, or its InputError's one sentence; anything else is a failure."""
    try:
        return read(source, **options)
    except InputError as error:
        return str(error)


def check(got: Picture | str) -> None:
    if isinstance(got, str):
        assert "\n" not in got
        assert 10 < len(got) < 400
    else:
        assert got.rgb.shape == (got.height, got.width, 3)
        assert got.height * got.width <= 1_000_000
        assert np.isfinite(got.rgb).all()
        assert 0 <= got.rgb.min() <= got.rgb.max() <= 1


@pytest.mark.filterwarnings("error")
@settings(EVERY, max_examples=700)
@given(damaged())
def test_damage_is_survived(tmp_path_factory, data):
    check(outcome(read_picture, data, max_pixels=1_000_000))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data)
    assert isinstance(outcome(read_record, path), dict | str)


SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0", b"MM\0*", b"II+\0", b"BM", b"GIF89a", b"")
BOXES = (b"RIFF\0\0\0\0WEBP", b"\0\0\0\x18ftypavif", b"\0\0\0\x18ftypheic")


@pytest.mark.filterwarnings("error")
@settings(EVERY, max_examples=150)
@given(st.sampled_from(SIGNATURES + BOXES), st.binary(max_size=300))
def test_noise_is_survived(signature, noise):
    check(outcome(read_picture, signature + noise, max_pixels=1_000_000))
