#!/usr/bin/env python3
"""Restoration next to doing nothing and to classical methods, on damage made on held-out photographs.

    pip install bm3d opencv-python-headless
    python bench/restore.py noise --data PHOTOS --split splits.json --part test --out runs/restore
    python bench/restore.py marks ...
    python bench/restore.py looks --part dev --count 24 --side 256 ...
    python bench/restore.py fading ...

noise: grain, film, compression, and kinds (*) that no network of ours was trained on. Non-local means (OpenCV) and BM3D
are told the noise that the median of Haar coefficients finds, blind as ours is. marks: where scratches are, and what
filling them is worth. looks: what the finder alone finds, pixels of all photographs together, at which sizes and from
which chance; `clean` is the share of pixels that it calls scratched where nothing is. `--model` names weights other
than the bundled ones.
"""

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from judging import Network, ssim
from PIL import Image, ImageOps
from running import command_line, machine, table
from torch import Tensor

from sfumato.train import damage, marks

SIDE = 128
Method = Callable[[Tensor], Tensor]
"""1 x 3 x H x W in [0, 1], both."""
LAYERS = ("1_2", "2_2", "3_4", "4_4")


def rms(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean().sqrt())


def psnr(a: Tensor, b: Tensor, where: Tensor | None = None) -> float:
    error = (a - b).square().mean(1, keepdim=True)
    error = error[where > 0] if where is not None else error
    return float(-10 * error.mean().clamp_min(1e-10).log10())


class Perceptual:
    """Distance of two pictures as VGG-19 sees them: directions of features, mean over layers (LPIPS, unweighted)."""

    def __init__(self) -> None:
        self.network = Network("max")

    def __call__(self, a: Tensor, b: Tensor) -> float:
        with torch.no_grad():
            fa, fb = (self.network(x, LAYERS) for x in (a, b))
        unit = [[f / (f.norm(dim=0, keepdim=True) + 1e-8) for f in (fa[k], fb[k])] for k in LAYERS]
        return mean(float((x - y).square().sum(0).mean()) for x, y in unit)


# Kinds of noise: the first five are of the families that the denoiser was trained on, the others are not.


def webp(x: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    Image.fromarray((x * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()).save(file, "WEBP", quality=quality)
    return torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1).float() / 255


def normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))


KINDS: dict[str, Callable[[Tensor, np.random.Generator], Tensor]] = {
    "grain 15": lambda x, r: damage.grain(x, r, 15 / 255),
    "grain 35": lambda x, r: damage.grain(x, r, 35 / 255),
    "film": lambda x, r: damage.grain(x, r, 20 / 255, grey=True, radius=0.8),
    "few photons": lambda x, r: damage.shot_noise(x, r, 60),
    "JPEG 15": lambda x, _: damage.jpeg(x, 15),
    "uniform*": lambda x, r: (x + torch.from_numpy(r.uniform(-0.15, 0.15, x.shape).astype(np.float32))).clamp(0, 1),
    "speckle*": lambda x, r: (x * (1 + 0.2 * normal(r, *x.shape))).clamp(0, 1),
    "stripes*": lambda x, r: (x + 0.05 * normal(r, 1, x.shape[1], 1) + 0.03 * normal(r, *x.shape)).clamp(0, 1),
    "WebP 15*": lambda x, _: webp(x, 15),
}


def array(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x[0].permute(1, 2, 0).numpy())


def tensor(a: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(a)).permute(2, 0, 1)[None].float().clamp(0, 1)


