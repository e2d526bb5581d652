"""The command `edit`, made from EditOptions and Inverting; torch is imported when it begins its work."""

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from sfumato.cli_flags import Json, Output, Quiet, expand, flags, given, one_by_one, prepare_memory, targets_of
from sfumato.edit.options import EditOptions, Inverting
from sfumato.errors import InputError

EditFlags: Any = flags(EditOptions, names={"except_": ["--except"]})
InvertFlags: Any = flags(Inverting)


def edit(
    inputs: Annotated[list[str] | None, Parameter(help="Photographs: pictures, folders or globs.")] = None,
    /,
    *,
    model: Annotated[
        str | None, Parameter(help="A generator: a bundled model's name, a file of weights, or a training run.")
    ] = None,
    output: Output = None,
    explore: Annotated[
        str | None, Parameter(help="A generator whose directions are to be seen: a labelled sheet, or a GIF.")
    ] = None,
    strip: Annotated[
        int, Parameter(help="So many strengths of the one change, from -STRENGTH to +STRENGTH: a strip, or a GIF.")
    ] = 0,
    learn: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            consume_multiple=True,
            help="Classifiers, or with --label folders of pictures: a file of directions, one a class, is made.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        Parameter(negative=(), consume_multiple=True, help="Columns of the folders' labels.csv to learn from."),
    ] = None,
    skip_existing: Annotated[bool, Parameter(negative=(), help="Leave finished outputs alone.")] = False,
    options: Annotated[EditFlags, Parameter(name="*", show_default=False)] = EditFlags(),  # noqa: B008
    inverting: Annotated[InvertFlags, Parameter(name="*", show_default=False)] = InvertFlags(),  # noqa: B008
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Change one thing in a picture, by a generator that knows such pictures.

    sfumato edit photo.png --model runs/faces --set smile=+2 --only mask.png -o out.png
    """
    if explore and model and explore != model:
        raise InputError(f"--explore {explore} looks at one generator and --model {model} names another: give one")
    source = explore or model
    if source is None:
        raise InputError("say which generator: --model, a bundled name, a file of weights or a training run")
    if not inputs and not explore and not learn:
        raise InputError("say which picture to edit, or --explore a generator")
    if inputs and (explore or learn):
        raise InputError("--explore and --learn look at the generator: they take no pictures")
    if label and not learn:
        raise InputError("--label says what to learn from labelled pictures: --learn FOLDER --label COLUMN")
    chosen = {**given(options), **given(inverting)}
    photos, many = expand(inputs or [])
    targets = targets_of(photos, many, output, lambda photo: f"{photo.stem}-edited.png") if inputs else {}
    prepare_memory()
    from sfumato.edit.editor import Editor

    editor = Editor(source, **chosen)
    if explore or learn:
        from sfumato.edit import explore as look

        if learn:
            written = output or Path("directions.safetensors")
            found = look.learn_labels(editor, learn, label, written) if label else look.learn(editor, learn, written)
            tell(json, quiet, written, directions=[d.name for d in found])
        else:
            names = tuple(text.partition("=")[0] for text in editor.options.set)
            tell(json, quiet, look.explore(editor, output or Path("directions.png"), names=names))
        return 0
    todo = [photo for photo in photos if not (skip_existing and targets[photo].exists())]
    one_by_one(todo, lambda photo: one(editor, photo, targets[photo], strip, quiet=quiet, json=json), many=many)
    return 0


def one(editor: Any, photo: Path, target: Path, strip: int, *, quiet: bool, json: bool) -> None:
    """One picture's edit, or its strip."""
    from sfumato.edit.options import changes
    from sfumato.picture.io import check_output
    from sfumato.progress import Reporter

    with Reporter(quiet=quiet, json=json, name=str(photo)) as progress:
        if strip:
            from sfumato.edit.explore import write_strip

            wanted = changes(editor.options.set)
            if len(wanted) != 1 or strip < 2:
                raise InputError("a strip shows one change at two strengths or more: --set smile=3 --strip 7")
            if target.exists() and target.samefile(photo):
                raise InputError(f"{target} is the photograph itself: give the strip another name")
            ((name, most),) = wanted.items()
            write_strip(editor, str(photo), name, [most * (2 * k / (strip - 1) - 1) for k in range(strip)], target)
            tell(json, quiet, target)
            return
        check_output(target, [photo])
        made = editor(photo, lambda k, n, loss: progress.show(k, n, editor.space.size, {"distance": loss}))
        made.save(target)
        for note in made.notes:
            progress.note(note)
        tell(json, quiet, target, psnr=made.record["reconstruction"]["psnr"])


def tell(json: bool, quiet: bool, written: Path, **facts: Any) -> None:
    """A line of JSON on stdout, or one for people on stderr."""
    import sys

    if json:
        print(jsonlib.dumps({"output": str(written), **facts}, ensure_ascii=False))
    elif not quiet:
        names = facts.get("directions")
        print(f"wrote {written}" + (f": {', '.join(names)}" if names else ""), file=sys.stderr)


def register(app: App) -> None:
    """Add the verb to the command line."""
    app.command(edit)
