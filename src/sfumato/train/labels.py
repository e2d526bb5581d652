"""Labels of pictures: the names of their sub-folders, or a column of a table `labels.csv` beside them."""

import csv
import io
import threading
from typing import TYPE_CHECKING

from sfumato.errors import InputError, unknown

if TYPE_CHECKING:
    from sfumato.train.data import Pictures

TABLE = "labels.csv"
NAME = "name"
"""Column of the pictures' names, relative to the table's folder."""


def read_table(text: str, column: str, where: str) -> dict[str, str]:
    """{picture's name: its entry in `column`}. Raises `InputError` for a table without these columns."""
    rows = csv.DictReader(io.StringIO(text))
    columns = list(rows.fieldnames or [])
    if NAME not in columns:
        raise InputError(f"{where}: its first line must name the columns, {NAME!r} among them")
    if column not in columns:
        raise unknown(f"column of {where}", column, [c for c in columns if c != NAME])
    return {row[NAME]: row[column] or "" for row in rows}


def classes_of(pictures: "Pictures", column: str = "") -> tuple[str, ...]:
    """The labels that occur, sorted. Raises `InputError` where a picture has none or all have the same."""
    labels = pictures.labels(column)
    found = tuple(sorted(set(labels)))
    if "" in found:
        name = pictures.names[labels.index("")]
        how = f"an entry in column {column!r} of {TABLE}" if column else "a sub-folder of its class"
        raise InputError(f"{pictures.title}: {name} has no label: every picture needs {how}")
    if len(found) < 2:
        raise InputError(f"{pictures.title}: all its pictures are of one class, {found[0]!r}")
    return found


def indices(pictures: "Pictures", classes: tuple[str, ...], column: str = "") -> list[int]:
    """Every picture's number in `classes`. Raises `InputError` for a label that is not there."""
    at = {name: i for i, name in enumerate(classes)}
    labels = pictures.labels(column)
    for name, label in zip(pictures.names, labels, strict=True):
        if label not in at:
            raise unknown(f"class of {name}", label, classes)
    return [at[label] for label in labels]


class Numbers:
    """The number of any picture's class, its data's labels read once; threads may share it."""

    def __init__(self, classes: tuple[str, ...], column: str = "") -> None:
        self.classes, self.column = classes, column
        self._found: dict[int, list[int]] = {}
        self._lock = threading.Lock()

    def __call__(self, pictures: "Pictures", index: int) -> int:
        """Raises `InputError` for a label that is not among the classes."""
        with self._lock:
            if id(pictures) not in self._found:
                self._found[id(pictures)] = indices(pictures, self.classes, self.column)
            return self._found[id(pictures)][index]
