"""What a user did wrong, in one sentence; the command line prints it and exits with code 2."""

from collections.abc import Iterable
from difflib import get_close_matches


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
