"""What every method of stylizing takes and gives: styles in, moments of the work out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray
from torch import Tensor

from sfumato.errors import InputError


class DivergedError(InputError):
    """The loss became infinite or not a number; the best picture so far is kept."""


@dataclass(frozen=True)
class Style:
    """One style picture 1 x 3 x H x W in [0, 1], where its statistics are taken (1 x 1 x H x W or None), its share."""

    picture: Tensor
    mask: Tensor | None
    share: float
    key: str | None = None
    """Names picture and mask (their hashes), for what is computed of them once and kept."""


@dataclass(frozen=True)
class Iterate:
    """A moment of the work, for whoever shows it."""

    step: int
    """Evaluations made, from 1."""
    total: int
    """Evaluations planned."""
    size: tuple[int, int]
    """Height and width at work now."""
    losses: dict[str, float]
    """Named distances and their weighted sum, `total`; empty in one pass."""
    preview: Tensor
    """The best picture so far at this size, 1 x 3 x H x W in [0, 1]; of very large ones a smaller copy."""


class Work(Protocol):
    """One picture being stylized by a method: iterate over it, ask for the picture at any moment."""

    def __iter__(self) -> Iterator[Iterate]: ...

    @property
    def steps(self) -> int:
        """Steps made; 0 while there is nothing but the photograph."""
        ...

    def picture(self) -> Tensor:
        """The best picture so far at full size, 1 x 3 x H x W in [0, 1]."""
        ...

    def finished(self) -> NDArray[Any] | None:
        """The result with masks and kept colours in it, from a method that does this itself, tile by tile."""
        ...

    def resolved(self) -> dict[str, object]:
        """Options whose values the work found out (tile, steps): with them the record repeats it."""
        ...

    def weights(self) -> dict[str, str]:
        """Name and SHA-256 of the networks used."""
        ...
