"""Scratches, dust, folds and holes: where they lie, and pictures that bear them.

A mark is a soft map H x W in [0, 1], float32 on the CPU: how much of a pixel it covers. Everything is a pure function
of its arguments and a generator of numbers. Lengths are in pixels of the picture; `unit` is what a thin line measures.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from sfumato.train.damage import blurred

OVER = 4
"""Marks are drawn so many times larger and averaged down: smooth edges."""
Points = NDArray[np.float64]
"""N x 2, columns x and y."""


def scratches(height: int, width: int, rng: np.random.Generator, *, count: int = 3, unit: float = 1.0) -> Tensor:
    """Lines across the picture: long, almost straight, of varying width, broken in places; some short and curled, some
    jagged."""
    lines = list[tuple[Points, float]]()
    for _ in range(count):
        long = rng.random() < 0.65
        length = rng.uniform(0.3, 1.5) * max(height, width) if long else rng.uniform(0.05, 0.3) * max(height, width)
        points = wander(height, width, rng, length=length, turn=0.02 if long else 0.25)
        if rng.random() < 0.4:  # a crack in the emulsion
            points = points + rng.normal(0, 1.5 * unit, points.shape)
        thick = unit * float(rng.choice((0.6, 1.0, 1.0, 1.6, 2.5))) * rng.uniform(0.7, 1.3)
        lines += [(part, thick * rng.uniform(0.6, 1.4)) for part in broken(points, rng)]
    return drawn(height, width, lines)


def spots(height: int, width: int, rng: np.random.Generator, *, count: int = 6, unit: float = 1.0) -> Tensor:
    """Dust, drops and flakes: small uneven blobs, and a few hairs."""
    lines, blobs = list[tuple[Points, float]](), list[Points]()
    for _ in range(count):
        if rng.random() < 0.2:
            hair = wander(height, width, rng, length=rng.uniform(6, 30) * unit, turn=0.5)
            lines.append((hair, 0.8 * unit))
        else:
            blobs.append(blob(height, width, rng, unit * float(np.exp(rng.uniform(0.0, 1.8)))))
    return torch.maximum(drawn(height, width, lines), drawn(height, width, [], blobs))


def cracks(height: int, width: int, rng: np.random.Generator, *, count: int = 1, unit: float = 1.0) -> Tensor:
    """Cracks of the emulsion: ragged lines from somewhere at the border inwards that branch, with flakes off along
    them."""
    lines, blobs = list[tuple[Points, float]](), list[Points]()
    for _ in range(count):
        edge = rng.random(2)
        edge[int(rng.integers(2))] = rng.choice((0.0, 1.0))
        inward = math.atan2((0.5 - edge[1]) * height, (0.5 - edge[0]) * width) + rng.normal(0, 0.5)
        length = rng.uniform(0.2, 1.2) * max(height, width)
        trunk = ragged(edge * (width, height), inward, length, rng, unit)
        paths = [(trunk, unit * rng.uniform(0.7, 2.2))]
        for _ in range(int(rng.poisson(4))):
            parent, thick = paths[int(rng.integers(len(paths)))]
            k = int(rng.integers(1, len(parent) - 1))
            ahead = parent[k + 1] - parent[k]
            angle = math.atan2(ahead[1], ahead[0]) + rng.choice((-1, 1)) * rng.uniform(0.4, 1.3)
            branch = ragged(parent[k], angle, length * rng.uniform(0.05, 0.45), rng, unit)
            paths.append((branch, thick * rng.uniform(0.4, 0.9)))
        for path, thick in paths:
            pieces = np.exp(rng.normal(0, 0.35, len(path) - 1))
            lines += [(path[k : k + 2], thick * float(share)) for k, share in enumerate(pieces)]
        for _ in range(int(rng.poisson(1.0))):
            flake = blob(height, width, rng, unit * rng.uniform(1.5, 5.0))
            path, _ = paths[int(rng.integers(len(paths)))]
            blobs.append(flake - flake.mean(0) + path[int(rng.integers(len(path)))])
    return torch.maximum(drawn(height, width, lines), drawn(height, width, [], blobs))


def folds(height: int, width: int, rng: np.random.Generator, *, count: int = 1, unit: float = 1.0) -> Tensor:
    """Creases from border to border, ragged, with a torn corner now and then."""
    lines, blobs = list[tuple[Points, float]](), list[Points]()
    for _ in range(count):
        if rng.random() < 0.2:
            x, y = rng.integers(0, 2, 2) * (width, height)
            side = rng.uniform(0.05, 0.25, 2) * (width, height)
            inward = np.where(np.array([x, y]) > 0, -side, side)
            edge = np.linspace((x + inward[0], y), (x, y + inward[1]), 12) + rng.normal(0, unit, (12, 2))
            blobs.append(np.concatenate([[[x, y]], edge]))
            continue
        ends = np.stack([rng.random(2), rng.random(2)])
        axis = int(rng.integers(2))
        ends[:, axis] = (-0.05, 1.05)
        start, end = ends * (width, height)
        points: Points = np.linspace(start, end, 40) + np.cumsum(rng.normal(0, 0.5 * unit, (40, 2)), 0)
        pieces = [points[k : k + 2] for k in range(39)]
        lines += [(piece, unit * rng.uniform(0.8, 3.0)) for piece in pieces]
    return torch.maximum(drawn(height, width, lines), drawn(height, width, [], blobs))


def holes(height: int, width: int, rng: np.random.Generator, *, share: tuple[float, float] = (0.02, 0.35)) -> Tensor:
    """A hole to be filled, 1 x H x W of exactly 0 and 1 (1 is missing): strokes of a brush, blobs, boxes, mixed.

    Marks are added until they cover a share of the picture drawn between the two of `share`. After Yu et al., "Free-
    Form Image Inpainting with Gated Convolution" (ICCV 2019), section 3.4, with blobs and boxes.
    """
    wanted, found = rng.uniform(*share), torch.zeros(height, width)
    side = min(height, width)
    kinds: list[Callable[[], Tensor]] = [
        lambda: drawn(
            height,
            width,
            [
                (
                    wander(height, width, rng, length=rng.uniform(0.2, 1.0) * side, turn=0.6),
                    rng.uniform(0.03, 0.14) * side,
                )
            ],
        ),
        lambda: drawn(height, width, [], [blob(height, width, rng, rng.uniform(0.05, 0.2) * side)]),
        lambda: drawn(height, width, [], [box(height, width, rng)]),
    ]
    own = rng.dirichlet((1.0, 0.7, 0.5))
    for _ in range(200):
        if float((found > 0.5).float().mean()) >= wanted:
            break
        mark = kinds[int(rng.choice(3, p=own))]()
        together = torch.maximum(found, mark)
        if float((together > 0.5).float().mean()) <= max(share[1], 2 / side):
            found = together
    if not bool((found > 0.5).any()):
        y, x = int(rng.integers(height)), int(rng.integers(width))
        found[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 1
    return (found > 0.5).float()[None]


def marred(picture: Tensor, rng: np.random.Generator, *, unit: float = 1.0) -> tuple[Tensor, Tensor]:
    """A picture with marks of every kind at random, sometimes none, and how much of each pixel they hide.

    Each kind has a colour of its own: the paper's white, black, or in between; and lies more or less thick. Returns
    3 x H x W and 1 x H x W in [0, 1].
    """
    height, width = picture.shape[1:]
    hidden = torch.zeros(height, width)
    if rng.random() < 0.1:
        return picture, hidden[None]
    room = height * width / 128**2  # the same density whatever the size
    kinds = (scratches, 0.5, 3.0), (spots, 0.6, 6.0), (folds, 0.2, 1.0), (cracks, 0.4, 1.0)
    for kind, chance, mean in kinds:
        if rng.random() >= chance:
            continue
        count = 1 + int(rng.poisson(mean * max(0.5, room) * rng.uniform(0.1, 1.0)))
        for part in range(2 if rng.random() < 0.3 and kind in (scratches, spots) else 1):
            mark = kind(height, width, rng, count=min(count, 60), unit=unit)
            light = 0.75 + 0.25 * rng.random() if rng.random() < (0.75 if part == 0 else 0.4) else 0.3 * rng.random()
            tone = torch.from_numpy(light * rng.uniform(0.92, 1.0, 3)).float()[:, None, None]
            cover = mark * rng.uniform(0.55, 1.0)
            if rng.random() < 0.5:  # an edge as a lens sees it
                cover = blurred(cover[None], float(rng.uniform(0.3, 0.9)))[0].clamp(0, 1)
            picture = picture + cover * (tone - picture)
            hidden = torch.maximum(hidden, cover)
    return picture.clamp(0, 1), hidden[None]


def wander(height: int, width: int, rng: np.random.Generator, *, length: float, turn: float) -> Points:
    """A line that starts somewhere and goes on for `length` pixels, turning by a deviation of `turn` a step of 24."""
    steps = 24
    angle = (
        rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, turn, steps)) + rng.normal(0, turn / 4) * np.arange(24)
    )
    moves = length / steps * np.stack([np.cos(angle), np.sin(angle)], 1)
    start = rng.random(2) * (width, height)
    path = start + np.concatenate([np.zeros((1, 2)), np.cumsum(moves, 0)])
    found: Points = path - (path.mean(0) - start) * rng.random()
    return found


def ragged(start: Points, angle: float, length: float, rng: np.random.Generator, unit: float) -> Points:
    """A line from `start` that goes on in a direction with small turns and jumps, 17 points."""
    steps = 16
    angles = angle + np.cumsum(rng.normal(0, 0.2, steps))
    moves = length / steps * np.stack([np.cos(angles), np.sin(angles)], 1) + rng.normal(0, 0.6 * unit, (steps, 2))
    path: Points = start + np.concatenate([np.zeros((1, 2)), np.cumsum(moves, 0)])
    return path


def broken(points: Points, rng: np.random.Generator) -> list[Points]:
    """The parts of a line that remain where pieces of it are missing."""
    cuts = np.sort(rng.choice(np.arange(1, len(points) - 1), int(rng.integers(0, 4)), replace=False))
    parts = np.split(np.arange(len(points)), cuts)
    kept = [points[p[0] : p[-1] + 2] for p in parts if rng.random() < 0.8]
    return [part for part in kept if len(part) > 1]


def blob(height: int, width: int, rng: np.random.Generator, radius: float) -> Points:
    """The outline of a round thing with an uneven border, of about `radius`."""
    angle = np.arange(24) / 24 * 2 * math.pi
    waves = sum(rng.normal(0, 0.15) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 5))
    ragged = rng.normal(0, rng.uniform(0.0, 0.2), 24)
    reach = radius * np.maximum(0.25, 1 + waves + ragged)
    squeeze = np.exp(rng.normal(0, 0.25))
    outline: Points = np.stack([reach * squeeze * np.cos(angle), reach / squeeze * np.sin(angle)], 1)
    return rng.random(2) * (width, height) + outline


def box(height: int, width: int, rng: np.random.Generator) -> Points:
    """A rectangle's corners, sides between a tenth and a half of the picture's."""
    side = rng.uniform(0.1, 0.5, 2) * (width, height)
    x, y = rng.random(2) * ((width, height) - side)
    return np.array([(x, y), (x + side[0], y), (x + side[0], y + side[1]), (x, y + side[1])])


def drawn(height: int, width: int, lines: list[tuple[Points, float]], shapes: list[Points] | None = None) -> Tensor:
    """H x W: how much of each pixel lines of a width, and filled outlines, cover."""
    image = Image.new("L", (width * OVER, height * OVER))
    pen = ImageDraw.Draw(image)
    for points, thick in lines:
        dots = [(float(x), float(y)) for x, y in points * OVER]
        pen.line(dots, fill=255, width=max(1, round(thick * OVER)), joint="curve")
    for outline in shapes or []:
        pen.polygon([(float(x), float(y)) for x, y in outline * OVER], fill=255)
    pixels = np.asarray(image.reduce(OVER), dtype=np.float32) / 255
    return torch.from_numpy(pixels)
