"""Each thing that can be wrong with a file, and the one sentence that says so."""

import io
import os
import struct
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from sfumato.errors import InputError
from sfumato.picture.io import read_picture, write_picture
from sfumato.picture.record import png_chunk

from .made import WRITTEN, saved


def says(source, *parts: str, **options: object) -> None:
    with pytest.raises(InputError) as caught:
        read_picture(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


def test_paths(tmp_path):
    says(tmp_path / "none.png", "none.png", "no such file")
    says(tmp_path, str(tmp_path), "is a directory")
    says("nul\0byte.png", "null byte")
    says("x" * 5000 + ".png", "too long")
    (tmp_path / "empty.jpg").touch()
    says(tmp_path / "empty.jpg", "empty.jpg", "the file is empty")
    (tmp_path / "notes.png").write_text("dear diary")
    says(tmp_path / "notes.png", "notes.png", "not a picture", "JPEG", "HEIC")
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    says(tmp_path / "dangling.png", "no such file")
    says(tmp_path / "notes.png" / "x.png", "not a directory")
    os.mkfifo(tmp_path / "pipe.png")
    says(tmp_path / "pipe.png", "not a regular file")


def test_no_permission(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    path.write_bytes(saved(Image.new("RGB", (3, 3)), "PNG"))

    def denied(self, *_args):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "read_bytes", denied)
    says(path, "secret.png", "permission denied")


@pytest.mark.parametrize("extension", WRITTEN)
def test_truncated(extension, tmp_path):
    path = tmp_path / f"whole.{extension}"
    write_picture(path, np.random.default_rng(0).random((40, 50, 3)))
    data = path.read_bytes()
    for part in (0.3, 0.6, 0.9):
        path.write_bytes(data[: int(len(data) * part)])
        says(path, path.name, "truncated or damaged")


def test_truncated_sixteen_bits(rgb16, tmp_path):
    for extension in ("png", "tif"):
        path = tmp_path / f"deep.{extension}"
        write_picture(path, rgb16 / 65535, bits=16)
        path.write_bytes(path.read_bytes()[:-900])
        says(path, path.name, "truncated or damaged")


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
def test_animated(form):
    frames = [Image.new("RGB", (8, 8), (60 * i, 0, 0)) for i in range(3)]
    says(saved(frames[0], form, save_all=True, append_images=frames[1:]), "3 frames")


def test_previews_and_second_views_do_not_count(rgb8):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tif:
        tif.write(rgb8, photometric="rgb")
        tif.write(np.ascontiguousarray(rgb8[::4, ::4]), photometric="rgb", subfiletype=1)
    assert read_picture(file.getvalue()).width == 31
    image = Image.fromarray(rgb8)
    phone = saved(image, "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    assert Image.open(io.BytesIO(phone)).n_frames == 2
    assert read_picture(phone).width == 31


def bomb_png(width: int, height: int, depth: int) -> bytes:
    header = struct.pack(">2I5B", width, height, depth, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [8, 16])
def test_bombs_are_refused_from_their_header(depth):
    before = Image.MAX_IMAGE_PIXELS
    says(bomb_png(20001, 10000, depth), "20001 x 10000", "200,010,000 pixels", "200,000,000")
    says(bomb_png(2**31 - 1, 2**31 - 1, depth), "limit of 200,000,000")
    assert before == Image.MAX_IMAGE_PIXELS


def test_the_limit_is_the_callers(rgb8, rgb16):
    data = saved(Image.fromarray(rgb8), "PNG")
    says(data, "31 x 19", max_pixels=588)
    assert read_picture(data, max_pixels=589).width == 31
    says(rgb8, "31 x 19", max_pixels=588)
    says(Image.fromarray(rgb8), "31 x 19", max_pixels=588)
    says(imagecodecs.png_encode(rgb16), "31 x 19", max_pixels=588)


def test_bombs_in_tiff_tiles():
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((16, 16), np.uint16), tile=(16, 16))
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        for code in (322, 323):
            tag = tif.pages[0].tags[code]
            struct.pack_into("<H" if tag.dtype == 3 else "<I", data, tag.valueoffset, 2**16 - 16)
    says(bytes(data), "tiles", "limit")


def test_a_file_longer_than_any_picture_is_not_read(tmp_path):
    path = tmp_path / "sparse.tif"
    with path.open("wb") as file:
        file.truncate(1 << 36)
    says(path, "68,719,476,736 bytes")


def test_heic_without_its_package(monkeypatch):
    data = saved(Image.new("RGB", (64, 64)), "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    says(data, "pip install 'sfumato[heic]'")
