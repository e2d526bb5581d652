"""The command `segment`, made from SegmentOptions; torch is imported when it begins its work."""

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from sfumato.cli_flags import Json, Output, Quiet, expand, flags, given, one_by_one, prepare_memory, targets_of
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
    folder = output is not None and (many or output.is_dir() or not output.suffix)
    first = targets_of(photos, many, output, lambda photo: str(label_map_name(photo)))
    todo = [photo for photo in photos if not (skip_existing and first[photo].exists())]
    if not todo:
        return 0
    prepare_memory()
    segmenter = Segmenter(model, **given(options))

    def one(photo: Path) -> None:
        with Reporter(quiet=quiet, json=json, name=str(photo)) as progress:
            found = segmenter(photo)
            written = found.save(output if folder and output is not None else first[photo])
            shares = dict(zip(found.regions.names, found.regions.shares.tolist(), strict=True))
            if json:
                line = {"output": str(written[0]), "confidence": round(found.confidence, 4), "shares": shares}
                print(jsonlib.dumps(line, ensure_ascii=False))
            else:
                progress.note(f"wrote {written[0]}: {legend(list(shares), list(shares.values()))}")

    one_by_one(todo, one, many=many)
    return 0


def register(app: App) -> None:
    """Add the verb to the command line."""
    app.command(segment)
