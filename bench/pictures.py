"""Pictures of the benches: finding, reading, fitting, contact sheets. Pillow alone."""

from collections.abc import Sequence
from importlib import resources
from math import lcm
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageDraw, ImageOps

KINDS = {".jpg", ".jpeg", ".png", ".webp"}
T = TypeVar("T")
LANCZOS = Image.Resampling.LANCZOS


def bundled(kind: str, name: str) -> Path:
    """A picture that comes with sfumato; `kind` is "photos" or "paintings"."""
    return Path(str(resources.files("sfumato"))) / "demo" / kind / f"{name}.jpg"


def pictures_in(folder: Path) -> dict[str, Path]:
    """{stem: path} of the folder's pictures, by name."""
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in KINDS}


def opened(path: Path) -> Image.Image:
    """RGB, upright."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def at_short_side(image: Image.Image, side: int) -> Image.Image:
    """The whole picture with its short side at `side` pixels."""
    scale = side / min(image.size)
    size = (max(16, round(image.width * scale)), max(16, round(image.height * scale)))
    return image if size == image.size else image.resize(size, LANCZOS)


def prepared(content: Path, style: Path, side: int, folder: Path) -> tuple[Path, Path]:
    """Both pictures as every method gets them: the same pixels, so that no method's own resizing matters.

    The content with its short side at `side`, the style cropped to that very size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    targets = folder / "content.png", folder / "style.png"
    photo = at_short_side(opened(content), side)
    photo.save(targets[0])
    ImageOps.fit(opened(style), photo.size, LANCZOS).save(targets[1])
    return targets


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of `items`, evenly spaced."""
    if count >= len(items):
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]


def spread_pairs(contents: Sequence[str], styles: Sequence[str], count: int) -> list[tuple[str, str]]:
    """`count` different pairs in which every content and every style appears as evenly as can be."""
    contents, styles = spread(contents, count), spread(styles, count)
    c, s = len(contents), len(styles)
    return [(contents[i % c], styles[(i + i // lcm(c, s)) % s]) for i in range(min(count, c * s))]


def product_pairs(contents: Sequence[str], styles: Sequence[str], count: int) -> list[tuple[str, str]]:
    """`count` of all pairs, evenly in the order of their files' names."""
    pairs = ((c, s) for c in contents for s in styles)
    return spread(sorted(pairs, key=lambda p: f"{p[0]}__{p[1]}.png"), count)


def sheet(header: Sequence[str], rows: Sequence[Sequence[Path | None]], target: Path, side: int = 320) -> None:
    """A contact sheet: a row of pictures for each of `rows`, the columns' names on top."""
    bar = 20
    canvas = Image.new("RGB", (side * len(header), bar + side * len(rows)), "white")
    draw = ImageDraw.Draw(canvas)
    for x, name in enumerate(header):
        draw.text((x * side + 6, 4), name, fill="black")
    for y, row in enumerate(rows):
        for x, path in enumerate(row):
            if path is not None:
                shown = ImageOps.contain(opened(path), (side - 6, side - 6), LANCZOS)
                left, top = (side - shown.width) // 2, (side - shown.height) // 2
                canvas.paste(shown, (x * side + left, bar + y * side + top))
    target.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(target)
