"""Writing: what comes back, what is refused before work begins, and that a failure leaves no trace."""

import errno
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.errors import InputError
from sfumato.picture import encode
from sfumato.picture.io import Picture, check_output, read_picture, write_picture

from .made import DISPLAY_P3, GREY_18, WRITTEN, cmyk_profile, saved, smooth

TOLERANCE = {"png": 0.51, "tif": 0.51, "bmp": 0.51, "jpg": 6, "webp": 12, "avif": 8, "heic": 8}


def like(alpha=None, bits=8, icc=None) -> Picture:
    return Picture(np.zeros((2, 2, 3), np.float32), alpha, bits, icc, "", "like", None)


@pytest.mark.parametrize("extension", WRITTEN)
def test_colours_come_back(extension, tmp_path):
    path, colour = tmp_path / f"new folder/out.{extension}", smooth(64, 96)
    write_picture(path, colour)
    got = read_picture(path)
    assert np.abs(got.rgb - colour).max() * 255 <= TOLERANCE[extension]
    assert got.alpha is None
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("extension", ["png", "tif", "webp", "avif", "heic"])
def test_alpha_comes_back(extension, tmp_path):
    alpha = smooth(64, 96)[..., 0]
    write_picture(tmp_path / f"a.{extension}", smooth(64, 96), like=like(alpha))
    assert np.abs(read_picture(tmp_path / f"a.{extension}").alpha - alpha).max() * 255 <= 4


@pytest.mark.parametrize("extension", ["bmp", "jpg"])
def test_alpha_is_laid_on_white(extension, tmp_path):
    alpha = smooth(64, 96)[..., 1]
    write_picture(tmp_path / f"a.{extension}", smooth(64, 96), like=like(alpha))
    right = smooth(64, 96) * alpha[..., None] + 1 - alpha[..., None]
    assert np.abs(read_picture(tmp_path / f"a.{extension}").rgb - right).max() * 255 <= TOLERANCE[extension]


def test_alpha_is_resized_without_aliasing(tmp_path):
    stripes = np.tile(np.float32([0, 1]), (40, 30))
    write_picture(tmp_path / "a.png", smooth(20, 30), like=like(stripes))
    assert np.abs(read_picture(tmp_path / "a.png").alpha[:, 2:-2] - 0.5).max() < 0.03


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_sixteen_bits_come_back_exactly(extension, rgb16, tmp_path):
    alpha = rgb16[..., 0] / np.float32(65535)
    path = tmp_path / f"deep.{extension}"
    write_picture(path, rgb16 / 65535, like=like(alpha, bits=16))
    got = read_picture(path)
    assert got.bits == 16
    assert np.array_equal(np.rint(got.rgb * 65535), rgb16)
    assert np.array_equal(np.rint(got.alpha * 65535), rgb16[..., 0])
    write_picture(path, got.rgb, like=got, bits=8)
    assert read_picture(path).bits == 8


def test_eight_bits_come_back_exactly(rgb8, tmp_path):
    for extension in ("png", "tif", "bmp"):
        write_picture(tmp_path / f"a.{extension}", read_picture(rgb8).rgb)
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"a.{extension}")), rgb8)


@pytest.mark.parametrize("extension", ["png", "tif", "jpg", "webp", "avif", "heic"])
def test_profile_there_and_back(extension, tmp_path):
    """In the profile's own numbers, as another program would see them."""
    first, second = tmp_path / "first.png", tmp_path / f"second.{extension}"
    native = np.rint(smooth(64, 96) * 60 + 90).astype(np.uint8)
    first.write_bytes(saved(Image.fromarray(native), "PNG", icc_profile=DISPLAY_P3))
    picture = read_picture(first)
    write_picture(second, picture.rgb, like=picture)
    image = Image.open(second)
    assert image.info["icc_profile"] == DISPLAY_P3
    limit = 2 if extension in ("png", "tif") else TOLERANCE[extension]
    assert np.abs(np.asarray(image).astype(int) - native).max() <= limit


