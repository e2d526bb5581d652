"""What every command shares: options made from dataclasses, flags that mean the same everywhere, the allocator."""

import contextlib
import ctypes
import glob
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from docstring_parser import parse_from_object

from sfumato.errors import InputError

Output = Annotated[
    Path | None, Parameter(name=["--output", "-o"], help="The picture to write, or a folder for several.")
]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative=(), help="No progress.")]
Json = Annotated[
    bool,
    Parameter(
        name="--json", negative=(), help="One line of JSON a result on stdout, progress as JSON lines on stderr."
    ),
]


def flags(
    options: type,
    docs: Mapping[str, str] | None = None,
    *,
    without: Collection[str] = (),
    names: Mapping[str, Sequence[str]] | None = None,
) -> type:
    """A dataclass of the same fields in which None means "not given", so that presets and records know what was.

    `docs` are the fields' docstrings where the class's source cannot be read; fields in `without` are left out;
    `names` are other names than the fields' own.
    """

    def flag(f: "Field[Any]", text: str | None) -> tuple[str, Any, Any]:
        shown = f.default if f.default is not MISSING and f.default not in (None, (), "") else None
        show: Any = (lambda _, value=shown: str(value)) if shown is not None else False
        name = (names or {}).get(f.name)
        parameter = Parameter(name=name, help=text, show_default=show, negative_iterable=(), consume_multiple=True)
        kind: Any = f.type
        return f.name, Annotated[kind | None, parameter], field(default=None)

    texts = docs if docs is not None else {p.arg_name: p.description for p in parse_from_object(options).params}
    chosen = [flag(f, texts.get(f.name)) for f in fields(options) if f.name not in without]
    made = make_dataclass(f"{options.__name__}Flags", chosen, frozen=True)
    made.__module__ = __name__  # cyclopts takes a class of the module `types` for one of Python's own
    return made


def given(flags_object: object) -> dict[str, Any]:
    """The options that were on the command line."""
    found = {f.name: getattr(flags_object, f.name) for f in fields(flags_object)}  # type: ignore[arg-type]
    return {k: v for k, v in found.items() if v is not None}


def expand(names: Sequence[str]) -> tuple[list[Path], bool]:
    """Pictures named by files, folders and globs, and whether they are (meant as) several."""
    from sfumato.picture.formats import known_extensions

    found, many = list[Path](), len(names) > 1
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in known_extensions() and p.is_file())
            if not inside:
                raise InputError(f"{name!r} is a folder without pictures")
            found, many = found + inside, True
        elif not path.exists() and glob.has_magic(name):
            matches = sorted(Path(p) for p in glob.glob(name, recursive=True))  # noqa: PTH207 (absolute patterns too)
            if not matches:
                raise InputError(f"nothing matches {name!r}")
            found, many = found + matches, True
        else:
            found.append(path)
    return found, many


def targets_of(
    photos: Sequence[Path], many: bool, output: Path | None, name: Callable[[Path], str]
) -> dict[Path, Path]:
    """Where each picture goes: `output` itself, or `name(picture)` in that folder or beside the picture.

    Raises `InputError` where several would become one.
    """
    if many and output is not None and output.suffix and not output.is_dir():
        raise InputError(f"{len(photos)} pictures cannot all become {str(output)!r}: give a folder")
    if output is not None and output.suffix and not many and not output.is_dir():
        return dict.fromkeys(photos, output)
    found = {photo: (output or photo.parent) / name(photo) for photo in photos}
    taken = list(found.values())
    for photo, target in found.items():
        if taken.count(target) > 1:
            raise InputError(f"several pictures would become {str(target)!r}, {str(photo)!r} among them: rename one")
    return found


def one_by_one(todo: Sequence[Path], work: Callable[[Path], object], *, many: bool) -> None:
    """Do it to every picture; of several those that fail are named at the end. Raises `InputError`."""
    failures = list[str]()
    for photo in todo:
        try:
            work(photo)
        except InputError as error:
            if not many:
                raise
            failures.append(str(error))
    if failures:
        raise InputError(f"{len(failures)} of {len(todo)} pictures failed:\n  " + "\n  ".join(failures))


def prepare_memory() -> None:
    """Let the allocator keep what it frees: fresh pages cost a third of every step (Linux with glibc; else nothing).

    For the command only: a library must not change its host's allocator.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch: large pages; read before its first allocation
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            trim_threshold, mmap_max = -1, -4
            libc.mallopt(trim_threshold, (1 << 31) - 1)
            libc.mallopt(mmap_max, 0)
