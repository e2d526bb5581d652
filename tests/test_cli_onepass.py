"""`sfumato stylize --method onepass`: variations, folders, bad weights; with random weights."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from stylize.made import array
from stylize.trained import networks, weights

from sfumato import cli
from sfumato.picture.io import read_picture, write_picture
from sfumato.picture.record import read_record
from sfumato.stylize import painter
from sfumato.weights.files import save_model

ONEPASS = ("--method", "onepass", "--refine", "0", "--device", "cpu", "--model", "w.safetensors")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with in/a.png, in/b.png, style.png and w.safetensors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "prepare_memory", lambda: None)
    for seed, name in enumerate(("in/a", "in/b", "style")):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_picture(tmp_path / f"{name}.png", array(40, 56, seed))
    weights(tmp_path / "w.safetensors")
    return tmp_path


def run(*arguments: object) -> int:
    return cli.main([*map(str, arguments), *ONEPASS])


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_main_job(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("stylize", "in/a.png", "style.png", "-o", "out.png") == 0
    assert np.abs(read_picture(here / "out.png").rgb - read_picture(here / "in/a.png").rgb).mean() > 0.05
    assert capsys.readouterr().err == "wrote out.png\n"
    assert read_record(here / "out.png")["weights"].keys() == {"w.safetensors"}


def test_variations_are_seeds_and_a_sheet(here: Path) -> None:
    assert run("stylize", "in/a.png", "style.png", "-o", "out/x.png", "-n", "3", "--seed", "5", "--quiet") == 0
    assert sorted(files(here / "out")) == ["x-1.png", "x-2.png", "x-3.png", "x-sheet.png"]
    for k in (1, 2, 3):
        assert read_record(here / f"out/x-{k}.png")["settings"]["seed"] == 4 + k
        assert run("stylize", "in/a.png", "style.png", "-o", "one.png", "--seed", 4 + k, "--quiet") == 0
        assert (here / "one.png").read_bytes() == (here / f"out/x-{k}.png").read_bytes()
    sheet = read_picture(here / "out/x-sheet.png")
    assert (sheet.height, sheet.width) == (640, 640)
    cells = [sheet.rgb[y : y + 320, x : x + 320] for y in (0, 320) for x in (0, 320)]
    for cell, path in zip(cells, ("in/a.png", "out/x-1.png", "out/x-2.png", "out/x-3.png"), strict=True):
        np.testing.assert_allclose(cell[60:260, 10:310].mean((0, 1)), read_picture(path).rgb.mean((0, 1)), atol=0.05)


def test_variations_go_on_from_a_record_s_seed_and_skip_what_is_there(here: Path) -> None:
    assert run("stylize", "in/a.png", "style.png", "-o", "x.png", "--seed", "7", "--quiet") == 0
    assert cli.main(["stylize", "in/a.png", "--like", "x.png", "-o", "y.png", "-n", "2", "--quiet"]) == 0
    assert (here / "y-1.png").read_bytes() == (here / "x.png").read_bytes()
    (here / "y-1.png").write_bytes((here / "y-2.png").read_bytes())
    (here / "y-2.png").unlink()
    (here / "y-sheet.png").unlink()
    mine = (here / "y-1.png").read_bytes()
    again = ["stylize", "in/a.png", "--like", "x.png", "-o", "y.png", "-n", "2", "--quiet", "--skip-existing"]
    assert cli.main(again) == 0
    assert (here / "y-1.png").read_bytes() == mine == (here / "y-2.png").read_bytes()
    before = {p.name: p.stat().st_mtime_ns for p in here.iterdir()}
    assert cli.main(again) == 0
    assert {p.name: p.stat().st_mtime_ns for p in here.iterdir()} == before


def test_a_folder_is_painted_with_one_bad_file_told_at_the_end(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "in/aa.png").write_bytes(b"broken")
    loads, load = [], painter.load_model
    monkeypatch.setattr(painter, "load_model", lambda *a: (loads.append(a), load(*a))[1])
    painter._load.cache_clear()
    assert run("stylize", "in", "style.png", "-o", "out", "-n", "2") == 2
    assert sorted(files(here / "out")) == [f"{n}-style-{k}.png" for n in "ab" for k in ("1", "2", "sheet")]
    err = capsys.readouterr().err
    assert "1 of 3 pictures failed" in err.splitlines()[-2]
    assert "aa.png" in err.splitlines()[-1]
    assert len(loads) == 1


def test_a_bad_style_is_told_once_and_ends_the_work(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "style.png").write_bytes(b"broken")
    assert run("stylize", "in", "style.png", "-o", "out") == 2
    assert "cannot read 'style.png'" in capsys.readouterr().err
    assert not (here / "out").exists()


def test_a_mask_for_each_style(here: Path) -> None:
    left = np.repeat([[[1.0], [0.0]]], 3, 2).astype(np.float32)
    write_picture(here / "left.png", left)
    write_picture(here / "right.png", left[:, ::-1])
    arguments = ["stylize", "in/a.png", "-s", "style.png", "in/b.png", "--mask", "left.png", "right.png"]
    assert run(*arguments, "-o", "out.png", "--feather", "2") == 0
    assert [Path(i["name"]).stem for i in read_record(here / "out.png")["inputs"]] == [
        "a",
        "style",
        "b",
        "left",
        "right",
    ]
    change = np.abs(read_picture(here / "out.png").rgb - read_picture(here / "in/a.png").rgb)
    assert change.mean((0, 2)).min() > 0.01


@pytest.mark.usefixtures("here")
def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("stylize", "in/a.png", "style.png", "-o", "out.png", "-n", "2", "--json", "--tile", "32") == 0
    captured = capsys.readouterr()
    results = [json.loads(line) for line in captured.out.splitlines()]
    assert [r["output"] for r in results] == ["out-1.png", "out-2.png"]
    assert all(r["complete"] and r["steps"] == 1 for r in results)
    steps = [json.loads(line) for line in captured.err.splitlines() if "step" in json.loads(line)]
    assert [s["step"] for s in steps] == list(range(1, steps[0]["total"] + 1)) * 2


BAD: list[tuple[list[str], str]] = [
    (["--steps", "9"], "steps is not an option of the method onepass: leave it out, or take method optimise"),
    (["--tv-weight", "2", "--refine", "0"], "tv_weight is not an option of the method onepass"),
    (["--preset", "fine"], "the preset 'fine' is of the method optimise, not of onepass"),
    (["--refine", "-1"], "refine must be a whole number between 0 and 100000"),
    (["-n", "0"], "variations must be a whole number of at least 1"),
    (["-n", "two"], "-n"),
    (["--mask", "style.png", "style.png"], "2 masks for 1 styles"),
    (["--max-memory", "10MiB"], "more than the 0.01 GiB of memory allowed"),
    (["--model", "nowhere.safetensors"], "nowhere.safetensors: no such file"),
    (["--model", "nosuch"], "unknown model 'nosuch'"),
    (["--model", "in"], "in: a folder without weights.safetensors"),
    (["--model", "style.png"], "style.png: not a safetensors file"),
    (["--model", "cut.safetensors"], "cut.safetensors: cut short"),
    (["--model", "pickle.pt"], "pickle.pt: refused, a PyTorch or pickle file"),
    (["--model", "other.safetensors"], "is a crossdomain model, onepass wanted"),
    (["--model", "newer.safetensors"], "made by a newer sfumato (format 2"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_sentence_and_nothing_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    data = (here / "w.safetensors").read_bytes()
    (here / "cut.safetensors").write_bytes(data[:-50])
    (here / "newer.safetensors").write_bytes(data.replace(b'\\"format\\": 1', b'\\"format\\": 2'))
    generator, _ = networks()
    torch.save(generator.state_dict(), here / "pickle.pt")
    save_model(here / "other.safetensors", "crossdomain", {}, {"generator": generator}, {})
    before = files(here)
    base = ["--method", "onepass", *(() if "--model" in arguments else ("--model", "w.safetensors"))]
    assert cli.main(["stylize", "in/a.png", "style.png", "-o", "out.png", *base, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("sfumato: ")
    assert captured.err.count("\n") == 1
    assert sentence in captured.err
    assert files(here) == before


def test_one_pass_in_a_process_of_its_own_leaves_the_optimiser_s_weights_alone(here: Path) -> None:
    """The installed command, start to end; VGG-19's weights are not even looked for."""
    code = (
        "import sys; from sfumato import cli; from sfumato.features import sources\n"
        "sources.wheel_weights = None; sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "stylize", "in/a.png", "style.png", "-o", "out.png", *ONEPASS]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read_picture(here / "out.png").width == 56
