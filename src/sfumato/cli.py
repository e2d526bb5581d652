"""The command line: verbs made from option dataclasses; nothing is declared here that is declared there.

Torch is imported only when a verb begins its work, so that help, version and completion answer at once.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError

from sfumato import (
    cli_convert,
    cli_data,
    cli_edit,
    cli_generate,
    cli_judge,
    cli_repair,
    cli_segment,
    cli_train,
    cli_translate,
)
from sfumato._version import __version__
from sfumato.cli_flags import Json, Output, Quiet, expand, flags, given, one_by_one, prepare_memory
from sfumato.errors import InputError, unknown
from sfumato.stylize.options import StylizeOptions

if TYPE_CHECKING:
    from sfumato.progress import Reporter
    from sfumato.stylize.work import Stylizing

VERBS = (
    "stylize",
    "segment",
    "translate",
    "restore",
    "denoise",
    "colorize",
    "inpaint",
    "compose",
    "generate",
    "edit",
    "train",
    "resume",
    "data",
    "evaluate",
    "export",
    "convert",
    "demo",
    "inspect",
    "models",
)


StylizeFlags = flags(StylizeOptions, names={"except_": ["--except"]})


app = App(
    name="sfumato",
    help="Image style transfer and image editing, offline. `sfumato demo` shows what it does.",
    version=f"sfumato {__version__}",
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # `main` says so itself
)
app.register_install_completion_command()


@app.command
def stylize(
    inputs: Annotated[
        list[str],
        Parameter(help="The photograph (picture, folder or glob), then the style; with --style only photographs."),
    ],
    /,
    *,
    output: Output = None,
    style: Annotated[
        list[Path] | None,
        Parameter(name=["--style", "-s"], negative=(), consume_multiple=True, help="Style pictures, one or several."),
    ] = None,
    mask: Annotated[
        list[Path] | None,
        Parameter(
            negative=(),
            consume_multiple=True,
            help="White where the picture may change, black where it must not; or a mask for each style.",
        ),
    ] = None,
    style_mask: Annotated[
        list[str] | None,
        Parameter(negative=(), help="For each style, white where its statistics are taken; 'none' for all of it."),
    ] = None,
    regions: Annotated[
        list[Path] | None,
        Parameter(
            negative=(),
            consume_multiple=True,
            help="Pictures of regions in flat colours, of the photograph and of each style: equal colours go together.",
        ),
    ] = None,
    style_for: Annotated[
        list[str] | None,
        Parameter(negative=(), consume_multiple=True, help="A style for a class: sky=a.jpg building=b.jpg."),
    ] = None,
    explain: Annotated[
        Path | None, Parameter(help="A folder for what --semantic did: the regions side by side and a table of pairs.")
    ] = None,
    like: Annotated[
        Path | None,
        Parameter(
            help="A picture made earlier: its settings are used, and its styles, masks and regions unless given."
        ),
    ] = None,
    photorealistic: Annotated[
        bool, Parameter(name="--photo", negative=(), help="The result is a photograph: short for --method photo.")
    ] = False,
    preview: Annotated[Path | None, Parameter(help="A file that shows the picture while it is made.")] = None,
    variations: Annotated[
        int, Parameter(name=["--variations", "-n"], help="So many results, each with a seed of its own, and a sheet.")
    ] = 1,
    skip_existing: Annotated[bool, Parameter(negative=(), help="Leave finished outputs alone.")] = False,
    options: Annotated[StylizeFlags, Parameter(name="*", show_default=False)] = StylizeFlags(),  # type: ignore[valid-type] # noqa: B008
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Paint a photograph in the style of other pictures.

    sfumato stylize photo.jpg painting.jpg -o out.png
    """
    from sfumato.picture.io import check_output, read_picture
    from sfumato.picture.record import read_record
    from sfumato.picture.sheet import contact_sheet, square
    from sfumato.progress import Reporter
    from sfumato.stylize.like import recorded, recorded_styles

    if variations < 1:
        raise InputError(f"variations must be a whole number of at least 1, not {variations}")
    names, styles, own = list(inputs), list(style or []), class_styles(style_for or [])
    if not styles and like is None and not (own and len(names) == 1):
        if len(names) < 2:
            raise InputError("a style picture is missing: sfumato stylize photo.jpg painting.jpg -o out.png")
        styles = [Path(names.pop())]
    if not styles and like is not None and not own:
        if len(names) > 1:
            styles = [Path(names.pop())]
        else:
            styles, own = recorded_styles(recorded(like), like)
    photos, many = expand(names)
    if many and output is not None and output.suffix and not output.is_dir():
        raise InputError(f"{len(photos)} pictures cannot all become {str(output)!r}: give a folder")
    if regions and many:
        raise InputError("pictures of regions belong to one photograph: give one")
    first = (styles or list(own.values()))[0]
    targets = [numbered(destination(photo, first, output, many), variations) for photo in photos]
    every = [target for of_one in targets for target in of_one]
    for photo, of_one in zip(photos, targets, strict=True):
        if twice := [target for target in of_one if every.count(target) > 1]:
            raise InputError(f"several pictures would become {str(twice[0])!r}, {str(photo)!r} among them: rename one")
    masks = [None if m.lower() == "none" else m for m in style_mask or []]
    chosen = given(options)
    if photorealistic and chosen.setdefault("method", "photo") != "photo":
        raise InputError(f"--photo is short for --method photo, but --method {chosen['method']} was given")
    seed = chosen.get("seed", recorded_seed(read_record(like)) if like is not None else StylizeOptions().seed)
    places = dict(zip(photos, targets, strict=True))
    missing = {
        photo: [k for k in range(variations) if not (skip_existing and of_one[k].exists())]
        for photo, of_one in places.items()
    }
    todo = [photo for photo in photos if missing[photo] or not places[photo][-1].exists()]
    read = [read_picture(path) for path in styles] if todo else []  # once: what is made of them is kept by their hashes

    def paint(photo: Path) -> None:
        of_one, wanted = places[photo], missing[photo]
        source = photo if variations == 1 else read_picture(photo)
        for k in wanted:
            name = str(photo) if variations == 1 else f"{photo} ({k + 1} of {variations})"
            with Reporter(quiet=quiet, json=json, name=name) as progress:
                if "max_memory" not in chosen:  # what is kept is not given back, which a limit would rather have
                    prepare_memory()
                from sfumato.stylize import iter_stylize

                settings = chosen if variations == 1 else chosen | {"seed": seed + k}
                work = iter_stylize(
                    source,
                    read,
                    mask=mask,
                    style_masks=masks,
                    regions=regions or (),
                    style_for=own,
                    like=like,
                    **settings,
                )
                why = None if explain is None or k != wanted[0] else explain / (photo.stem if many else "")
                finish(work, of_one[k], preview, progress, like=like, as_json=json, why=why)
        if variations > 1:
            check_output(of_one[-1], [photo, *styles, *own.values()])
            contact_sheet(square([photo, *of_one[:-1]]), of_one[-1])
            with Reporter(quiet=quiet, json=json, name=str(photo)) as progress:
                progress.note(f"wrote {of_one[-1]}")

    one_by_one(todo, paint, many=many)
    return 0


