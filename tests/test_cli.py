"""The command line: exit codes, one sentence for what is wrong, and nothing half-written.

Mostly in this process, with a narrow network in place of VGG-19; what needs a process of its own gets one.
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from stylize.made import array, narrow

from sfumato import cli
from sfumato.picture.io import read_picture, write_picture
from sfumato.picture.record import read_record
from sfumato.stylize import work

QUICK = ("--method", "optimise", "--min-size", "16", "--steps", "3", "--precision", "float32", "--device", "cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a.png, b.png and style.png, and a narrow network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "prepare_memory", lambda: None)  # this process's allocator is not the command's
    monkeypatch.setattr(work, "load_features", lambda _, **given: narrow(**given, dtype=torch.float32))
    for seed, name in enumerate(("a", "b", "style")):
        write_picture(tmp_path / f"{name}.png", array(40, 56, seed))
    return tmp_path


def run(*arguments: object, quick: bool = True) -> int:
    return cli.main([*map(str, arguments), *(QUICK if quick else ())])


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def is_one_sentence(text: str) -> bool:
    return text.startswith("sfumato: ") and text.count("\n") == 1 and "Traceback" not in text


def test_the_main_job(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("stylize", "a.png", "style.png", "-o", "out.png") == 0
    out = read_picture(here / "out.png")
    assert (out.height, out.width) == (40, 56)
    assert np.abs(out.rgb - read_picture(here / "a.png").rgb).mean() > 0.005
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "wrote out.png" in captured.err
    assert "Traceback" not in captured.err


def test_without_an_output_the_result_lies_beside_the_photograph(here: Path) -> None:
    assert run("stylize", "a.png", "style.png") == 0
    assert (here / "a-style.png").is_file()


def test_an_output_folder_is_made(here: Path) -> None:
    assert run("stylize", "a.png", "style.png", "-o", "new/folder") == 0
    assert (here / "new" / "folder" / "a-style.png").is_file()


def test_an_old_output_is_replaced(here: Path) -> None:
    (here / "out.png").write_bytes(b"old")
    assert run("stylize", "a.png", "style.png", "-o", "out.png") == 0
    assert read_picture(here / "out.png").width == 56


BAD: list[tuple[list[str], str]] = [
    (["stylise", "a.png", "style.png"], "unknown verb 'stylise': did you mean 'stylize'"),
    (["stylize", "a.png"], "a style picture is missing"),
    (["stylize"], "INPUTS"),
    (["stylize", "nowhere.png", "style.png"], "cannot read 'nowhere.png': no such file"),
    (["stylize", "a.png", "nowhere.png"], "cannot read 'nowhere.png': no such file"),
    (["stylize", "a.png", "empty.png"], "'empty.png'"),
    (["stylize", "a.png", "text.png"], "'text.png'"),
    (["stylize", "cut.png", "style.png"], "'cut.png'"),
    (["stylize", "void", "style.png"], "'void' is a folder without pictures"),
    (["stylize", "*.gif", "style.png"], "nothing matches '*.gif'"),
    (["stylize", "a.png", "style.png", "-o", "a.png"], "it is the input 'a.png'"),
    (["stylize", "a.png", "style.png", "-o", "style.png"], "it is the input 'style.png'"),
    (["stylize", "a.png", "style.png", "-o", "link.png"], "it is the input"),
    (["stylize", "a.png", "style.png", "-o", "out.xyz"], "'.xyz'"),
    (["stylize", "a.png", "style.png", "-o", "a.png/out.png"], "not a directory"),
    (["stylize", "a.png", "b.png", "-s", "style.png", "-o", "out.png"], "give a folder"),
    (["stylize", "a.png", "style.png", "--preview", "b.xyz"], "'.xyz'"),
    (["stylize", "a.png", "style.png", "--preview", "a.png"], "it is the input"),
    (["stylize", "a.png", "style.png", "--size", "0"], "size must be"),
    (["stylize", "a.png", "style.png", "--size", "-5"], "size"),
    (["stylize", "a.png", "style.png", "--size", "big"], "size"),
    (["stylize", "a.png", "style.png", "--preset", "gatys"], "unknown preset 'gatys': did you mean 'gatys2016'"),
    (["stylize", "a.png", "style.png", "--method", "optimize"], "optimi"),
    (["stylize", "a.png", "style.png", "--device", "gpu"], "unknown device 'gpu': did you mean"),
    (["stylize", "a.png", "style.png", "--device", "cuda:99"], "not to be had"),
    (["stylize", "a.png", "style.png", "--style-layers", "relu9_1"], "unknown layer 'relu9_1': did you mean"),
    (["stylize", "a.png", "style.png", "--content-layers", "conv4-2"], "did you mean 'conv4_2'"),
    (["stylize", "a.png", "style.png", "--statistics", "grm"], "gram"),
    (["stylize", "a.png", "style.png", "--strength", "2"], "strength must be a number between 0 and 1"),
    (["stylize", "a.png", "style.png", "--strength", "much"], "strength"),
    (["stylize", "a.png", "style.png", "--stregth", "0.5"], "--strength"),
    (["stylize", "a.png", "style.png", "--style-weights", "1", "2"], "2 style_weights for 1 styles"),
    (["stylize", "a.png", "style.png", "--time-budget", "soon"], "'soon' is not a time"),
    (["stylize", "a.png", "style.png", "--max-memory", "lots"], "'lots' is not an amount of memory"),
    (["stylize", "a.png", "style.png", "--max-memory", "10MiB"], "more than the 0.01 GiB of memory allowed"),
    (["stylize", "a.png", "style.png", "--mask", "nowhere.png"], "no such file"),
    (["stylize", "a.png", "style.png", "--mask", "black.png"], "mask 'black.png' is empty"),
    (["stylize", "a.png", "style.png", "--style-mask", "black.png"], "mask 'black.png' is empty"),
    (["stylize", "a.png", "style.png", "--style-mask", "none", "--style-mask", "none"], "2 style masks for 1 styles"),
    (["stylize", "a.png", "style.png", "--like", "a.png"], "'a.png' carries no sfumato record"),
    (["stylize", "a.png", "--like", "nowhere.png"], "no such file"),
    (["stylize", "a.png", "--like", "other.png"], "was made by 'segment', not by stylize"),
    (["stylize", "a.png", "--like", "odd.png"], "'odd.png'"),
    (["stylize", "a.png", "style.png", "--like", "other.png"], "not by stylize"),
    (["inspect", "a.png"], "carries no sfumato record"),
    (["inspect", "nowhere.png"], "no such file"),
    (["inspect", "text.png"], "'text.png'"),
    (["inspect"], "PICTURE"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_sentence_and_nothing_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    (here / "empty.png").touch()
    (here / "text.png").write_text("not a picture")
    (here / "cut.png").write_bytes((here / "a.png").read_bytes()[:900])
    (here / "link.png").symlink_to("a.png")
    (here / "void").mkdir()
    write_picture(here / "black.png", np.zeros((9, 9, 3), np.float32))
    write_picture(here / "other.png", array(8, 8, 0), record={"verb": "segment", "settings": {}})
    write_picture(here / "odd.png", array(8, 8, 0), record={"verb": "stylize"})
    before = files(here)
    assert run(*arguments, quick=False) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert is_one_sentence(captured.err), captured.err
    assert sentence in captured.err
    assert files(here) == before


def test_progress_that_was_shown_does_not_spoil_the_sentence(here: Path) -> None:
    """With the bar of a terminal too, the message stands alone on the last line."""
    done = subprocess.run(
        [sys.executable, "-m", "sfumato.cli", "stylize", "a.png", "nowhere.png"],
        cwd=here,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert is_one_sentence(done.stderr), done.stderr


def test_several_photographs_and_skip_existing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "in").mkdir()
    for name in ("a", "b"):
        (here / f"{name}.png").rename(here / "in" / f"{name}.png")
    (here / "in" / "notes.txt").write_text("not a picture")
    assert run("stylize", "in", "style.png", "-o", "out") == 0
    assert sorted(files(here / "out")) == ["a-style.png", "b-style.png"]
    made = files(here / "out")
    (here / "out" / "a-style.png").write_bytes(b"mine")
    assert run("stylize", "in/*.png", "style.png", "-o", "out", "--skip-existing") == 0
    assert (here / "out" / "a-style.png").read_bytes() == b"mine"
    (here / "out" / "a-style.png").unlink()
    assert run("stylize", "in/?.png", "style.png", "-o", "out", "--skip-existing", "--quiet") == 0
    assert files(here / "out") == made
    assert run("stylize", "in/a.png", "in/b.png", "--style", "style.png", "-o", "two") == 0
    assert files(here / "two") == made
    assert "Traceback" not in capsys.readouterr().err


def test_one_bad_photograph_of_several_does_not_stop_the_others(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "in").mkdir()
    for name in ("a", "b"):
        (here / f"{name}.png").rename(here / "in" / f"{name}.png")
    (here / "in" / "aa.png").write_bytes(b"broken")
    assert run("stylize", "in", "style.png", "-o", "out") == 2
    assert sorted(files(here / "out")) == ["a-style.png", "b-style.png"]
    err = capsys.readouterr().err
    assert "1 of 3 pictures failed" in err
    assert "aa.png" in err


def test_several_styles_with_weights_and_masks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture(here / "half.png", np.repeat([[[1.0]], [[0.0]]], 3, 2).astype(np.float32))
    arguments = ["stylize", "a.png", "--style", "style.png", "b.png", "--style-weights", "3", "1", "-o", "out.png"]
    assert run(*arguments, "--style-mask", "half.png", "--style-mask", "none", "--mask", "half.png") == 0
    record = read_record(here / "out.png")
    assert record["styles"] == 2
    assert record["settings"]["style_weights"] == [3.0, 1.0]
    assert [Path(i["name"]).name for i in record["inputs"]] == ["a.png", "style.png", "b.png", "half.png", "half.png"]
    assert "resized" in capsys.readouterr().err


def test_inspect_prints_the_record(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("stylize", "a.png", "style.png", "-o", "out.png", "--seed", "5") == 0
    capsys.readouterr()
    assert cli.main(["inspect", "out.png"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == read_record(here / "out.png")
    assert printed["settings"]["seed"] == 5
    assert printed["settings"]["min_size"] == 16


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif", "bmp"])
def test_like_makes_the_same_picture_again_with_the_recorded_style(here: Path, extension: str) -> None:
    first, second = here / f"out.{extension}", here / f"again.{extension}"
    assert run("stylize", "a.png", "style.png", "-o", first, "--seed", "5") == 0
    assert run("stylize", "a.png", "--like", first, "-o", second, quick=False) == 0
    assert first.read_bytes() == second.read_bytes()
    assert read_record(first) == read_record(second)


def test_like_with_another_photograph_and_another_style(here: Path) -> None:
    assert run("stylize", "a.png", "style.png", "-o", "out.png", "--seed", "5") == 0
    assert run("stylize", "b.png", "--like", "out.png", "-o", "b-out.png", quick=False) == 0
    assert run("stylize", "b.png", "style.png", "--seed", "5", "-o", "b-out2.png") == 0
    np.testing.assert_array_equal(read_picture(here / "b-out.png").rgb, read_picture(here / "b-out2.png").rgb)
    assert run("stylize", "b.png", "--style", "a.png", "--like", "out.png", "-o", "c.png", quick=False) == 0
    assert Path(read_record(here / "c.png")["inputs"][1]["name"]).name == "a.png"


def test_like_whose_style_is_gone_or_changed_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("stylize", "a.png", "style.png", "-o", "out.png") == 0
    write_picture(here / "style.png", array(10, 10, 9))
    before = files(here)
    for _ in range(2):
        capsys.readouterr()
        assert run("stylize", "b.png", "--like", "out.png", "-o", "c.png", quick=False) == 2
        err = capsys.readouterr().err
        assert is_one_sentence(err)
        assert "not there or has changed: give it with --style" in err
        (here / "style.png").unlink(missing_ok=True)
        before.pop("style.png", None)
    assert files(here) == before


def test_json_lines(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture(here / "half.png", np.repeat([[[1.0]], [[0.0]]], 3, 2).astype(np.float32))
    assert run("stylize", "a.png", "style.png", "-o", "out.png", "--mask", "half.png", "--json") == 0
    captured = capsys.readouterr()
    (result,) = (json.loads(line) for line in captured.out.splitlines())
    lines = [json.loads(line) for line in captured.err.splitlines()]
    steps = [line for line in lines if "step" in line]
    assert result["output"] == "out.png"
    assert result["complete"] is True
    assert result["steps"] == len(steps) == steps[-1]["step"] == steps[-1]["total"]
    assert [s["step"] for s in steps] == list(range(1, len(steps) + 1))
    assert steps[-1]["size"] == [40, 56]
    assert all(np.isfinite(s["losses"]["total"]) for s in steps)
    assert any("resized" in line.get("note", "") for line in lines)


@pytest.mark.usefixtures("here")
def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("stylize", "a.png", "style.png", "-o", "out.png", "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_preview_is_kept_up_to_date(here: Path) -> None:
    assert run("stylize", "a.png", "style.png", "-o", "out.png", "--preview", "seen.png") == 0
    assert read_picture(here / "seen.png").width in (22, 56)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_the_old_output_stays(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (here / "out.png").write_bytes(b"old")
    before = files(here)
    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
    assert run("stylize", "a.png", "style.png", "-o", "out.png", "--quiet") == 2
    err = capsys.readouterr().err
    assert is_one_sentence(err)
    assert "no space left on device" in err
    assert files(here) == before


def test_a_nan_says_so_and_the_last_good_picture_is_kept(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sfumato.features.vgg import VGG19

    plain, calls = VGG19.__call__, 0

    def broken(self: VGG19, pictures: torch.Tensor, layers: Any) -> Any:
        nonlocal calls
        calls += pictures.requires_grad
        found = plain(self, pictures, layers)
        return {k: v * float("nan") for k, v in found.items()} if calls > 2 else found

    monkeypatch.setattr(VGG19, "__call__", broken)
    assert run("stylize", "a.png", "style.png", "-o", "out.png", "--quiet") == 2
    err = capsys.readouterr().err
    assert is_one_sentence(err)
    assert "nan at step 3: try a smaller learning rate" in err
    assert read_picture(here / "out.png").width == 56
    assert read_record(here / "out.png")["steps"] == 2
    calls = 10
    assert run("stylize", "a.png", "style.png", "-o", "none.png", "--quiet") == 2
    assert not (here / "none.png").exists()  # no step was good


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_an_interrupted_run_keeps_the_best_picture(here: Path) -> None:
    """The real command with the real network, really interrupted."""
    target = here / "out.png"
    command = [sys.executable, "-m", "sfumato.cli", "stylize", "a.png", "style.png", "-o", target, "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--steps", "100000", "--precision", "float32"],
        cwd=here,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs, and so their children, ignore SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if json.loads(line).get("step", 0) >= 3:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "sfumato: interrupted"
    assert json.loads(out)["complete"] is False
    assert read_picture(target).width == 56
    assert read_record(target)["steps"] >= 3
    assert [p.name for p in here.iterdir() if p.suffix == ".tmp"] == []


def test_an_interruption_before_the_first_step_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    before = files(here)
    monkeypatch.setattr(work, "load_features", interrupted)
    assert run("stylize", "a.png", "style.png", "-o", "out.png", "--quiet") == 130
    assert capsys.readouterr().err == "sfumato: interrupted\n"
    assert files(here) == before


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    from sfumato import __version__

    assert cli.main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
    assert cli.main(["stylize", "--help"]) == 0
    text = capsys.readouterr().out
    for option in ("--strength", "--keep-color", "--time-budget", "--max-memory", "--style-mask", "--no-relative"):
        assert option in text
    assert cli.main([]) == 0
    assert "stylize" in capsys.readouterr().out


def test_demo_makes_every_pair_and_a_sheet(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sfumato.demo import PAIRS

    assert cli.main(["demo", "-o", "shown", "--size", "24", "--quiet"]) == 0
    printed = capsys.readouterr().out.split()
    assert len(printed) == len(PAIRS) + 1
    for path in printed:
        assert read_picture(here / path).width >= 24


def command() -> Path:
    """The installed script."""
    found = shutil.which("sfumato", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.fail("the command sfumato is not installed beside this Python")
    return Path(found)


def judged(out: Path, content: Path, style: Path) -> tuple[float, float]:
    """Share of the style gap that is left and correlation with the photograph's relu4_1, by plain formulas."""
    from sfumato.features.sources import load_features

    def read(path: Path, size: tuple[int, int] | None = None) -> torch.Tensor:
        with Image.open(path) as image:
            picture = image.convert("RGB")
            if size is None:
                scale = 96 / min(picture.size)
                size = (round(picture.width * scale), round(picture.height * scale))
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 255

    with Image.open(out) as image:
        size = image.size
    network, left = load_features("vgg19", padding="zeros"), []
    layers = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    o, c, s = (network(read(p, n), layers) for p, n in ((out, size), (content, size), (style, None)))

    def gram(f: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nchw,ndhw->cd", f, f) / (f.shape[2] * f.shape[3])

    for layer in layers:
        a, b, d = (gram(x[layer]) for x in (o, c, s))
        left.append(float((a - d).square().sum() / (b - d).square().sum()))
    a, b = (x["relu4_1"][0].flatten(1) for x in (o, c))
    a, b = ((f - f.mean(1, keepdim=True)) / (f.std(1, keepdim=True) + 1e-5) for f in (a, b))
    return sum(left) / len(left), float((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt())


@pytest.mark.slow
def test_the_installed_command_makes_a_picture(tmp_path: Path) -> None:
    """End to end: the script, the real network, the bundled pictures, and numbers that say it is a stylized one."""
    from sfumato.demo import bundled

    content, style, out = bundled("photos", "cat"), bundled("paintings", "starry_night"), tmp_path / "out.png"
    arguments = [command(), "stylize", content, style, "-o", out, "--size", "96", "--json", "--precision", "float32"]
    started = time.monotonic()
    done = subprocess.run(arguments, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == str(out)
    picture = read_picture(out)
    assert min(picture.height, picture.width) == 96
    left, kept = judged(out, content, style)
    print(f"style left {left:.3f}, correlation {kept:.3f}, {seconds:.1f} s")
    assert left < 0.35
    assert kept > 0.3
    assert read_record(out)["weights"].keys() == {"onepass", "low-rank:vgg-lite.safetensors"}
