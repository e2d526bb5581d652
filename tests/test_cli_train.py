"""`sfumato train` and `sfumato resume` as people call them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cyclopts import App
from PIL import Image

from sfumato import cli, cli_train
from sfumato.models import registry

QUICK = ("--device", "cpu", "--batch", "2", "--resolution", "8", "--threads", "0", "--evaluate-samples", "2")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders dark and bright; the toy family is on the command line."""
    for role, level in (("dark", 60), ("bright", 190)):
        (tmp_path / role).mkdir()
        for i in range(30):
            Image.new("RGB", (16, 20), (level + i, level, level - i)).save(tmp_path / role / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli_train, "prepare_memory", lambda: None)  # this process's allocator is not the command's
    monkeypatch.setitem(registry.FAMILIES, "toy", "train.toy")
    if "toy" not in cli_train.train:
        cli_train.train.command(cli_train.command("toy"), name="toy")
    return tmp_path


def train(*arguments: object) -> int:
    return cli.main(["train", "toy", "--a", "dark", "--b", "bright", *QUICK, *map(str, arguments)])


def test_train_then_resume(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--steps", 4, "--width", 5, "--out", "run") == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "4 steps in 0:0" in told.err
    assert "the model is run/weights.safetensors" in told.err
    assert json.loads((here / "run" / "config.json").read_text())["config"]["width"] == 5
    assert cli.main(["resume", "run", "--steps", "6", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["run"], done["steps"], done["bad"]) == ("run", 6, {})
    assert done["best"]["score"] == pytest.approx(min(done["metrics"]["score"], done["best"]["score"]))


def test_without_out_the_run_lies_in_runs(here: Path) -> None:
    assert train("--steps", 1) == 0
    assert train("--steps", 1) == 0
    assert (here / "runs" / "toy" / "weights.safetensors").is_file()
    assert (here / "runs" / "toy-2" / "weights.safetensors").is_file()


def test_dry_run_prints_everything_and_does_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--hours", 2, "--penalty", 0.5, "--dry-run") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["config"] == {
        "width": 4,
        "penalty": 0.5,
        "dropout": 0.0,
        "pool": False,
        "learning_rate": 0.01,
        "poison": 0,
    }
    assert (shown["options"]["hours"], shown["options"]["batch"], shown["options"]["out"]) == (2.0, 2, "runs/toy")
    assert shown["data"]["a"]["train"] + shown["data"]["a"]["held_out"] in (30, 60)
    assert sorted(p.name for p in here.iterdir()) == ["bright", "dark"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "toys"], "toy"),
        (["train", "toy", "--a", "dark"], "needs --b"),
        (["train", "toy", "--a", "dark", "--b", "bright"], "say how long"),
        (["train", "toy", "--a", "dark", "--b", "void", "--steps", "1"], "void: no such folder"),
        (["train", "toy", "--a", "dark", "--b", "bright", "--steps", "1", "--init", "nowhere"], "nowhere"),
        (["train", "toy", "--a", "dark", "--b", "bright", "--steps", "1", "--device", "gpu"], "did you mean"),
        (["train", "toy", "--a", "dark", "--b", "bright", "--steps", "many"], "steps"),
        (["train", "toy", "--a", "dark", "--b", "bright", "--steps", "9", "--poison", "1", *QUICK], "became nan"),
        (["resume", "dark"], "not a training run"),
        (["resume"], "RUN"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_mistake_is_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told
    assert told.startswith("sfumato: ")


@pytest.mark.usefixtures("here")
def test_help_shows_a_familys_options_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "toy", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in ("--hours", "--penalty", "Weight of the judge's gradient.", "--a", "--val-fraction", "[default: 10000"):
        assert part in shown
    assert "--content " not in shown


@pytest.mark.parametrize(
    "arguments", [["train", "--help"], ["train", "onepass", "--help"], ["train", "onepass", "--steps", "0"]]
)
def test_help_and_refusals_need_no_torch(arguments: list[str]) -> None:
    code = f"import sys; from sfumato.cli import main; main({arguments}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


CALL = """
import sys
from sfumato import cli, cli_train
from sfumato.models import registry
registry.FAMILIES["toy"] = "train.toy"
cli_train.train.command(cli_train.command("toy"), name="toy")
sys.exit(cli.main(sys.argv[1:]))
"""


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(here: Path) -> None:
    call = [sys.executable, "-c", CALL, "train", "toy", "--a", "dark", "--b", "bright", *QUICK]
    paths = os.pathsep.join(p for p in sys.path if p)
    process = subprocess.Popen(
        [*call, "--steps", "1000000", "--log-every", "1", "--out", "run"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    log, until = here / "run" / "log.jsonl", time.monotonic() + 60
    while not (log.is_file() and log.read_text().count("losses") > 3) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "go on with: sfumato resume run" in told
    assert "Traceback" not in told
    step = int(max((here / "run" / "checkpoints").iterdir()).name)
    assert f"stopped at step {step} of 1000000" in told


def test_the_verbs_are_on_the_command_line() -> None:
    assert isinstance(cli.app["train"], App)
    assert {"train", "resume"} <= set(cli.VERBS)
