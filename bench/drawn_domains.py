#!/usr/bin/env python3
"""Do skin, hair colour and mouth survive a translation? Drawn faces of two styles, of which everything is known.

    sfumato data faces --style toon-head -n 4400 --size 64 --seed 1 --out A
    sfumato data faces --style personas -n 4400 --size 64 --seed 1 --out B
    python bench/drawn_domains.py groups A B
    sfumato train cyclegan --preset cpu --a A --b B --hours 0.5 --out runs/faces-cyc
    sfumato train classifier --data B --label skin --resolution 64 --channels 3 --no-flip --steps 450 --out runs/b/skin
    ...                                                                      (hair_shade, mouth_shape; the same of A)
    python bench/drawn_domains.py judge runs/faces-cyc --styles toon-head personas --judges runs/a runs/b --out runs/x

Two styles have other palettes and other mouths, so `groups` adds columns to labels.csv that mean the same in both: skin
and hair dark, medium or light, the mouth open, smiling or not. `judge` draws faces of another seed, translates them and
asks the classifiers of the other style. *survives*: the answer is the face's true group. *chance*: the same answers
beside the groups of other faces (all pairs). *drawn*: the classifier on drawn faces of its own style, which no
translation can pass. *before*: its answers to faces that were not translated. `onepass` among the models is the
bundled stylizer, one pass without refinement, which paints every face in the style of a further face of the other kind.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from running import command_line, machine, table
from torch import Tensor

import sfumato
from sfumato.data.drawing import face
from sfumato.features.classifier import load_classifier
from sfumato.features.sources import load_features
from sfumato.losses.perceptual import content_distance
from sfumato.metrics.frechet import frechet_distance, gaussian
from sfumato.models.translator import DIRECTIONS, Direction, load_translator
from sfumato.picture.color import rgb_to_lab

COLUMNS = {"skin": "skin colour", "hair_shade": "hair colour", "mouth_shape": "mouth"}
SHADES = {"skin": (47.0, 68.0), "hair_shade": (40.0, 61.0)}
"""Lab lightness between dark and medium, and between medium and light."""
MOUTHS = {
    "open": {"agape", "laugh", "bigSmile", "surprise", "screamOpen", "tongue", "laughing", "surprised"},
    "smiling": {"smile", "smirk", "twinkle", "default"},
}
SEED = 90_002
"""Of the faces; training's are others."""


def group(column: str, value: str) -> str:
    """What a label means in every style."""
    if column == "mouth_shape":
        return next((name for name, found in MOUTHS.items() if value in found), "neither")
    if not value.startswith("#"):
        return "none"
    rgb = torch.tensor([int(value[i : i + 2], 16) / 255 for i in (1, 3, 5)]).view(1, 3, 1, 1)
    low, high = SHADES[column]
    lightness = float(rgb_to_lab(rgb)[0, 0])
    return "dark" if lightness < low else "medium" if lightness < high else "light"


