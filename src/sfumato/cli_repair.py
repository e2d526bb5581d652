"""The commands of restoration, made from their options; torch is imported when they begin."""

import json as jsonlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from sfumato.cli_flags import Json, Output, Quiet, expand, flags, given, one_by_one, prepare_memory, targets_of
from sfumato.compose import ComposeOptions
from sfumato.errors import InputError
from sfumato.restore import RestoreOptions
from sfumato.restore.colorize import ColorizeOptions
from sfumato.restore.denoise import DenoiseOptions
from sfumato.restore.inpaint import InpaintOptions

if TYPE_CHECKING:
    from sfumato.picture.result import Result

RestoreFlags: Any = flags(RestoreOptions)
DenoiseFlags: Any = flags(DenoiseOptions)
ColorizeFlags: Any = flags(ColorizeOptions)
InpaintFlags: Any = flags(InpaintOptions, names={"except_": ["--except"]})
ComposeFlags: Any = flags(ComposeOptions, names={"except_": ["--except"]})
Photos = Annotated[list[str], Parameter(help="Photographs: pictures, folders or globs.")]
Skip = Annotated[bool, Parameter(negative=(), help="Leave finished outputs alone.")]


def restore(
    inputs: Photos,
    /,
    *,
    output: Output = None,
    mask: Annotated[Path | None, Parameter(help="White where the photograph is scratched too; of its size.")] = None,
    explain: Annotated[
        Path | None, Parameter(help="A picture to write of what was filled, white on black, or a folder for several.")
    ] = None,
    skip_existing: Skip = False,
    options: Annotated[RestoreFlags, Parameter(name="*", show_default=False)] = RestoreFlags(),  # noqa: B008
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Mend old photographs: scratches, noise, fading; with --color also black and white.

    sfumato restore old.jpg -o new.png --color
    """
    from sfumato.restore import Restorer
    from sfumato.restore.mend import check_apart, write_marks

    photos, many = expand(inputs)
    if many and mask is not None:
        raise InputError("a mask belongs to one photograph: give one")
    marks = {} if explain is None else targets_of(photos, many, explain, lambda photo: f"{photo.stem}-marks.png")
    if not many and marks and output is not None and output.suffix:
        check_apart(output, marks[photos[0]])

    def prepare() -> "Callable[[Path], Result]":
        worker = Restorer(**given(options))

        def work(photo: Path) -> "Result":
            done = worker(photo, mask)
            if marks:
                write_marks(done, marks[photo])
            return done

        return work

    return each(photos, many, output, "restored", skip_existing, quiet, json, prepare)


def denoise(
    inputs: Photos,
    /,
    *,
    output: Output = None,
    mask: Annotated[
        Path | None, Parameter(help="White where the photograph may change, black where it must not.")
    ] = None,
    model: Annotated[
        str | None, Parameter(help="A denoiser: a bundled name, a file of weights, a training run.")
    ] = None,
    skip_existing: Skip = False,
    options: Annotated[DenoiseFlags, Parameter(name="*", show_default=False)] = DenoiseFlags(),  # noqa: B008
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Take noise, grain and the blocks of JPEG away.

    sfumato denoise photo.jpg -o out.png
    """
    from sfumato.restore.denoise import Denoising

    photos, many = expand(inputs)
    if many and mask is not None:
        raise InputError("a mask belongs to one photograph: give one")

    def prepare() -> "Callable[[Path], Result]":
        worker = Denoising(model, **given(options))
        return lambda photo: worker(photo, mask)

    return each(photos, many, output, "denoised", skip_existing, quiet, json, prepare)


def colorize(
    inputs: Photos,
    /,
    *,
    output: Output = None,
    model: Annotated[
        str | None, Parameter(help="A colorizer: a bundled name, a file of weights, a training run.")
    ] = None,
    hints: Annotated[
        Path | None,
        Parameter(help="A picture of the photograph's size with dots of colour, transparent or grey elsewhere."),
    ] = None,
    skip_existing: Skip = False,
    options: Annotated[ColorizeFlags, Parameter(name="*", show_default=False)] = ColorizeFlags(),  # noqa: B008
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Colour black-and-white photographs; dots of colour lead it, the lightness stays as it is.

    sfumato colorize old.jpg --hint 120,80,#3060c0 -o new.png
    """
    from sfumato.restore.colorize import Colorizer

    photos, many = expand(inputs)
    if many and (hints is not None or options.hint):
        raise InputError("dots of colour belong to one photograph: give one")
    return each(
        photos, many, output, "colorized", skip_existing, quiet, json,
        lambda: (lambda worker: lambda photo: worker(photo, hints))(Colorizer(model, **given(options))),
    )  # fmt: skip


def inpaint(
    inputs: Photos,
    /,
    *,
    output: Output = None,
    mask: Annotated[
        Path | None, Parameter(help="White where the photograph is to be filled, black elsewhere; of its size.")
    ] = None,
    model: Annotated[
        str | None, Parameter(help="An inpainter: a bundled name, a file of weights, a training run.")
    ] = None,
    skip_existing: Skip = False,
    options: Annotated[InpaintFlags, Parameter(name="*", show_default=False)] = InpaintFlags(),  # noqa: B008
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Fill holes, remove objects; what lies outside stays as it is.

    sfumato inpaint photo.jpg --only person -o out.png
    """
    from sfumato.restore.inpaint import Inpainter

    photos, many = expand(inputs)
    if many and mask is not None:
        raise InputError("a mask belongs to one photograph: give one, or use --only")
    return each(
        photos, many, output, "inpainted", skip_existing, quiet, json,
        lambda: (lambda worker: lambda photo: worker(photo, mask))(Inpainter(model, **given(options))),
    )  # fmt: skip


def compose(
    inputs: Photos,
    /,
    *,
    output: Output = None,
    background: Annotated[Path | None, Parameter(help="A picture to stand behind what --only names.")] = None,
    insert: Annotated[Path | None, Parameter(help="An object to put in: a PNG transparent around it.")] = None,
    style: Annotated[
        Path | None, Parameter(name=["--style", "-s"], help="A picture in whose style the whole is painted.")
    ] = None,
    skip_existing: Skip = False,
    options: Annotated[ComposeFlags, Parameter(name="*", show_default=False)] = ComposeFlags(),  # noqa: B008
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Another background, or an object put in, in the light of the place.

    sfumato compose photo.jpg --background sea.jpg --only person -o out.png
    """
    from sfumato.compose import compose as composed

    photos, many = expand(inputs)
    settings = {"background": background, "insert": insert, "style": style, **given(options)}
    return each(
        photos, many, output, "composed", skip_existing, quiet, json,
        lambda: lambda photo: composed(photo, **settings),
    )  # fmt: skip


def each(
    photos: Sequence[Path],
    many: bool,
    output: Path | None,
    suffix: str,
    skip_existing: bool,
    quiet: bool,
    json: bool,
    prepare: "Callable[[], Callable[[Path], Result]]",
) -> int:
    """One photograph after the other; of several those that fail are named at the end."""
    from sfumato.picture.io import check_output
    from sfumato.progress import Reporter

    targets = targets_of(photos, many, output, lambda photo: f"{photo.stem}-{suffix}.png")
    todo = [photo for photo in photos if not (skip_existing and targets[photo].exists())]
    if not todo:
        return 0
    for photo in todo:
        check_output(targets[photo], [photo])
    prepare_memory()
    work = prepare()

    def one(photo: Path) -> None:
        with Reporter(quiet=quiet, json=json, name=str(photo)) as progress:
            done = work(photo)
            done.save(targets[photo])
            for note in done.notes:
                progress.note(note)
            if json:
                line = {"output": str(targets[photo]), **done.record["settings"]}
                print(jsonlib.dumps(line, ensure_ascii=False))
            else:
                progress.note(f"wrote {targets[photo]}")

    one_by_one(todo, one, many=many)
    return 0


def register(app: App) -> None:
    """Add the verbs to the command line."""
    for verb in (restore, denoise, colorize, inpaint, compose):
        app.command(verb)
