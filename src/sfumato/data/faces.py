"""A folder of drawn faces: pictures, labels.csv, credits; region masks and pairs that differ in one attribute if asked.

from sfumato.data.faces import draw_faces
draw_faces("faces/", styles=["toon-head"], count=1000)

faces/toon-head_00000.png ...   the pictures
faces/labels.csv                name, style, every part's variant, every colour, background, pose
faces/CREDITS.md                whose drawings they are, and their terms
faces/masks/NAME.png            8-bit labels (--masks); faces/masks/regions.json names them, style by style
faces/pairs/NAME-ATTRIBUTE.png  the same face with one attribute changed (--change); pairs.csv says from what to what
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sfumato.data.drawing import STYLES, Face, credit, definition, face, region_names
from sfumato.errors import InputError
from sfumato.train.files import write_atomic

GENERAL = ("scale", "rotate", "translateX", "translateY")


def draw_faces(
    out: str | Path,
    *,
    styles: Sequence[str] = ("toon-head",),
    count: int = 1000,
    size: int = 128,
    seed: int = 0,
    masks: bool = False,
    change: Sequence[str] = (),
    on_face: Callable[[int, int], None] | None = None,
) -> int:
    """Draw `count` faces of every style.

    A face is a function of style, seed and number: more of them later are others after the same ones.

    Args:
        out: the folder, which must not hold labels.csv yet.
        styles: names of `STYLES`.
        count: faces of every style.
        size: side of the pictures in pixels.
        seed: other faces.
        masks: write what every pixel shows: which part of the face, or the background.
        change: attributes; of each a second picture of every face, in which nothing else differs. A style that lacks
            one goes without it.
        on_face: called with (faces drawn, faces to draw).

    Returns:
        How many pictures there are, those of pairs included.

    Raises:
        InputError: bad values, an unknown style or attribute, missing packages, a folder that cannot be written.
    """
    folder = Path(out)
    _check(folder, styles, count, size, seed, change)
    rows, pairs, done = list[dict[str, str]](), list[dict[str, str]](), 0
    digits = max(5, len(str(count - 1)))
    try:
        for style in styles:
            for index in range(count):
                one, stem = face(style, seed, index), f"{style}_{index:0{digits}d}"
                _write(folder / f"{stem}.png", one.pixels(size))
                pose = {name: f"{one.options[name]:g}" for name in GENERAL}
                rows.append({"name": f"{stem}.png", "style": style, **one.attributes, **pose})
                if masks:
                    _write(folder / "masks" / f"{stem}.png", one.regions(size))
                for twin, about in _twins(one, change, seed, index):
                    name = f"pairs/{stem}-{about['attribute'].replace(' ', '_')}.png"
                    _write(folder / name, twin.pixels(size))
                    pairs.append({"name": f"{stem}.png", "changed": name, **about})
                done += 1
                if on_face is not None:
                    on_face(done, count * len(styles))
        if masks:
            names = {style: region_names(style) for style in styles}
            write_atomic(folder / "masks" / "regions.json", json.dumps(names, indent=1).encode())
        if pairs:
            write_atomic(folder / "pairs.csv", _table(pairs))
        write_atomic(folder / "CREDITS.md", _credits(styles).encode())
        write_atomic(folder / "labels.csv", _table(rows))  # last: where it is, everything is
    except OSError as error:
        raise InputError(f"cannot write into {str(folder)!r}: {error.strerror or error}") from error
    return done + len(pairs)


def _check(folder: Path, styles: Sequence[str], count: int, size: int, seed: int, change: Sequence[str]) -> None:
    for name, value, low, high in (("count", count, 1, 10**7), ("size", size, 8, 4096), ("seed", seed, 0, 2**31 - 1)):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InputError(f"{name} must be a whole number between {low} and {high}, not {value!r}")
    if not styles or len(set(styles)) < len(styles):
        raise InputError(f"name every style once, of {', '.join(STYLES)}")
    for style in styles:
        definition(style)
    for attribute in change:
        if not any(attribute in _attributes(style) for style in styles):
            first = face(styles[0], 0, 0)
            first.choices(attribute)  # raises: says the nearest name
    if (folder / "labels.csv").exists():
        raise InputError(f"{str(folder)!r} has a labels.csv already: give another folder")


def _attributes(style: str) -> set[str]:
    from sfumato.data.drawing import colours, parts

    return {*parts(style), *colours(style)}


def _twins(one: Face, change: Sequence[str], seed: int, index: int) -> list[tuple[Face, dict[str, str]]]:
    """The face with each attribute changed to another value by chance, where that can be seen."""
    found = []
    for attribute in change:
        if attribute not in _attributes(one.style):
            continue
        chance = np.random.default_rng([seed, index, *attribute.encode()])
        now = one.attributes[attribute]
        others = [value for value in one.choices(attribute) if value != now]
        if attribute.endswith(" colour") and now == "none":
            continue  # nothing has this colour
        twin = one.changed(attribute, others[int(chance.integers(len(others)))])
        if twin.svg != one.svg:
            found.append((twin, {"attribute": attribute, "from": now, "to": twin.attributes[attribute]}))
    return found


def _write(path: Path, pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> None:
    """A PNG, whole or not at all."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    write_atomic(path, data.getvalue())


def _table(rows: Sequence[dict[str, str]]) -> bytes:
    """CSV with all columns that any row has, in the order of their first appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _credits(styles: Sequence[str]) -> str:
    lines = ["# Credits", "", "The pictures in this folder are drawn, not photographed.", ""]
    return "\n".join([*lines, *(f"- {credit(style)}" for style in styles), ""])
