"""What a picture is by several columns of its table at once: a class of each, all in one list."""

import threading
from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING

from sfumato.errors import InputError
from sfumato.train.labels import classes_of, indices

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


class Attributes:
    """Any picture's numbers in the list of classes, its data's table read once; threads may share it."""

    def __init__(self, classes: tuple[str, ...], label: str) -> None:
        self.classes, self.label = classes, label
        self._found: dict[int, list[tuple[int, ...]]] = {}
        self._lock = threading.Lock()

    def __call__(self, pictures: "Pictures", index: int) -> tuple[int, ...]:
        """A number a column. Raises `InputError` for a label that is not among the classes."""
        with self._lock:
            if id(pictures) not in self._found:
                self._found[id(pictures)] = self.table(pictures)
            return self._found[id(pictures)][index]

    def table(self, pictures: "Pictures") -> list[tuple[int, ...]]:
        """The same of all pictures."""
        found, start = list[list[int]](), 0
        named = columns(self.label)
        for column, size in zip(named, sizes(self.classes, self.label), strict=True):
            own = self.classes[start : start + size]
            bare = own if len(named) == 1 else tuple(name.removeprefix(f"{column}-") for name in own)
            found.append([start + number for number in indices(pictures, bare, column)])
            start += size
        return list(zip(*found, strict=True))

    def shares(self, pictures: "Pictures") -> tuple[float, ...]:
        """The share of the pictures that has each class: a column's add up to 1."""
        counts = Counter(number for row in self.table(pictures) for number in row)
        return tuple(counts[number] / len(pictures) for number in range(len(self.classes)))
