"""One pass, then a few steps of optimisation at its full size: the best picture for the time."""

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from sfumato.stylize.iterate import Iterate
from sfumato.stylize.onepass import OnePass
from sfumato.stylize.optimise import Optimisation


class Refined:
    """`first` paints the whole picture, unmasked and in its own colours; `second` starts from that."""

    def __init__(self, first: OnePass, second: Optimisation) -> None:
        self.first, self.second = first, second

    def __iter__(self) -> Iterator[Iterate]:
        before, later = 0, self.second.scales[0].steps
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
        return {"tile": self.second.tile, "refine": self.second.steps} if self.first.steps else {}

    def weights(self) -> dict[str, str]:
        return self.first.weights() | (self.second.weights() if self.second.steps else {})
