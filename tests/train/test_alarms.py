"""Alarms ring for what they are for, once, and not for ordinary noise."""

import math

import numpy as np

from sfumato.train.alarms import PATIENCE, Watch


def test_a_collapsed_loss_is_told_once() -> None:
    watch, notes = Watch(), list[str]()
    for step in range(60):
        notes += watch.losses(step, {"judges": 0.5 if step < 30 else 0.001, "content": 0.5})
    assert len(notes) == 1
    assert notes[0].startswith("judges collapsed to 0.001 by step 32, from 0.5")


def test_a_loss_that_explodes_is_told() -> None:
    watch, notes = Watch(), list[str]()
    for step in range(60):
        notes += watch.losses(step, {"generators": 1.0 if step < 40 else 1000.0})
    assert len(notes) == 1
    assert "generators grew to 1e+03 by step 40" in notes[0]


def test_ordinary_losses_are_not_told() -> None:
    """Noise, slow decay to a twentieth, and a loss that is nothing from the beginning."""
    watch, chance = Watch(), np.random.default_rng(0)
    for step in range(500):
        noisy = float(np.exp(chance.normal(0, 0.5)))
        falling = 0.05 + math.exp(-step / 100)
        assert watch.losses(step, {"noisy": noisy, "falling": falling, "nothing": 0.0}) == []


def test_a_plateau_is_told_once_and_again_after_progress() -> None:
    watch = Watch()
    scores = [1.0, 0.5] + [0.6] * (PATIENCE + 5) + [0.4] + [0.45] * (PATIENCE + 5)
    told = [step for step, score in enumerate(scores) if watch.score(step, score)]
    assert told == [1 + PATIENCE, 2 + PATIENCE + 5 + PATIENCE]
