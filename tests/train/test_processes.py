"""Two processes make the same update as one with the double batch, and stop together."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sfumato.errors import InputError
from sfumato.train.engine import Trained
from sfumato.train.job import Job
from sfumato.train.options import TrainOptions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Two folders of pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for role, level in (("a", 60), ("b", 190)):
        (folder / role).mkdir()
        for i in range(10):
            color = (level + 3 * i, level - 2 * i, level + i)
            Image.new("RGB", (16, 20), color).save(folder / role / f"{i}.png")
    return {role: [str(folder / role)] for role in ("a", "b")}


def job(pictures: dict[str, list[str]], out: Path, *, resume: bool = False, poison: int = 0, **given: Any) -> Job:
    quick = {"steps": 6, "resolution": 8, "device": "cpu", "threads": 1, "evaluate_samples": 4, "clip": 1.0}
    options = TrainOptions(**{**quick, "out": str(out), "checkpoint_every": 4, **given})
    return Job("toy", "train.toy", {"poison": poison}, options, pictures, resume=resume)


def kept(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / "000000006" / name)


@pytest.fixture(scope="module")
def two(pictures: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Six steps of two processes with two samples each."""
    return job(pictures, tmp_path_factory.mktemp("two") / "run", batch=2, processes=2).run()


def test_two_processes_are_one_with_the_double_batch(
    two: Trained, pictures: dict[str, list[str]], tmp_path: Path
) -> None:
    one = job(pictures, tmp_path / "one", batch=4).run()
    assert (one.step, two.step) == (6, 6)
    a, b = kept(one.folder, "tensors.safetensors"), kept(two.folder, "tensors.safetensors")
    assert a.keys() == b.keys()
    for name in a.keys() - {"state/seen"}:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6)
    assert one.losses == pytest.approx(two.losses, rel=1e-4)
    assert one.metrics == pytest.approx(two.metrics, rel=1e-3)
    other = kept(two.folder, "rank-1.safetensors")["state/seen"]
    torch.testing.assert_close((other + b["state/seen"]) / 2, a["state/seen"])

    half = job(pictures, tmp_path / "half", batch=2).run()
    name = "network/generator/0.weight"
    assert not torch.allclose(kept(half.folder, "tensors.safetensors")[name], a[name], rtol=1e-4)


def test_processes_stop_and_resume_with_a_state_each(
    two: Trained, pictures: dict[str, list[str]], tmp_path: Path
) -> None:
    """A sentence of a process reaches the user; what each has seen since the beginning goes on from there."""
    given: dict[str, Any] = {"batch": 2, "processes": 2}
    with pytest.raises(InputError, match=r"loss of 'generator' became nan in step 5; the checkpoint of step 4 is kept"):
        job(pictures, tmp_path / "cut", **given, poison=5).run()
    job(pictures, tmp_path / "cut", **given, resume=True).run()
    for name in ("tensors.safetensors", "rank-1.safetensors"):
        found, expected = kept(tmp_path / "cut", name), kept(two.folder, name)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[k], expected[k]) for k in expected), name
