"""The verb and the command: what changes, what must not, other programs' generators, bad input."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import test_stylegan2_foreign as foreign
from PIL import Image

import sfumato
from sfumato import cli, edit
from sfumato.edit import Editor
from sfumato.errors import InputError
from sfumato.models import classifier, encoder
from sfumato.picture.io import read_picture, write_picture
from sfumato.picture.record import read_record
from sfumato.weights.files import save_model

from .made import class_generator, plain_generator, psnr, style_generator

FAST: dict[str, Any] = {"features": "", "steps": 20, "segmenter": "none"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sfumato.cli_edit.prepare_memory", lambda: None)
    torch.manual_seed(0)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """48 x 40: a picture of the generator's own, enlarged, and margins of noise."""
    style_generator(tmp_path / "g.safetensors", ("calm", "smile"))
    editor = Editor("g.safetensors", **FAST)
    small = editor.decode(editor.space.draw([77]))
    picture = torch.rand(3, 40, 48, generator=torch.Generator().manual_seed(3))
    picture[:, 4:36, 8:40] = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")[0]
    write_picture("photo.png", picture)
    return Path("photo.png")


def test_only_pixels_inside_the_region_change(photo: Path) -> None:
    mask = np.zeros((40, 48, 3), np.uint8)
    mask[10:20, 15:30] = 255
    write_picture("mask.png", mask)
    made = edit(
        photo, model="g.safetensors", set=("smile=2",), only=("mask.png",), box="8,4,32,32", output="o.png", **FAST
    )
    before, after = read_picture(photo).rgb, read_picture("o.png").rgb
    changed = (before != after).any(2)
    assert changed[10:20, 15:30].mean() > 0.5
    changed[10:20, 15:30] = False
    assert not changed.any()
    record = read_record("o.png")
    assert record["settings"]["box"] == "8,4,32,32"
    assert record["settings"]["set"] == ["smile=2"]
    assert set(record["weights"]) == {"g.safetensors"}
    assert np.array_equal(made.rgb, edit(photo, model="g.safetensors", set=("smile=2",), only=("mask.png",),
                                         box="8,4,32,32", **FAST).rgb)  # fmt: skip


def test_a_box_bounds_the_change_and_no_change_is_none(photo: Path) -> None:
    before = read_picture(photo).rgb
    changed = (edit(photo, model="g.safetensors", set=("smile=2",), box="8,4,32,32", **FAST).rgb != before).any(2)
    assert changed[4:36, 8:40].mean() > 0.9
    changed[4:36, 8:40] = False
    assert not changed.any()
    assert np.array_equal(edit(photo, model="g.safetensors", set=("smile=0",), **FAST).rgb, before)
    # the generator's own pixels are those of the codes found, with all that it cannot make
    whole = edit(photo, model="g.safetensors", set=("smile=0",), box="8,4,32,32", whole=True, **FAST)
    assert (whole.rgb != before).any(2)[8:32, 12:36].mean() > 0.9


@pytest.mark.usefixtures("photo")
def test_the_change_is_the_directions() -> None:
    """On a picture of the generator's own size, away from clipping: the picture plus the generator's difference."""
    editor = Editor("g.safetensors", **FAST)
    small = (editor.decode(editor.space.draw([77])) * 0.2 + 0.4)[0]
    write_picture("small.png", small)
    strong = Editor("g.safetensors", set=("smile=0.3",), layers="2:4", **FAST)
    pixels = read_picture("small.png").rgb
    found = strong.inverted(torch.from_numpy(pixels).permute(2, 0, 1)[None], (0, 0, 16, 16))
    moved = found.codes.clone()
    moved[:, 2:4] += strong.direction("smile").at(found.codes, 0.3)[:, 2:4]
    wanted = torch.from_numpy(pixels).permute(2, 0, 1) + strong.decode(moved)[0] - found.pictures[0]
    torch.testing.assert_close(strong("small.png").tensor[0], wanted.clamp(0, 1), atol=1e-5, rtol=0)


