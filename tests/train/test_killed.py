"""Runs that are killed with SIGKILL at random moments end with the same bytes as one that was left alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 12
DRIVER = """
import os, random, signal, sys, time
import lightning_fabric, torch
import torch.utils.tensorboard
from sfumato.train.engine import fit
from sfumato.train.options import TrainOptions
from train.toy import Config, Method, Still

torch.set_num_threads(1)
folder, kills = sys.argv[1], int(sys.argv[2])

def begin(name, resume):
    "A process of its own; forked, because importing torch takes two seconds."
    process = os.fork()
    if process == 0:
        data = {"a": Still(12, 0.25), "b": Still(10, 0.75)}
        options = TrainOptions(
            out=f"{folder}/{name}", steps=60, batch=3, resolution=8, device="cpu", threads=2, ema=60, log_every=1,
            checkpoint_every=3, sample_every=7, evaluate_every=9, evaluate_samples=3,
        )
        try:
            fit(Method(Config(pool=True, dropout=0.2)), data, options, family="toy", resume=resume)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return process

started = time.monotonic()
_, status = os.waitpid(begin("whole", False), 0)
whole = time.monotonic() - started
assert status == 0

chance, killed = random.Random(), 0
process = begin("killed", False)
while True:
    time.sleep(chance.uniform(0, 0.2 if killed else 0.4) * whole)
    if killed < kills:
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        killed += 1
    elif status != 0:
        sys.exit(1)
    else:
        break
    process = begin("killed", True)
print(killed)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_at_any_moment(tmp_path: Path) -> None:
    paths = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path), str(KILLS)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5, "it was over before it could be killed"
    for name in ("checkpoints/000000060/tensors.safetensors", "samples/000000056.png"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    hidden = [p for p in (tmp_path / "killed" / "checkpoints").iterdir() if not p.name.isdigit()]
    assert hidden == []
    steps = [
        line.split(",")[0] for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines() if "losses" in line
    ]
    assert steps == [f'{{"step": {k}' for k in range(1, 61)]
