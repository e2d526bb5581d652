"""`sfumato stylize --semantic` and its relatives, with one-pass weights of chance and pictures of regions."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from stylize.made import array
from stylize.trained import weights

from sfumato import cli
from sfumato.picture.io import read_picture, write_picture
from sfumato.picture.record import read_record

ONEPASS = ("--method", "onepass", "--device", "cpu", "--model", "w.safetensors", "--quiet")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photo.png, style.png, other.png, their regions (red above blue, blue above red) and weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "prepare_memory", lambda: None)
    for seed, name in enumerate(("photo", "style", "other")):
        write_picture(tmp_path / f"{name}.png", array(48, 56, seed))
    for name, first in (("photo", 0), ("style", 2)):
        regions = np.zeros((48, 56, 3), np.float32)
        regions[:24, :, first] = regions[24:, :, 2 - first] = 1
        write_picture(tmp_path / f"{name}-regions.png", regions)
    mask = np.zeros((48, 56, 3), np.float32)
    mask[:, :20] = 1
    write_picture(tmp_path / "left.png", mask)
    weights(tmp_path / "w.safetensors")
    return tmp_path


def run(*arguments: object) -> int:
    return cli.main([*map(str, arguments), *ONEPASS])


def test_regions_of_the_user_s_own_and_what_came_of_them(here: Path) -> None:
    regions = ("--regions", "photo-regions.png", "style-regions.png")
    assert run("stylize", "photo.png", "style.png", *regions, "--explain", "why", "-o", "out.png") == 0
    with (here / "why/pairs.csv").open() as file:
        rows = list(csv.reader(file))
    assert {row[0]: row[3] for row in rows[1:]} == {"red": "red", "blue": "blue"}
    assert read_picture(here / "why/regions.png").width > 100
    record = read_record(here / "out.png")
    assert record["settings"]["semantic"] is True
    assert [entry["name"] for entry in record["inputs"]][2:] == ["photo-regions.png", "style-regions.png"]
    assert run("stylize", "photo.png", "style.png", "-o", "plain.png") == 0
    assert np.abs(read_picture(here / "out.png").rgb - read_picture(here / "plain.png").rgb).mean() > 0.01


def test_nothing_is_explained_where_the_result_cannot_be_written(here: Path) -> None:
    regions = ("--regions", "photo-regions.png", "style-regions.png")
    assert run("stylize", "photo.png", "style.png", *regions, "--explain", "why", "-o", "photo.png") == 2
    assert not (here / "why").exists()


def test_only_and_except_masks(here: Path) -> None:
    photo = np.rint(read_picture(here / "photo.png").rgb * 255)
    for option, untouched in (("--only", slice(20, None)), ("--except", slice(None, 20))):
        assert run("stylize", "photo.png", "style.png", option, "left.png", "-o", "out.png") == 0
        made = np.rint(read_picture(here / "out.png").rgb * 255)
        assert np.array_equal(made[:, untouched], photo[:, untouched])
        assert not np.array_equal(made, photo)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("photo.png", "style.png", "--style-for", "sky"), "does not say which class takes which style"),
        (("photo.png", "--style-for", "sky=a.png", "sky=b.png"), "sky was given two styles"),
        (("photo.png", "style.png", "--regions", "photo-regions.png"), "give one for each"),
        (("photo.png", "style.png", "--explain", "why"), "add --semantic"),
        (("photo.png", "style.png", "--match", "clusters"), "add semantic"),
        (("photo.png", "style.png", "--regions", "other.png", "photo.png"), "too many colours"),
        (("photo.png", "style.png", "--semantic", "--segmenter", "nosuch"), "nosuch"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    before = sorted(p.name for p in here.iterdir())
    assert run("stylize", *arguments, "-o", "out.png") == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert sorted(p.name for p in here.iterdir()) == before
