#!/usr/bin/env python3
"""Semantic transfer on photo pairs with published masks: does every region take its style from its counterpart?

    python bench/semantic.py --data PHOTO_PAIRS --split splits.json --out runs/semantic -- method=onepass

PHOTO_PAIRS has the folders input, style, seg_input and seg_style; equal colours in a pair's masks are equal regions.
`--split` is a JSON file whose "photo_pairs" names the pairs under "test". What follows `--` are options of
`sfumato.stylize` for every row. Rows: without regions; with regions found by classes and by clusters; with the
published masks; with the published masks and a wrong counterpart for every region; and, of the method `optimise`,
other statistics with and without the masks. Finished pictures stay; `auto` takes that of the row that it chose, if it
is there.
"""

import argparse
import csv
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from judging import STYLE_LAYERS, Judge, as_tensor, load_like, quantiles, ssim
from pictures import at_short_side, opened, pictures_in, sheet, spread
from PIL import Image
from running import command_line, machine, settings, table
from torch import Tensor

from sfumato.picture.io import read_picture
from sfumato.picture.region_maps import regions_of_maps
from sfumato.stylize import iter_stylize

ROWS: dict[str, dict[str, Any]] = {
    "without": {},
    "classes": {"semantic": True, "match": "classes"},
    "attention": {"semantic": True, "match": "attention"},
    "clusters": {"semantic": True, "match": "clusters"},
    "auto": {"semantic": True, "match": "auto"},
    "masks": {"semantic": True},
    "masks, shuffled": {"semantic": True},
    "neighbours": {"statistics": "neighbours"},
    "neighbours, masks": {"semantic": True, "statistics": "neighbours"},
    "attention statistics": {"statistics": "attention"},
    "attention statistics, masks": {"semantic": True, "statistics": "attention"},
}
USUAL = tuple(row for row, given in ROWS.items() if "statistics" not in given)
DIRECTIONS = 64
COLUMNS = ("region style", "patches", "whole style", "content", "ssim", "right", "seam", "same classes", "seconds")
BAND = 4
"""Pixels to each side of a border between regions at which its seam is measured."""
FLOOR = 0.1
"""Share of |G(style)|^2 that the divisor is at least: a region that is nearly as its counterpart asks for nothing."""
EXPLAINED = """\
Medians over the pairs.
region style: |G(out) - G(style)|^2 / max(|G(content) - G(style)|^2, 0.1 |G(style)|^2) over relu1_1 .. relu5_1,
region by published region of both pictures, weighed by area. patches: the same of the sliced Wasserstein distance of
3 x 3 patches of colours, which no method here minimises. whole style, content, ssim: of the whole picture, as
bench/quality.py has them.
right: share of the picture's pixels whose style pixels are of the published region. seam: mean gradient of the
luminance within 4 pixels of the borders of the regions that the row used, over that of the row without regions.
same classes: share of pixels that the segmenter names in the result as in the photograph."""


class Pair:
    """One pair with its published regions at the size of the comparison."""

    def __init__(self, folder: Path, name: str, side: int) -> None:
        self.name = name
        kinds = ("input", "style", "seg_input", "seg_style")
        self.content, self.style, *maps = (pictures_in(folder / kind)[name] for kind in kinds)
        self.picture, self.painting = (as_tensor(at_short_side(opened(p), side)) for p in (self.content, self.style))
        sizes = [(p.shape[2], p.shape[3]) for p in (self.picture, self.painting)]
        self.maps = [read_picture(path) for path in maps]
        self.own, self.other = regions_of_maps(self.maps, sizes)
        self.common = [
            n
            for n in self.own.names
            if n in self.other.names and min(self.own.of(n).mean(), self.other.of(n).mean()) > 0.005
        ]

    def shuffled(self) -> np.ndarray:
        """The style's regions with the colours of the common ones moved on by one; H x W x 3."""
        regions = regions_of_maps(self.maps, [(m.height, m.width) for m in self.maps])[1]
        names = [n for n in self.common if n in regions.names]
        follower = dict(zip(names, names[1:] + names[:1], strict=True))
        colors = {n: self._color(n) for n in {*regions.names, *names}}
        table = np.array([colors[follower.get(n, n)] for n in regions.names], np.uint8)
        shuffled: np.ndarray = table[regions.labels.numpy()]
        return shuffled

    def _color(self, name: str) -> tuple[int, int, int]:
        """A flat colour of the name."""
        from sfumato.picture.region_maps import NAMES

        known = NAMES.get(name)
        return known if known is not None else tuple(bytes.fromhex(name[1:]))  # type: ignore[return-value]


