"""A time budget in steps: as many as the measured speed allows, looked at again and again."""

import time
from collections.abc import Callable

SETTLE = 3
"""First steps of a process, which are slow and not measured."""


class Budget:
    """Seconds to spend; those that earlier processes of the run used count.

    Speed is steps over everything that takes time (judging, checkpoints), over the last quarter of what this process
    used so far, so that a machine that becomes slower or faster is followed.
    """

    def __init__(self, seconds: float, used: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.before, self.clock = seconds, used, clock
        self.started = clock()
        self.reserve = 0.0
        """Seconds that the run's end takes (last judgement, files), once known."""
        self.marks: list[tuple[float, int]] = []

    @property
    def used(self) -> float:
        return self.before + self.clock() - self.started

    def steps(self, step: int) -> int | None:
        """How many steps the run will have, asked after `step` of them; None while the speed is not known."""
        now = self.clock() - self.started
        self.marks.append((now, step))
        first_time, first_step = self.marks[0]
        for when, made in self.marks:
            if when <= first_time + 0.75 * (now - first_time):
                first_time, first_step = when, made
        if step <= first_step:
            return None
        each = (now - first_time) / (step - first_step)
        left = self.seconds - self.used - self.reserve
        return step + max(0, int(left / each))
