"""One pass, then a few steps of optimisation from coarse to fine: the best picture for the time."""

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from sfumato.stylize.iterate import Iterate
from sfumato.stylize.onepass import OnePass
from sfumato.stylize.optimise import Optimisation
from sfumato.stylize.options import StylizeOptions

SMALLEST = 256
"""Short side at which it begins: below, photograph and strokes of the pass would both be lost."""


def refining(options: StylizeOptions) -> StylizeOptions:
    """The optimiser's options for what follows the pass."""
    return replace(options, steps=options.refine, min_size=SMALLEST, scale_factor=2.0, step_decay=0.4, detail=1.0)


class Refined:
    """`first` paints the whole picture, unmasked and in its own colours; `second` starts from that."""

    def __init__(self, first: OnePass, second: Optimisation) -> None:
        self.first, self.second = first, second

    def __iter__(self) -> Iterator[Iterate]:
        before, later = 0, sum(scale.steps for scale in self.second.scales)
        for moment in self.first:
            before = moment.total
            yield replace(moment, total=before + later)
        self.second.start = self.first.picture().to(self.second.content)
        for moment in self.second:
            yield replace(moment, step=before + moment.step, total=before + moment.total)

    @property
    def steps(self) -> int:
        return self.first.steps + self.second.steps

    def picture(self) -> Tensor:
        return self.second.picture() if self.second.steps else self.first.picture()

    def finished(self) -> None:
        """Masks and kept colours are put in around this method."""

    def resolved(self) -> dict[str, object]:
        if not self.first.steps:
            return {}
        return self.second.resolved() or {"tile": self.second.tile, "refine": 0}

    def weights(self) -> dict[str, str]:
        return self.first.weights() | (self.second.weights() if self.second.steps else {})
