#!/usr/bin/env python3
"""Does the one-pass network use its style code, and what does its noise do?

    python bench/codes.py --model onepass --content DIR --style DIR --names splits.json --pairs 16

Every row is the mean over the same pairs, judged against the style that was wanted (as `sfumato evaluate style`): the
style's own code; the next style's code with the wanted colours; a code drawn at random, normal with the codes' mean and
deviation; the same with the next style's colours too; and with the own code: another seed, and no noise. The first
three show whether the code is read: without that they would be alike. "moved" is the root mean square distance to the
own code's picture in levels of 255.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from pictures import at_short_side, opened, pictures_in, spread_pairs
from running import command_line, machine, table
from torch import Tensor

from sfumato.features.sources import load_features
from sfumato.metrics.style_transfer import Reference, StyleJudge
from sfumato.models.onepass_networks import STRIDES, Colors, Style
from sfumato.style.recolor import color_moments
from sfumato.stylize.painter import load_painter


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="onepass", help="trained weights: name, file or run")
    parser.add_argument("--content", type=Path, required=True)
    parser.add_argument("--style", type=Path, required=True)
    parser.add_argument("--names", type=Path, help="splits file: only its dev pictures of these folders' names")
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    args = parser.parse_args()
    for folder in (args.content, args.style):
        if not folder.is_dir():
            sys.exit(f"{folder} is not a folder")
    return args


def named(folder: Path, names: Path | None) -> dict[str, Path]:
    found = pictures_in(folder)
    if names is None:
        return found
    dev = {Path(n).stem for n in json.loads(names.read_text())[folder.name]["dev"]}
    return {stem: path for stem, path in found.items() if stem in dev}


def main() -> None:
    args = arguments()
    painter, judge = load_painter(args.model, torch.device("cpu")), StyleJudge(load_features("vgg19"))
    contents, styles = named(args.content, args.names), named(args.style, args.names)
    pairs = spread_pairs(list(contents), list(styles), args.pairs)
    photos = {c: picture(contents[c], args.size) for c, _ in pairs}
    paintings = {s: picture(styles[s], args.size) for _, s in pairs}
    codes = {s: painter.encode(p, None, args.size) for s, p in paintings.items()}
    every = torch.cat([style.code for style in codes.values()])
    random = torch.Generator().manual_seed(0)
    sums: dict[str, list[tuple[float, float, float]]] = {}
    order = [s for _, s in pairs]
    for index, (c, s) in enumerate(pairs):
        x, own, following = photos[c], codes[s], codes[order[(index + 1) % len(order)]]
        drawn = every.mean(0) + every.std(0) * torch.randn(every.shape[1], generator=random)
        kinds = {
            "own code": (own, 0),
            "next style's code": (own._replace(code=following.code), 0),
            "random code": (own._replace(code=drawn[None]), 0),
            "next style's code and colours": (following, 0),
            "own code, another seed": (own, 1),
            "own code, no noise": (own, None),
        }
        content, style = judge.reference(x), judge.reference(paintings[s])
        plain = paint(painter.generator, x, own, 0)
        for name, (given, seed) in kinds.items():
            sums.setdefault(name, []).append(
                row(judge, paint(painter.generator, x, given, seed), plain, content, style)
            )
    print(f"    {command_line()}\n\n{machine()}\n")
    means = {name: [sum(v) / len(rows) for v in zip(*rows, strict=True)] for name, rows in sums.items()}
    print(table(("", "style left", "content lost", "moved"), [(n, *(f"{v:.3f}" for v in m)) for n, m in means.items()]))
    print(f"\n{len(pairs)} pairs at a short side of {args.size} px; {painter.name}, sha256 {painter.sha256[:12]}.")


def picture(path: Path, side: int) -> Tensor:
    """1 x 3 x H x W in [0, 1]."""
    pixels = np.asarray(at_short_side(opened(path), side), np.float32)
    return torch.from_numpy(pixels / 255).permute(2, 0, 1)[None]


@torch.inference_mode()
def paint(generator: torch.nn.Module, x: Tensor, style: Style, seed: int | None) -> Tensor:
    mean, covariance = (m.float() for m in color_moments(x))
    random = torch.Generator().manual_seed(seed or 0)
    sides = [-(-side // 8) * 8 for side in x.shape[2:]]
    noise = [torch.randn(1, 1, *(side // s for side in sides), generator=random) for s in STRIDES]
    painted: Tensor = generator(
        x, Colors.between(mean, covariance, style), style.code, [None] * 4 if seed is None else noise
    )
    return (painted.clamp(0, 1) * 255).round() / 255


def row(judge: StyleJudge, made: Tensor, plain: Tensor, content: Reference, style: Reference) -> tuple[float, ...]:
    score = judge.score(made, content, style)
    return score.style, score.content, float((made - plain).square().mean().sqrt()) * 255


if __name__ == "__main__":
    main()
