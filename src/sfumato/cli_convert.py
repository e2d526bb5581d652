"""The command `convert`; torch is imported when it begins its work."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from sfumato.cli_flags import Json, Quiet


def convert(
    foreign: Annotated[
        Path, Parameter(help="A .pkl of stylegan2-ada-pytorch or stylegan3 (StyleGAN2), or rosinality's .pt.")
    ],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The .safetensors to write.")],
    half: Annotated[bool, Parameter(negative=(), help="16 bits a number: half the size.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Make a StyleGAN2 generator of another program a file of sfumato's. Nothing in the file is run.

    sfumato convert ffhq.pkl -o ffhq.safetensors
    """
    import sys

    from sfumato.models.stylegan2_foreign import convert as make

    made = make(foreign, output, half=half)
    height, width = made.config.size()
    if json:
        facts = {"layout": made.layout, "size": [width, height], "classes": len(made.config.classes)}
        print(jsonlib.dumps({"output": str(output), **facts, "notes": made.notes}))
    elif not quiet:
        classes = f", {len(made.config.classes)} classes" if made.config.classes else ""
        lines = [*made.notes, f"wrote {output}: stylegan2, {width} x {height} pixels{classes}"]
        print("\n".join(lines), file=sys.stderr)
    return 0


def register(app: App) -> None:
    """Add the verb to the command line."""
    app.command(convert)
