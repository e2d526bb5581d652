"""What a user did wrong, in one sentence; the command line prints it and exits with code 2."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, ClassVar, Protocol, TypeVar


class InputError(ValueError):
    """Bad input: a picture, an option or a file that cannot be used. The message is one clear sentence."""


def unknown(kind: str, given: object, valid: Iterable[str]) -> InputError:
    """The error for a name that does not exist: says the nearest valid one and lists the rest.

    >>> str(unknown("layer", "relu4_9", ["relu4_1", "relu5_1"]))
    "unknown layer 'relu4_9': did you mean 'relu4_1'? (valid: relu4_1, relu5_1)"
    """
    names = list(valid)
    near = get_close_matches(str(given), names, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {given!r}: {hint}(valid: {', '.join(names)})")


class Checked(Protocol):
    """A dataclass of options."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""


Options = TypeVar("Options", bound=Checked)


def checked(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """The options of a verb from keywords. Raises `InputError` for a name that it does not have or a bad value."""
    names = [f.name for f in fields(kind)]
    for name in given:
        if name not in names:
            raise unknown("option", name, names)
    options = kind(**given)
    options.check()
    return options
