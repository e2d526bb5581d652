"""Drawn faces: every label is true, a changed attribute changes nothing else, regions are where their part is."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfumato.cli import main
from sfumato.data.drawing import NONE, STYLES, colours, definition, face, parts, region_names
from sfumato.data.faces import draw_faces
from sfumato.errors import InputError
from sfumato.train.data import Pictures
from sfumato.train.labels import classes_of

SIZE = 48


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("style", STYLES)
def test_a_face_is_a_function_of_style_seed_and_number(style: str) -> None:
    one, again, other = face(style, 3, 5), face(style, 3, 5), face(style, 4, 5)
    assert one.svg == again.svg != other.svg
    assert set(one.attributes) == {*parts(style), *colours(style), "background", "flip"}
    for name, value in one.attributes.items():
        if name not in ("background", "flip"):
            assert value in (*one.choices(name), NONE)
    pixels = one.pixels(SIZE)
    assert pixels.shape == (SIZE, SIZE, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    assert (pixels[-1].astype(int) != pixels[0, 0]).any()  # the body reaches the lower edge


@pytest.mark.parametrize("style", STYLES)
def test_labels_are_what_was_drawn(style: str) -> None:
    """A colour is in the picture's own source, or labelled as missing; so is every part that can be seen to matter."""
    for index in range(6):
        one = face(style, 0, index)
        for name in colours(style):
            value = one.attributes[name]
            if value != NONE:
                assert value.lower() in one.svg.lower()
        for part in definition(style).optional:
            if one.attributes.get(part, NONE) != NONE:
                assert one.changed(part, NONE).attributes[part] == NONE


def test_a_changed_attribute_changes_nothing_else() -> None:
    one = face("toon-head", 0, 1)
    value = next(v for v in one.choices("mouth") if v != one.attributes["mouth"])
    twin = one.changed("mouth", value)
    assert twin.attributes == {**one.attributes, "mouth": value}
    differs = (one.pixels(96) != twin.pixels(96)).any(2)
    rows, columns = np.nonzero(differs)
    assert 0.005 < differs.mean() < 0.15
    assert rows.max() - rows.min() < 40  # one place, not the whole face
    assert columns.max() - columns.min() < 50
    assert one.changed("mouth", one.attributes["mouth"]).svg == one.svg
    hair = one.changed("hair colour", "#d6b370")
    assert hair.attributes["hair colour"] in ("#d6b370", NONE)
    with pytest.raises(InputError, match="unknown mouth of toon-head 'grin': did you mean"):
        one.changed("mouth", "grin")
    with pytest.raises(InputError, match="unknown attribute of toon-head 'nose'"):
        one.changed("nose", "big")


def test_regions_are_where_the_part_is() -> None:
    """Of the mouth: where two mouths differ; of the background: what no part touches."""
    one = face("toon-head", 0, 1)
    labels, names = one.regions(96), region_names("toon-head")
    assert names[0] == "background"
    assert set(np.unique(labels)) <= set(range(len(names)))
    mouth = labels == names.index("mouth")
    for value in one.choices("mouth"):
        differs = np.abs(one.changed("mouth", value).pixels(96).astype(int) - one.pixels(96)).max(2) > 60
        outside = differs & ~mouth & (labels != names.index("head"))
        assert outside.sum() <= 0.1 * max(1, differs.sum())  # a larger mouth covers some of the head beside it
    assert mouth.sum() > 20
    background = labels == 0
    assert 0.1 < background.mean() < 0.7
    assert background[0, 0] or background[0, -1]
    plain = one.options | {"backgroundColor": ["#00ff00"], "backgroundColorFill": "solid"}
    from sfumato.data.drawing import drawn

    green = (drawn("toon-head", plain).pixels(96) == [0, 255, 0]).all(2)
    assert (green & ~background).mean() < 0.01
    assert (background & ~green).mean() < 0.03  # edges


def test_a_folder_of_faces(tmp_path: Path) -> None:
    styles = ["toon-head", "personas"]
    made = draw_faces(tmp_path / "a", styles=styles, count=3, size=SIZE, masks=True, change=["mouth", "beard"])
    rows, pairs = table(tmp_path / "a" / "labels.csv"), table(tmp_path / "a" / "pairs.csv")
    assert [row["name"] for row in rows] == [f"{s}_{i:05d}.png" for s in styles for i in range(3)]
    assert made == 6 + len(pairs)
    assert {p["attribute"] for p in pairs if p["name"].startswith("personas")} == {"mouth"}  # it has no beard
    for row in rows:
        one = face(row["style"], 0, int(row["name"][-9:-4]))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a" / row["name"])), one.pixels(SIZE))
        assert all(row[name] == value for name, value in one.attributes.items())
        assert np.asarray(Image.open(tmp_path / "a" / "masks" / row["name"])).shape == (SIZE, SIZE)
    for pair in pairs:
        assert pair["from"] != pair["to"]
        before, after = (np.asarray(Image.open(tmp_path / "a" / pair[k])) for k in ("name", "changed"))
        assert (before != after).any()
    assert json.loads((tmp_path / "a" / "masks" / "regions.json").read_text())["personas"][0] == "background"
    told = (tmp_path / "a" / "CREDITS.md").read_text()
    assert "Johan Melin" in told
    assert "CC BY 4.0" in told
    more = draw_faces(tmp_path / "b", styles=styles[:1], count=4, size=SIZE)
    assert more == 4
    for i in range(3):
        assert (tmp_path / "a" / f"toon-head_{i:05d}.png").read_bytes() == (
            tmp_path / "b" / f"toon-head_{i:05d}.png"
        ).read_bytes()


def test_the_labels_train_a_conditional_family(tmp_path: Path) -> None:
    draw_faces(tmp_path / "f", count=8, size=SIZE)
    pictures = Pictures(tmp_path / "f", side=SIZE)
    assert len(pictures) == 8
    assert set(classes_of(pictures, "mouth")) <= set(parts("toon-head")["mouth"])
    assert pictures.labels("style") == ["toon-head"] * 8


def test_the_command_and_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["data", "faces", "--out", str(tmp_path / "f"), "-n", "2", "--size", "32"]
    assert main([*call, "--style", "micah", "adventurer", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"output": str(tmp_path / "f"), "pictures": 4}
    for more, sentence in (
        ([], "has a labels.csv already"),
        (["--out", str(tmp_path / "g"), "--style", "robots"], "unknown style 'robots'"),
        (["--out", str(tmp_path / "g"), "--change", "nose"], "unknown attribute of toon-head 'nose'"),
        (["--out", str(tmp_path / "g"), "-n", "0"], "count must be a whole number"),
        (["--out", str(tmp_path / "g"), "--style", "micah", "micah"], "name every style once"),
    ):
        assert main([*(call if not more or "--out" not in more else call[:2] + more)]) == 2
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / "g").exists()
