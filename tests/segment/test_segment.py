"""The verb `segment`: regions of the picture's size with its edges, files that come back, and bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sfumato
from sfumato import cli, cli_segment
from sfumato.errors import InputError
from sfumato.picture.io import read_picture
from sfumato.picture.label_files import read_label_map, write_label_map
from sfumato.picture.record import read_record
from sfumato.segment import Segmenter, file_name, segment, segmented
from sfumato.train.data import Pictures

from . import made


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.model(tmp_path_factory.mktemp("model") / "chance.safetensors")


def tensor(path: Path) -> torch.Tensor:
    return torch.from_numpy(read_picture(path).rgb.copy()).permute(2, 0, 1)[None]


def test_edges_of_coarse_regions_move_onto_the_pictures(tmp_path: Path) -> None:
    picture, truth = tensor(made.photograph(tmp_path / "a.png", 288, 384)), torch.from_numpy(made.coast(288, 384))
    predictor = made.ByColor()
    found = segmented(predictor, picture, radius=8)  # its cells are 8 pixels wide
    assert predictor.saw == [(1, 3, 64, 85)]  # 4 / 3 of 48 at the short side, whatever the picture's size
    assert found.regions.names == made.CLASSES
    assert found.regions.size == (288, 384)
    torch.testing.assert_close(found.regions.weights.sum(0), torch.ones(288, 384))
    wrong = float((found.regions.labels != truth).float().mean())
    soft = segmented(predictor, picture, radius=0).regions
    assert wrong < 0.002
    assert wrong < 0.05 * float((soft.labels != truth).float().mean())
    assert 0.8 < found.confidence < 1


def test_classes_that_are_nowhere_likeliest_are_left_out_and_small_pictures_are_not_enlarged() -> None:
    predictor = made.ByColor()
    flat = torch.tensor(made.COLORS[1]).view(1, 3, 1, 1).float() / 255
    for size in ((1, 1), (9, 30), (20, 7)):
        found = segmented(predictor, flat.expand(1, 3, *size))
        assert found.regions.names == ("sea",)
        assert found.regions.size == size
        assert predictor.saw[-1][2:] == size
        assert float(found.regions.weights.min()) == 1


def test_a_label_map_comes_back_as_regions(tmp_path: Path, weights: Path) -> None:
    photo = made.photograph(tmp_path / "a.jpg")
    found = segment(photo, model=weights, output=tmp_path / "regions.png")
    image = Image.open(tmp_path / "regions.png")
    assert (image.mode, image.size) == ("P", (128, 96))
    assert np.array_equal(np.asarray(image), found.labels.numpy())
    shown = np.asarray(image.convert("RGB"))
    assert {tuple(c) for c in np.unique(shown.reshape(-1, 3), axis=0).tolist()} <= set(made.COLORS)
    back = read_label_map(tmp_path / "regions.png")
    assert back is not None
    assert set(back.names) <= set(found.regions.names)
    assert all(torch.equal(back.of(name), (found.labels == made.CLASSES.index(name)).float()) for name in back.names)
    record = read_record(tmp_path / "regions.png")
    assert (record["verb"], record["classes"]) == ("segment", list(made.CLASSES))
    assert record["settings"] == {"size": None, "radius": 4, "device": "auto", "model": str(weights)}
    assert record["inputs"][0]["sha256"] == read_picture(photo).sha256
    maps = Pictures(tmp_path, side=96, names=["regions.png"], labels=True)
    assert torch.equal(maps[0][0].long(), found.labels)  # a label map to train on, too


def test_a_folder_gets_overlay_and_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.models.predictor.load_predictor", lambda *_: (made.ByColor(), "0" * 64))
    found = Segmenter("by color")(made.photograph(tmp_path / "a.png"))
    written = found.save(tmp_path / "out")
    names = ["a-regions.png", "a-overlay.png", "a-masks/sky.png", "a-masks/sea.png", "a-masks/red_roof_top.png"]
    assert [p.relative_to(tmp_path / "out").as_posix() for p in written] == names
    masks = [np.asarray(Image.open(p)) for p in written[2:]]
    total = np.sum([m[..., 0].astype(int) for m in masks], 0)
    assert abs(total - 255).max() <= 2
    inside = np.asarray(Image.open(written[4]))[..., 0] > 127
    assert (inside == (made.coast() == 2)).mean() > 0.97
    assert np.asarray(Image.open(written[1])).shape == (96, 128, 3)
    assert read_record(written[3])["region"] == "sea"
    assert file_name("../a b") == "_a_b"


def test_other_pictures_are_no_label_maps(tmp_path: Path) -> None:
    assert read_label_map(made.photograph(tmp_path / "a.png")) is None
    assert read_label_map(tmp_path / "nowhere.png") is None
    write_label_map(tmp_path / "b.png", torch.full((4, 5), 2), made.CLASSES, made.COLORS, {})
    assert read_label_map(tmp_path / "b.png") is not None
    data = bytearray((tmp_path / "b.png").read_bytes())
    (tmp_path / "c.png").write_bytes(data[: len(data) - 20])
    with pytest.raises(InputError, match=r"cannot read .*c\.png"):
        read_label_map(tmp_path / "c.png")
    write_label_map(tmp_path / "d.png", torch.full((4, 5), 2), made.CLASSES[:2], made.COLORS, {})
    with pytest.raises(InputError, match="has labels beyond the 2 classes that it names"):
        read_label_map(tmp_path / "d.png")
    with pytest.raises(InputError, match="a label map is a PNG"):
        write_label_map(tmp_path / "b.jpg", torch.zeros(4, 5), made.CLASSES, made.COLORS, {})


def test_the_command(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli_segment, "prepare_memory", lambda: None)
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        made.photograph(tmp_path / "photos" / f"{name}.png", 40, 48)
    (tmp_path / "photos" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert cli.main(["segment", str(tmp_path / "photos" / "a.png"), "--model", str(weights), "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["output"] == str(tmp_path / "photos" / "a-regions.png")
    assert sum(line["shares"].values()) == pytest.approx(1)
    (tmp_path / "photos" / "a-regions.png").unlink()
    out = tmp_path / "new" / "out"
    assert cli.main(["segment", str(tmp_path / "photos"), "-o", str(out), "--model", str(weights), "--size", "32"]) == 2
    told = capsys.readouterr().err
    assert "1 of 3 pictures failed" in told
    assert "torn.png" in told
    assert {p.name for p in out.iterdir()} >= {"a-regions.png", "a-overlay.png", "a-masks", "b-regions.png"}
    before = (out / "a-regions.png").stat().st_mtime_ns
    (tmp_path / "photos" / "torn.png").unlink()
    again = ["segment", str(tmp_path / "photos"), "-o", str(out), "--model", str(weights), "--skip-existing"]
    assert cli.main(again) == 0
    assert (out / "a-regions.png").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a.png", "b.png", "-o", "one.png"], "2 pictures cannot all become 'one.png': give a folder"),
        (["a.png", "-o", "map.jpg"], "a label map is a PNG"),
        (["a.png", "-o", "a.png"], "it is the input"),
        (["a.png", "--size", "3"], "size must be a whole number between 16 and 4096, not 3"),
        (["a.png", "--radius", "-1"], "radius must be a whole number between 0 and 64, not -1"),
        (["nowhere.png"], "nowhere.png"),
        (["a.png", "sub/a.png", "-o", "out"], "several pictures would become"),
        (["a.png", "--model", "onepass"], "a onepass model labels no pixels"),
        (["a.png", "--model", "nowhere.safetensors"], "no such file"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str],
    sentence: str,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli_segment, "prepare_memory", lambda: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.png", "sub/a.png"):
        made.photograph(tmp_path / name, 20, 24)
    given = arguments if "--model" in arguments else [*arguments, "--model", str(weights)]
    assert cli.main(["segment", *given]) == 2
    told = capsys.readouterr().err.strip()
    assert sentence in told
    assert told.count("\n") == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "sub"]


def test_wrong_options_are_named() -> None:
    with pytest.raises(InputError, match="unknown option 'sise': did you mean 'size'"):
        sfumato.segment("a.png", model="m", sise=3)
