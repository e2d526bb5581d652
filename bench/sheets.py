#!/usr/bin/env python3
"""Contents x styles on one sheet, in every cell the results of several methods side by side.

    python bench/sheets.py --content DIR --style DIR --method runs/magenta runs/microast runs/ours --out sheet.png

A method is a folder of CONTENT__STYLE.png; a missing result stays white. Without `--contents` and `--styles` the sheet
has the pictures of which the first folder has results.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pictures import LANCZOS, opened, pictures_in, spread
from PIL import Image, ImageDraw, ImageOps

BAR, GAP = 18, 4


def grid_sheet(
    contents: Mapping[str, Path],
    styles: Mapping[str, Path],
    methods: Mapping[str, Path],
    target: Path,
    side: int = 200,
) -> None:
    """A row a content, a group of columns a style; the style pictures on top, the contents at the left.

    Every picture is cropped to a square of `side` pixels, the results as their content is.
    """
    group = len(methods) * side + GAP
    size = side + 2 * GAP + len(styles) * group, BAR + side + 2 * GAP + len(contents) * (side + BAR)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)

    def put(path: Path, x: int, y: int) -> None:
        if path.exists():
            canvas.paste(ImageOps.fit(opened(path), (side, side), LANCZOS), (x, y))

    for row, (content, path) in enumerate(contents.items()):
        top = BAR + side + 2 * GAP + row * (side + BAR)
        draw.text((2, top + 2), content, fill="black")
        put(path, 0, top + BAR)
        for column, style in enumerate(styles):
            for place, (method, folder) in enumerate(methods.items()):
                left = side + 2 * GAP + column * group + place * side
                draw.text((left + 2, top + 2), method, fill="black")
                put(folder / f"{content}__{style}.png", left, top + BAR)
    for column, (style, path) in enumerate(styles.items()):
        left = side + 2 * GAP + column * group
        draw.text((left + 2, 2), style, fill="black")
        put(path, left, BAR)
    target.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--content", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--style", type=Path, required=True, help="folder of paintings")
    parser.add_argument("--method", type=Path, nargs="+", required=True)
    parser.add_argument("--contents", nargs="+", help="names without extension, or how many")
    parser.add_argument("--styles", nargs="+", help="names without extension, or how many")
    parser.add_argument("--side", type=int, default=200, help="pixels of a picture")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    found = [stem.partition("__") for stem in pictures_in(args.method[0])]
    chosen = []
    for folder, wanted, there in (
        (args.content, args.contents, {c for c, _, _ in found}),
        (args.style, args.styles, {s for _, _, s in found}),
    ):
        chosen.append(select(pictures_in(folder), wanted, there, folder))
    methods = {m.name: m for m in args.method}
    grid_sheet(chosen[0], chosen[1], methods, args.out, args.side)
    print(args.out)


def select(known: Mapping[str, Path], wanted: Sequence[str] | None, there: set[str], folder: Path) -> dict[str, Path]:
    """The pictures named, or so many of those that have results."""
    names = [n for n in known if n in there]
    if wanted and len(wanted) == 1 and wanted[0].isdecimal():
        names = spread(names, int(wanted[0]))
    elif wanted:
        names = list(wanted)
    missing = [n for n in names if n not in known]
    if missing or not names:
        sys.exit(f"{folder}: no picture {missing[0]!r}" if missing else f"{folder}: no picture has results")
    return {n: known[n] for n in names}


if __name__ == "__main__":
    main()