def test_codes_by_hand(photo: Path) -> None:
    """`latent = encode(picture); latent[:, 2:4] += 0.5; decode(latent)` is what --layers 2:4 --add 0.5 does."""
    editor = Editor("g.safetensors", box="8,4,32,32", **FAST)
    latent = editor.encode(photo)
    assert latent.shape == (1, 6, 6)
    before = editor.decode(latent)
    latent[:, 2:4] += 0.5
    after = editor.decode(latent)
    assert after.shape == (1, 3, 16, 16)
    given = Editor("g.safetensors", layers="2:4", add=0.5, box="8,4,32,32", whole=True, **FAST)
    torch.testing.assert_close(given.changed(given.space, given.encode(photo), {}), after)
    assert psnr(before, after) < 60


@pytest.mark.usefixtures("photo")
def test_layers_of_another_picture() -> None:
    editor = Editor("g.safetensors", mix="other.png", layers="0:6", whole=True, **FAST)
    write_picture("other.png", editor.decode(editor.space.draw([5]))[0])
    write_picture("one.png", editor.decode(editor.space.draw([6]))[0])
    made, other = editor("one.png"), editor.decode(editor.encode("other.png"))
    torch.testing.assert_close(made.tensor, other, atol=1e-5, rtol=0)  # all layers: the other picture


def test_a_style_channel(photo: Path) -> None:
    assert not np.array_equal(
        edit(photo, model="g.safetensors", set=("b8.conv1:3=5",), **FAST).rgb, read_picture(photo).rgb
    )


@pytest.mark.parametrize("make", [plain_generator, class_generator])
def test_other_families(make: object, tmp_path: Path) -> None:
    make(tmp_path / "g.safetensors")  # type: ignore[operator]
    editor = Editor("g.safetensors", set=("sefa1=2", "pca2=-1"), **FAST)
    write_picture("one.png", editor.decode(editor.space.draw([6]))[0])
    assert not np.array_equal(editor("one.png").rgb, read_picture("one.png").rgb)
    with pytest.raises(InputError, match="style"):
        edit("one.png", model="g.safetensors", set=("first:0=1",), **FAST)


