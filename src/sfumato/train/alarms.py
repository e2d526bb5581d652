"""What goes wrong in training, said in sentences."""

import math
import statistics

from sfumato.errors import InputError

ENOUGH = 12
"""Looks at a loss before it is judged by its own past."""
COLLAPSE = 0.01
EXPLOSION = 100.0
PATIENCE = 8
"""Judgements without a new best before a plateau is noted."""


class DivergedError(InputError):
    """A loss or gradient is infinite or not a number; the last checkpoint is kept."""


class Watch:
    """Looks at logged losses and scores; every note is made once."""

    def __init__(self) -> None:
        self.past: dict[str, list[float]] = {}
        self.said: set[tuple[str, str]] = set()
        self.scores: list[float] = []

    def losses(self, step: int, losses: dict[str, float]) -> list[str]:
        """Notes on losses that collapsed to a hundredth of their usual size or grew a hundredfold."""
        notes = []
        for name, value in losses.items():
            past = self.past.setdefault(name, [])
            if not math.isfinite(value):
                notes += self._once(name, "finite", f"{name} is {value} at step {step}")
                continue
            if len(past) >= ENOUGH:
                usual = statistics.median(past)
                recent = statistics.mean([abs(value), *past[-2:]])
                if usual > 1e-6 and recent < COLLAPSE * usual:
                    text = (
                        f"{name} collapsed to {recent:.2g} by step {step}, from {usual:.2g}: where it is a "
                        "discriminator's, that one has won and teaches nothing more"
                    )
                    notes += self._once(name, "collapse", text)
                if usual > 1e-6 and abs(value) > EXPLOSION * usual:
                    text = (
                        f"{name} grew to {value:.2g} by step {step}, from {usual:.2g}: try a lower --rate, or --clip 1"
                    )
                    notes += self._once(name, "explosion", text)
            past.append(abs(value))
        return notes

    def score(self, step: int, score: float) -> list[str]:
        """A note when the score has not become better for several judgements."""
        self.scores.append(score)
        best = min(range(len(self.scores)), key=self.scores.__getitem__)
        behind = len(self.scores) - 1 - best
        if behind == 0:
            self.said.discard(("score", "plateau"))
        if behind < PATIENCE:
            return []
        text = f"no better score than {self.scores[best]:.4g} in the last {behind} judgements (step {step})"
        return self._once("score", "plateau", text)

    def _once(self, name: str, kind: str, text: str) -> list[str]:
        if (name, kind) in self.said:
            return []
        self.said.add((name, kind))
        return [text]
