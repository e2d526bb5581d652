"""What a run does when an alarm rings: go on, stop, or go back to when all was well with a lower rate."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from sfumato.train.alarms import DEAD_GRADIENTS, MODE_COLLAPSE, VICTORY_OF_JUDGE
from sfumato.train.checkpoint import Checkpoints, unpack
from sfumato.train.run import Run

Answer = Literal["continue", "stop", "rollback"]
MOST = 3
"""Times that a run goes back."""
LOWER = 0.5
"""Factor on the learning rate of whoever is to blame."""


class Rescue:
    """Keeps the last healthy state of a run in RUN/healthy, and goes back to it."""

    def __init__(self, folder: Path, answer: Answer, players: tuple[str, str] | None, rank: int = 0) -> None:
        """`players` names the optimisers of generator and discriminator, where the family has them."""
        self.answer, self.players, self.rank = answer, players, rank
        self.checkpoints = Checkpoints(folder / "healthy", keep=1)
        self.count = 0
        """Times that the run went back."""

    @property
    def left(self) -> bool:
        """Whether the run may go back once more."""
        return self.answer == "rollback" and self.count < MOST

    def begin(self, run: Run, state: Mapping[str, Any], agree: Callable[[bool], bool]) -> None:
        """A run, fresh or resumed, is taken for well where nothing earlier is kept."""
        if self.answer != "rollback":
            return
        known = any(step <= run.step for step in self.checkpoints.steps())
        agree(True)  # every process has looked
        if self.rank == 0:
            self.checkpoints.forget_after(run.step)
        if not known:
            self.keep(run, state, agree)

    def keep(self, run: Run, state: Mapping[str, Any], agree: Callable[[bool], bool]) -> None:
        """The run as it stands is well. A full disk costs the rescue, not the run."""
        if self.answer == "rollback":
            try:
                self.checkpoints.save(run, state, agree)
            except OSError:
                return

    def go_back(self, run: Run, kind: str) -> str | None:
        """The last healthy state, with lower rates for whoever `kind` blames; what was done, in a sentence.

        None where there is nothing to go back to. The same alarm after the same step lowers the rates further.
        """
        checkpoint, _ = self.checkpoints.load(self.rank)
        if checkpoint is None:
            return None
        factors = dict(run.factors)
        unpack(run, checkpoint)
        for name in self.blamed(kind, run):
            factors[name] = factors.get(name, 1.0) * LOWER
        run.factors = factors
        self.count += 1
        told = ", ".join(f"{name} x {factor:g}" for name, factor in sorted(factors.items()))
        return f"back to step {run.step} with other learning rates ({told}); {MOST - self.count} more times at most"

    def blamed(self, kind: str, run: Run) -> list[str]:
        """Optimisers to slow down: the generator's where it collapsed, the discriminator's where it won, else all."""
        if self.players is None:
            return list(run.optimizers)
        generator, discriminator = self.players
        return {MODE_COLLAPSE: [generator], VICTORY_OF_JUDGE: [discriminator], DEAD_GRADIENTS: [discriminator]}.get(
            kind, list(run.optimizers)
        )