@pytest.mark.parametrize("kind", ["rosinality", "official"])
def test_another_programs_generator(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint in the foreign layout is converted, explored, and edits a picture by the same commands."""
    source = getattr(foreign, kind)(foreign.weights())
    assert cli.main(["convert", str(source), "-o", "ffhq.safetensors"]) == 0
    assert cli.main(["generate", "ffhq.safetensors", "-n", "1", "-o", "face.png"]) == 0
    words = ["--steps", "10", "--features", ""]
    assert (
        cli.main(["edit", "face.png", "--model", "ffhq.safetensors", "--set", "sefa1=+2", "-o", "o.png", *words]) == 0
    )
    assert not np.array_equal(read_picture("o.png").rgb, read_picture("face.png").rgb)
    assert cli.main(["edit", "--explore", "ffhq.safetensors", "-o", "sheet.png"]) == 0
    assert read_record("sheet.png")["settings"]["explore"][:2] == ["sefa1", "sefa2"]
    capsys.readouterr()


def test_the_command(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "g.safetensors", "--steps", "5", "--features", ""]
    assert cli.main(["edit", str(photo), *words, "--set", "smile=+1", "--json", "-o", "o.png"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["output"] == "o.png"
    assert line["psnr"] > 5
    assert cli.main(["edit", str(photo), *words, "--set", "smile=3", "--strip", "5", "-o", "strip.png", "-q"]) == 0
    assert Image.open("strip.png").size == (5 * 48, 48 + 36)
    assert cli.main(["edit", str(photo), *words, "--set", "smile=3", "--strip", "5", "-o", "strip.gif", "-q"]) == 0
    assert Image.open("strip.gif").n_frames > 5  # type: ignore[attr-defined]
    assert cli.main(["edit", "--explore", "g.safetensors", "--set", "smile=1", "-o", "all.gif", "-q"]) == 0
    assert Image.open("all.gif").size == (48, 48)
    capsys.readouterr()
    before = photo.read_bytes()
    assert cli.main(["edit", str(photo), *words, "--set", "smile=3", "--strip", "5", "-o", str(photo)]) == 2
    assert "is the photograph itself" in capsys.readouterr().err
    assert photo.read_bytes() == before
    assert cli.main(["edit", "--explore", "g.safetensors", "--model", "other.safetensors"]) == 2
    assert "give one" in capsys.readouterr().err
    assert cli.main(["edit", str(photo), *words, "--set", "smile=1", "-q"]) == 0
    assert Path("photo-edited.png").is_file()


@pytest.mark.usefixtures("photo")
def test_learnt_directions(capsys: pytest.CaptureFixture[str]) -> None:
    """A classifier's classes become a file of directions that --set knows."""
    c = classifier.Config(resolution=16, widths=(4,), hidden=4, classes=("dark", "bright"))
    network = classifier.Method(c).networks()["classifier"].eval().requires_grad_(False)
    for p in network.parameters():  # all positive but the first class's: the brighter, the likelier the second
        p.abs_()
    network.get_submodule("scores").get_parameter("weight")[0] *= -1
    save_model("c.safetensors", "classifier", asdict(c), {"classifier": network}, {}, dtype=torch.float32)
    assert cli.main(["edit", "--model", "g.safetensors", "--learn", "c.safetensors", "-o", "d.safetensors"]) == 0
    assert "bright" in capsys.readouterr().err
    editor = Editor("g.safetensors", directions=("d.safetensors",), **FAST)
    assert editor.names[:3] == ("calm", "smile", "bright")
    codes = editor.space.draw(range(2000, 2032))

    def score(k: float) -> torch.Tensor:
        found: torch.Tensor = network(editor.changed(editor.space, codes, {"bright": k}))
        gap: torch.Tensor = found[:, 1] - found[:, 0]
        return gap

    assert float((score(1.0) > score(0.0)).float().mean()) > 0.75


@pytest.mark.usefixtures("photo")
def test_directions_of_labelled_pictures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An encoder that says how bright a picture is: the way to "bright" is along that number."""
    folder = Path("labelled")
    rows = ["name,light,hat,beard"]
    for k in range(12):
        bright = k % 2
        write_picture(folder / f"{k}.png", torch.full((3, 16, 16), 0.2 + 0.5 * bright))
        rows.append(
            f"{k}.png,{('dark', 'bright')[bright]},{('none', 'cap')[k // 2 % 2]},{('none', 'full')[k // 4 % 2]}"
        )
    (folder / "labels.csv").write_text("\n".join(rows))
    config = encoder.Config(generator="g.safetensors", channels=2, features="")
    method = encoder.Method(config).fitted({})
    save_model("e.safetensors", "encoder", asdict(method.config), {"encoder": method.networks()["encoder"]}, {})

    def brightness(_self: object, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.mean((1, 2, 3))[:, None, None].expand(-1, 6, 6) * torch.eye(6)

    monkeypatch.setattr(encoder.Trained, "encode", brightness)
    asked = ["edit", "--model", "g.safetensors", "--learn", "labelled", "-o", "d.safetensors"]
    assert cli.main([*asked, "--label", "light", "hat", "beard", "--encoder", "e.safetensors"]) == 0
    editor = Editor("g.safetensors", directions=("d.safetensors",), **FAST)
    assert {"dark", "bright", "hat-none", "cap", "beard-none", "full"} <= set(editor.named)
    torch.testing.assert_close(editor.named["bright"].vector, 0.5 * torch.eye(6), atol=5e-3, rtol=0)
    torch.testing.assert_close(editor.named["cap"].vector, torch.zeros(6, 6), atol=5e-3, rtol=0)
    capsys.readouterr()
    assert cli.main([*asked, "--label", "light"]) == 2
    assert "need an encoder" in capsys.readouterr().err
    assert cli.main([*asked, "--label", "shoes", "--encoder", "e.safetensors"]) == 2
    assert "shoes" in capsys.readouterr().err
    assert cli.main(["edit", "photo.png", "--model", "g.safetensors", "--set", "smile=1", "--label", "light"]) == 2
    assert "--learn FOLDER --label COLUMN" in capsys.readouterr().err


def test_the_encoder_bundled_for_a_generator_is_used() -> None:
    """By the generator's name; an empty text for none."""
    editor = Editor("faces")
    assert editor.encoder is not None
    assert editor.encoder.config.generator_sha256 == editor.sha256
    assert set(editor.weights) == {"faces", "faces-encoder"}
    assert Editor("faces", encoder="").encoder is None


def test_bad_input(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture("small.png", np.zeros((10, 12, 3), np.uint8))
    write_picture("black.png", np.zeros((40, 48, 3), np.uint8))
    write_picture("white.png", np.full((40, 48, 3), 255, np.uint8))
    write_picture("tiny.png", np.zeros((4, 60, 3), np.uint8))
    write_picture("grey.png", np.full((16, 16, 3), 90, np.uint8))
    change = ["--set", "smile=1"]
    for words, says in (
        ([str(photo), "--set", "grin=1"], "has no direction 'grin'; it has calm, smile, sefa1"),
        ([str(photo), "--set", "smile"], "NAME=STRENGTH"),
        ([str(photo)], "say what to change"),
        ([str(photo), *change, "--only", "small.png"], "the mask 'small.png' is 12 x 10, the picture 48 x 40"),
        ([str(photo), *change, "--only", "black.png"], "all of it is black"),
        ([str(photo), *change, "--box", "30,0,32,32"], "does not lie inside"),
        ([str(photo), *change, "--box", "a"], "X,Y,W,H"),
        ([str(photo), *change, "--layers", "8:12"], "6 layers"),
        ([str(photo), "--add", "0.5"], "which layers"),
        (["tiny.png", *change], "too small"),
        (["nothing.png", *change], "no such file"),
        ([], "which picture"),
    ):
        assert cli.main(["edit", *words, "--model", "g.safetensors", "--features", "", "-o", "o.png"]) == 2, words
        text = capsys.readouterr().err
        assert says in text
        assert not Path("o.png").exists()
    assert cli.main(["edit", str(photo), *change]) == 2
    assert "which generator" in capsys.readouterr().err
    fast = ["--model", "g.safetensors", "--features", "", "--steps", "2", "-o", "o.png"]
    for words, says in ((["grey.png"], "is grey"), ([str(photo), "--only", "white.png"], "white all over")):
        assert cli.main(["edit", *words, *change, *fast]) == 0
        assert says in capsys.readouterr().err


@pytest.mark.usefixtures("photo")
def test_a_picture_that_is_none_of_the_generators() -> None:
    board = (np.indices((16, 16)).sum(0) % 2).astype(np.float32)[..., None].repeat(3, 2)
    assert any("hardly what this generator makes" in n for n in
               edit(board, model="g.safetensors", set=("smile=1",), **FAST).notes)  # fmt: skip
    y, x = np.mgrid[0:16, 0:16] / 15 - 0.5
    disk = (x**2 + y**2 < 0.1).astype(np.float32)[..., None].repeat(3, 2)
    plain, tuned = (edit(disk, model="g.safetensors", set=("smile=1",), tune=t, **FAST) for t in (0, 200))
    before, after = (r.record["reconstruction"]["psnr"] for r in (plain, tuned))
    assert after > before + 10  # tuned, it makes the disk; what it knows of disks is as little as before
    assert any(f"before tuning its likeness has {before:.1f} dB" in n for n in tuned.notes)
    editor = Editor("g.safetensors", set=("smile=1",), features="", steps=60)
    own = editor.decode(editor.space.draw([77]))[0]
    assert not editor(own).notes


def test_the_bundled_faces_know_a_face_from_a_cat() -> None:
    cat = Path(sfumato.__file__).parent / "demo" / "photos" / "cat.jpg"
    editor = Editor("faces", set=("laugh=1",), tune=0, segmenter="none")
    own = editor.decode(editor.space.draw([77]))[0]
    assert any("hardly what this generator makes: its likeness" in n for n in editor(cat).notes)
    assert not any("hardly" in n for n in editor(own).notes)


def test_with_the_encoder_alone_only_what_is_far_off_is_warned_of() -> None:
    editor = Editor("portraits", set=("hair-full=2",), steps=0, segmenter="none")
    faces = editor.decode(editor.space.draw(range(6)))
    assert not any("hardly" in n for face in faces for n in editor(face).notes)
    wave = Path(sfumato.__file__).parent / "demo" / "paintings" / "great_wave.jpg"
    assert any("hardly what this generator makes" in n for n in editor(wave).notes)
