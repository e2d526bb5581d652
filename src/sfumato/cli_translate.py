"""The command `translate`, made from TranslateOptions; torch is imported when it begins its work."""

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from sfumato.cli_flags import Json, Output, Quiet, expand, flags, given, one_by_one, prepare_memory, targets_of
from sfumato.translate.options import TranslateOptions

TranslateFlags: Any = flags(TranslateOptions, names={"except_": ["--except"]})


def translate(
    inputs: Annotated[list[str], Parameter(help="Pictures, folders or globs.")],
    /,
    *,
    model: Annotated[str, Parameter(help="A translator: a bundled name, a file of weights, a training run.")],
    output: Output = None,
    skip_existing: Annotated[bool, Parameter(negative=(), help="Leave finished outputs alone.")] = False,
    options: Annotated[TranslateFlags, Parameter(name="*", show_default=False)] = TranslateFlags(),  # noqa: B008
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Turn a photograph into a picture of another domain, or back, by a network trained without pairs.

    sfumato translate photo.jpg --model runs/ink -o out.png
    """
    from sfumato.progress import Reporter

    photos, many = expand(inputs)
    targets = targets_of(photos, many, output, lambda photo: f"{photo.stem}-{Path(model).stem}.png")
    todo = [photo for photo in photos if not (skip_existing and targets[photo].exists())]
    if not todo:
        return 0
    chosen = given(options)
    if "max_memory" not in chosen:  # what is kept is not given back, which a limit would rather have
        prepare_memory()
    from sfumato.picture.io import check_output
    from sfumato.translate import prepare

    for photo in todo:
        check_output(targets[photo], [photo])
    work = prepare(model, **chosen)

    def one(photo: Path) -> None:
        with Reporter(quiet=quiet, json=json, name=str(photo)) as progress:
            work(photo, progress.show).save(targets[photo])
            if json:
                line = {"output": str(targets[photo]), "direction": work.direction}
                print(jsonlib.dumps(line, ensure_ascii=False))
            else:
                progress.note(f"wrote {targets[photo]}")

    one_by_one(todo, one, many=many)
    return 0


def register(app: App) -> None:
    """Add the verb to the command line."""
    app.command(translate)