def class_styles(entries: Sequence[str]) -> dict[str, Path]:
    """{"sky": a.jpg} of ["sky=a.jpg"]. Raises `InputError`."""
    found = dict[str, Path]()
    for entry in entries:
        name, equals, path = entry.partition("=")
        if not (name and equals and path):
            raise InputError(f"{entry!r} does not say which class takes which style: write sky=painting.jpg")
        if name in found:
            raise InputError(f"{name} was given two styles, {str(found[name])!r} and {path!r}")
        found[name] = Path(path)
    return found


def finish(
    work: "Stylizing",
    target: Path,
    preview: Path | None,
    progress: "Reporter",
    *,
    like: Path | None,
    as_json: bool,
    why: Path | None = None,
) -> None:
    """Drain the work, showing it; a picture is written also after an interruption or a NaN, then the best so far.

    `why` is a folder for what semantic transfer found.
    """
    from sfumato.picture.io import check_output, write_picture
    from sfumato.stylize.iterate import DivergedError

    work.check_output(target)
    check_output(target, [like] if like is not None else [])
    if preview is not None:
        check_output(preview, work.inputs)
    if why is not None:
        from sfumato.stylize.explain import explain

        if work.plan is None:
            raise InputError("explain shows what --semantic found: add --semantic")
        explain(work.plan, work.content, work.styles, why)
    for note in work.notes:
        progress.note(note)
    stopped: BaseException | None = None
    shown = 0.0
    try:
        for iterate in work:
            progress.show(iterate.step, iterate.total, iterate.size, iterate.losses)
            if preview is not None and time.monotonic() - shown > 2:
                shown = time.monotonic()
                write_picture(preview, iterate.preview)
    except (KeyboardInterrupt, DivergedError) as error:
        stopped = error
    result = work.result()
    if stopped is None or result.record["steps"] > 0:
        result.save(target)
        if as_json:
            print(json.dumps({"output": str(target), "steps": result.record["steps"], "complete": stopped is None}))
        else:
            progress.note(f"{'wrote' if stopped is None else 'kept the best picture so far in'} {target}")
    if stopped is not None:
        raise stopped


