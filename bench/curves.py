"""Losses of the pictures that the methods of bench/optimise.py left, by one common function."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from judging import Judge, as_tensor
from PIL import Image

CONTENT_WEIGHT = 0.3


class Scores:
    """style + 0.3 content of pictures at the prepared content's size; none is scored twice."""

    def __init__(self, content: Path, style: Path, side: int, pooling: str) -> None:
        self.judge, self.content, self.style = Judge(pooling, side), content, style
        picture = self.judge.reference(content)[0]
        self.size = (picture.shape[3], picture.shape[2])
        self.kept: dict[str, dict[str, float]] = {}

    def __call__(self, file: Path) -> dict[str, float]:
        pixels = np.load(file)
        key = hashlib.sha256(pixels.tobytes()).hexdigest()
        if key not in self.kept:
            image = Image.fromarray(pixels)
            if image.size != self.size:  # a preview of a smaller scale
                image = image.resize(self.size, Image.Resampling.BICUBIC)
            found = self.judge.score(as_tensor(image), self.content, self.style)
            self.kept[key] = {**found, "loss": found["style"] + CONTENT_WEIGHT * found["content"]}
        return self.kept[key]


class Curve:
    """Loss over time of one run. Scoring is slow, so points are scored when they are asked for."""

    def __init__(self, scores: Scores, folder: Path, report: dict[str, Any], points: int) -> None:
        self.scores, self.folder, self.kept, self.points = scores, folder, report["kept"], points
        self.losses: dict[int, float] = {}

    def loss(self, index: int) -> float:
        if index not in self.losses:
            self.losses[index] = self.scores(self.folder / self.kept[index]["file"])["loss"]
        return self.losses[index]

    def final(self) -> dict[str, float]:
        found = self.scores(self.folder / self.kept[-1]["file"])
        self.losses[len(self.kept) - 1] = found["loss"]
        return found

    def grid(self) -> list[int]:
        """Points evenly spread over the pictures kept, the last among them (these are spread evenly in log time)."""
        last = len(self.kept) - 1
        return sorted({round(i * last / max(1, self.points - 1)) for i in range(self.points)})

    def reach(self, loss: float) -> float | None:
        """Seconds to the first picture at or below `loss`: found on the grid, then halved down; None if never."""
        grid = self.grid()
        hit = next((i for i in grid if self.loss(i) <= loss), None)
        if hit is None:
            return None
        low, high = max([i for i in grid if i < hit], default=-1), hit
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.loss(middle) <= loss else (middle, high)
        return self.kept[high]["seconds"]

    def scored(self) -> list[tuple[float, float]]:
        """(seconds, loss) of whatever has been scored."""
        return [(self.kept[i]["seconds"], loss) for i, loss in sorted(self.losses.items())]


def judged(
    folder: Path, side: int, pooling: str, points: int, reports: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """For each method its final scores, the seconds to everyone's final loss (by round), and its curve."""
    scores = Scores(folder / "content.png", folder / "style.png", side, pooling)
    curves = {m: [Curve(scores, folder / r["folder"], r, points) for r in rounds] for m, rounds in reports.items()}
    finals = {m: [c.final() for c in found] for m, found in curves.items()}
    result: dict[str, Any] = {}
    for method, found in curves.items():
        times = {}
        for goal, ends in finals.items():
            pairs = list(zip(found, ends, strict=True))
            times[goal] = [c.reach(end["loss"]) for c, end in pairs]
            times[f"{goal} + 5 %"] = [c.reach(1.05 * end["loss"]) for c, end in pairs]
        result[method] = {"final": finals[method], "times": times, "curves": [c.scored() for c in found]}
    return result
