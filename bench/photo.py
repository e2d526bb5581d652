#!/usr/bin/env python3
"""Photorealistic transfer on pairs of photographs with masks: how near to the style, how much of the structure left.

    python bench/photo.py --data PAIRS --split splits.json --part test --pca-kd WEIGHTS --out runs/photo

PAIRS has the folders input, style, seg_input, seg_style of the published deep-photo set (Luan et al. 2017), whose
masks are read with their nine colours; regions that only one of the two has are left out. All methods get the same
pixels and the same regions. Results and their scores stay in --out, and what is there is not made again.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np
import torch
import torch.nn.functional as F
from judging import LUMA, STYLE_LAYERS, Network, as_tensor, luminance, quantiles, ssim
from pictures import at_short_side, opened, pictures_in, sheet
from PIL import Image
from running import command_line, machine, table
from scipy import ndimage
from torch import Tensor

PALETTE = ((0, 0, 255), (0, 255, 0), (0, 0, 0), (255, 255, 255), (255, 0, 0))
PALETTE += ((255, 255, 0), (128, 128, 128), (0, 255, 255), (255, 0, 255))
SMALLEST = 0.005
"""Share of either picture that a region must have to count."""
COLUMNS = ("style", "patches", "ssim", "structure", "edges")
SHARES = ("style", "patches")
"""Of a gap: medians over pairs, because a region that is the same in both pictures has none to speak of."""
EXPLAINED = """\
style: region by region |G(out) - G(style)|^2 / |G(content) - G(style)|^2, by area, mean over relu1_1 .. relu5_1
of VGG-19. patches: the same share of the sliced Wasserstein distance of 3 x 3 patches of colours, which nobody here
optimises. ssim: of luminances. structure: SSIM's third factor alone, which no change of light or contrast lowers.
edges: correlation of the gradients' magnitudes. Medians of the first two (a region that is the same in both has no gap
to speak of), means of the others. seconds: of the transfer, pictures in memory on both sides."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Content and style 1 x 3 x H x W in [0, 1], masks K x H x W of zeros and ones."""

    content: Tensor
    style: Tensor
    masks: Tensor
    style_masks: Tensor


def labels(path: Path) -> np.ndarray:
    """H x W: the number of the nearest colour of the palette.

    Where two regions meet the file has mixtures (grey between black and white): what has less than SMALLEST of the
    area goes to the nearest region that has more, or a seam of the photograph would shine through.
    """
    values = np.asarray(opened(path)).astype(np.int32)
    found = np.stack([np.square(values - color).sum(2) for color in PALETTE]).argmin(0)
    thin = ndimage.minimum_filter(found, 5) != ndimage.maximum_filter(found, 5)
    small = np.bincount(found.ravel(), minlength=len(PALETTE)) < SMALLEST * found.size
    y, x = ndimage.distance_transform_edt(thin | small[found], return_distances=False, return_indices=True)
    return found[y, x]


def read(data: Path, name: str) -> Pair:
    folders = (pictures_in(data / folder) for folder in ("input", "style", "seg_input", "seg_style"))
    content, style, first, second = (folder[name] for folder in folders)
    mine, its = labels(first), labels(second)
    pictures = as_tensor(opened(content)), as_tensor(opened(style))
    for found, picture, path in ((mine, pictures[0], first), (its, pictures[1], second)):
        if found.shape != picture.shape[2:]:
            sys.exit(f"{path} is not of its picture's size")
    both = [k for k in range(len(PALETTE)) if min((mine == k).mean(), (its == k).mean()) > SMALLEST]
    if not both:
        sys.exit(f"{name}: the two pictures have no region in common")
    masks = (torch.from_numpy(np.stack([found == k for k in both])).float() for found in (mine, its))
    return Pair(*pictures, *masks)


Method = Callable[[Pair], Tensor]


def array(x: Tensor) -> np.ndarray:
    """H x W x 3 of a picture 1 x 3 x H x W or of a mask H x W."""
    return (x[0].permute(1, 2, 0) if x.ndim == 4 else x[:, :, None].expand(-1, -1, 3)).numpy()


def ours(regions: bool = True, **options: object) -> Method:
    from sfumato.stylize import stylize

    def run(pair: Pair) -> Tensor:
        content, style = array(pair.content), array(pair.style)
        if not regions:
            return stylize(content, style, size="original", **options).tensor
        masks, style_masks = ([array(m) for m in ms] for ms in (pair.masks, pair.style_masks))
        styles = [style] * len(masks)
        given = {"mask": masks, "style_masks": style_masks, "feather": 3.0, "size": "original"}
        return stylize(content, styles, **given, **options).tensor

    return run


