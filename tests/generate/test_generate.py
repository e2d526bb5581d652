"""The verb `generate`: sheets, single pictures, ways between seeds, turned codes, and the seeds' promise."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from sfumato import generate
from sfumato.cli import main
from sfumato.errors import InputError
from sfumato.generate import sampling, shown, traverse, walk
from sfumato.generate.sampling import BATCH, class_number, load_sampler, paint
from sfumato.generate.shown import MARGIN, SMALLEST_CELL, between, write_mp4
from sfumato.picture.record import read_record

from .made import plain, with_codes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain(tmp_path_factory.mktemp("model") / "faces.safetensors")


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_codes(tmp_path_factory.mktemp("model") / "coded.safetensors")


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_seed_gives_the_same_picture_whatever_n_is(model: Path) -> None:
    one, many = generate(model, count=3, seed=5), generate(model, count=2 * BATCH + 5, seed=5)
    assert torch.equal(one.pictures, many.pictures[:3])
    later = generate(model, count=1, seed=5 + BATCH + 2)
    torch.testing.assert_close(later.pictures[0], many.pictures[BATCH + 2], rtol=0, atol=1e-5)
    assert many.seeds == tuple(range(5, 5 + 2 * BATCH + 5))
    assert (many.pictures[0] - many.pictures[1]).abs().max() > 0.05


def test_batches_are_always_of_one_size(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, _ = load_sampler(model)
    seen, inner = list[int](), sampler.paint

    def counted(latents: Tensor) -> Tensor:
        seen.append(len(latents))
        return inner(latents)

    monkeypatch.setattr(sampler, "paint", counted)
    assert len(paint(sampler, sampler.draw(range(BATCH + 1)))) == BATCH + 1
    assert seen == [BATCH, BATCH]


def test_sheet_and_single_pictures_hold_the_same_pixels_and_a_record(model: Path, tmp_path: Path) -> None:
    made = generate(model, count=5, seed=8, columns=3, scale=2, output=tmp_path / "sheet.png")
    sheet = pixels(tmp_path / "sheet.png")
    assert sheet.shape == (2 * 32, 3 * 32, 3)
    assert (sheet[32:, 64:] == 255).all()  # there is no sixth
    written = made.save(tmp_path / "each")
    assert [p.name for p in written] == ["seed-08.png", "seed-09.png", "seed-10.png", "seed-11.png", "seed-12.png"]
    np.testing.assert_array_equal(pixels(written[4]), sheet[32:, 32:64])
    np.testing.assert_array_equal(pixels(written[4])[::2, ::2], pixels(written[4])[1::2, 1::2])
    record = read_record(written[4])
    assert (record["verb"], record["settings"]["seed"], record["settings"]["count"]) == ("generate", 12, 1)
    assert record["weights"] == {str(model): load_sampler(model)[1]}
    again = generate(model, **{k: record["settings"][k] for k in ("seed", "count", "truncation", "class_")})
    torch.testing.assert_close(again.pictures[0], made.pictures[4], rtol=0, atol=1e-5)


def test_truncation_gives_up_variety(model: Path) -> None:
    spread = [generate(model, count=24, truncation=t).pictures.std(0).mean() for t in (0.0, 0.3, 1.0)]
    assert spread[0] == 0
    assert 0 < spread[1] < spread[2]


def test_a_strip_goes_from_seed_to_seed(model: Path, tmp_path: Path) -> None:
    walk(model, tmp_path / "strip.png", count=3, seed=4, frames=5)
    strip = pixels(tmp_path / "strip.png").astype(int)
    assert strip.shape == (2 * 16, 5 * 16, 3)
    ends = (generate(model, count=3, seed=4).pictures.permute(0, 2, 3, 1) * 255).round().numpy().astype(int)
    for row in range(2):
        across = strip[16 * row : 16 * row + 16].reshape(16, 5, 16, 3).swapaxes(0, 1)
        assert abs(across[0] - ends[row]).max() <= 1
        assert abs(across[4] - ends[row + 1]).max() <= 1
        steps = np.abs(np.diff(across, axis=0)).mean((1, 2, 3))
        assert steps.max() < np.abs(across[4] - across[0]).mean()  # no jump


def test_a_gif_goes_round(model: Path, tmp_path: Path) -> None:
    walk(model, tmp_path / "walk.gif", count=3, frames=4, scale=2)
    image = Image.open(tmp_path / "walk.gif")
    frames = [np.asarray(f.convert("RGB")).astype(int) for f in ImageSequence.Iterator(image)]
    assert image.info["loop"] == 0
    assert len(frames) == 3 * 4
    assert frames[0].shape == (32, 32, 3)
    gaps = [np.abs(a - b).mean() for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert gaps[-1] < 3 * np.median(gaps)  # the end meets the beginning


def test_a_video_goes_round_as_the_gif_does(model: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    walk(model, tmp_path / "walk.mp4", count=3, frames=4, scale=2)
    with av.open(str(tmp_path / "walk.mp4")) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == pytest.approx(1000 / 60, rel=1e-3)
        frames = [f.to_ndarray(format="rgb24") / 255 for f in file.decode(stream)]
    sampler, _ = load_sampler(model)
    wanted = [p.permute(1, 2, 0).numpy() for p in between(sampler, sampler.draw((1, 2, 3)), 4, closed=True)]
    assert len(frames) == len(wanted) == 3 * 4
    bright = np.array([0.299, 0.587, 0.114])  # colours have half the sides in the file
    seen = [frame @ bright for frame in frames]
    true = [picture.repeat(2, 0).repeat(2, 1) @ bright for picture in wanted]
    own = np.mean([np.abs(a - b).mean() for a, b in zip(seen, true, strict=True)])
    late = np.mean([np.abs(a - b).mean() for a, b in zip(seen, [*true[1:], true[0]], strict=True)])
    assert own < 0.02
    assert own < 0.8 * late  # each is nearest to its own picture
    write_mp4(tmp_path / "odd.mp4", torch.rand(2, 3, 17, 15), 1)
    with av.open(str(tmp_path / "odd.mp4")) as file:
        assert {f.to_ndarray(format="rgb24").shape for f in file.decode(video=0)} == {(18, 16, 3)}


def test_a_walk_nowhere_is_refused_before_any_painting(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "between", lambda *_, **__: pytest.fail("painted"))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'sfumato\[video\]'; a GIF needs none"):
        walk(model, tmp_path / "walk.mp4")
    with pytest.raises(InputError, match="unknown picture extension"):
        walk(model, tmp_path / "walk.xyz")


def test_turned_codes_are_a_labelled_grid(coded: Path, tmp_path: Path) -> None:
    traverse(coded, tmp_path / "codes.png", count=2, seed=3)
    grid, cell = pixels(tmp_path / "codes.png"), SMALLEST_CELL
    blocks, rows = 3, 2 * cell + 2 * MARGIN
    assert grid.shape == (blocks * rows, 9 * cell, 3)  # the widest block has nine values
    assert (grid[2 * MARGIN : rows, 3 * cell :] == 255).all()  # the category has three
    for block in range(blocks):
        head = grid[block * rows : block * rows + 2 * MARGIN]
        assert (head[:MARGIN] < 128).any()  # a title
        assert (head[MARGIN:, :cell] < 128).any()  # and a label above the first column
    sampler, _ = load_sampler(coded)
    z = sampler.draw((3, 4))
    wanted = paint(sampler, sampler.turn(z, "category", 2))[1].permute(1, 2, 0)
    found = grid[2 * MARGIN + cell : rows, 2 * cell : 3 * cell][::6, ::6] / 255
    np.testing.assert_allclose(found, wanted, atol=0.01)


class Classes:
    """A sampler of three classes, each of one colour."""

    size, codes = (8, 8), ()
    classes = ("red", "green", "blue")

    def draw(self, seeds: range, *, truncation: float = 1.0, label: int | None = None) -> Tensor:
        numbers = torch.tensor([(s if label is None else label) % 3 for s in seeds])
        return truncation * torch.eye(3)[numbers]

    def paint(self, latents: Tensor) -> Tensor:
        return latents[:, :, None, None].expand(-1, 3, 8, 8)


def test_classes_by_name_by_number_and_all(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sampling, "load_sampler", lambda *_: (Classes(), "0"))
    assert generate(model, count=4, class_="green").pictures[:, :, 0, 0].argmax(1).tolist() == [1] * 4
    assert generate(model, count=2, class_="2").pictures[:, :, 0, 0].argmax(1).tolist() == [2] * 2
    assert generate(model, count=4, seed=0).pictures[:, :, 0, 0].argmax(1).tolist() == [0, 1, 2, 0]
    every = generate(model, count=2, class_="all")
    assert (every.seeds, every.columns) == ((1, 1, 1, 2, 2, 2), 3)
    assert every.pictures[:, :, 0, 0].argmax(1).tolist() == [0, 1, 2] * 2
    assert [p.name for p in every.save(tmp_path / "x")] == [f"seed-{s}-{k}.png" for s in (1, 2) for k in range(3)]
    with pytest.raises(InputError, match=r"unknown class 'yellow': did you mean .*red, green, blue"):
        class_number(Classes(), "yellow")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"count": 0}, "count must be a whole number between 1 and 100000, not 0"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"truncation": 3.0}, "truncation must be between 0 and 2, not 3"),
        ({"truncation": float("nan")}, "truncation must be a number"),
        ({"class_": "cat"}, "this model knows no classes"),
        ({"seeds": 3}, "unknown option 'seeds': did you mean 'seed'"),
        ({"device": "gpu"}, "unknown device"),
        ({"output": "out.xyz"}, "unknown picture extension '.xyz'"),
    ],
)
def test_mistakes_are_one_sentence(model: Path, given: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        generate(model, **given)  # type: ignore[arg-type]


def test_models_that_make_no_pictures_say_which_do(tmp_path: Path) -> None:
    from sfumato.weights.files import save_model

    save_model(tmp_path / "c.safetensors", "classifier", {}, {"x": torch.nn.Linear(2, 2)}, {})
    with pytest.raises(InputError, match=r"a classifier model makes no pictures of its own; these do: .*gan, dcgan"):
        generate(tmp_path / "c.safetensors")


def test_the_command(model: Path, coded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(model), "-n", "4", "--seed", "3", "-o", str(tmp_path / "s.png"), "--quiet"]) == 0
    assert pixels(tmp_path / "s.png").shape == (32, 32, 3)
    assert main(["generate", str(model), "-n", "2", "-o", str(tmp_path / "folder"), "--json"]) == 0
    assert '"output": ["' in capsys.readouterr().out
    assert len(list((tmp_path / "folder").iterdir())) == 2
    assert main(["generate", str(model), "--walk", "-n", "2", "--frames", "3", "-o", str(tmp_path / "w.gif")]) == 0
    assert main(["generate", str(coded), "--codes", "-n", "1", "-o", str(tmp_path / "c.png")]) == 0
    assert main(["generate", str(model), "--codes", "-o", str(tmp_path / "d.png")]) == 2
    assert "no named codes to turn: an infogan has" in capsys.readouterr().err
    assert main(["generate", str(model), "--codes", "--walk"]) == 2
