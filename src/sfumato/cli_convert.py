"""The command `convert`; torch is imported when it begins its work."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from sfumato.cli_flags import Json, Quiet


def convert(
    foreign: Annotated[
        Path,
        Parameter(
            help="A .pkl of stylegan2-ada-pytorch or stylegan3 (StyleGAN2), rosinality's .pt, or a latest_net_G*.pth "
            "of pytorch-CycleGAN-and-pix2pix."
        ),
    ],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The .safetensors to write.")],
    back: Annotated[
        Path | None, Parameter(help="CycleGAN's other generator (latest_net_G_B.pth), from b to a.")
    ] = None,
    nearest: Annotated[
        bool,
        Parameter(negative=(), help="A CycleGAN that enlarges before its convolutions does it by repeated pixels."),
    ] = False,
    half: Annotated[bool, Parameter(negative=(), help="16 bits a number: half the size.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Make generators of other programs, StyleGAN2 or CycleGAN, a file of sfumato's. Nothing in the file is run.

    sfumato convert ffhq.pkl -o ffhq.safetensors
    sfumato convert latest_net_G_A.pth --back latest_net_G_B.pth -o horses.safetensors
    """
    import sys

    from sfumato.errors import InputError
    from sfumato.models import cyclegan_foreign, stylegan2_foreign
    from sfumato.weights.foreign import read_foreign

    found = read_foreign(foreign)
    facts: dict[str, object]
    if cyclegan_foreign.is_generator(found):
        pair = cyclegan_foreign.convert(found, output, back=back, nearest=nearest, half=half)
        c, notes = pair.config, pair.notes
        facts = {"layout": "cyclegan", "directions": pair.directions, "blocks": c.blocks, "channels": c.channels}
        told = f"cyclegan, {' and '.join(pair.directions)}, {c.blocks} blocks, {c.channels} channels"
    elif back is not None or nearest:
        raise InputError("--back and --nearest are for CycleGAN's generators")
    else:
        made = stylegan2_foreign.convert(found, output, half=half)
        (height, width), notes, classes = made.config.size(), made.notes, len(made.config.classes)
        facts = {"layout": made.layout, "size": [width, height], "classes": classes}
        told = f"stylegan2, {width} x {height} pixels" + (f", {classes} classes" if classes else "")
    if json:
        print(jsonlib.dumps({"output": str(output), **facts, "notes": notes}))
    elif not quiet:
        print("\n".join([*notes, f"wrote {output}: {told}"]), file=sys.stderr)
    return 0


def register(app: App) -> None:
    """Add the verb to the command line."""
    app.command(convert)