def test_profile_at_sixteen_bits(tmp_path):
    colour = smooth(20, 30) * 0.5 + 0.2
    write_picture(tmp_path / "a.png", colour, like=like(bits=16, icc=DISPLAY_P3))
    got = read_picture(tmp_path / "a.png")
    assert got.icc == DISPLAY_P3
    assert np.abs(got.rgb - colour).max() < 1 / 4096


def test_other_profiles_become_srgb(tmp_path):
    for profile in (GREY_18, cmyk_profile(), b"junk"):
        write_picture(tmp_path / "a.png", smooth(9, 9), like=like(icc=profile))
        got = read_picture(tmp_path / "a.png")
        assert got.icc is None
        assert np.abs(got.rgb - smooth(9, 9)).max() * 255 <= 0.51
    write_picture(tmp_path / "a.bmp", smooth(9, 9), like=like(icc=DISPLAY_P3))  # BMP has no profiles
    assert np.abs(read_picture(tmp_path / "a.bmp").rgb - smooth(9, 9)).max() * 255 <= 0.51


def test_tensors_and_clamping(tmp_path):
    colour = smooth(5, 9)
    tensor = torch.from_numpy(colour).permute(2, 0, 1)
    for form in (tensor, tensor[None], tensor.double().requires_grad_()):
        write_picture(tmp_path / "a.png", form)
        assert np.abs(read_picture(tmp_path / "a.png").rgb - colour).max() * 255 <= 0.51
    write_picture(tmp_path / "a.png", colour * 4 - 2)
    assert np.abs(read_picture(tmp_path / "a.png").rgb - np.clip(colour * 4 - 2, 0, 1)).max() * 255 <= 0.51


@pytest.mark.parametrize("extension", WRITTEN)
def test_the_same_pixels_are_the_same_bytes(extension, tmp_path):
    for name in ("a", "b"):
        write_picture(tmp_path / f"{name}.{extension}", smooth(70, 90), record={"seed": 1})
    assert (tmp_path / f"a.{extension}").read_bytes() == (tmp_path / f"b.{extension}").read_bytes()


def test_only_a_jpeg_of_a_bearable_size_is_progressive(tmp_path, monkeypatch):
    """A progressive one is held as coefficients, as a whole."""
    monkeypatch.setattr(encode, "_ONE_GO", 16 * 16)
    for name, side, expected in (("small.jpg", 16, True), ("large.jpg", 17, False)):
        write_picture(tmp_path / name, smooth(side, side))
        assert ("progressive" in Image.open(tmp_path / name).info) == expected
    read = read_picture(tmp_path / "large.jpg").rgb
    assert np.abs(read - smooth(17, 17)).max() < TOLERANCE["jpg"] / 255


def test_jpeg_keeps_full_colour_resolution(tmp_path):
    write_picture(tmp_path / "a.jpg", smooth(16, 16))
    assert {layer[1:3] for layer in Image.open(tmp_path / "a.jpg").layer} == {(1, 1)}