@app.command
def demo(
    *,
    output: Output = None,
    size: Annotated[int, Parameter(help="Short side in pixels.")] = 384,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Stylize the bundled photographs with the bundled paintings and print where the pictures are."""
    from sfumato.demo import run_demo
    from sfumato.progress import Reporter

    prepare_memory()
    run_demo(output or Path("sfumato-demo"), size, lambda name: Reporter(quiet=quiet, json=json, name=name))
    return 0


@app.command
def export(
    model: Annotated[str, Parameter(help="A one-pass network or a translator: bundled name, file of weights, or run.")],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The folder to write.")],
) -> int:
    """Write a one-pass network or a translator as ONNX, with a program that uses it, and print the paths.

    sfumato export onepass -o onepass-onnx/
    """
    from sfumato.export import export_onnx

    for path in export_onnx(model, output):
        print(path)
    return 0


@app.command
def inspect(picture: Annotated[Path, Parameter(help="A picture made by sfumato.")], /) -> int:
    """Print the record of how a picture was made, as JSON."""
    from sfumato.picture.record import read_record

    print(json.dumps(read_record(picture), indent=2, ensure_ascii=False))
    return 0


cli_convert.register(app)
cli_data.register(app)
cli_segment.register(app)
cli_translate.register(app)
cli_repair.register(app)
cli_edit.register(app)
cli_generate.register(app)
cli_train.register(app)
cli_judge.register(app)


def destination(photo: Path, style: Path, output: Path | None, many: bool) -> Path:
    """Where a picture's result goes: the file named, a file in the folder named, or beside the photograph."""
    name = f"{photo.stem}-{style.stem}.png"
    if output is None:
        return photo.with_name(name)
    return output / name if many or output.is_dir() or not output.suffix else output


def numbered(target: Path, variations: int) -> list[Path]:
    """OUT.png, or of several variations OUT-1.png, OUT-2.png ... and at last the sheet, OUT-sheet.png."""
    if variations == 1:
        return [target]
    names = [*map(str, range(1, variations + 1)), "sheet"]
    return [target.with_name(f"{target.stem}-{name}{target.suffix}") for name in names]


def recorded_seed(record: dict[str, Any]) -> int:
    """The seed of a picture made earlier."""
    settings = record.get("settings")
    seed = settings.get("seed") if isinstance(settings, dict) else None
    return seed if isinstance(seed, int) else StylizeOptions().seed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 2 for bad input, 130 when interrupted."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if tokens and not tokens[0].startswith("-") and tokens[0] not in app:
            raise unknown("verb", tokens[0], VERBS)
        result = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        return result if isinstance(result, int) else 0
    except (InputError, CycloptsError) as error:
        print(f"sfumato: {str(error).strip()}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sfumato: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
