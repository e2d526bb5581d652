"""The record comes back from every format, also beside other metadata, and never from the wrong file."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sfumato._version import __version__
from sfumato.errors import InputError
from sfumato.picture.io import Picture, read_picture, write_picture
from sfumato.picture.record import new_record, read_record

from .made import DISPLAY_P3, WRITTEN, smooth

RECORD = {
    "verb": "stylize",
    "settings": {"strength": 0.75, "names": ["ü", "火", "a\0b", 'quote"']},
    "seed": 2**63,
    "n": None,
}


@pytest.mark.parametrize("extension", WRITTEN)
@pytest.mark.parametrize("rich", [False, True])
def test_round_trip(extension, rich, tmp_path):
    path = tmp_path / f"out.{extension}"
    like = Picture(smooth(64, 80), smooth(64, 80)[..., 0], 16, DISPLAY_P3, "", "x", None) if rich else None
    write_picture(path, smooth(64, 80), like=like, record=RECORD)
    assert read_record(path) == RECORD
    assert read_picture(path).width == 80
    assert path.with_name(path.name + ".json").exists() == (extension == "bmp")
    write_picture(path, smooth(64, 80))
    with pytest.raises(InputError, match="carries no sfumato record"):
        read_record(path)


@pytest.mark.parametrize("extension", WRITTEN)
def test_long_records(extension, tmp_path):
    record = {"inputs": [f"{i:064x}" for i in range(3000)]}
    write_picture(tmp_path / f"out.{extension}", smooth(64, 64), record=record)
    assert read_record(tmp_path / f"out.{extension}") == record


def test_the_side_file_speaks_for_its_own_picture_only(tmp_path):
    for name, colour in (("a", smooth(4, 4)), ("b", smooth(5, 5))):
        write_picture(tmp_path / f"{name}.bmp", colour, record={"name": name})
    (tmp_path / "a.bmp").replace(tmp_path / "b.bmp")
    with pytest.raises(InputError, match="carries no sfumato record"):
        read_record(tmp_path / "b.bmp")
    (tmp_path / "c.bmp.json").write_text('{"mine": 1}')
    with pytest.raises(InputError, match="did not write"):
        write_picture(tmp_path / "c.bmp", smooth(4, 4), record={})
    assert not (tmp_path / "c.bmp").exists()
    assert (tmp_path / "c.bmp.json").read_text() == '{"mine": 1}'


def test_errors_are_sentences(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    text = PngImagePlugin.PngInfo()
    text.add_itxt("sfumato", "{broken")
    Image.new("RGB", (3, 3)).save(tmp_path / "broken.png", pnginfo=text)
    Image.new("RGB", (3, 3)).save(tmp_path / "plain.jpg", comment="hello")
    expected = {
        "text.png": "not a picture",
        "empty.png": "empty",
        "broken.png": "damaged sfumato record",
        "plain.jpg": "carries no sfumato record",
        "none.png": "no such file",
        ".": "is a directory",
    }
    for name, message in expected.items():
        with pytest.raises(InputError, match=message):
            read_record(tmp_path / name)


def test_compressed_text_after_the_pixels_is_found(tmp_path):
    """As other programs may store it again."""
    path = tmp_path / "a.png"
    text = PngImagePlugin.PngInfo()
    text.add_itxt("sfumato", json.dumps(RECORD), zip=True)
    Image.new("RGB", (3, 3)).save(path, pnginfo=text)
    assert read_record(path) == RECORD


def test_new_record(rgb8):
    picture = read_picture(rgb8)
    record = new_record("stylize", {"size": 512}, [picture], {"vgg": "ab12"}, seed=7)
    assert json.loads(json.dumps(record)) == record
    assert record["sfumato"] == __version__
    assert record["inputs"] == [{"name": "array", "sha256": picture.sha256, "size": [19, 31]}]
    assert (record["verb"], record["settings"], record["weights"], record["seed"]) == (
        "stylize", {"size": 512}, {"vgg": "ab12"}, 7,
    )  # fmt: skip
    assert record["versions"]["numpy"] == np.__version__
    assert set(record["versions"]) == {"python", "numpy", "torch", "pillow"}


def test_pixels_need_no_torch():
    code = (
        "import sys, sfumato.picture.io, sfumato.picture.record, sfumato.picture.icc; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
