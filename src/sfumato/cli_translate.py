"""The command `translate`, made from TranslateOptions; torch is imported when it begins its work."""

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from sfumato.cli_flags import Json, Output, Quiet, expand, flags, given, prepare_memory
from sfumato.errors import InputError
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
    if many and output is not None and output.suffix and not output.is_dir():
        raise InputError(f"{len(photos)} pictures cannot all become {str(output)!r}: give a folder")
    folder = output is None or many or output.is_dir() or not output.suffix
    suffix = Path(model).stem
    targets = {
        photo: (output or photo.parent) / f"{photo.stem}-{suffix}.png" if folder else Path(str(output))
        for photo in photos
    }
    taken = list(targets.values())
    for photo, target in targets.items():
        if taken.count(target) > 1:
            raise InputError(f"several pictures would become {str(target)!r}, {str(photo)!r} among them: rename one")
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
    work, failures = prepare(model, **chosen), list[str]()
    for photo in todo:
        with Reporter(quiet=quiet, json=json, name=str(photo)) as progress:
            try:
                done = work(photo, progress.show)
                done.save(targets[photo])
            except InputError as error:
                if not many:
                    raise
                failures.append(str(error))
                continue
            if json:
                line = {"output": str(targets[photo]), "direction": work.direction}
                print(jsonlib.dumps(line, ensure_ascii=False))
            else:
                progress.note(f"wrote {targets[photo]}")
    if failures:
        raise InputError(f"{len(failures)} of {len(photos)} pictures failed:\n  " + "\n  ".join(failures))
    return 0


def register(app: App) -> None:
    """Add the verb to the command line."""
    app.command(translate)