REFUSED = [
    ("out.pgn", {}, "did you mean '.png'"),
    ("out", {}, "needs an extension"),
    ("folder.png", {}, "is a directory"),
    ("note.txt/out.png", {}, "is a file, not a directory"),
    ("nul\0.png", {}, "null byte"),
    ("out.jpg", {"bits": 16}, "8 bits a channel"),
    ("out.png", {"bits": 12}, "bits must be 8 or 16"),
    ("out.jpg", {"quality": 0}, "quality"),
    ("out.png", {"rgb": np.zeros((4, 4))}, "shape"),
    ("out.png", {"rgb": np.zeros((4, 4, 3), np.int32)}, "int32"),
    ("out.png", {"rgb": np.full((4, 4, 3), np.nan)}, "NaN"),
    ("out.png", {"rgb": np.zeros((0, 4, 3))}, "shape"),
    ("out.webp", {"rgb": np.zeros((1, 16384, 3))}, "16383 pixels a side"),
    ("out.png", {"record": {"a": object()}}, "JSON"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_refusals(name, options, message, tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "note.txt").write_text("x")
    options = {"rgb": smooth(4, 4), **options}
    with pytest.raises(InputError, match=message) as caught:
        write_picture(f"{tmp_path}/{name}", options.pop("rgb"), **options)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.png", "note.txt"]


def test_check_output_protects_the_inputs(tmp_path):
    source = tmp_path / "in.png"
    write_picture(source, smooth(4, 4))
    (tmp_path / "link.png").symlink_to(source)
    os.link(source, tmp_path / "hard.png")
    (tmp_path / "sub").mkdir()
    for name in ("in.png", "link.png", "hard.png", "sub/../in.png"):
        for given in (source, read_picture(source), read_picture(tmp_path / "link.png")):
            with pytest.raises(InputError, match="is the input"):
                check_output(tmp_path / name, [given])
    assert check_output(tmp_path / "sub/deep/out.png", [source, read_picture(smooth(3, 3))]).name == "out.png"
    assert not (tmp_path / "sub/deep").exists()
    with pytest.raises(InputError, match="16383"):
        check_output(tmp_path / "out.webp", size=(20000, 10))


def test_check_output_asks_for_permission(tmp_path, monkeypatch):
    write_picture(tmp_path / "old.png", smooth(4, 4))
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)
    with pytest.raises(InputError, match="no permission"):
        check_output(tmp_path / "a/b/new.png")
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path).name != "old.png")
    with pytest.raises(InputError, match="read-only"):
        check_output(tmp_path / "old.png")


def test_heic_needs_its_extra(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pillow_heif" else find(name))
    with pytest.raises(InputError, match=r"pip install 'sfumato\[heic\]'"):
        check_output(tmp_path / "a.heic")


FAILURES = [
    ("fsync", OSError(errno.ENOSPC, "No space left on device"), InputError),
    ("replace", OSError(errno.EIO, "Input/output error"), InputError),
    ("fsync", KeyboardInterrupt(), KeyboardInterrupt),
]


@pytest.mark.parametrize(("where", "error", "seen"), FAILURES)
@pytest.mark.parametrize("extension", ["png", "bmp"])
def test_a_failure_leaves_the_old_file(where, error, seen, extension, tmp_path, monkeypatch):
    path = tmp_path / f"out.{extension}"
    write_picture(path, smooth(8, 8), record={"first": 1})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fails(*_args):
        raise error

    monkeypatch.setattr(*((os, "fsync") if where == "fsync" else (Path, "replace")), fails)
    with pytest.raises(seen) as caught:
        write_picture(path, 1 - smooth(8, 8), record={"second": 2})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    if seen is InputError:
        assert error.strerror.lower() in str(caught.value)
        assert str(path) in str(caught.value)


def test_links_and_permissions_survive(tmp_path):
    real, link = tmp_path / "real.png", tmp_path / "link.png"
    write_picture(real, smooth(4, 4))
    real.chmod(0o640)
    link.symlink_to(real)
    write_picture(link, smooth(6, 6))
    assert link.is_symlink()
    assert read_picture(real).width == 6
    assert real.stat().st_mode & 0o777 == 0o640


def test_heic_stays_readable(tmp_path, monkeypatch):
    """Past its decoders' limit the quality falls until the file fits."""
    noise = np.random.default_rng(0).random((64, 64, 3))
    write_picture(tmp_path / "a.heic", noise)
    size = (tmp_path / "a.heic").stat().st_size
    monkeypatch.setattr("sfumato.picture.encode._HEIC_LONGEST", size // 2)
    write_picture(tmp_path / "a.heic", noise)
    assert (tmp_path / "a.heic").stat().st_size <= size // 2
    assert read_picture(tmp_path / "a.heic").width == 64
