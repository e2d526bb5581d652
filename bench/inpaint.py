#!/usr/bin/env python3
"""Holes filled: next to classical methods, by kind of hole, among them kinds that were not trained on.

    pip install opencv-python-headless scikit-image
    python bench/inpaint.py --photos PHOTOS --split splits.json --part test --out runs/inpaint

sfumato is what `inpaint` does without a network: a plate in thin holes, patches in deep ones. Holes: strokes, blobs and
boxes mixed, and scratches (as in training); letters, half of all pixels, and a third of the picture at its side (not in
training). The same holes for every row.
"""

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mending import EXPLAINED, Yardstick, chosen, frechet, loaded
from PIL import Image, ImageDraw
from running import command_line, machine, table
from torch import Tensor

from sfumato.models.inpainter import Filler
from sfumato.picture.membrane import membrane
from sfumato.restore.fill import filled
from sfumato.train.marks import holes, scratches

Way = Callable[[Tensor, Tensor], Tensor]
COLUMNS = ("PSNR", "SSIM", "VGG", "seconds")
KINDS = ("holes", "scratches", "letters", "pixels", "side")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--part", default="dev")
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--model", help="an inpainter; its row is left out where none is given")
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    ways = every_way(args.model)
    yardstick, lines = Yardstick(), list[dict[str, object]]()
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    vectors: dict[tuple[str, str], list[Tensor]] = {}
    paths = chosen(args.photos, args.split, args.part, args.count)
    for number, path in enumerate(paths):
        real = loaded(path, args.side)
        wanted = yardstick.features(real)
        for kind in args.kinds:
            mask = hole(kind, real.shape[2], real.shape[3], np.random.default_rng(number))
            shown = [torch.where(mask > 0, torch.ones_like(real), real)]
            for name, way in ways.items():
                started = time.perf_counter()
                made = torch.where(mask > 0, way(real, mask), real)
                figures, vector = yardstick.compare(made, real, wanted)
                figures["seconds"] = time.perf_counter() - started
                found.setdefault((kind, name), []).append(figures)
                vectors.setdefault((kind, name), []).append(vector)
                lines.append({"picture": path.stem, "hole": kind, "row": name, **figures})
                shown.append(made)
            vectors.setdefault((kind, "true"), []).append(wanted["mean"])
            row = torch.cat([*shown, real], 3)[0].permute(1, 2, 0).clamp(0, 1)
            Image.fromarray((255 * row).round().byte().numpy()).save(args.out / f"{path.stem}-{kind}.png")
    with (args.out / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    body = []
    for (kind, name), each in found.items():
        means = [f"{statistics.mean(f[k] for f in each):.3f}" for k in COLUMNS]
        body.append([kind, name, *means, f"{frechet(vectors[kind, name], vectors[kind, 'true']):.0f}"])
    print(f"{command_line()}\n{machine()}; {len(paths)} photographs, short side {args.side}\n")
    print(table(["hole", "", *COLUMNS, "FID-VGG"], body))
    print(f"\n{EXPLAINED}\nseconds: with the judgement, which takes the same for every row.")


def every_way(model: str | None) -> dict[str, Way]:
    """The rows."""
    import cv2
    from skimage.restoration import inpaint_biharmonic

    def opencv(flag: int) -> Way:
        def fill(real: Tensor, mask: Tensor) -> Tensor:
            pixels = (255 * real[0].permute(1, 2, 0)).round().byte().numpy()
            made = cv2.inpaint(np.ascontiguousarray(pixels), (mask[0, 0] > 0).byte().numpy(), 3, flag)
            return torch.from_numpy(made).permute(2, 0, 1)[None].float() / 255

        return fill

    def biharmonic(real: Tensor, mask: Tensor) -> Tensor:
        image = real[0].permute(1, 2, 0).double().numpy()
        made = inpaint_biharmonic(image, (mask[0, 0] > 0).numpy(), channel_axis=-1)
        return torch.from_numpy(made).permute(2, 0, 1)[None].float().clamp(0, 1)

    ways: dict[str, Way] = {
        "nothing (white)": lambda real, _: torch.ones_like(real),
        "Telea": opencv(cv2.INPAINT_TELEA),
        "NS": opencv(cv2.INPAINT_NS),
        "biharmonic": biharmonic,
        "membrane": lambda real, mask: membrane(real, mask, 40).clamp(0, 1),
        "sfumato": lambda real, mask: filled(None, real, mask),
    }
    if model is not None:
        filler, _ = Filler.load(model)
        ways["sfumato's network"] = lambda real, mask: filled(filler, real, mask)
    return ways


def hole(kind: str, height: int, width: int, rng: np.random.Generator) -> Tensor:
    """1 x 1 x H x W of 0 and 1."""
    if kind == "holes":
        return holes(height, width, rng, share=(0.05, 0.3))[None]
    if kind == "scratches":
        lines = scratches(height, width, rng, count=5)[None, None]
        return torch.nn.functional.max_pool2d((lines > 0.2).float(), 3, 1, 1)
    if kind == "pixels":
        return torch.from_numpy((rng.random((1, 1, height, width)) < 0.5).astype(np.float32))
    mask = Image.new("L", (width, height))
    if kind == "letters":
        pen = ImageDraw.Draw(mask)
        for y in range(int(rng.integers(0, 20)), height, 28):
            words = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz   "), width // 9))
            pen.text((int(rng.integers(0, 12)), y), words, fill=255, font_size=16)
    else:
        wide = width // 3
        pen = ImageDraw.Draw(mask)
        left = 0 if rng.random() < 0.5 else width - wide
        pen.rectangle((left, 0, left + wide, height), fill=255)
    return torch.from_numpy((np.asarray(mask) > 100).astype(np.float32))[None, None]


if __name__ == "__main__":
    main()
