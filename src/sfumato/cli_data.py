"""The command `data faces`; what draws is imported when it begins its work."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from sfumato.cli_flags import Json, Quiet

data = App(
    name="data",
    help="Make pictures to train on, with labels that are true by construction.",
    version_flags=[],
    help_flags=["--help", "-h"],
    help_format="plaintext",
)


@data.command
def faces(
    *,
    out: Annotated[Path, Parameter(help="The folder to write; it must not hold labels.csv yet.")],
    style: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            consume_multiple=True,
            help="toon-head, avataaars, adventurer, micah, personas; one or several. [default: toon-head]",
        ),
    ] = None,
    count: Annotated[int, Parameter(name=["--count", "-n"], help="Faces of every style.")] = 1000,
    size: Annotated[int, Parameter(help="Side of the pictures in pixels.")] = 128,
    seed: Annotated[int, Parameter(help="Other faces.")] = 0,
    masks: Annotated[bool, Parameter(negative=(), help="Write what every pixel shows, as 8-bit labels.")] = False,
    change: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            consume_multiple=True,
            help="Attributes, e.g. mouth or 'hair colour': of each a second picture in which nothing else differs.",
        ),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Draw labelled faces, as many as wanted.

    sfumato data faces --style toon-head -n 10000 --out faces/
    """
    from sfumato.data.faces import draw_faces
    from sfumato.progress import Reporter

    with Reporter(quiet=quiet, json=json, name="faces") as progress:
        made = draw_faces(
            out,
            styles=style or ["toon-head"],
            count=count,
            size=size,
            seed=seed,
            masks=masks,
            change=change or (),
            on_face=lambda done, total: progress.show(done, total, (size, size), {}),
        )
        if not json:
            progress.note(f"wrote {made} pictures, labels.csv and CREDITS.md to {out}")
    if json:
        print(jsonlib.dumps({"output": str(out), "pictures": made}))
    return 0


def register(app: App) -> None:
    """Add the verb to the command line."""
    app.command(data)
