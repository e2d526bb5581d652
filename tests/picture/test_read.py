"""Reading against Pillow, tifffile, imagecodecs and LittleCMS (through ImageCms)."""

import hashlib
import io

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms, ImageOps

from sfumato.errors import InputError
from sfumato.picture.io import Picture, read_picture

from .made import DISPLAY_P3, GREY_18, cmyk_profile, saved, smooth

EIGHT = 1 / 255


def pillow_to_srgb(image: Image.Image, profile: bytes) -> np.ndarray:
    srgb = ImageCms.createProfile("sRGB")
    plain = ImageCms.Flags.NOOPTIMIZE  # its shortcuts are off by several of 255
    done = ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode="RGB", flags=plain)
    return np.asarray(done) / 255


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP", "JPEG", "AVIF", "GIF", "HEIF"])
def test_eight_bits_are_the_decoders_own(form, rgb8, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(saved(Image.fromarray(rgb8), form))
    got = read_picture(path)
    assert np.array_equal(np.rint(got.rgb * 255), np.asarray(Image.open(path).convert("RGB")))
    assert (got.bits, got.alpha, got.icc, got.path, got.name) == (8, None, None, path, str(path))
    assert got.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (got.height, got.width) == (19, 31)
    assert got.rgb.dtype == np.float32
    assert got.rgb.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_orientation_is_applied(form, orientation, rgb8):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(rgb8), form, exif=exif)
    right = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(np.rint(read_picture(data).rgb * 255), right)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_sixteen_bits(orientation, rgb16):
    file = io.BytesIO()
    tifffile.imwrite(file, rgb16, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    hint = Image.Exif()
    hint[0x0112] = orientation
    index = Image.fromarray(np.arange(19 * 31, dtype=np.int32).reshape(19, 31))
    index.info["exif"] = hint.tobytes()
    order = np.asarray(ImageOps.exif_transpose(index))
    right = rgb16.reshape(-1, 3)[order]
    assert np.array_equal(np.rint(read_picture(file.getvalue()).rgb * 65535), right)


def test_sixteen_bit_png_of_each_kind(rgb16):
    for pixels in (rgb16, rgb16[..., 0], np.dstack([rgb16, rgb16[..., :1]]), rgb16[..., :2]):
        got = read_picture(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        colour = pixels.reshape(19, 31, -1)[..., : 3 if channels > 2 else 1]
        assert got.bits == 16
        assert np.array_equal(np.rint(got.rgb * 65535), np.broadcast_to(colour, (19, 31, 3)))
        if channels in (2, 4):
            assert np.array_equal(np.rint(got.alpha * 65535), pixels[..., -1])
        else:
            assert got.alpha is None


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_sixteen_bit_tiff(planar, compression, rgb16):
    file = io.BytesIO()
    pixels = rgb16 if planar == "contig" else np.ascontiguousarray(rgb16.transpose(2, 0, 1))
    tifffile.imwrite(file, pixels, photometric="rgb", planarconfig=planar, compression=compression)
    got = read_picture(file.getvalue())
    assert got.bits == 16
    assert np.array_equal(np.rint(got.rgb * 65535), rgb16)


def test_tiff_photometrics_and_alpha(rgb16):
    def tiff(pixels, **options):
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, **options)
        return read_picture(file.getvalue())

    grey = rgb16[..., 0]
    assert np.array_equal(np.rint(tiff(grey, photometric="minisblack").rgb[..., 1] * 65535), grey)
    assert np.array_equal(np.rint(tiff(grey, photometric="miniswhite").rgb[..., 2] * 65535), 65535 - grey)
    four = np.dstack([rgb16, grey])
    kept = tiff(four, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(np.rint(kept.alpha * 65535), grey)
    assert np.array_equal(np.rint(kept.rgb * 65535), rgb16)
    colour, alpha = smooth(19, 31), np.linspace(0.2, 1, 31, dtype=np.float32)[None].repeat(19, 0)
    multiplied = np.dstack([colour * alpha[..., None], alpha])
    stored = np.rint(multiplied * 65535).astype(np.uint16)
    divided = tiff(stored, photometric="rgb", extrasamples=["assocalpha"])
    assert np.abs(divided.rgb - colour).max() < 1e-4
    assert np.abs(divided.alpha - alpha).max() < 1e-4
    ink = np.dstack([rgb16, grey])
    formula = (1 - ink[..., :3] / 65535) * (1 - ink[..., 3:] / 65535)
    assert np.abs(tiff(ink, photometric="separated").rgb - formula).max() < 1e-6
    floats = smooth(19, 31)
    assert np.array_equal(tiff(floats, photometric="rgb").rgb, floats)
    with pytest.raises(InputError, match=r"lie in \[.*\] where \[0, 1\]"):
        tiff(floats * 3, photometric="rgb")


def test_palette_grey_and_transparency(rgb8):
    colour = Image.fromarray(rgb8)
    palette = colour.quantize(16)
    assert np.array_equal(np.rint(read_picture(saved(palette, "PNG")).rgb * 255), np.asarray(palette.convert("RGB")))
    clear = saved(palette, "PNG", transparency=bytes(range(0, 240, 15)))
    right = np.asarray(Image.open(io.BytesIO(clear)).convert("RGBA"))
    got = read_picture(clear)
    assert len(np.unique(right[..., 3])) > 8
    assert np.array_equal(np.rint(got.alpha * 255), right[..., 3])
    assert np.array_equal(np.rint(got.rgb * 255), right[..., :3])
    for mode in ("1", "L", "LA", "RGBA"):
        image = colour.convert(mode)
        got, right = read_picture(saved(image, "PNG")), np.asarray(image.convert("RGBA"))
        assert np.array_equal(np.rint(got.rgb * 255), right[..., :3]), mode
        assert (got.alpha is not None) == (mode in ("LA", "RGBA"))
    keyed = saved(colour.convert("L"), "PNG", transparency=int(np.asarray(colour.convert("L"))[3, 4]))
    assert read_picture(keyed).alpha[3, 4] == 0
    assert read_picture(keyed).alpha.max() == 1


def test_cmyk_without_a_profile_is_pillows(rgb8):
    image = Image.fromarray(rgb8).convert("CMYK")
    for form in ("JPEG", "TIFF"):
        data = saved(image, form)
        right = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) / 255
        assert np.abs(read_picture(data).rgb - right).max() <= 1.01 * EIGHT
    assert np.abs(read_picture(saved(image, "JPEG", quality=95)).rgb - rgb8 / 255).max() < 0.08  # not inverted


def test_profiles_are_converted_like_littlecms(rgb8):
    colour = Image.fromarray(rgb8)
    for form in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF"):
        data = saved(colour, form, icc_profile=DISPLAY_P3)
        got, right = read_picture(data), pillow_to_srgb(Image.open(io.BytesIO(data)), DISPLAY_P3)
        assert got.icc == DISPLAY_P3
        assert np.abs(got.rgb - right).max() < 2 * EIGHT
        assert np.abs(got.rgb - np.asarray(Image.open(io.BytesIO(data))) / 255).max() > 8 * EIGHT  # it did something
    grey = colour.convert("L")
    got = read_picture(saved(grey, "PNG", icc_profile=GREY_18))
    assert np.abs(got.rgb - pillow_to_srgb(grey, GREY_18)).max() < 2 * EIGHT
    ink = colour.convert("CMYK")
    got, right = read_picture(saved(ink, "TIFF", icc_profile=cmyk_profile())), pillow_to_srgb(ink, cmyk_profile())
    assert np.abs(got.rgb - right).max() < 2 * EIGHT
    assert np.abs(got.rgb - rgb8 / 255).max() > 0.2


def test_sixteen_bit_profile_agrees_with_eight(rgb8):
    deep = rgb8.astype(np.uint16) * 257
    file = io.BytesIO()
    tifffile.imwrite(file, deep, photometric="rgb", iccprofile=DISPLAY_P3)
    right = pillow_to_srgb(Image.fromarray(rgb8), DISPLAY_P3)
    assert np.abs(read_picture(file.getvalue()).rgb - right).max() < 1 * EIGHT


def test_useless_profiles_are_ignored(rgb8):
    image = Image.fromarray(rgb8)
    for profile in (b"junk", DISPLAY_P3[:200], GREY_18, cmyk_profile()):
        got = read_picture(saved(image, "PNG", icc_profile=profile))
        assert np.array_equal(np.rint(got.rgb * 255), rgb8)
    grey = read_picture(saved(image.convert("L"), "PNG", icc_profile=DISPLAY_P3))  # RGB profile on grey: as neutral RGB
    neutral = Image.fromarray(np.asarray(image.convert("L"))).convert("RGB")
    assert np.abs(grey.rgb - pillow_to_srgb(neutral, DISPLAY_P3)).max() < 2 * EIGHT


def test_arrays():
    colour = smooth(5, 9)
    for array in (colour, colour.astype(np.float64), colour.astype(">f4")):
        assert np.array_equal(read_picture(array).rgb, colour)
    eight = np.rint(colour * 255).astype(np.uint8)
    assert np.array_equal(read_picture(eight).rgb, eight.astype(np.float32) / np.float32(255))
    assert read_picture(eight).sha256 != read_picture(eight[::-1]).sha256
    sixteen = np.rint(colour * 65535).astype(np.uint16)
    assert read_picture(sixteen).bits == 16
    assert np.array_equal(read_picture(sixteen.astype(">u2")).rgb, read_picture(sixteen).rgb)
    four = read_picture(np.dstack([eight, eight[..., 0]]))
    assert np.array_equal(np.rint(four.alpha * 255), eight[..., 0])
    two = read_picture(eight[..., :2])
    assert np.array_equal(np.rint(two.alpha * 255), eight[..., 1])
    assert np.array_equal(two.rgb[..., 2], two.rgb[..., 0])
    assert read_picture(eight[..., 0] > 99).rgb.max() == 1


def test_tensors():
    colour = torch.from_numpy(smooth(5, 9)).permute(2, 0, 1)
    right = smooth(5, 9)
    assert np.array_equal(read_picture(colour).rgb, right)
    assert np.array_equal(read_picture(colour[None].requires_grad_()).rgb, right)
    assert np.array_equal(read_picture(colour[:1]).rgb, right[..., :1].repeat(3, 2))
    eight = (colour * 255).round().byte()
    assert np.array_equal(np.rint(read_picture(eight).rgb * 255), eight.permute(1, 2, 0).numpy())
    assert np.abs(read_picture(colour.bfloat16()).rgb - right).max() < 1 / 128


def test_pillow_pictures(rgb8):
    colour = Image.fromarray(rgb8)
    for mode in ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBX", "La", "CMYK", "YCbCr", "HSV"):
        image = colour.convert("LA").convert(mode) if mode == "La" else colour.convert(mode)
        right = np.asarray(image.convert("LA").convert("RGB") if mode == "La" else image.convert("RGB"))
        assert np.abs(read_picture(image).rgb * 255 - right).max() <= 1.01, mode
    muted = Image.fromarray(rgb8 // 4 + 96)
    lab = ImageCms.profileToProfile(
        muted, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert np.abs(read_picture(lab).rgb * 255 - np.asarray(muted)).max() < 4  # of 8-bit Lab
    deep = Image.fromarray(np.arange(0, 60000, 1000, np.uint16).reshape(6, 10))
    assert np.array_equal(np.rint(read_picture(deep).rgb[..., 0] * 65535), np.asarray(deep))
    assert read_picture(deep).bits == 16
    assert np.array_equal(read_picture(Image.fromarray(smooth(4, 6)[..., 0])).rgb[..., 1], smooth(4, 6)[..., 0])
    assert read_picture(colour).sha256 == read_picture(saved(colour, "PNG") and colour.copy()).sha256


def test_a_picture_is_returned_as_it_is(rgb8):
    picture = read_picture(rgb8)
    assert isinstance(picture, Picture)
    assert read_picture(picture) is picture


BAD_SOURCES = [
    (np.full((4, 4, 3), np.nan), "NaN or infinity"),
    (torch.full((3, 4, 4), torch.inf), "NaN or infinity"),
    (np.full((4, 4, 3), 200.0), "divide by 255"),
    (np.full((4, 4), -0.1), r"lie in \[-0.1, -0.1\]"),
    (np.zeros((4, 4, 3), np.int64), "int64"),
    (np.zeros((4, 4, 5)), "shape"),
    (np.zeros((2, 4, 4, 3)), "shape"),
    (np.zeros((0, 4, 3)), "no pixels"),
    (np.zeros((4, 4), object), "object"),
    (torch.zeros(2, 3, 4, 4), "one picture"),
    (torch.zeros(5, 4, 3), "one picture"),
    (Image.fromarray(np.full((2, 2), 70000, np.int32)), "32-bit"),
    (Image.fromarray(np.full((2, 2), 7, np.float32)), r"\[0, 1\]"),
    (None, "NoneType"),
    (3, "int"),
]


@pytest.mark.parametrize(("source", "message"), BAD_SOURCES)
def test_bad_sources(source, message):
    with pytest.raises(InputError, match=message):
        read_picture(source)
