"""What a picture is by several columns of its table at once: a class of each, all in one list."""

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, permutations
from typing import TYPE_CHECKING

from sfumato.errors import InputError
from sfumato.train.labels import Numbers, classes_of

if TYPE_CHECKING:
    from sfumato.train.data import Pictures


def columns(label: str) -> tuple[str, ...]:
    """The columns that "mouth,glasses" names; the empty one, which is the sub-folders, where it names none."""
    return tuple(part.strip() for part in label.split(","))


def attribute_classes(pictures: "Pictures", label: str) -> tuple[str, ...]:
    """The classes of every column, column by column; of several as COLUMN-CLASS. Raises `InputError`."""
    named = columns(label)
    if len(named) == 1:
        return classes_of(pictures, label)
    if len(set(named)) < len(named) or "" in named:
        raise InputError(f"name every column once, with commas between, not {label!r}")
    for one, other in permutations(named, 2):
        if other.startswith(f"{one}-"):
            raise InputError(f"the classes of the columns {one!r} and {other!r} could not be told apart: rename one")
    return tuple(f"{column}-{name}" for column in named for name in classes_of(pictures, column))


def sizes(classes: Sequence[str], label: str) -> tuple[int, ...]:
    """How many of the classes each column has; without classes nothing."""
    named = columns(label)
    if not classes or len(named) == 1:
        return (len(classes),) if classes else ()
    return tuple(sum(c.startswith(f"{column}-") for c in classes) for column in named)


def spans(sizes: Sequence[int]) -> list[range]:
    """The numbers of each column's classes in the list of all."""
    return [range(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]


class Attributes:
    """Any picture's numbers in the list of classes; threads may share it."""

    def __init__(self, classes: tuple[str, ...], label: str) -> None:
        self.classes = classes
        self._columns, named = list[tuple[int, Numbers]](), columns(label)
        for column, span in zip(named, spans(sizes(classes, label)), strict=bool(classes)):
            own = classes[span.start : span.stop]
            bare = own if len(named) == 1 else tuple(name.removeprefix(f"{column}-") for name in own)
            self._columns.append((span.start, Numbers(bare, column)))

    def __call__(self, pictures: "Pictures", index: int) -> tuple[int, ...]:
        """A number a column. Raises `InputError` for a label that is not among the classes."""
        return tuple(start + numbers(pictures, index) for start, numbers in self._columns)

    def table(self, pictures: "Pictures") -> list[tuple[int, ...]]:
        """The same of all pictures."""
        return [self(pictures, index) for index in range(len(pictures))]

    def shares(self, pictures: "Pictures") -> tuple[float, ...]:
        """The share of the pictures that has each class: a column's add up to 1."""
        counts = Counter(number for row in self.table(pictures) for number in row)
        return tuple(counts[number] / len(pictures) for number in range(len(self.classes)))