def groups(folders: list[Path]) -> None:
    """Columns of groups for labels.csv."""
    for folder in folders:
        with (folder / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row.update({column: group(column, row[source]) for column, source in COLUMNS.items()})
        with (folder / "labels.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        counts = {c: {v: sum(r[c] == v for r in rows) for v in sorted({r[c] for r in rows})} for c in COLUMNS}
        print(folder.name, counts)


def drawn(style: str, count: int, side: int, seed: int = SEED) -> tuple[Tensor, dict[str, list[str]]]:
    """Faces and their groups."""
    faces = [face(style, seed, index) for index in range(count)]
    pixels = np.stack([f.pixels(side) for f in faces])
    wanted = {column: [group(column, f.attributes[source]) for f in faces] for column, source in COLUMNS.items()}
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, wanted


class Stylizer:
    """The one-pass network in a translator's place."""

    def __init__(self, examples: dict[str, Tensor]) -> None:
        self.examples, self.painted = examples, 0

    def translate(self, pictures: Tensor, direction: Direction) -> Tensor:
        """Each in the style of the next example of the target."""
        styles, made = self.examples[direction[-1]], list[Tensor]()
        for picture in pictures:
            style = styles[self.painted % len(styles)]
            self.painted += 1
            found = sfumato.stylize(picture, style, method="onepass", refine=0, size=picture.shape[-1])
            made.append(found.tensor)
        return torch.cat(made)


@torch.no_grad()
def judge(args: argparse.Namespace) -> None:
    styles, out = dict(zip("ab", args.styles, strict=True)), args.out
    out.mkdir(parents=True, exist_ok=True)
    real = {domain: drawn(style, args.count, args.side) for domain, style in styles.items()}
    others = {domain: drawn(style, args.count, args.side, SEED + 1)[0] for domain, style in styles.items()}
    network = load_features("vgg19", pooling="max")

    def seen(pictures: Tensor) -> tuple[Tensor, Tensor]:
        parts = [network(x, ("relu4_1", "relu5_1")) for x in pictures.split(32)]
        return torch.cat([p["relu5_1"].mean((2, 3)) for p in parts]), torch.cat([p["relu4_1"] for p in parts])

    looked = {domain: seen(pictures) for domain, (pictures, _) in real.items()}
    survival, distances, sheets = list[list[object]](), list[list[object]](), list[Tensor]()
    for name in args.models:
        translator = Stylizer(others) if name == "onepass" else load_translator(name)[0]
        for direction, return_way in zip(DIRECTIONS, DIRECTIONS[::-1], strict=True):
            source, target = direction[0], direction[-1]
            (pictures, wanted), (there, own) = real[source], real[target]
            made = torch.cat([translator.translate(x, direction) for x in pictures.split(32)])
            title = f"{Path(name).stem}, {styles[source]} to {styles[target]}"
            vectors, content = seen(made)
            lost = content_distance(content, looked[source][1]).mean()
            far = [frechet_distance(gaussian(v), gaussian(looked[target][0])) for v in (looked[source][0], vectors)]
            distances.append([title, *far, float(lost)])
            for column in COLUMNS:
                trained = load_classifier(str(args.judges["ab".index(target)] / column))

                def answers(x: Tensor, trained=trained) -> list[str]:
                    return [trained.classes[k] for k in trained.chances(x).argmax(1).tolist()]

                said, said_before, said_drawn = answers(made), answers(pictures), answers(there)
                truth = wanted[column]
                hit = np.array([[s == t for t in truth] for s in said])
                row = [float(np.mean([s == t for s, t in zip(x, y, strict=True)])) for x, y in
                       ((said_before, truth), (said_drawn, own[column]))]  # fmt: skip
                survival.append([title, column, float(hit.diagonal().mean()), float(hit.mean()), *row])
            back = translator.translate(made[:16], return_way)
            sheets.append(torch.cat([torch.cat(list(x[:16]), 2) for x in (pictures, made, back)], 1))
    picture = (torch.cat(sheets, 1).permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(picture).save(out / "sheet.png")
    print(f"    {command_line()}\n\n{machine()}; {args.count} faces a style, {args.side} px\n")
    print(table(["translation", "FID-VGG-relu5_1 before", "after", "content lost"], distances) + "\n")
    print(table(["translation", "attribute", "survives", "chance", "before", "drawn"], survival))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    work = parser.add_subparsers(dest="work", required=True)
    first = work.add_parser("groups")
    first.add_argument("folders", nargs="+", type=Path)
    second = work.add_parser("judge")
    second.add_argument("models", nargs="+")
    second.add_argument("--styles", nargs=2, required=True)
    second.add_argument("--judges", nargs=2, type=Path, required=True, help="folders of classifiers, of a and of b")
    second.add_argument("--count", type=int, default=300)
    second.add_argument("--side", type=int, default=64)
    second.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    groups(given.folders) if given.work == "groups" else judge(given)


if __name__ == "__main__":
    main()
