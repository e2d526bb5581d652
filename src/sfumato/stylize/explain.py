"""What semantic transfer decided, for people: the pictures' regions side by side, and a table of pairs."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sfumato.errors import InputError
from sfumato.picture.io import Picture, write_picture
from sfumato.picture.label_maps import Color, distinct_colors
from sfumato.picture.overlay import overlay
from sfumato.picture.regions import Regions
from sfumato.picture.resize import fit_short_side, resize
from sfumato.stylize.semantic import Plan

SIDE = 384
"""Short side of the pictures shown, at most."""
GAP = 8
UNTOUCHED: Color = (255, 255, 255)
"""Of regions that stay as they are, and of parts of a style that nothing is taken from."""
HEAD = ("region", "share", "style", "part", "part's share", "why")


def explain(found: Plan, content: Tensor, styles: Sequence[Picture], folder: Path) -> list[Path]:
    """Write `regions.png` and `pairs.csv` into `folder` and return their paths.

    In the picture the photograph `content` (1 x 3 x H x W in [0, 1]) is left, the styles are right, one below the
    other; what a region takes its style from has the region's colour. Raises `InputError` as `write_picture`.
    """
    colors = dict(zip(found.content.names, distinct_colors(len(found.content)), strict=True))
    kept = {name for name, choice in zip(found.content.names, found.choices, strict=True) if choice is None}
    shown = {name: UNTOUCHED if name in kept else color for name, color in colors.items()}
    left = _overlay(content[0].permute(1, 2, 0).numpy(), found.content, shown)
    right = [_overlay(style.rgb, *_parts(found, k, colors)) for k, style in enumerate(styles)]
    width = left.width + GAP + max(image.width for image in right)
    below = sum(image.height + GAP for image in right) - GAP
    sheet, top = Image.new("RGB", (width, max(left.height, below)), "white"), 0
    sheet.paste(left, (0, 0))
    for image in right:
        sheet.paste(image, (left.width + GAP, top))
        top += image.height + GAP
    picture, table = folder / "regions.png", folder / "pairs.csv"
    write_picture(picture, np.asarray(sheet))
    try:
        table.write_text(pairs_table(found, styles), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {str(table)!r}: {error.strerror}") from error
    return [picture, table]


def pairs_table(found: Plan, styles: Sequence[Picture]) -> str:
    """CSV, a line a region of the photograph, HEAD first."""
    file = StringIO()
    out = csv.writer(file, lineterminator="\n")
    out.writerow(HEAD)
    shares = found.content.shares.tolist()
    for name, share, choice in zip(found.content.names, shares, found.choices, strict=True):
        if choice is None:
            out.writerow((name, f"{share:.3f}", "", "", "", "stays as it is"))
            continue
        part = 1.0 if choice.mask is None else float(choice.mask.mean())
        style, where = styles[choice.source].name, choice.pair.style or "all of it"
        out.writerow((name, f"{share:.3f}", style, where, f"{part:.3f}", choice.pair.why))
    return file.getvalue()


def _parts(found: Plan, number: int, colors: dict[str, Color]) -> tuple[Regions, dict[str, Color]]:
    """The parts of a style picture, each with the colour of the first region that takes from it."""
    regions = found.styles[number]
    if regions is None or len(regions) == 0:
        regions = Regions(("all of it",), torch.ones(1, 1, 1))
    shown = dict.fromkeys(regions.names, UNTOUCHED)
    for name, choice in reversed([*zip(found.content.names, found.choices, strict=True)]):
        if choice is not None and choice.source == number:
            taken = regions.names if choice.pair.style is None else (choice.pair.style,)
            shown.update(dict.fromkeys(taken, colors[name]))
    return regions, shown


def _overlay(rgb: NDArray[np.float32], regions: Regions, colors: dict[str, Color]) -> Image.Image:
    """A picture H x W x 3 at the size shown."""
    height, width = fit_short_side(rgb.shape[0], rgb.shape[1], min(SIDE, *rgb.shape[:2]))
    small = resize(torch.from_numpy(rgb).permute(2, 0, 1)[None], height, width).clamp(0, 1)
    return overlay(small[0].permute(1, 2, 0).numpy(), regions.resized(height, width), colors)
