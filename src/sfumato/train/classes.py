"""What the numbers and colours of label maps mean: a small TOML, and the check that label maps follow it.

classes = ["sky", "building", "road"]                          # label 0, 1, 2
colors = [[128, 128, 128], [128, 0, 0], [128, 64, 128]]        # for maps that are RGB pictures; and to show them
ignore = 255                                                   # a label that counts for nothing
"""

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sfumato.errors import InputError, unknown
from sfumato.picture.label_maps import MOST, Color, distinct_colors

if TYPE_CHECKING:
    from sfumato.train.data import Pictures

PROPORTIONS = 0.02
"""How much the proportions of a label map may differ from its picture's: rounded sides."""


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of their labels."""

    names: tuple[str, ...]
    colors: tuple[Color, ...] = ()
    """One a class, or none at all."""
    ignore: int = 255
    """A label that counts for nothing; colours that are none of `colors` become it."""

    def check(self, where: str) -> None:
        """Raises `InputError` for a list that cannot be; `where` it stands opens the sentence."""
        names, colors = self.names, self.colors
        if not 2 <= len(names) < MOST or not all(isinstance(n, str) and n.strip() for n in names):
            raise InputError(f"{where}: 'classes' must be a list of 2 to {MOST - 1} names, in the order of the labels")
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise InputError(f"{where}: the class {twice[0]!r} occurs twice")
        if colors and len(colors) != len(names):
            raise InputError(f"{where}: {len(colors)} colors for {len(names)} classes: give one a class, or none")
        if not all(len(c) == 3 and all(type(v) is int and 0 <= v <= 255 for v in c) for c in colors):
            raise InputError(f"{where}: a color must be three whole numbers from 0 to 255, like [128, 64, 128]")
        if len(set(colors)) != len(colors):
            raise InputError(f"{where}: two classes have the same color")
        if type(self.ignore) is not int or not len(names) <= self.ignore < MOST:
            raise InputError(
                f"{where}: ignore must be a label that is no class, from {len(names)} to {MOST - 1}, not {self.ignore}"
            )

    @property
    def shown(self) -> tuple[Color, ...]:
        """The colours, or made ones."""
        return self.colors or distinct_colors(len(self.names))


def read_classes(path: str | Path) -> ClassList:
    """A class list from its TOML. Raises `InputError`."""
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, so no class list") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a class list ({error})") from None
    known = ("classes", "colors", "ignore")
    for key in table:
        if key not in known:
            raise unknown(f"entry of {path}", key, known)
    return of_table(table, str(path))


def of_table(table: Mapping[str, Any], where: str) -> ClassList:
    """A class list from plain values under `classes`, `colors` and `ignore`, as a TOML or a Config has them."""
    names, colors = table.get("classes", ()), table.get("colors", ())
    if not isinstance(names, list | tuple) or not isinstance(colors, list | tuple):
        raise InputError(f"{where}: 'classes' and 'colors' must be lists")
    if not all(isinstance(c, list | tuple) for c in colors):
        raise InputError(f"{where}: a color must be three whole numbers from 0 to 255, like [128, 64, 128]")
    found = ClassList(tuple(names), tuple(tuple(c) for c in colors), table.get("ignore", 255))
    found.check(where)
    return found


def resolved(names: str | Sequence[str], colors: Sequence[Any], ignore: int) -> ClassList | None:
    """A Config's class list: names as they are, or read from the TOML that is named; None where there is nothing."""
    several = (names,) if isinstance(names, str) else tuple(names)
    if not several:
        return None
    if len(several) == 1:
        return read_classes(several[0])
    return of_table({"classes": several, "colors": colors, "ignore": ignore}, "the class list")


def check_pairs(pictures: "Pictures", labels: "Pictures", classes: ClassList) -> list[str]:
    """Look at every label map before a run; remarks about colours that were snapped or unknown.

    A map that cannot be read, or has no colour of the list, takes its picture out of the run: it is bad from then on.
    Raises `InputError` for a picture without a map, a map of other proportions, a label that is no class, and where no
    map can be used.
    """
    matched = Counter[str]()
    good = 0
    for index, name in enumerate(pictures.names):
        at = labels.paired(name)
        if at is None:
            raise InputError(f"{labels.title}: lacks the label map of {name}: one of the same name is needed")
        try:
            height, width = pictures.header(index)
        except InputError:
            continue  # it is bad by itself, and said to be
        try:
            found = labels[at]
        except InputError as error:
            pictures.bad[name] = f"its label map {error}"
            continue
        own_height, own_width = labels.header(at)
        one, other = height * own_width, width * own_height
        if abs(one - other) > PROPORTIONS * max(one, other):
            raise InputError(
                f"{labels.names[at]}: its proportions ({own_width} x {own_height}) are not those of its picture "
                f"({width} x {height})"
            )
        values = torch.bincount(found.flatten().int(), minlength=MOST).nonzero().flatten().tolist()
        if beyond := [v for v in values if v >= len(classes.names) and v != classes.ignore]:
            raise InputError(
                f"{labels.names[at]}: has the label {beyond[0]}, but there are {len(classes.names)} classes, "
                f"and {classes.ignore} is what counts for nothing"
            )
        matched.update(labels.snapped.get(labels.names[at], {}))
        good += 1
    if not good:
        name, reason = next(iter(pictures.bad.items()))
        raise InputError(f"{labels.title}: none of its label maps can be used ({name}: {reason})")
    return _remarks(matched)


def _remarks(matched: Counter[str]) -> list[str]:
    total = matched.total()
    if not total or matched["exact"] == total:
        return []
    shares = {kind: f"{100 * matched[kind] / total:.2g} %" for kind in ("near", "unknown")}
    found = []
    if matched["near"]:
        found.append(f"{shares['near']} of the label maps' pixels were given to the nearest colour of the class list")
    if matched["unknown"]:
        found.append(f"{shares['unknown']} of the label maps' pixels have no colour of the class list: ignored")
    return found