def sigma_of(x: Tensor) -> float:
    """The noise's deviation from the finest diagonal Haar coefficients (Donoho & Johnstone 1994), mean of channels."""
    even = x[..., : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
    a, b, c, d = (even[..., y::2, z::2] for y in (0, 1) for z in (0, 1))
    diagonal = ((a - b - c + d) / 2).abs().flatten(2)
    return max(1e-3, float(diagonal.median(2).values.mean()) / 0.6745)


def nlm(x: Tensor, factor: float = 0.9) -> Tensor:
    import cv2

    h = factor * 255 * sigma_of(x)
    pixels = (array(x) * 255).round().astype(np.uint8)
    return tensor(cv2.fastNlMeansDenoisingColored(pixels, None, h, h, 5, 15).astype(np.float32) / 255)


def bm3d(x: Tensor) -> Tensor:
    from bm3d import bm3d_rgb

    return tensor(bm3d_rgb(array(x).astype(np.float64), sigma_of(x)))


def noise(photos: dict[str, Tensor], args: argparse.Namespace) -> str:
    from sfumato.restore.denoise import Denoising

    ours, seen = Denoising(args.model), Perceptual()
    methods: dict[str, Method] = {"nothing": lambda x: x, "NLM": nlm, "BM3D": bm3d, "sfumato": ours.work}
    if args.without_bm3d:
        del methods["BM3D"]
    scores: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    shown = list[Tensor]()
    for kind, spoil in KINDS.items():
        for number, clean in enumerate(photos.values()):
            damaged = spoil(clean[0], np.random.default_rng([7, number]))[None]
            made = {name: timed(method, damaged) for name, method in methods.items()}
            for name, (out, seconds) in made.items():
                figures = (psnr(out, clean), ssim(out, clean), seen(out, clean), seconds)
                scores.setdefault((kind, name), []).append(figures)
            if number == len(shown) % len(photos):
                shown.append(torch.cat([clean, *(out for out, _ in made.values())], 3))
        print(kind, {n: [round(mean(c), 3) for c in zip(*scores[kind, n], strict=True)] for n in methods}, flush=True)
    save(torch.cat(shown, 2), args.out / "noise.png")
    rows = []
    for name in methods:
        own = [(kind, [mean(c) for c in zip(*scores[kind, name], strict=True)]) for kind in KINDS]
        every = [mean(c) for c in zip(*(figures for _, figures in own), strict=True)]
        rows.append([name, *(f"{figures[0]:.2f}" for _, figures in own), *(f"{every[0]:.2f}", *every[1:])])
    return table(["PSNR", *KINDS, "mean", "SSIM", "perceptual", "seconds"], rows)


# Marks: those of the training's families, and kinds that it has not seen.


def film_lines(height: int, width: int, rng: np.random.Generator) -> Tensor:
    """What a projector does: thin upright lines from top to bottom."""
    lines = [
        (np.array([(x, 0.0), (x + rng.normal(0, 2), float(height))]), 1.2) for x in rng.uniform(0, width, 4).tolist()
    ]
    return marks.drawn(height, width, lines)


def rings(height: int, width: int, rng: np.random.Generator) -> Tensor:
    """What cups leave."""
    angle = np.linspace(0, 2 * np.pi, 60)
    circle = rng.uniform(15, 40) * np.stack([np.cos(angle), np.sin(angle)], 1)
    return marks.drawn(height, width, [(circle + rng.random(2) * (width, height), 2.0)])


KINDS = ("trained kinds", "film lines*", "rings*")
LOOKS = ((1.0,), (1.5,), (2.0,), (1.0, 2.0))
"""Sizes at which the finder looks, next to the photograph's; the mean of its chances counts."""


def marred(clean: Tensor, kind: str, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    if kind == "trained kinds":
        for _ in range(50):
            found, hidden = marks.marred(clean[0], rng, unit=1.5)
            if float((hidden > 0.3).float().mean()) > 0.003:
                break
        return found[None], (hidden[None] > 0.3).float()
    draw = {"film lines*": film_lines, "rings*": rings}[kind]
    cover = draw(clean.shape[2], clean.shape[3], rng)[None, None]
    return clean + 0.85 * cover * (0.95 - clean), (cover > 0.3).float()


def marks_bench(photos: dict[str, Tensor], args: argparse.Namespace) -> str:
    import cv2

    from sfumato.restore import Restorer
    from sfumato.restore.fill import filled
    from sfumato.restore.inpaint import grown

    worker, seen = Restorer(noise=0, fading=0, finder=args.model), Perceptual()

    def telea(x: Tensor, hole: Tensor) -> Tensor:
        pixels, where = (array(x) * 255).round().astype(np.uint8), hole[0, 0].numpy().astype(np.uint8) * 255
        out = tensor(cv2.inpaint(pixels, where, 3, cv2.INPAINT_TELEA).astype(np.float32) / 255)
        return torch.where(hole > 0, out, x)

    def tophat(x: Tensor) -> Tensor:
        """Scratches as OpenCV's recipes find them: thin and unlike their surroundings."""
        grey = (array(x).mean(2) * 255).astype(np.uint8)
        kernel = np.ones((9, 9), np.uint8)
        thin = np.maximum(*(cv2.morphologyEx(grey, way, kernel) for way in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)))
        return torch.from_numpy((thin > 60).astype(np.float32))[None, None]

    rows, shown = [], list[Tensor]()
    for kind in KINDS:
        scores: dict[str, list[tuple[float, ...]]] = {}
        for number, clean in enumerate(photos.values()):
            damaged, true = marred(clean, kind, np.random.default_rng([11, number]))
            found = worker.found(damaged, [])
            classical, known = grown(tophat(damaged), 1), grown(true, 1)
            made = {
                "nothing": (damaged, torch.zeros_like(true)),
                "morphology, Telea": (telea(damaged, classical), classical),
                "found, Telea": (telea(damaged, found), found),
                "sfumato": (either(filled, worker.network, damaged, found), found),
                "true marks, Telea": (telea(damaged, known), known),
                "true marks, sfumato": (either(filled, worker.network, damaged, known), known),
            }
            for name, (out, hole) in made.items():
                hit, both = float((hole * true).sum()), float(hole.maximum(true).sum())
                figures = (psnr(out, clean), ssim(out, clean), seen(out, clean), hit / both)
                recall = hit / max(1.0, float(true.sum()))
                scores.setdefault(name, []).append((*figures, recall))
            if number < 2:
                shown.append(
                    torch.cat([damaged, true.expand_as(damaged), found.expand_as(damaged), made["sfumato"][0]], 3)
                )
        for name, values in scores.items():
            rows.append([kind, name, *(mean(c) for c in zip(*values, strict=True))])
    save(torch.cat(shown, 2), args.out / "marks.png")
    return table(["marks", "method", "PSNR", "SSIM", "perceptual", "IoU of marks", "recall"], rows)


def looks_bench(photos: dict[str, Tensor], args: argparse.Namespace) -> str:
    from sfumato.models.blemishes import VISIBLE, Finder
    from sfumato.picture.resize import resize

    finder, _ = Finder.load(args.model or "blemishes")
    thresholds = (0.3, 0.4, 0.5)

    def chances(x: Tensor) -> dict[tuple[float, ...], Tensor]:
        height, width = x.shape[2:]
        sizes = {s for look in LOOKS for s in look}
        at = {s: resize(finder.find(resize(x, round(s * height), round(s * width))), height, width) for s in sizes}
        return {look: torch.stack([at[s] for s in look]).mean(0) for look in LOOKS}

    keys = [(look, t) for look in LOOKS for t in thresholds]
    clean = dict.fromkeys(keys, 0.0)
    counts = {(kind, *key): torch.zeros(3, dtype=torch.float64) for kind in KINDS for key in keys}
    for number, photo in enumerate(photos.values()):
        found = chances(photo)
        for look, t in keys:
            clean[look, t] += float((found[look] > t).float().mean()) / len(photos)
        for kind in KINDS:
            damaged, true = marred(photo, kind, np.random.default_rng([11, number]))
            seen = true * ((damaged - photo).abs().mean(1, keepdim=True) >= VISIBLE)
            found = chances(damaged)
            for look, t in keys:
                marks_found = (found[look] > t).float()
                parts = (marks_found * true, marks_found * (1 - true), (1 - marks_found) * seen)
                counts[kind, look, t] += torch.stack([p.sum().double() for p in parts])
    rows = list[list[object]]()
    for look, t in keys:
        row: list[object] = [" and ".join(f"{s:g}" for s in look) + f", {t}", f"{100 * clean[look, t]:.2f} %"]
        for kind in KINDS:
            hit, wrong, missed = counts[kind, look, t].tolist()
            row += [hit / (hit + wrong + missed), hit / max(1, hit + wrong), hit / (hit + missed)]
        rows.append(row)
    titles = [f"{kind}, {what}" for kind in KINDS for what in ("IoU", "precision", "recall")]
    return table(["looks, threshold", "clean", *titles], rows)


def either(fill: Callable[..., Tensor], network: object, picture: Tensor, hole: Tensor) -> Tensor:
    """Filled where there is a hole."""
    return fill(network, picture, hole) if 0 < float(hole.mean()) < 1 else picture


def fading(photos: dict[str, Tensor], args: argparse.Namespace) -> str:
    from sfumato.restore.fading import unfaded

    def contrast(x: Tensor) -> Tensor:
        image = Image.fromarray((array(x) * 255).round().astype(np.uint8))
        return tensor(np.asarray(ImageOps.autocontrast(image, cutoff=0.5), dtype=np.float32) / 255)

    def joint(x: Tensor) -> Tensor:
        low, high = torch.quantile(x[:, :, ::2, ::2].flatten(), torch.tensor([0.005, 0.995]))
        return ((x - low) / (high - low).clamp_min(0.1)).clamp(0, 1)

    methods: dict[str, Method] = {
        "nothing": lambda x: x,
        "one stretch for all channels": joint,
        "Pillow's autocontrast, each channel": contrast,
        "sfumato": unfaded,
    }
    rows, shown = [], list[Tensor]()
    for name, method in methods.items():
        figures = list[tuple[float, float, float]]()
        for number, clean in enumerate(photos.values()):
            damaged = damage.faded(clean[0], np.random.default_rng([13, number]))[None]
            out = method(damaged)
            figures.append((psnr(out, clean), ssim(out, clean), psnr(method(clean), clean)))
            if number < 6 and name in ("nothing", "sfumato"):
                shown.append(out)
        rows.append([name, *(mean(c) for c in zip(*figures, strict=True))])
    save(torch.cat([torch.cat(shown[:6], 3), torch.cat(shown[6:], 3)], 2), args.out / "fading.png")
    return table(["", "PSNR", "SSIM", "PSNR of pictures that were not faded"], rows)


def timed(method: Method, x: Tensor) -> tuple[Tensor, float]:
    began = time.perf_counter()
    return method(x), time.perf_counter() - began


def save(sheet: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((array(sheet) * 255).round().astype(np.uint8)).save(path)


def middles(args: argparse.Namespace) -> dict[str, Tensor]:
    """Squares from the middles of some photographs of a part of the split, every k-th by name."""
    names = sorted(json.loads(args.split.read_text())["photos"][args.part])
    found = {}
    for name in names[:: max(1, len(names) // args.count)][: args.count]:
        image = ImageOps.fit(Image.open(args.data / name).convert("RGB"), (256, 256))
        edge = (256 - args.side) // 2
        image = image.crop((edge, edge, edge + args.side, edge + args.side))
        found[name] = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("noise", "marks", "looks", "fading"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--part", choices=("dev", "test"), default="dev")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--model", help="a file of weights or a run, in place of the bundled one")
    parser.add_argument("--without-bm3d", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/restore"))
    args = parser.parse_args()
    torch.manual_seed(0)
    work = {"noise": noise, "marks": marks_bench, "looks": looks_bench, "fading": fading}[args.what]
    text = work(middles(args), args)
    print(f"{command_line()}\n{machine()}\n\n{text}")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{args.what}-{args.part}.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
