#!/usr/bin/env python3
"""Colour for grey photographs: next to leaving them grey, to one brown for all, and led by dots.

    python bench/color.py --photos PHOTOS --split splits.json --part test --out runs/color

PHOTOS is a folder of photographs whose name is a key of the split file. Dots are single pixels of the true picture at
random places, the same for every row. `levin` carries them along surfaces without a network (Levin et al. 2004).
"""

import argparse
import csv
import statistics
from pathlib import Path

import numpy as np
import torch
from mending import EXPLAINED, Yardstick, chosen, frechet, loaded
from PIL import Image
from running import command_line, machine, table
from torch import Tensor

from sfumato.models.colorizer import CELL, Colorist, cells
from sfumato.picture.color import rgb_to_lab
from sfumato.picture.guided import guided_filter
from sfumato.picture.spread import spread
from sfumato.restore.colorize import EPS, at_lightness, coarse_dots, colored, widened

SEPIA = (4.0, 16.0)
"""a and b of the one brown."""
COLUMNS = ("PSNR", "SSIM", "VGG", "colourfulness", "ab error")
NOTE = """\
colourfulness: Hasler & Suesstrunk 2003, over that of the true pictures (sum over sum). ab error: root mean square of
Lab's ab, mean over the pictures."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--part", default="dev")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--model", default="colorizer")
    parser.add_argument("--temperature", type=float, help="of the annealed mean, in place of the model's")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    colorist, _ = Colorist.load(args.model)
    colorist.temperature = args.temperature or colorist.temperature
    yardstick, rows, vectors = Yardstick(), dict[str, list[dict[str, float]]](), dict[str, list[Tensor]]()
    lines = list[dict[str, object]]()
    for number, path in enumerate(chosen(args.photos, args.split, args.part, args.count)):
        real = loaded(path, args.side)
        wanted = yardstick.features(real)
        vectors.setdefault("true", []).append(wanted["mean"])
        made = every_way(colorist, real, np.random.default_rng(number))
        for name, picture in made.items():
            figures, vector = yardstick.compare(picture, real, wanted)
            figures["colourfulness"] = colourfulness(picture)
            figures["ab error"] = float((rgb_to_lab(picture) - rgb_to_lab(real))[:, 1:].square().mean().sqrt())
            rows.setdefault(name, []).append(figures)
            vectors.setdefault(name, []).append(vector)
            lines.append({"picture": path.stem, "row": name, **figures})
        rows.setdefault("true", []).append({"colourfulness": colourfulness(real)})
        save(args.out / f"{path.stem}.png", [real, *made.values()])
    with (args.out / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    full = sum(f["colourfulness"] for f in rows["true"])
    body = []
    for name, found in rows.items():
        if name == "true":
            continue
        means = {k: statistics.mean(f[k] for f in found) for k in COLUMNS}
        means["colourfulness"] = sum(f["colourfulness"] for f in found) / full
        body.append([name, *(f"{means[k]:.3f}" for k in COLUMNS), f"{frechet(vectors[name], vectors['true']):.0f}"])
    print(f"{command_line()}\n{machine()}; {len(rows['true'])} photographs, short side {args.side}\n")
    print(table(["", *COLUMNS, "FID-VGG"], body))
    print(f"\n{EXPLAINED}\n{NOTE}")


def every_way(colorist: Colorist, real: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
    """The rows' pictures, in the order of the columns of the sheets."""
    lightness = rgb_to_lab(real)[:, :1]
    flat = torch.tensor(SEPIA).view(1, 2, 1, 1).expand(1, 2, *real.shape[2:])
    made = {"grey": at_lightness(lightness, 0 * flat), "sepia": at_lightness(lightness, flat)}
    grey = made["grey"]
    made["ours"] = colored(colorist, grey)
    for count in (5, 20):
        told = true_dots(real, count, rng)
        made[f"levin, {count} dots"] = levin(lightness, told)
        made[f"ours, {count} dots"] = colored(colorist, grey, told)
    return made


def true_dots(real: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """`count` pixels of the true picture as dots 1 x 3 x H x W."""
    height, width = real.shape[2:]
    dots, ab = torch.zeros_like(real), rgb_to_lab(real)[0, 1:]
    for at in rng.choice(height * width, count, replace=False).tolist():
        y, x = divmod(at, width)
        dots[0, :, y, x] = torch.tensor([*ab[:, y, x].tolist(), 1.0])
    return dots


def levin(lightness: Tensor, dots: Tensor) -> Tensor:
    """Dots carried along surfaces, no network."""
    light = cells(lightness / 100)
    told = widened(coarse_dots(dots, (light.shape[2], light.shape[3])), light)
    ab = spread(told[:, :2], told[:, 2:], light)
    assert lightness.shape[2] % CELL == 0
    return at_lightness(lightness, guided_filter(lightness / 100, ab, 1, EPS))


def colourfulness(picture: Tensor) -> float:
    """Hasler & Suesstrunk 2003, "Measuring Colourfulness in Natural Images", equation 1, in levels of 255."""
    red, green, blue = (255 * picture[0]).unbind(0)
    one, other = red - green, (red + green) / 2 - blue
    spread_of = (one.var() + other.var()).sqrt()
    return float(spread_of + 0.3 * (one.mean() ** 2 + other.mean() ** 2).sqrt())


def save(path: Path, pictures: list[Tensor]) -> None:
    """Side by side."""
    row = torch.cat(pictures, 3)[0].permute(1, 2, 0).clamp(0, 1)
    Image.fromarray((255 * row).round().byte().numpy()).save(path)


if __name__ == "__main__":
    main()
