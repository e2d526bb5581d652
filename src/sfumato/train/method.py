"""What a family is to the engine."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from sfumato.train.data import Pictures
    from sfumato.train.run import Run

Batch = tuple[Tensor, ...]
"""Samples stacked: every tensor is N x ... on the run's device."""


class Method(Protocol):
    """A family's networks, who optimises them, and one step; made from its `Config`.

    Everything is a pure function of the generator or of the run's named noise: nothing is kept in attributes that
    the result depends on (`run.state` is for that, and survives restarts).
    """

    config: Any
    """A frozen dataclass."""
    resolution: int
    """Side in pixels of the crops; the engine sets it before it calls anything."""
    roles: ClassVar[tuple[str, ...]]
    """The kinds of data that `sample` wants, e.g. ("content", "style")."""
    averaged: ClassVar[tuple[str, ...]]
    """The networks that are averaged over the steps and exported."""

    def networks(self) -> dict[str, nn.Module]:
        """Fresh networks on the CPU; their first weights come from torch's global generator, which is seeded."""
        ...

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, Optimizer]:
        """Named optimisers at their full learning rates; one may hold several networks' weights."""
        ...

    def sample(self, data: "Mapping[str, Pictures]", rng: np.random.Generator) -> Batch:
        """One sample: CPU tensors without the batch's dimension. Called from several threads."""
        ...

    def step(self, run: "Run", batch: Batch) -> dict[str, Tensor]:
        """One update through `run.minimize`; the scalars to log. Losses are means over the batch's samples."""
        ...

    def preview(self, run: "Run", batch: Batch) -> Tensor:
        """A sheet 3 x H x W in [0, 1] made with `run.ema`."""
        ...

    def evaluate(self, run: "Run", batches: Sequence[Batch]) -> dict[str, float]:
        """Figures of held-out samples made with `run.ema`; the lowest "score" chooses RUN/best.safetensors."""
        ...


@runtime_checkable
class Warns(Protocol):
    """A family that knows how much training it needs."""

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps of so many samples will not do, in one sentence; None where they will."""
        ...


@runtime_checkable
class Fits(Protocol):
    """A family whose networks depend on the data, e.g. on how many classes they have."""

    def fitted(self, data: "Mapping[str, Pictures]") -> Method:
        """The method for these data, asked before anything else; a resumed run asks with the Config that it had.

        Raises `InputError` where the data do not fit the Config.
        """
        ...


@runtime_checkable
class Judges(Protocol):
    """A family whose samples to judge by are not made like those to train on."""

    def judged(self, data: "Mapping[str, Pictures]", rng: np.random.Generator) -> Batch:
        """One held-out sample, as `Method.sample`, but not augmented."""
        ...


def players_of(method: object) -> tuple[str, str] | None:
    """The optimisers of generator and discriminator, by an adversarial family's `players`."""
    players: tuple[str, str] | None = getattr(method, "players", None)
    return players
