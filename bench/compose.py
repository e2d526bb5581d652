#!/usr/bin/env python3
"""Objects in another light: next to plain pasting, where the truth is known.

    python bench/compose.py --photos PHOTOS --split splits.json --part test

Two tests. `own place`: a photograph is re-lit as a whole, a piece of it goes back into the photograph as it was; the
truth is the photograph. `another place`: photographs A and B are lit in two ways; a piece of the first goes into the
second; the truth is that piece of A in B's light. Pieces are blobs of an eighth to a half of the short side. Lights are
gains of 0.5 to 2 on linear light, of 0.7 to 1.4 on each channel, and a bend of the curve by a power of 0.8 to 1.25.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np
import torch
from mending import chosen, loaded
from running import command_line, machine, table
from torch import Tensor

from sfumato.compose import Layer, composed
from sfumato.compose.light import Seen, around, transported
from sfumato.picture.color import linear_to_srgb, luminance, rgb_to_lab, srgb_to_linear
from sfumato.train.marks import blob, drawn

ROWS = ("none", "light", "light, half", "color", "color, half", "color, quarter", "transported", "seamless")
EXPLAINED = """\
none: pasted as it is. light: von Kries by the surroundings' means. color: Reinhard's mean and deviation of the new
surroundings; half, quarter: at a
strength of 0.5, 0.25. transported: mean and covariance of them. seamless: Poisson.
distance: mean CIE76 difference from the truth within the piece, mean over the pictures. seam: mean absolute difference
of the luminance across the piece's border, over that of the truth (1 is no seam, sum over sum)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--part", default="dev")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--side", type=int, default=192)
    args = parser.parse_args()
    paths = chosen(args.photos, args.split, args.part, args.count)
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for number, path in enumerate(paths):
        rng = np.random.default_rng(number)
        first, second = loaded(path, args.side), loaded(paths[number - 1], args.side)
        mask = piece(first, rng)
        bent = relight(first, rng)
        for test in ("own place", "another place"):
            if test == "own place":
                ground, truth = first, first
            else:
                light = int(rng.integers(1 << 30))
                whole = torch.nn.functional.interpolate(second, first.shape[2:], mode="bilinear", antialias=True)
                ground = relight(whole, np.random.default_rng(light))
                truth = torch.where(mask > 0, relight(first, np.random.default_rng(light)), ground)
            for row in ROWS:
                made = together(bent, ground, mask, row)
                found.setdefault((test, row), []).append(figures(made, truth, mask))
    body = []
    for (test, row), each in found.items():
        seam = sum(f[1] for f in each) / sum(f[2] for f in each)
        body.append([test, row, f"{statistics.mean(f[0] for f in each):.2f}", f"{seam:.2f}"])
    print(f"{command_line()}\n{machine()}; {len(paths)} photographs, short side {args.side}\n")
    print(table(["", "", "distance", "seam"], body))
    print(f"\n{EXPLAINED}")


def together(bent: Tensor, ground: Tensor, mask: Tensor, row: str) -> Tensor:
    """The piece of `bent` on the ground, made to fit in one way."""
    if row != "transported":
        method, _, share = row.partition(", ")
        strength = {"": 1.0, "half": 0.5, "quarter": 0.25}[share]
        return composed(Layer(bent, mask, surrounded=True, whole=False), ground, method, strength)
    near = around(mask, round(0.15 * min(mask.shape[2:])))
    return torch.where(mask > 0, transported(bent, mask, Seen(ground, near)), ground)


def piece(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """A blob inside the picture, 1 x 1 x H x W of 0 and 1."""
    height, width = picture.shape[2:]
    while True:
        radius = rng.uniform(1 / 16, 1 / 4) * min(height, width)
        mask = (drawn(height, width, [], [blob(height, width, rng, radius)]) > 0.5).float()[None, None]
        if 0.005 < float(mask.mean()) < 0.3 and not bool(mask[..., [0, -1], :].any() | mask[..., [0, -1]].any()):
            return mask


def relight(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """Exposure, colour of the light, contrast."""
    gain = np.exp(rng.uniform(-0.69, 0.69)) * np.exp(rng.uniform(-0.35, 0.35, 3))
    power = float(np.exp(rng.uniform(-0.22, 0.22)))
    light = srgb_to_linear(picture) * torch.from_numpy(gain).float().view(1, 3, 1, 1)
    return linear_to_srgb(light.clamp(0, 1) ** power).clamp(0, 1)


def figures(made: Tensor, truth: Tensor, mask: Tensor) -> tuple[float, float, float]:
    """Distance of colours, and the jumps across the border in what was made and in the truth."""
    difference = torch.linalg.vector_norm(rgb_to_lab(made) - rgb_to_lab(truth), dim=1, keepdim=True)
    return float((difference * mask).sum() / mask.sum()), jumps(made, mask), jumps(truth, mask)


def jumps(picture: Tensor, mask: Tensor) -> float:
    light, total, count = luminance(picture), 0.0, 0.0
    for axis in (2, 3):
        border = mask.diff(dim=axis).abs()
        total += float((light.diff(dim=axis).abs() * border).sum())
        count += float(border.sum())
    return total / max(1.0, count)


if __name__ == "__main__":
    main()
