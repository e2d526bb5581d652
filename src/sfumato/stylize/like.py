"""`--like`: the settings of a picture made earlier, and the pictures that it was made from.

A record names its inputs in the order in which they were read; `roles` says which of them were more than styles:
{"style_for": {class: number}, "mask": [number], "style_masks": [number or null], "regions": [number]}.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from sfumato.errors import InputError
from sfumato.picture.io import Picture, Source, read_picture
from sfumato.picture.record import read_record
from sfumato.stylize.options import StylizeOptions, refuse_foreign


@dataclass
class Roles:
    """Everything beside the photograph and the styles for all of it."""

    style_for: Mapping[str, Source] = field(default_factory=dict)
    mask: Sequence[Source] = ()
    style_masks: Sequence[Source | None] = ()
    regions: Sequence[Source] = ()


def recorded(like: str | Path) -> dict[str, Any]:
    """The record of a picture that `stylize` made. Raises `InputError`."""
    record = read_record(like)
    if record.get("verb") != "stylize":
        raise InputError(f"{str(like)!r} was made by {record.get('verb')!r}, not by stylize")
    return record


def recorded_styles(record: Mapping[str, Any], like: str | Path) -> tuple[list[Path], dict[str, Path]]:
    """The styles that a record names, for all and for classes. Raises `InputError` where one is not as it was."""
    own = _roles(record, like).style_for
    general = [k for k in range(1, 1 + int(record.get("styles", 1))) if k not in own.values()]
    return (
        [_there(record, like, k, "style", "--style") for k in general],
        {name: _there(record, like, k, f"style for {name}", "--style-for") for name, k in own.items()},
    )


def repeated(
    record: Mapping[str, Any],
    like: str | Path,
    source: Picture,
    styles: Sequence[Picture],
    given: Roles,
    semantic: bool,
) -> tuple[Roles, list[str]]:
    """`given` with the masks and regions of the record where none are given, and notes for the user.

    They belong to pictures: those of another photograph, or of other styles, are left out, and a note says so. Raises
    `InputError` where one that is needed is not as it was.
    """
    roles, notes = _roles(record, like), list[str]()
    hashes = [entry.get("sha256") for entry in record.get("inputs", [])]
    same_photo = hashes[:1] == [source.sha256]
    same_styles = hashes[1 : 1 + int(record.get("styles", 1))] == [style.sha256 for style in styles]

    def files(numbers: Sequence[int], what: str, option: str, fits: bool) -> list[Path]:
        if numbers and not fits:
            notes.append(f"{option} of {like} belongs to other pictures and is left out")
        return [_there(record, like, k, what, option) for k in numbers] if fits else []

    mask, style_masks, regions = given.mask, given.style_masks, given.regions
    if not mask:
        mask = files(roles.mask, "mask", "--mask", same_photo and len(roles.mask) in (1, len(styles)))
    if not style_masks and not semantic:
        kept = files([k for k in roles.style_masks if k is not None], "style mask", "--style-mask", same_styles)
        style_masks = (
            [kept.pop(0) if k is not None and kept else None for k in roles.style_masks] if same_styles else ()
        )
    if not regions and semantic:
        regions = files(roles.regions, "picture of regions", "--regions", same_photo and same_styles)
    return Roles(given.style_for, mask, style_masks, regions), notes


class _Numbers(NamedTuple):
    """`Roles` as a record has them: numbers of inputs."""

    style_for: Mapping[str, int]
    mask: Sequence[int]
    style_masks: Sequence[int | None]
    regions: Sequence[int]


def _roles(record: Mapping[str, Any], like: str | Path) -> _Numbers:
    """Raises `InputError` for a record that nobody here wrote."""
    found = record.get("roles", {})
    try:
        own = {str(name): int(k) for name, k in found.get("style_for", {}).items()}
        mask, regions = ([int(k) for k in found.get(name, [])] for name in ("mask", "regions"))
        return _Numbers(own, mask, [None if k is None else int(k) for k in found.get("style_masks", [])], regions)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{str(like)!r} carries a damaged sfumato record") from error


def _there(record: Mapping[str, Any], like: str | Path, number: int, what: str, option: str) -> Path:
    """The file of an input, if it still lies there unchanged."""
    inputs = record.get("inputs") or []
    if not 0 < number < len(inputs):
        raise InputError(f"{str(like)!r} names no {what}: give {option}")
    entry = inputs[number]
    path = Path(entry["name"])
    if not path.is_file() or read_picture(path).sha256 != entry["sha256"]:
        raise InputError(
            f"the {what} {entry['name']!r} of {str(like)!r} is not there or has changed: give it with {option}"
        )
    return path


def gathered(like: str | Path | None, options: StylizeOptions | None, given: Mapping[str, Any]) -> StylizeOptions:
    """Options from a record, an options object or a preset, with the given ones on top."""
    if like is not None and options is not None:
        raise InputError("give options or like, not both")
    if like is not None:
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in recorded(like).get("settings", {}).items()}
        found = StylizeOptions.of(**{**settings, **given})
    elif options is not None:
        found = replace(options, **given)
        found.check()
    else:
        found = StylizeOptions.of(**given)
    refuse_foreign(found, given)
    return found


def adapted(
    options: StylizeOptions,
    record: Mapping[str, Any],
    source: Picture,
    size: tuple[int, int],
    given: Mapping[str, Any],
) -> StylizeOptions:
    """A record's options for another photograph: the tile and the steps that fitted only the one it was made of go."""
    from sfumato.stylize.optimise import pyramid  # torch comes with it
    from sfumato.stylize.refine import refined_size, refining

    inputs = record.get("inputs") or [{}]
    if inputs[0].get("sha256") != source.sha256 and "tile" not in given:
        options = replace(options, tile=None)
    plain = replace(options, schedule=())
    if options.method == "onepass":
        sizes = pyramid(*refined_size(*size, options), refining(plain))
    else:
        sizes = pyramid(*size, plain)
    if options.schedule and "schedule" not in given and len(sizes) != len(options.schedule):
        return plain
    return options
