"""Arrays of digits are read as if every label had a folder; tables give labels; what is neither is refused."""

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.errors import InputError
from sfumato.train.arrays import read_arrays, read_idx
from sfumato.train.data import Pictures
from sfumato.train.job import open_split
from sfumato.train.labels import classes_of, indices
from sfumato.train.options import TrainOptions

DIGITS = np.random.default_rng(0).integers(0, 256, (12, 9, 8), dtype=np.uint8)
LABELS = np.array([3, 1, 10, 3, 1, 1, 0, 0, 3, 10, 2, 1])


def idx(array: np.ndarray) -> bytes:
    """The format written out: two zeros, the type, the dimensions, sizes of four bytes, the numbers."""
    return bytes((0, 0, 8, array.ndim)) + b"".join(struct.pack(">I", n) for n in array.shape) + array.tobytes()


@pytest.fixture(params=["npz", "idx", "idx.gz"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "npz":
        np.savez_compressed(tmp_path / "digits.npz", y=LABELS, x=DIGITS)
        return tmp_path / "digits.npz"
    end = ".gz" if request.param == "idx.gz" else ""
    for kind, array in (("images-idx3", DIGITS), ("labels-idx1", LABELS.astype(np.uint8))):
        data = idx(array)
        (tmp_path / f"t10k-{kind}-ubyte{end}").write_bytes(gzip.compress(data) if end else data)
    return tmp_path / f"t10k-images-idx3-ubyte{end}"


def test_names_labels_and_pixels(source: Path) -> None:
    pictures = Pictures(source, side=8)
    assert pictures.names[:3] == ["03/00", "01/01", "10/02"]
    assert pictures.labels() == [f"{label:02d}" for label in LABELS]
    assert pictures[2].shape == (3, 9, 8)
    for plane in pictures[2]:
        np.testing.assert_array_equal(plane, DIGITS[2])
    assert classes_of(pictures) == ("00", "01", "02", "03", "10")
    assert indices(pictures, classes_of(pictures)) == [{0: 0, 1: 1, 2: 2, 3: 3, 10: 4}[x] for x in LABELS.tolist()]
    assert Pictures(source, side=4)[0].shape == (3, 5, 4)  # 9 x 8 at a short side of 4


def test_parts_of_an_array_are_apart_and_other_pixels_are_other_data(source: Path, tmp_path: Path) -> None:
    train, held_out = open_split([str(source)], TrainOptions(resolution=8, val_fraction=0.4))
    assert sorted(train.names + held_out.names) == sorted(Pictures(source, side=8).names)
    assert len(held_out) > 1
    for k, name in enumerate(held_out.names):
        np.testing.assert_array_equal(held_out[k][0], DIGITS[int(name[-2:])])
    np.savez(tmp_path / "other.npz", x=255 - DIGITS, y=LABELS)
    assert Pictures(tmp_path / "other.npz", side=8).sha256 != Pictures(source, side=8).sha256


def test_colour_arrays_and_arrays_without_labels(tmp_path: Path) -> None:
    rgb = np.stack([DIGITS] * 3, -1) // np.array([1, 2, 3], np.uint8)
    np.savez(tmp_path / "rgb.npz", pictures=rgb, scores=np.ones(12))
    pictures = Pictures(tmp_path / "rgb.npz", side=8)
    assert pictures.labels() == [""] * 12
    assert torch.equal(pictures[5], torch.from_numpy(rgb[5]).permute(2, 0, 1))
    with pytest.raises(InputError, match=r"00 has no label: every picture needs a sub-folder"):
        classes_of(pictures)


def test_what_holds_no_pictures_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=DIGITS, b=DIGITS)
    np.savez(tmp_path / "floats.npz", x=DIGITS / 255)
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    np.savez(tmp_path / "negative.npz", x=DIGITS, y=LABELS - 1)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:200])
    (tmp_path / "a-idx1").write_bytes(idx(LABELS.astype(np.uint8)))
    (tmp_path / "b-idx3").write_bytes(idx(DIGITS)[:-1])
    (tmp_path / "c-idx3").write_bytes(idx(DIGITS) + b"0")
    (tmp_path / "d-idx3").write_bytes(b"\0\0\x0d\x03" + idx(DIGITS)[4:])
    (tmp_path / "e-idx3").write_bytes(gzip.compress(idx(DIGITS))[:-20])
    (tmp_path / "f-idx3").write_bytes(bytes((0, 0, 8, 3)) + b"\xff" * 12)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(InputError, match=path.name):
            Pictures(path, side=8)
    assert read_idx(tmp_path / "a-idx1").tolist() == LABELS.tolist()
    with pytest.raises(InputError, match="array of 1 dim"):
        read_arrays(tmp_path / "a-idx1")


TABLE = "\ufeffname,mouth,hair\n0.png,smile,red\nsub/1.png,sad,\n2.png,smile,blue\n"


@pytest.mark.parametrize("packed", [False, True])
def test_a_table_beside_the_pictures_labels_them(tmp_path: Path, packed: bool) -> None:
    (tmp_path / "faces" / "sub").mkdir(parents=True)
    for name in ("0.png", "sub/1.png", "2.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / "faces" / name)
    (tmp_path / "faces" / "labels.csv").write_text(TABLE, encoding="utf-8")
    source = tmp_path / "faces"
    if packed:
        source = tmp_path / "faces.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in (tmp_path / "faces").rglob("*.*"):
                archive.write(path, path.relative_to(tmp_path / "faces"))
    pictures = Pictures(source, side=8)
    assert dict(zip(pictures.names, pictures.labels("mouth"), strict=True)) == {
        "0.png": "smile",
        "sub/1.png": "sad",
        "2.png": "smile",
    }
    assert pictures.labels() == ["", "", "sub"]
    assert Pictures(source, side=8, names=["2.png"]).labels("hair") == ["blue"]
    with pytest.raises(InputError, match=r"1.png has no label: every picture needs an entry in column 'hair'"):
        classes_of(pictures, "hair")
    with pytest.raises(InputError, match=r"unknown column of .*'lips': did you mean .*mouth, hair"):
        pictures.labels("lips")
    with pytest.raises(InputError, match=r"unknown class of sub/1.png 'sad'"):
        indices(pictures, ("smile",), "mouth")


def test_several_folders_have_a_table_each(tmp_path: Path) -> None:
    for folder, label in (("a", "one"), ("b", "two")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "x.png")
        (tmp_path / folder / "labels.csv").write_text(f"name,kind\nx.png,{label}\n")
    both = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"]
    assert Pictures(both, side=8).labels("kind") == ["one", "two"]
    (tmp_path / "b" / "labels.csv").unlink()
    with pytest.raises(InputError, match=r"b: no labels.csv there, so there is no 'kind'"):
        Pictures(both, side=8).labels("kind")
    assert classes_of(Pictures(both, side=8)) == ("a", "b")
