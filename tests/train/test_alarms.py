"""Alarms ring for what they are for, once, and not for ordinary noise; a run stops, goes on, or goes back."""

# ruff: noqa: ARG002

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sfumato.train.alarms import ENOUGH, KINDS, PATIENCE, CollapsedError, DivergedError, Watch
from sfumato.train.engine import Trained, fit
from sfumato.train.options import TrainOptions

from . import ring


def test_a_collapsed_loss_is_told_once() -> None:
    watch, notes = Watch(), []
    for step in range(60):
        notes += watch.losses(step, {"judges": 0.5 if step < 30 else 0.001, "content": 0.5})
    assert len(notes) == 1
    assert notes[0].kind == ""
    assert notes[0].text.startswith("judges collapsed to 0.001 by step 32, from 0.5")


def test_a_loss_that_explodes_diverges() -> None:
    watch, notes = Watch(), []
    for step in range(60):
        notes += watch.losses(step, {"generators": 1.0 if step < 40 else 1000.0})
    assert [n.kind for n in notes] == ["divergence"]
    assert "generators grew to 1e+03 by step 40" in notes[0].text
    assert "what helps: a lower --rate, --clip 1" in notes[0].text


def test_ordinary_losses_are_not_told() -> None:
    """Noise, slow decay to a twentieth, and a loss that is nothing from the beginning."""
    watch, chance = Watch(), np.random.default_rng(0)
    for step in range(500):
        noisy = float(np.exp(chance.normal(0, 0.5)))
        falling = 0.05 + math.exp(-step / 100)
        right = float(np.clip(chance.normal(0.9, 0.1), 0, 1))
        assert watch.losses(step, {"noisy": noisy, "falling": falling, "nothing": 0.0, "told apart": right}) == []
        assert watch.gradients(step, {"generator": noisy * falling}) == []


def test_a_plateau_is_told_once_and_again_after_progress() -> None:
    watch = Watch()
    scores = [1.0, 0.5] + [0.6] * (PATIENCE + 5) + [0.4] + [0.45] * (PATIENCE + 5)
    told = [step for step, score in enumerate(scores) if watch.score(step, score)]
    assert told == [1 + PATIENCE, 2 + PATIENCE + 5 + PATIENCE]


def test_a_victory_needs_looks_in_a_row() -> None:
    watch, told = Watch(), []
    for step in range(100):
        told += watch.losses(step, {"told apart": 0.9 if step % 10 == 0 and step < 50 else 1.0})
    assert [a.kind for a in told] == ["discriminator victory"]
    assert f"100.0% of pictures right at step {40 + ENOUGH}" in told[0].text


def test_gradients_vanish_by_their_own_past_or_altogether() -> None:
    watch = Watch()
    steps = [(k, 1.0 if k < 20 else 1e-6) for k in range(40)]
    told = [(k, a.kind) for k, norm in steps for a in watch.gradients(k, {"generator": norm, "fine": 1e-6})]
    assert told == [(22, "dead gradients")]
    assert [k for k in range(9) if Watch().gradients(k, {"x": 0.0})] == []  # one look is not enough
    fresh = Watch()
    assert [k for k in range(9) if fresh.gradients(k, {"x": 0.0})] == [2]


@pytest.mark.parametrize(
    ("metrics", "rings"),
    [
        ([{"diversity": 0.9}, {"diversity": 0.2}], [1]),  # what was there is gone
        ([{"diversity": 0.1}] * 6, []),  # a beginning
        ([{"diversity": 0.1}] * 40, [12]),  # it never came: progress is the look over 40
        ([{"diversity": 0.1}, {"diversity": 0.4}, {"diversity": 0.9}] * 9, [3]),
        ([{"score": 3.0}] * 40 + [{"precision": 0.8, "recall": 0.0}], [40]),  # judged at the end alone
        ([{"precision": 0.9, "recall": 0.4}, {"precision": 0.9, "recall": 0.01}], [1]),
        ([{"precision": 0.9, "recall": 0.4}, {"precision": 0.1, "recall": 0.01}], []),  # bad, not collapsed
        ([{"precision": 0.6, "recall": 0.1}] * 40, []),
        ([{"score": 3.0}] * 40, []),
    ],
)
def test_mode_collapse_by_variety_or_by_recall(metrics: list[dict[str, float]], rings: list[int]) -> None:
    watch = Watch()
    told = [k for k, entry in enumerate(metrics) if watch.judgement(k, k / 40, entry)]
    assert told == rings


GAME = TrainOptions(
    steps=600, batch=32, resolution=8, device="cpu", threads=0, log_every=5, evaluate_every=100, decay=0.0, ema=0,
    evaluate_samples=256, sample_every=10**6, checkpoint_every=10**6,
)  # fmt: skip


