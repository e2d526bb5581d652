"""The command `segment`, made from SegmentOptions; torch is imported when it begins its work."""

import json as jsonlib
from typing import Annotated, Any

from cyclopts import App, Parameter

from sfumato.cli_flags import Json, Output, Quiet, expand, flags, given, prepare_memory
from sfumato.errors import InputError
from sfumato.segment import Segmenter, SegmentOptions, legend

SegmentFlags: Any = flags(SegmentOptions)


def segment(
    inputs: Annotated[list[str], Parameter(help="Photographs: pictures, folders or globs.")],
    /,
    *,
    output: Output = None,
    model: Annotated[
        str | None, Parameter(help="A segmenter: a bundled name, a file of weights, a training run.")
    ] = None,
    skip_existing: Annotated[bool, Parameter(negative=(), help="Leave finished outputs alone.")] = False,
    options: Annotated[SegmentFlags, Parameter(name="*", show_default=False)] = SegmentFlags(),  # noqa: B008
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Say what is where in photographs: a label map; into a folder also an overlay and a mask a class.

    sfumato segment photo.jpg -o regions.png
    """
    from sfumato.picture.label_files import label_map_name
    from sfumato.progress import Reporter

    photos, many = expand(inputs)
    if many and output is not None and output.suffix and not output.is_dir():
        raise InputError(f"{len(photos)} pictures cannot all become {str(output)!r}: give a folder")
    folder = output is not None and (many or output.is_dir() or not output.suffix)
    first = {
        photo: (output or photo.parent) / label_map_name(photo) if folder or output is None else output
        for photo in photos
    }
    taken = list(first.values())
    for photo, target in first.items():
        if taken.count(target) > 1:
            raise InputError(f"several pictures would become {str(target)!r}, {str(photo)!r} among them: rename one")
    todo = [photo for photo in photos if not (skip_existing and first[photo].exists())]
    if not todo:
        return 0
    prepare_memory()
    segmenter, failures = Segmenter(model, **given(options)), list[str]()
    for number, photo in enumerate(todo, 1):
        with Reporter(quiet=quiet, json=json, name=str(photo)) as progress:
            try:
                found = segmenter(photo)
                written = found.save(output if folder and output is not None else first[photo])
            except InputError as error:
                if not many:
                    raise
                failures.append(str(error))
                continue
            shares = dict(zip(found.regions.names, found.regions.shares.tolist(), strict=True))
            progress.show(number, len(todo), found.regions.size, {})
            if json:
                line = {"output": str(written[0]), "confidence": round(found.confidence, 4), "shares": shares}
                print(jsonlib.dumps(line, ensure_ascii=False))
            else:
                progress.note(f"wrote {written[0]}: {legend(list(shares), list(shares.values()))}")
    if failures:
        raise InputError(f"{len(failures)} of {len(photos)} pictures failed:\n  " + "\n  ".join(failures))
    return 0


def register(app: App) -> None:
    """Add the verb to the command line."""
    app.command(segment)
