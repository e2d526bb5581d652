#!/usr/bin/env python3
"""Translators beside the one-pass stylizer: how much of the way to the other domain, at what loss of content.

    python bench/domains.py PHOTOS PAINTINGS --split ink.json --parts dev test --translators runs/ink --out runs/domains

Every held-out photograph named by `--split` is translated by every translator and painted by `sfumato.stylize --method
onepass` in the style of one painting of `--style-parts`, spread evenly. All are seen as squares of `--side` pixels.
*left* is the kernel distance (KID) to the held-out paintings over that of the photographs themselves, FID-VGG the
Frechet distance, both on means of VGG-19's relu5_4; *content* is what is lost of relu4_1, SSIM that of the luminance.
Identity and style copy (the paintings that onepass is given, as translations) are the ends. With few pictures a Frechet
distance is far too large for every row alike: read it within one table.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pictures import sheet
from PIL import Image
from running import command_line, machine, table
from torch import Tensor

import sfumato
from sfumato.features.sources import load_features
from sfumato.losses.perceptual import content_distance
from sfumato.metrics.frechet import frechet_distance, gaussian
from sfumato.metrics.kernel import kernel_distance
from sfumato.metrics.ssim import ssim
from sfumato.translate import prepare


def square(path: Path, side: int, target: Path) -> Path:
    """The picture's middle as a PNG of side x side."""
    image = Image.open(path).convert("RGB")
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    target.parent.mkdir(parents=True, exist_ok=True)
    image.crop((left, top, left + short, top + short)).resize((side, side), Image.Resampling.LANCZOS).save(target)
    return target


def tensor(path: Path) -> Tensor:
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()


class Judge:
    def __init__(self) -> None:
        self.network = load_features("vgg19", pooling="max")

    @torch.no_grad()
    def __call__(self, paths: list[Path]) -> tuple[Tensor, list[Tensor]]:
        """Vectors N x 512, and the content of every picture."""
        found = [self.network(tensor(path), ("relu4_1", "relu5_4")) for path in paths]
        return torch.cat([f["relu5_4"].mean((2, 3)) for f in found]), [f["relu4_1"] for f in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("paintings", type=Path)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=["dev", "test"])
    parser.add_argument("--style-parts", nargs="+", default=["train"])
    parser.add_argument("--translators", nargs="+", default=[])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--translate-size", type=int, help="short side at which translators work; --side if left out")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    split = json.loads(given.split.read_text())

    def named(folder: Path, parts: list[str]) -> list[Path]:
        return [folder / name for part in parts for name in split[folder.name][part]][: given.limit]

    def squares(paths: list[Path], kind: str) -> list[Path]:
        return [square(p, given.side, given.out / kind / f"{k:03d}.png") for k, p in enumerate(paths)]

    photos = squares(named(given.photos, given.parts), "photos")
    paintings = squares(named(given.paintings, given.parts), "paintings")
    styles = named(given.paintings, given.style_parts)
    style = squares([styles[k * len(styles) // len(photos) % len(styles)] for k in range(len(photos))], "styles")
    made: dict[str, list[Path]] = {"identity": photos, "style copy": style}

    def written(name: str, paint: Callable[[int, Path], None]) -> None:
        folder = given.out / name.replace("/", "_")
        folder.mkdir(parents=True, exist_ok=True)
        made[name] = [folder / photo.name for photo in photos]
        for k, target in enumerate(made[name]):
            paint(k, target)

    def stylized(k: int, target: Path) -> None:
        sfumato.stylize(photos[k], style[k], method="onepass", refine=0, size=given.side, output=target)

    written("onepass", stylized)
    for name in given.translators:
        worker = prepare(name, size=given.translate_size or given.side)

        def translated(k: int, target: Path, worker: Callable[[Path], object] = worker) -> None:
            image = worker(photos[k]).image  # type: ignore[attr-defined]
            image.resize((given.side, given.side), Image.Resampling.BICUBIC).save(target)

        written(Path(name).stem, translated)
    judge = Judge()
    (wanted, _), (before, content) = judge(paintings), judge(photos)
    size = torch.cat([wanted, before]).square().mean().sqrt()
    whole = kernel_distance(before / size, wanted / size)[0]
    rows = []
    for name, paths in made.items():
        vectors, seen = judge(paths)
        lost = statistics.mean(content_distance(x, y).mean().item() for x, y in zip(seen, content, strict=True))
        alike = statistics.mean(float(ssim(tensor(p), tensor(q))) for p, q in zip(paths, photos, strict=True))
        left = kernel_distance(vectors / size, wanted / size)[0] / whole
        rows.append([name, left, frechet_distance(gaussian(vectors), gaussian(wanted)), lost, alike])
    shown = range(min(8, len(photos)))
    order = [n for n in made if n not in ("identity", "style copy")]
    header = ["photograph", "painting", *order]
    sheet(header, [[photos[k], style[k], *(made[n][k] for n in order)] for k in shown], given.out / "sheet.png", 192)
    print(f"    {command_line()}\n\n{machine()}; {len(photos)} photographs, {len(paintings)} paintings\n")
    print(table(["pictures", "left", "FID-VGG", "content", "SSIM"], rows))


if __name__ == "__main__":
    main()