def play(folder: Path, config: ring.Config, **given: Any) -> Trained:
    options = replace(GAME, out=str(folder), **given)
    data: Any = {"data": ring.Ring()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return fit(ring.Method(config), data, options, family="ring")
    finally:
        torch.set_num_threads(threads)


def rang(folder: Path) -> list[tuple[int, str]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert all(line["alarm"] in KINDS and "what helps" in line["note"] for line in lines if "alarm" in line)
    return [(line["step"], line["alarm"]) for line in lines if "alarm" in line]


def test_a_healthy_game_raises_no_alarm(tmp_path: Path) -> None:
    done = play(tmp_path, ring.Config())
    assert rang(tmp_path) == []
    assert done.metrics["diversity"] > 0.7


def test_a_generator_that_runs_ahead_collapses(tmp_path: Path) -> None:
    """A discriminator that hardly learns is fooled by one point."""
    play(tmp_path, ring.Config(judge_rate=2e-5, rate=5e-3, penalty=0.0), steps=500)
    assert "mode collapse" in [kind for _, kind in rang(tmp_path)]


def test_a_crippled_generator_loses(tmp_path: Path) -> None:
    play(tmp_path, ring.Config(scale=0.0, penalty=0.0), steps=300)
    found = {kind: step for step, kind in rang(tmp_path)}
    assert 5 * ENOUGH <= found["discriminator victory"] <= 300
    assert found["dead gradients"] == 15  # nothing reaches it from the first look on


def test_the_saturating_objective_dies_where_the_other_does_not(tmp_path: Path) -> None:
    """Equation 1 as printed, against a discriminator far ahead: the generator's gradient vanishes (section 3)."""
    kinds = {}
    for objective in ("minimax", "bce"):
        play(tmp_path / objective, ring.Config(objective=objective, rate=1e-6, judge_rate=2e-2, penalty=0.0))
        kinds[objective] = {kind for _, kind in rang(tmp_path / objective)}
    assert "dead gradients" in kinds["minimax"]
    assert "dead gradients" not in kinds["bce"]


def test_an_alarm_can_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(CollapsedError, match=r"dead gradients: .*; there is no checkpoint yet") as caught:
        play(tmp_path, ring.Config(scale=0.0), on_collapse="stop")
    assert caught.value.kind == "dead gradients"
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 15


class Slope:
    """Plain descent on k x^2 / 2: it converges where rate times k is below 2, and no sooner."""

    roles, averaged = ("data",), ("network",)
    resolution, config = 8, ring.Config()

    def __init__(self, stiffness: float) -> None:
        self.stiffness = stiffness

    def networks(self) -> dict[str, nn.Module]:
        network = nn.Linear(1, 1, bias=False)
        nn.init.ones_(network.weight)
        return {"network": network}

    def optimizers(self, networks: dict[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        return {"descent": torch.optim.SGD(networks["network"].parameters(), lr=1.0)}

    def sample(self, data: Any, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return (torch.ones(1),)

    def step(self, run: Any, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        loss = 0.5 * self.stiffness * run.networks["network"](batch[0]).square().mean()
        run.minimize("descent", loss)
        return {"height": loss}

    def preview(self, run: Any, batch: tuple[Tensor, ...]) -> Tensor:
        return torch.zeros(3, 8, 8)

    def evaluate(self, run: Any, batches: Any) -> dict[str, float]:
        return {"score": float(run.networks["network"].weight.abs())}


def descend(folder: Path, stiffness: float, *, resume: bool = False, **given: Any) -> Trained:
    options = replace(GAME, out=str(folder), steps=200, evaluate_every=10, log_every=1, batch=1, **given)
    data: Any = {"data": ring.Ring()}
    return fit(Slope(stiffness), data, options, family="slope", resume=resume)  # type: ignore[arg-type]


def test_going_back_with_lower_rates_saves_what_diverges(tmp_path: Path) -> None:
    """Stiffness 3 wants a rate below 2/3: half of it does; 9 wants two halvings more; 30 more than are allowed."""
    for stiffness, times in ((3.0, 1), (9.0, 3)):
        folder = tmp_path / str(stiffness)
        done = descend(folder, stiffness, on_collapse="rollback")
        assert done.metrics["score"] < 1e-3
        notes = [json.loads(line).get("note", "") for line in (folder / "log.jsonl").read_text().splitlines()]
        back = [note for note in notes if note.startswith("back to step")]
        assert len(back) == times
        assert f"descent x {0.5**times:g}" in back[-1]
        assert [kind for _, kind in rang(folder)] == ["divergence"] * times
    with pytest.raises((CollapsedError, DivergedError), match=r"height grew|became inf"):
        descend(tmp_path / "30", 30.0, on_collapse="rollback")
    with pytest.raises((CollapsedError, DivergedError)):
        descend(tmp_path / "stop", 3.0, on_collapse="stop")


def test_a_rescued_run_resumes_as_if_it_had_not_been_interrupted(tmp_path: Path) -> None:
    whole = descend(tmp_path / "whole", 3.0, on_collapse="rollback", checkpoint_every=40, keep=99)
    for folder in sorted((tmp_path / "whole" / "checkpoints").iterdir())[2:]:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    again = descend(tmp_path / "whole", 3.0, on_collapse="rollback", resume=True, checkpoint_every=40, keep=99)
    assert again.metrics == whole.metrics
    state = json.loads((tmp_path / "whole" / "checkpoints" / "000000200" / "state.json").read_text())
    assert (state["factors"], state["rescues"]) == ({"descent": 0.5}, 1)


def test_only_whom_the_alarm_blames_is_slowed_down(tmp_path: Path) -> None:
    """A collapsed game goes back and ends with more kinds than it had when it collapsed."""
    config = ring.Config(judge_rate=2e-4, rate=2e-2, penalty=0.3)
    play(tmp_path / "on", config)
    told = rang(tmp_path / "on")
    assert told[0][1] == "mode collapse"
    play(tmp_path / "back", config, on_collapse="rollback")
    state = json.loads((tmp_path / "back" / "checkpoints" / "000000600" / "state.json").read_text())
    assert set(state["factors"]) == {"generator"}
    assert load_file(tmp_path / "back" / "checkpoints" / "000000600" / "tensors.safetensors")
