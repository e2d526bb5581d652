#!/usr/bin/env python3
"""Semantic transfer to look at: photograph and painting with the parts that were found, without them, with them.

    python bench/semantic_sheet.py --photos DIR --paintings DIR --out docs/pictures/semantic-pairs.jpg -- method=onepass

Without `--photos` and `--paintings` the bundled pictures. `--pairs` are PHOTO:PAINTING by their names; what follows
`--` are options of `sfumato.stylize`. Nothing is measured here: bench/semantic.py does that.
"""

import argparse
import sys
from importlib import resources
from pathlib import Path

from pictures import LANCZOS, opened, pictures_in
from PIL import Image, ImageDraw, ImageOps
from running import settings

from sfumato.stylize import iter_stylize
from sfumato.stylize.explain import explain

COLUMNS = ("photograph", "painting", "what belongs together", "without", "with --semantic")
SHARES = (1, 1, 2, 1, 1)
"""Widths of the columns, in pictures."""


def made(photo: Path, painting: Path, folder: Path, options: dict[str, object]) -> list[Path]:
    """The row's pictures, in `folder`; those that are there are not made again."""
    stem = f"{photo.stem}-{painting.stem}"
    why, plain, semantic = folder / stem, folder / f"{stem}-without.png", folder / f"{stem}-with.png"
    if not plain.exists():
        work = iter_stylize(photo, painting, **options)  # type: ignore[arg-type]
        for _ in work:
            pass
        work.result().save(plain)
    if not semantic.exists():
        work = iter_stylize(photo, painting, semantic=True, **options)  # type: ignore[arg-type]
        assert work.plan is not None
        explain(work.plan, work.content, work.styles, why)
        (why / "how.txt").write_text(work.plan.how)
        for _ in work:
            pass
        work.result().save(semantic)
    return [photo, painting, why / "regions.png", plain, semantic]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    demo = Path(str(resources.files("sfumato"))) / "demo"
    parser.add_argument("--photos", type=Path, default=demo / "photos")
    parser.add_argument("--paintings", type=Path, default=demo / "paintings")
    parser.add_argument("--pairs", nargs="+", required=True, metavar="PHOTO:PAINTING")
    parser.add_argument("--work", type=Path, default=Path("runs/semantic-sheet"))
    parser.add_argument("--side", type=int, default=170, help="side of a picture on the sheet")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args()
    photos, paintings, options = pictures_in(args.photos), pictures_in(args.paintings), settings(args.options)
    args.work.mkdir(parents=True, exist_ok=True)
    bar, side, rows = 16, args.side, list[tuple[str, list[Image.Image]]]()
    for pair in args.pairs:
        photo, _, painting = pair.partition(":")
        shown = made(photos[photo], paintings[painting], args.work, options)
        print(pair, file=sys.stderr, flush=True)
        how = (shown[2].parent / "how.txt").read_text()
        fitted = [
            ImageOps.contain(opened(p), (n * side - 4, side - 4), LANCZOS) for n, p in zip(SHARES, shown, strict=True)
        ]
        rows.append((how, fitted))
    heights = [max(picture.height for picture in fitted) + 4 for _, fitted in rows]
    canvas = Image.new("RGB", (side * sum(SHARES), sum(heights) + bar), "white")
    draw, top = ImageDraw.Draw(canvas), bar
    lefts = [side * sum(SHARES[:k]) for k in range(len(SHARES))]
    for left, name in zip(lefts, COLUMNS, strict=True):
        draw.text((left + 4, 2), name, fill="black")
    for (how, fitted), height in zip(rows, heights, strict=True):
        for left, picture in zip(lefts, fitted, strict=True):
            canvas.paste(picture, (left + 2, top + 2))
        draw.text((lefts[3] - 52, top + 2), how, fill="black")
        top += height
    args.out.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(args.out, quality=72, optimize=True)
    print(args.out, canvas.size)


if __name__ == "__main__":
    main()
