"""Class lists, and label maps beside pictures: what fits, what is snapped, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.errors import InputError
from sfumato.picture.label_maps import painted
from sfumato.train.classes import ClassList, check_pairs, read_classes, resolved
from sfumato.train.data import Pictures
from sfumato.train.job import open_labels, open_split
from sfumato.train.options import TrainOptions

CLASSES = ClassList(("sky", "sea", "sand"), ((120, 180, 250), (0, 60, 200), (230, 200, 120)), 9)


def made(folder: Path, name: str, labels: np.ndarray, *, colours: bool = False, quality: int | None = None) -> None:
    """A picture NAME.jpg in pictures/ and its label map in labels/."""
    for kind in ("pictures", "labels"):
        (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(painted(labels, CLASSES.colors)).save(folder / "pictures" / f"{name}.jpg")
    pixels = painted(labels, CLASSES.colors) if colours else labels
    if quality is not None:
        Image.fromarray(pixels).save(folder / "labels" / f"{name}.jpg", quality=quality)
    else:
        Image.fromarray(pixels).save(folder / "labels" / f"{name}.png")


def stripes(height: int = 24, width: int = 32) -> np.ndarray:
    return np.repeat(np.arange(3, dtype=np.uint8), height // 3)[:, None].repeat(width, 1)


def opened(folder: Path) -> tuple[Pictures, Pictures]:
    return Pictures(folder / "pictures", side=24), Pictures(folder / "labels", side=24, labels=CLASSES)


def test_a_class_list_is_read(tmp_path: Path) -> None:
    path = tmp_path / "classes.toml"
    path.write_text('classes = ["sky", "sea"]\ncolors = [[1, 2, 3], [4, 5, 6]]\nignore = 7\n')
    assert read_classes(path) == ClassList(("sky", "sea"), ((1, 2, 3), (4, 5, 6)), 7)
    assert resolved((str(path),), (), 255) == read_classes(path)
    assert resolved(("a", "b"), [[0, 0, 0], [9, 9, 9]], 255) == ClassList(("a", "b"), ((0, 0, 0), (9, 9, 9)))
    assert resolved((), (), 255) is None
    path.write_text('classes = ["sky", "sea"]')
    assert read_classes(path).ignore == 255
    assert len(set(read_classes(path).shown)) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('classes = ["sky"]', "a list of 2 to 255 names"),
        ('classes = "sky"', "must be lists"),
        ('classes = ["sky", "sky"]', "the class 'sky' occurs twice"),
        ('classes = ["sky", "sea"]\ncolors = [[1, 2, 3]]', "1 colors for 2 classes"),
        ('classes = ["sky", "sea"]\ncolors = [[1, 2, 3], [1, 2, 300]]', "three whole numbers from 0 to 255"),
        ('classes = ["sky", "sea"]\ncolors = [[1, 2, 3], [1, 2, 3]]', "the same color"),
        ('classes = ["sky", "sea"]\ncolors = [1, 2]', "three whole numbers"),
        ('classes = ["sky", "sea"]\nignore = 1', "ignore must be a label that is no class, from 2 to 255, not 1"),
        ('classes = ["sky", "sea"]\nclors = []', "clors"),
        ("classes = [", "cannot be read as a class list"),
    ],
)
def test_class_lists_that_cannot_be(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_classes(tmp_path / "c.toml")
    with pytest.raises(InputError, match="no such file, so no class list"):
        read_classes(tmp_path / "d.toml")


def test_numbers_and_colours_give_the_same_labels(tmp_path: Path) -> None:
    labels = stripes()
    labels[0, :5] = 9
    made(tmp_path, "a", labels)
    made(tmp_path, "b", labels, colours=True)  # 9 has no colour: black, unknown
    made(tmp_path, "c", stripes(), colours=True, quality=90)
    pictures, maps = opened(tmp_path)
    remarks = check_pairs(pictures, maps, CLASSES)
    for k, wanted in enumerate((labels, labels, stripes())):
        index = maps.paired(pictures.names[k])
        assert index is not None
        assert torch.equal(maps[index][0], torch.from_numpy(wanted))
    assert maps.snapped["b.png"] == {"exact": 24 * 32 - 5, "near": 0, "unknown": 5}
    assert maps.snapped["c.jpg"]["near"] > 0
    assert [r.split(" % ")[1].split(" ")[-1] for r in remarks] == ["list", "ignored"]
    assert not pictures.bad


@pytest.mark.parametrize(
    ("labels", "colours", "sentence"),
    [
        (np.full((24, 32), 3, np.uint8), False, r"a\.png: has the label 3, but there are 3 classes, and 9 is what"),
        (stripes(24, 48), False, r"a\.png: its proportions \(48 x 24\) are not those of its picture \(32 x 24\)"),
        (np.full((24, 32), 9, np.uint8), True, r"none of its label maps can be used .*has a colour of the class list"),
    ],
)
def test_label_maps_that_do_not_fit(tmp_path: Path, labels: np.ndarray, colours: bool, sentence: str) -> None:
    made(tmp_path, "a", labels, colours=colours)
    Image.fromarray(painted(stripes(), CLASSES.colors)).save(tmp_path / "pictures" / "a.jpg")
    with pytest.raises(InputError, match=sentence):
        check_pairs(*opened(tmp_path), CLASSES)


def test_a_missing_map_is_named_and_a_bad_one_takes_its_picture_out(tmp_path: Path) -> None:
    for name in "abc":
        made(tmp_path, name, stripes())
    (tmp_path / "labels" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    pictures, maps = opened(tmp_path)
    check_pairs(pictures, maps, CLASSES)
    assert list(pictures.bad) == ["b.jpg"]
    assert "its label map b.png: cannot be read" in pictures.bad["b.jpg"]
    assert {pictures.draw(np.random.default_rng(i)) for i in range(30)} == {0, 2}
    (tmp_path / "labels" / "c.png").unlink()
    with pytest.raises(InputError, match=r"lacks the label map of c\.jpg"):
        check_pairs(*opened(tmp_path), CLASSES)


def test_maps_of_another_size_and_several_folders_stay_paired(tmp_path: Path) -> None:
    """Folders of pictures and of maps are given in the same order; the same names occur in both."""
    for k, place in enumerate(("one", "two")):
        labels = np.full((24, 32), k, np.uint8)
        for name in ("a", "b", "sub/c"):
            made(tmp_path / place, name, labels)
            path = tmp_path / place / "labels" / f"{name}.png"
            Image.fromarray(labels[::2, ::2]).save(path)
    sources = {
        kind: [str(tmp_path / p / kind_) for p in ("one", "two")]
        for kind, kind_ in (("data", "pictures"), ("labels", "labels"))
    }
    options = TrainOptions(resolution=16, val_fraction=0.4)
    data = open_split(sources["data"], options)
    maps = open_labels(sources, data, CLASSES)
    for pictures, beside in zip(data, maps, strict=True):
        assert len(pictures) == len(beside)
        for name in pictures.names:
            index = beside.paired(name)
            assert index is not None
            assert (beside[index] == (0 if name.startswith("one") else 1)).all()
    with pytest.raises(InputError, match="2 folders of --data need as many of --labels"):
        open_labels({**sources, "labels": sources["labels"][:1]}, data, CLASSES)
