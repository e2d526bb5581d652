"""The command `generate`, made from GenerateOptions; torch is imported when it begins its work."""

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from sfumato.cli_flags import Json, Quiet, flags, given, prepare_memory
from sfumato.errors import InputError
from sfumato.generate.options import GenerateOptions

SHORT = {"count": ["--count", "-n"], "class_": ["--class"]}
GenerateFlags: Any = flags(GenerateOptions, names=SHORT)


def generate(
    model: Annotated[str, Parameter(help="A generator: a bundled model's name, a file of weights, or a training run.")],
    /,
    *,
    output: Annotated[
        Path,
        Parameter(name=["--output", "-o"], help="A picture for a sheet, a folder for single pictures; a GIF or MP4."),
    ] = Path("generated.png"),
    walk: Annotated[
        bool, Parameter(negative=(), help="From every seed to the next: a strip a pair, or round as a GIF or MP4.")
    ] = False,
    frames: Annotated[int, Parameter(help="Pictures from one seed to the next of a walk.")] = 12,
    codes: Annotated[
        bool, Parameter(negative=(), help="What every named code does (InfoGAN): a row a seed, a column a value.")
    ] = False,
    options: Annotated[GenerateFlags, Parameter(name="*", show_default=False)] = GenerateFlags(),  # noqa: B008
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Make pictures that were never taken.

    sfumato generate runs/dcgan -n 64 --seed 1 -o sheet.png
    """
    from sfumato import generate as make
    from sfumato.generate import traverse
    from sfumato.generate import walk as wander

    if walk and codes:
        raise InputError("give --walk or --codes, not both")
    prepare_memory()
    chosen = given(options)
    if walk:
        written = [wander(model, output, frames=frames, **chosen)]
    elif codes:
        written = [traverse(model, output, **chosen)]
    else:
        written = make(model, **chosen).save(output)
    if json:
        print(jsonlib.dumps({"model": model, "output": [str(path) for path in written]}))
    elif not quiet:
        import sys

        where = str(written[0]) if len(written) == 1 else f"{len(written)} pictures to {output}"
        print(f"wrote {where}", file=sys.stderr)
    return 0


def register(app: App) -> None:
    """Add the verb to the command line."""
    app.command(generate)
