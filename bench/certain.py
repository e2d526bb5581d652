#!/usr/bin/env python3
"""From which confidence `--match auto` should believe the segmenter: chosen on pairs with published masks.

    python bench/certain.py --data PHOTO_PAIRS --split splits.json

PHOTO_PAIRS as for bench/semantic.py. Nothing is painted: for every pair of the part "train" the plans by classes, by
attention and by clusters are compared with the published masks, and `auto` is then replayed for every threshold.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from running import command_line, machine, table
from semantic import Pair, right

from sfumato.features.sources import load_features
from sfumato.segment.lazy import Segmenter
from sfumato.stylize.semantic import plan

WAYS = ("classes", "attention", "clusters")
THRESHOLDS = tuple(k / 100 for k in range(50, 101, 5))
EXPLAINED = """\
right: share of the picture's pixels whose style pixels are of the published region, mean over the pairs. The last
columns: how often `auto` takes each way. always: one way for every pair. best: the best way for every pair."""


class Seen(NamedTuple):
    """What one pair says."""

    name: str
    photo: float
    """Confidence of the segmenter in the photograph."""
    style: float
    right: dict[str, float]


def look(pair: Pair, segmenter: Segmenter) -> Seen:
    """The pair by every way."""
    network = load_features("vgg19", pooling="average", padding="replicate")
    found = {}
    for way in WAYS:
        made = plan(pair.picture, [pair.painting], {}, match=way, segmenter=segmenter, features=lambda: network)  # type: ignore[arg-type]
        found[way] = right(pair, made)
    return Seen(pair.name, segmenter(pair.picture).confidence, segmenter(pair.painting).confidence, found)


def way(seen: Seen, threshold: float) -> str:
    """What `auto` takes."""
    return "classes" if min(seen.photo, seen.style) >= threshold else "clusters"


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with input, style, seg_input and seg_style")
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--part", default="train")
    parser.add_argument("--side", type=int, default=384, help="short side of the pictures")
    parser.add_argument("--out", type=Path, default=Path("runs/certain"))
    args = parser.parse_args()
    names = [Path(n).stem for n in json.loads(args.split.read_text())["photo_pairs"][args.part]]
    args.out.mkdir(parents=True, exist_ok=True)
    found = []
    with (args.out / f"{args.part}.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("pair", "photo", "style", *WAYS))
        for name in names:
            pair = Pair(args.data, name, args.side)
            found.append(look(pair, Segmenter("scene", torch.device("cpu"))))
            out.writerow((name, found[-1].photo, found[-1].style, *(found[-1].right[w] for w in WAYS)))
            file.flush()
    lines: list[list[object]] = []
    for threshold in THRESHOLDS:
        taken = [way(s, threshold) for s in found]
        figure = mean([s.right[w] for s, w in zip(found, taken, strict=True)])
        lines.append([f"{threshold:.2f}", figure, *(taken.count(w) for w in WAYS)])
    for w in WAYS:
        lines.append([f"always {w}", mean([s.right[w] for s in found]), *(len(found) * (w == v) for v in WAYS)])
    best = [max(WAYS, key=lambda w, s=s: s.right[w]) for s in found]  # type: ignore[misc]
    lines.append(["best", mean([max(s.right.values()) for s in found]), *(best.count(w) for w in WAYS)])
    text = f"    {command_line()}\n\n{machine()}\n\n{table(['threshold', 'right', *WAYS], lines)}\n\n{EXPLAINED}\n"
    (args.out / f"{args.part}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