def methods(folder: Path | None) -> dict[str, Method]:
    found: dict[str, Method] = {
        "color, global": ours(regions=False, transfer="color"),
        "color, regions": ours(transfer="color"),
        "ours, closed form": ours(method="photo", steps=0),
        "ours": ours(method="photo"),
    }
    if folder is not None:
        from pca_kd import pca_kd

        run = pca_kd(folder)
        found["PCA-KD"] = lambda p: run(p.content, p.style, p.masks, p.style_masks)
    return found


def make(method: Method, data: Path, names: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        target = folder / f"{name}.png"
        if target.exists():
            continue
        pair = read(data, name)
        began, busy = time.perf_counter(), time.process_time()
        made = method(pair)
        seconds, cpu = time.perf_counter() - began, time.process_time() - busy
        pixels = (array(made).clip(0, 1) * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(target)
        with (folder / "times.csv").open("a", newline="") as file:
            csv.writer(file).writerow([name, f"{seconds:.2f}", f"{cpu:.2f}"])
        print(f"{folder.name} {name}: {seconds:.1f} s, {cpu:.1f} s of processor", file=sys.stderr, flush=True)


class Judge:
    """Shares of the style gap left, region by region; structure kept."""

    def __init__(self, side: int) -> None:
        self.network, self.side = Network("average"), side
        generator = torch.Generator().manual_seed(64)
        self.directions = F.normalize(torch.randn(64, 27, generator=generator), dim=1)

    def fit(self, x: Tensor) -> Tensor:
        return as_tensor(at_short_side(Image.fromarray((array(x) * 255).round().astype(np.uint8)), self.side))

    @torch.inference_mode()
    def statistics(self, picture: Tensor, masks: Tensor) -> list[list[Tensor]]:
        """For every region: five Gram matrices, and the quantiles of its patches."""
        features = self.network(picture, STYLE_LAYERS)
        patches = F.unfold(picture, 3, stride=2)[0]
        height, width = ((side - 3) // 2 + 1 for side in picture.shape[2:])
        found = []
        for mask in masks:
            grams = []
            for f in features.values():
                w = F.interpolate(mask[None, None], f.shape[1:], mode="area")[0]
                g = (f * w.sqrt()).flatten(1)
                grams.append(g @ g.T / w.sum().clamp_min(1e-6))
            inside = F.interpolate(mask[None, None], (height, width), mode="area").flatten() > 0.5
            inside = inside if bool(inside.any()) else torch.ones_like(inside)
            found.append([*grams, quantiles(self.directions @ patches[:, inside])])
        return found

    def __call__(self, pair: Pair, results: dict[str, Tensor | None]) -> dict[str, dict[str, float]]:
        """Scores of results at the content's size; None stands for the style copy."""
        content, style = self.fit(pair.content), self.fit(pair.style)
        shares = pair.masks.mean((1, 2)) / pair.masks.mean((1, 2)).sum()
        own, wanted = self.statistics(content, pair.masks), self.statistics(style, pair.style_masks)
        scores = {}
        for name, result in results.items():
            if result is None:
                out = F.interpolate(style, content.shape[2:], mode="bilinear", antialias=True).clamp(0, 1)
                got = self.statistics(out, pair.style_masks)
            else:
                out = self.fit(result)
                got = self.statistics(out, pair.masks)
            left = [
                [((a - w).square().sum() / (c - w).square().sum()).item() for a, c, w in zip(x, y, z, strict=True)]
                for x, y, z in zip(got, own, wanted, strict=True)
            ]
            style_left, patches = (
                sum(s * value for s, value in zip(shares.tolist(), values, strict=True))
                for values in ([sum(v[:-1]) / 5 for v in left], [v[-1] for v in left])
            )
            kept = structure(out, content), correlation(slopes(out), slopes(content))
            scores[name] = dict(zip(COLUMNS, (style_left, patches, ssim(out, content), *kept), strict=True))
        return scores


def structure(a: Tensor, b: Tensor) -> float:
    """Mean of (s_ab + c) / (s_a s_b + c) over 11 x 11 Gaussian windows (Wang et al. 2004, equation 10)."""
    a, b = luminance(a), luminance(b)
    g = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = (g[:, None] * g[None] / g.sum() ** 2)[None, None]

    def blurred(x: Tensor) -> Tensor:
        return F.conv2d(x, window)

    ma, mb, c = blurred(a), blurred(b), 0.03**2 / 2
    va, vb = (blurred(x * x) - m * m for x, m in ((a, ma), (b, mb)))
    deviations = (va.clamp_min(0) * vb.clamp_min(0)).sqrt()
    return ((blurred(a * b) - ma * mb + c) / (deviations + c)).mean().item()


def slopes(x: Tensor) -> Tensor:
    """Magnitude of the luminance's gradient."""
    y = (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1)[0]
    return torch.hypot(y.diff(dim=0)[:, :-1], y.diff(dim=1)[:-1]).flatten()


def correlation(a: Tensor, b: Tensor) -> float:
    return torch.corrcoef(torch.stack([a, b]))[0, 1].nan_to_num(0).item()


def key_of(name: str, method: str, folder: Path | None, side: int) -> str:
    """What a score is kept under: a result that is made again gets another one."""
    made = (folder / f"{name}.png").stat().st_mtime_ns if folder else 0
    return f"{name} {method} {side} {made}"


def times(folder: Path, column: int) -> list[float]:
    file = folder / "times.csv"
    return [float(row[column]) for row in csv.reader(file.read_text().splitlines())] if file.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, help="JSON: photo_pairs, part, list of names")
    parser.add_argument("--part", default="test")
    parser.add_argument("--names", nargs="+", help="in place of the split")
    parser.add_argument("--pca-kd", type=Path, help="folder of sencoder.npz and sdecoder.npz")
    parser.add_argument("--only", nargs="+", help="make and score these methods only")
    parser.add_argument("--side", type=int, default=256, help="short side at which pictures are compared")
    parser.add_argument("--out", type=Path, default=Path("runs/photo"))
    args = parser.parse_args()
    names = args.names or (json.loads(args.split.read_text())["photo_pairs"][args.part] if args.split else None)
    if not names:
        parser.error("give --names, or --split with --part")
    chosen = {k: m for k, m in methods(args.pca_kd).items() if not args.only or k in args.only}
    folders = {name: args.out / name.replace(", ", "-").replace(" ", "-") for name in chosen}
    for name, method in chosen.items():
        make(method, args.data, names, folders[name])
    judge, rows, scores = Judge(args.side), [], dict[str, list[dict[str, float]]]()
    kept = args.out / "scores.json"
    known: dict[str, dict[str, float]] = json.loads(kept.read_text()) if kept.exists() else {}
    for name in names:
        pair = read(args.data, name)
        results: dict[str, Tensor | None] = {"identity": pair.content, "style copy": None}
        results |= {method: as_tensor(opened(folder / f"{name}.png")) for method, folder in folders.items()}
        keys = {method: key_of(name, method, folders.get(method), args.side) for method in results}
        missing = {method: result for method, result in results.items() if keys[method] not in known}
        if missing:
            known |= {keys[method]: score for method, score in judge(pair, missing).items()}
            kept.write_text(json.dumps(known))
        for method, key in keys.items():
            scores.setdefault(method, []).append(known[key])
            rows.append([method, name, *(f"{known[key][k]:.4f}" for k in COLUMNS)])
        print(f"scored {name}", file=sys.stderr, flush=True)
    with (args.out / "scores.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("method", "pair", *COLUMNS), *rows])
    lines = []
    for method, found in scores.items():
        means = [(median if k in SHARES else mean)(s[k] for s in found) for k in COLUMNS]
        spent = [times(folders[method], c) for c in (1, 2)] if method in folders else [[], []]
        lines.append([method, len(found), *means, *(sum(t) / len(t) if t else None for t in spent)])
    header = ["", "pairs", *COLUMNS, "seconds", "cpu s"]
    text = f"    {command_line()}\n\n{machine()}\n\n{table(header, lines)}\n\n{EXPLAINED}\n"
    (args.out / "table.md").write_text(text)
    print(text)
    inputs = pictures_in(args.data / "input"), pictures_in(args.data / "style")
    grid = [[inputs[0][n], inputs[1][n], *(f / f"{n}.png" for f in folders.values())] for n in names]
    sheet(["content", "style", *folders], grid, args.out / "sheet.png", 300)


if __name__ == "__main__":
    main()
