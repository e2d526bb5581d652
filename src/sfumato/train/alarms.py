"""What goes wrong in training, said in sentences: what happened, and what helps."""

import math
import statistics
from collections.abc import Mapping
from typing import NamedTuple

from sfumato.errors import InputError

ENOUGH = 12
"""Looks at a loss before it is judged by its own past, and looks in a row that make a victory."""
COLLAPSE = 0.01
EXPLOSION = 100.0
PATIENCE = 8
"""Judgements without a new best before a plateau is noted."""
TOLD_APART = "told apart"
"""Name that families give to the share of pictures which their discriminator gets right."""
VICTORY = 0.995
VANISHED = 2e-3
"""Of the largest size that a gradient usually had."""
NOTHING = 1e-12
FEW = 3
"""Looks, or judgements, in a row that make a vanished gradient, or a collapse that was there from the beginning."""
VARIED, UNIFORM = 0.5, 0.3
"""Made pictures' variety in units of the real ones': enough, and too little."""
PRECISE, REACHED, MISSED = 0.5, 0.2, 0.03
"""Precision of good pictures; recall of a healthy generator, and of one that makes few of the many kinds."""
BEGINNING = 0.25
"""Share of the run in which a generator may still lack variety."""

MODE_COLLAPSE = "mode collapse"
VICTORY_OF_JUDGE = "discriminator victory"
DIVERGENCE = "divergence"
DEAD_GRADIENTS = "dead gradients"
KINDS = (MODE_COLLAPSE, VICTORY_OF_JUDGE, DIVERGENCE, DEAD_GRADIENTS)

HELP = {
    MODE_COLLAPSE: "what helps: a lower rate of the generator, more samples a step, a penalty (wgan_gp, R1)",
    VICTORY_OF_JUDGE: "what helps: a lower rate of the discriminator, a penalty on its slope, augmentation",
    DIVERGENCE: "what helps: a lower --rate, --clip 1, a warm-up",
    DEAD_GRADIENTS: "what helps: a non-saturating objective (bce, hinge), a lower rate of the discriminator",
}


class DivergedError(InputError):
    """A loss or gradient is infinite or not a number; the last checkpoint is kept."""


class CollapsedError(InputError):
    """An alarm rang, and the run should not go on as it is."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Alarm(NamedTuple):
    """Something to say; `kind` is one of `KINDS`, or empty for a mere note."""

    kind: str
    text: str


class Watch:
    """Looks at losses, gradients and judgements; everything is said once."""

    def __init__(self) -> None:
        self.past: dict[str, list[float]] = {}
        self.said: set[tuple[str, str]] = set()
        self.scores: list[float] = []
        self.streaks: dict[str, int] = {}
        self.best: dict[str, float] = {}
        """Largest value of what a judgement measured, and of a gradient's median."""

    def losses(self, step: int, losses: Mapping[str, float]) -> list[Alarm]:
        """Losses a hundredth or a hundred times of their usual size, and a discriminator's victory."""
        found = []
        for name, value in losses.items():
            if name == TOLD_APART:
                found += self._victory(step, value)
                continue
            past = self.past.setdefault(name, [])
            if not math.isfinite(value):
                found += self._once(name, DIVERGENCE, f"{name} is {value} at step {step}")
                continue
            if len(past) >= ENOUGH:
                usual = statistics.median(past)
                recent = statistics.mean([abs(value), *past[-2:]])
                if usual > 1e-6 and recent < COLLAPSE * usual:
                    found += self._once(name, "", f"{name} collapsed to {recent:.2g} by step {step}, from {usual:.2g}")
                if usual > 1e-6 and abs(value) > EXPLOSION * usual:
                    text = f"{name} grew to {value:.2g} by step {step}, from {usual:.2g}"
                    found += self._once(name, DIVERGENCE, text)
            past.append(abs(value))
        return found

    def gradients(self, step: int, norms: Mapping[str, float]) -> list[Alarm]:
        """Optimisers whose gradient is nothing, or next to nothing by its own past, for some looks in a row."""
        found = []
        for name, value in norms.items():
            key = f"gradient of {name}"
            past = self.past.setdefault(key, [])
            if len(past) >= ENOUGH:
                self.best[key] = max(self.best.get(key, 0.0), statistics.median(past[-ENOUGH:]))
            if self._streak(key, value <= max(NOTHING, VANISHED * self.best.get(key, 0.0))) >= FEW:
                text = f"the gradient of {name} vanished by step {step} (norm {value:.2g}): it learns nothing more"
                found += self._once(name, DEAD_GRADIENTS, text)
            past.append(value)
        return found

    def judgement(self, step: int, progress: float, metrics: Mapping[str, float]) -> list[Alarm]:
        """Mode collapse, by the variety of made pictures, and by high precision with no recall.

        Either must have been better before, stay bad after the run's first quarter, or be bad at its end. `metrics` may
        have `diversity` (deviation of made features over that of real ones), `precision` and `recall`.
        """
        signs = []
        diversity, recall = metrics.get("diversity"), metrics.get("recall")
        if diversity is not None and self._lost("diversity", diversity, UNIFORM, VARIED, progress):
            signs.append(f"made pictures vary {diversity:.2g} times as much as real ones")
        if recall is not None:
            precise = metrics.get("precision", 0.0) >= PRECISE
            if self._lost("recall", recall, MISSED if precise else -1.0, REACHED, progress):
                signs.append(f"precision is {metrics['precision']:.2f}, recall {recall:.2g}")
        if not signs:
            return []
        return self._once(
            "", MODE_COLLAPSE, f"the generator makes few kinds of pictures at step {step}: {'; '.join(signs)}"
        )

    def score(self, step: int, score: float) -> list[Alarm]:
        """A note when the score has not become better for several judgements."""
        self.scores.append(score)
        best = min(range(len(self.scores)), key=self.scores.__getitem__)
        behind = len(self.scores) - 1 - best
        if behind == 0:
            self.said.discard(("score", ""))
        if behind < PATIENCE:
            return []
        text = f"no better score than {self.scores[best]:.4g} in the last {behind} judgements (step {step})"
        return self._once("score", "", text)

    def _victory(self, step: int, right: float) -> list[Alarm]:
        if self._streak(TOLD_APART, right >= VICTORY) < ENOUGH:
            return []
        text = f"the discriminator tells {right:.1%} of pictures right at step {step}, and so for {ENOUGH} looks"
        return self._once("", VICTORY_OF_JUDGE, text)

    def _lost(self, name: str, value: float, low: float, good: float, progress: float) -> bool:
        """Whether what was good before is too low, or too low for some judgements after the beginning or at the end."""
        was = self.best.get(name, -math.inf)
        self.best[name] = max(was, value)
        streak = self._streak(name, value < low and progress >= BEGINNING)
        return value < low and (was >= good or streak >= FEW or progress >= 1)

    def _streak(self, name: str, bad: bool) -> int:
        self.streaks[name] = self.streaks.get(name, 0) + 1 if bad else 0
        return self.streaks[name]

    def _once(self, name: str, kind: str, text: str) -> list[Alarm]:
        if (name, kind) in self.said:
            return []
        self.said.add((name, kind))
        return [Alarm(kind, f"{kind}: {text}; {HELP[kind]}" if kind else text)]
