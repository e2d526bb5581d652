"""The commands `colorize`, `inpaint` and `compose`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfumato import cli
from sfumato.picture.record import read_record


def files(folder: Path) -> dict[str, str]:
    """A photograph, a mask, a thing, and where results go."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(folder / "photo.png")
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 20:30] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(folder / "thing.png")
    return {name: str(folder / f"{name}.png") for name in ("photo", "mask", "thing", "out")}


def test_inpaint_writes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    f = files(tmp_path)
    done = cli.main(["inpaint", f["photo"], "--mask", f["mask"], "--method", "smooth", "-o", f["out"], "-q", "--json"])
    assert done == 0
    line = json.loads(capsys.readouterr().out)
    assert line["output"] == f["out"]
    assert line["method"] == "smooth"
    assert read_record(f["out"])["verb"] == "inpaint"
    beside = cli.main(["inpaint", f["photo"], "--mask", f["mask"], "--method", "smooth", "-q"])
    assert beside == 0
    assert (tmp_path / "photo-inpainted.png").exists()


def test_compose_puts_a_thing_in(tmp_path: Path) -> None:
    f = files(tmp_path)
    given = ["--insert", f["thing"], "--at", "30,20", "--match", "none", "-o", f["out"], "-q"]
    assert cli.main(["compose", f["photo"], *given]) == 0
    with Image.open(f["out"]) as made:
        assert made.getpixel((30, 20)) == (200, 200, 200)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["colorize", "{photo}", "--hint", "1,2,red"], "a hint is X,Y,#rrggbb"),
        (["inpaint", "{photo}", "--method", "smooth"], "say what to fill"),
        (["inpaint", "{photo}", "{thing}", "--mask", "{mask}"], "a mask belongs to one photograph"),
        (["inpaint", "{photo}", "--mask", "{mask}", "-o", "{photo}"], "it is the input"),
        (["compose", "{photo}"], "say what to compose"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    f = files(tmp_path)
    assert cli.main([a.format(**f) for a in arguments]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
