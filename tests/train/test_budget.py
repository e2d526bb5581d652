"""A time budget is met whatever the machine does."""

import pytest

from sfumato.train.budget import Budget


class Machine:
    """A clock that steps push on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("late", "low", "high"),
    [(1.0, 990, 1000), (3.0, 520, 540), (0.2, 3700, 3800)],
    ids=["steady", "slower from the middle", "faster from the middle"],
)
def test_the_time_is_met(late: float, low: int, high: int) -> None:
    """A second a step, after 300 steps `late` seconds; asked every tenth step."""
    machine = Machine()
    budget = Budget(1000, clock=machine)
    made, steps = 0, 10**6
    while made < steps:
        made += 1
        machine.now += 1.0 if made <= 300 else late
        if made == 3 or made % 10 == 0:
            steps = budget.steps(made) or steps
    assert low <= made <= high
    assert budget.used == pytest.approx(1000, rel=0.03)


def test_time_used_before_and_kept_for_the_end_counts() -> None:
    machine = Machine()
    budget = Budget(1000, used=400, clock=machine)
    budget.reserve = 100
    assert budget.steps(500) is None
    machine.now += 50
    assert budget.used == 450
    assert budget.steps(525) == 525 + 225  # two seconds a step, 450 left


def test_a_spent_budget_ends_at_once() -> None:
    machine = Machine()
    budget = Budget(10, used=20, clock=machine)
    budget.steps(3)
    machine.now += 1
    assert budget.steps(4) == 4