def make(pair: Pair, row: str, options: dict[str, Any], target: Path) -> dict[str, Any]:
    """The result in `target`, and what is known only while it is made; kept beside it."""
    note = target.with_suffix(".json")
    if target.exists() and note.exists():
        found: dict[str, Any] = json.loads(note.read_text())
        return found
    given = {**options, **ROWS[row]}
    if "masks" in row:
        given["regions"] = [pair.maps[0], pair.shuffled() if "shuffled" in row else pair.maps[1]]
    began = time.perf_counter()
    work = iter_stylize(pair.content, pair.style, **given)
    found = {"right": right(pair, work.plan), "how": None, "confidence": None}
    if work.plan is not None:
        found |= {"how": work.plan.how, "confidence": work.plan.confidence}
    twin = target.parent.with_name(str(found["how"])) / target.name
    if row == "auto" and twin.with_suffix(".json").exists():
        for ending in (".png", "-labels.png"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_name(target.stem + ending).write_bytes(twin.with_name(twin.stem + ending).read_bytes())
        found["seconds"] = json.loads(twin.with_suffix(".json").read_text())["seconds"]
        note.write_text(json.dumps(found))
        return found
    for _ in work:
        pass
    result = work.result()
    found["seconds"] = time.perf_counter() - began
    target.parent.mkdir(parents=True, exist_ok=True)
    if work.plan is not None:
        labels = Image.fromarray(work.plan.content.labels.numpy().astype(np.uint8))
        labels.save(target.with_name(target.stem + "-labels.png"))
    result.save(target)
    note.write_text(json.dumps(found))
    return found


def right(pair: Pair, plan: Any) -> float:
    """Share of the picture's pixels whose style pixels have their published region."""
    true = pair.own.labels
    wanted = torch.stack(
        [pair.other.of(n) if n in pair.other.names else torch.zeros(pair.other.size) for n in pair.own.names]
    )
    if plan is None:
        share = wanted.mean((1, 2))
        return float(share[true].mean())
    own = plan.content.resized(*pair.own.size)
    total = 0.0
    for weight, choice in zip(own.weights, plan.choices, strict=True):
        taken = torch.ones(pair.other.size)
        if choice.mask is not None:
            taken = F.adaptive_avg_pool2d(
                F.interpolate(choice.mask, pair.other.size, mode="bilinear"), pair.other.size
            )[0, 0]
        share = (wanted * taken).sum((1, 2)) / taken.sum().clamp_min(1e-6)
        total += float((weight * share[true]).sum())
    return total / true.numel()


class Scores:
    """Every measure of a result."""

    def __init__(self, side: int) -> None:
        self.judge = Judge(side=side)
        self.directions = F.normalize(torch.randn(DIRECTIONS, 27, generator=torch.Generator().manual_seed(64)), dim=1)
        self.kept: dict[tuple[str, str], dict[str, Tensor]] = {}

    @torch.inference_mode()
    def grams(self, picture: Tensor, regions: Any, names: Sequence[str]) -> dict[str, Tensor]:
        """{layer: K x C x C} over the regions' positions."""
        found = {}
        for layer, f in self.judge.network(picture, STYLE_LAYERS).items():
            w = regions.resized(f.shape[1], f.shape[2])
            flat = f.flatten(1)
            weights = [w.of(n).flatten() for n in names]
            found[layer] = torch.stack([(flat * x) @ flat.T / x.sum().clamp_min(1e-6) for x in weights])
        return found

    def region_style(self, pair: Pair, out: Tensor) -> float:
        names = pair.common
        wanted = self.known(pair, "style", pair.painting, pair.other)
        own, found = self.known(pair, "own", pair.picture, pair.own), self.grams(out, pair.own, names)
        areas = torch.stack([pair.own.of(n).mean() for n in names])
        left = []
        for layer in STYLE_LAYERS:
            gap = (found[layer] - wanted[layer]).square().flatten(1).sum(1)
            whole = (own[layer] - wanted[layer]).square().flatten(1).sum(1)
            left.append(gap / torch.maximum(whole, FLOOR * wanted[layer].square().flatten(1).sum(1)))
        return float((torch.stack(left).mean(0) * areas).sum() / areas.sum())

    def patches(self, pair: Pair, out: Tensor) -> float:
        """Share of the gap between the regions' patches that is left, the divisor as in `region_style`."""

        def seen(picture: Tensor, regions: Any) -> list[Tensor]:
            columns = F.unfold(picture, 3, stride=2)[0]
            masks = regions.resized(*((side - 3) // 2 + 1 for side in picture.shape[2:]))
            inside = [masks.of(n).flatten() for n in pair.common]
            return [quantiles(self.directions @ columns[:, w >= min(0.5, float(w.max()))]) for w in inside]

        wanted, own = seen(pair.painting, pair.other), seen(pair.picture, pair.own)
        left = []
        for w, o, f in zip(wanted, own, seen(out, pair.own), strict=True):
            spread = (w - w.mean(1, keepdim=True)).square().sum()
            left.append((f - w).square().sum() / torch.maximum((o - w).square().sum(), FLOOR * spread))
        areas = torch.stack([pair.own.of(n).mean() for n in pair.common])
        return float((torch.stack(left) * areas).sum() / areas.sum())

    def known(self, pair: Pair, kind: str, picture: Tensor, regions: Any) -> dict[str, Tensor]:
        if (pair.name, kind) not in self.kept:
            self.kept[pair.name, kind] = self.grams(picture, regions, pair.common)
        return self.kept[pair.name, kind]

    def __call__(self, pair: Pair, target: Path, plain: Path, note: dict[str, Any]) -> dict[str, float | None]:
        out = load_like(target, pair.picture)
        found = self.judge.score(out, pair.content, pair.style)
        return {
            "region style": self.region_style(pair, out),
            "patches": self.patches(pair, out),
            "whole style": found["style"],
            "content": found["content"],
            "ssim": ssim(out, pair.picture),
            "right": note["right"],
            "seam": seam(target, plain),
            "seconds": note["seconds"],
        }


def seam(target: Path, plain: Path) -> float | None:
    """Gradient along the borders of the row's regions, over the row's without."""
    file = target.with_name(target.stem + "-labels.png")
    if not file.exists():
        return None
    labels = torch.from_numpy(np.array(Image.open(file))).long()
    edge = torch.zeros(labels.shape)
    edge[:, 1:] += labels[:, 1:] != labels[:, :-1]
    edge[1:] += labels[1:] != labels[:-1]
    band = F.max_pool2d(edge.clamp(0, 1)[None, None], 2 * BAND + 1, 1, BAND)[0, 0] > 0
    if not bool(band.any()):
        return None

    def strength(path: Path) -> Tensor:
        y = as_tensor(opened(path)).mean(1)[0]
        return (y.diff(dim=0)[:, :-1].square() + y.diff(dim=1)[:-1].square()).sqrt()[band[:-1, :-1]].mean()

    return float(strength(target) / strength(plain))


def agreement(pair: Pair, target: Path) -> float:
    """Share of pixels that the bundled segmenter names in the result as in the photograph."""
    from sfumato.segment import load_predictor, segmented

    predictor, _ = load_predictor("scene")
    first, second = (segmented(predictor, p)[0] for p in (pair.picture, load_like(target, pair.picture)))
    names = [[r.names[k] for k in r.labels.flatten().tolist()] for r in (first, second)]
    return float(np.mean([a == b for a, b in zip(*names, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with input, style, seg_input and seg_style")
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--part", default="test")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--rows", nargs="+", default=list(USUAL), choices=list(ROWS))
    parser.add_argument("--score-size", type=int, default=512)
    parser.add_argument("--agreement", action="store_true", help="ask the segmenter too")
    parser.add_argument("--out", type=Path, default=Path("runs/semantic"))
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args()
    names = [Path(n).stem for n in json.loads(args.split.read_text())["photo_pairs"][args.part]]
    pairs = [Pair(args.data, n, args.score_size) for n in spread(names, args.pairs)]
    options, scores = settings(args.options), Scores(args.score_size)
    rows = ["without", *(r for r in args.rows if r != "without")]
    found: dict[str, list[dict[str, float | None]]] = {row: [] for row in rows}
    lines = []
    for pair in pairs:
        for row in rows:
            if "shuffled" in row and len(pair.common) < 2:
                continue
            target = args.out / row.replace(", ", "-") / f"{pair.name}.png"
            note = make(pair, row, options, target)
            figures = scores(pair, target, args.out / "without" / f"{pair.name}.png", note)
            figures["same classes"] = agreement(pair, target) if args.agreement else None
            found[row].append(figures)
            lines.append([row, pair.name, *(figures[c] for c in COLUMNS)])
            print(f"{pair.name} {row:16} region style {figures['region style']:.3f}", file=sys.stderr, flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "scores.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("row", "pair", *COLUMNS), *lines])
    means = [[row, len(found[row]), *(middle([f[c] for f in found[row]]) for c in COLUMNS)] for row in rows]
    grid = [[p.content, p.style, *(args.out / r.replace(", ", "-") / f"{p.name}.png" for r in rows)] for p in pairs]
    sheet(
        ["content", "style", *rows],
        [[c if c.exists() else None for c in line] for line in grid],
        args.out / "sheet.png",
    )
    text = f"    {command_line()}\n\n{machine()}\n\n{table(['', 'pairs', *COLUMNS], means)}\n\n{EXPLAINED}\n"
    (args.out / "table.md").write_text(text)
    print(text)


def middle(values: Sequence[float | None]) -> float | None:
    """Median of those that there are: one dark region against a bright one would outweigh all others in a mean."""
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None


if __name__ == "__main__":
    main()
