"""A segmenter against label maps: intersection over union of every class, their mean, pixel accuracy."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from sfumato.device import choose_device
from sfumato.errors import unknown
from sfumato.metrics.segmentation import confusion, intersection_over_union, mean_iou, pixel_accuracy
from sfumato.models.predictor import load_predictor
from sfumato.segment.work import segmented
from sfumato.train.classes import ClassList, check_pairs, read_classes
from sfumato.train.data import Pictures

LARGEST = 2048
"""Short side in pixels at which pictures and label maps are compared, at most."""


@dataclass(frozen=True)
class Judged:
    """What a segmenter made of some pictures."""

    mean_iou: float
    """Over the classes that occur."""
    accuracy: float
    """Share of the pixels that count."""
    shares: dict[str, float | None]
    """Intersection over union by class; None for one that does not occur."""
    confusion: list[list[int]]
    """True classes downwards, found ones across, in pixels."""
    one_class: tuple[float, float]
    """Mean and accuracy of the commonest class everywhere: what no look at the picture scores."""
    pictures: int
    model_sha256: str

    def table(self) -> str:
        """For people."""
        wide = max(16, *(len(name) for name in self.shares))
        lines = [f"{name:<{wide}} {'-' if share is None else f'{share:.3f}':>6}" for name, share in self.shares.items()]
        lines.append(f"{'mean':<{wide}} {self.mean_iou:>6.3f}   pixel accuracy {self.accuracy:.3f}")
        mean, accuracy = self.one_class
        lines.append(f"{'one class':<{wide}} {mean:>6.3f}   pixel accuracy {accuracy:.3f}")
        return "\n".join([f"intersection over union, {self.pictures} pictures", *lines])


def evaluate_segments(
    model: str | Path,
    data: str | Path,
    labels: str | Path,
    *,
    classes: str | Path | None = None,
    size: int | None = None,
    radius: int = 0,
    device: str = "auto",
    on_picture: Callable[[int, int], None] = lambda _done, _total: None,
) -> Judged:
    """Every picture of `data` against its label map in `labels`.

    Args:
        model: a bundled model's name, a file of weights or a run.
        data, labels: folders as in training.
        classes: the label maps' class list, where it is not the model's: classes are matched by name.
        size: short side in pixels at which the network looks; None as `segment` does.
        radius: of the guided filter, as in `segment`; 0 judges the network alone.

    Raises:
        InputError: as `check_pairs`; also for a class of the list that the model does not know.
    """
    predictor, digest = load_predictor(model, choose_device(device))
    known = ClassList(predictor.classes, predictor.colors, predictor.ignore)
    meant = known if classes is None else read_classes(classes)
    for name in meant.names:
        if name not in known.names:
            raise unknown(f"class of {classes}", name, known.names)
    number = torch.full((256,), known.ignore)
    number[: len(meant.names)] = torch.tensor([known.names.index(name) for name in meant.names])
    pictures, maps = Pictures(data, side=LARGEST), Pictures(labels, side=LARGEST, labels=meant)
    check_pairs(pictures, maps, meant)
    count = len(known.names)
    matrix = torch.zeros(count, count, dtype=torch.int64)
    good = [i for i, name in enumerate(pictures.names) if name not in pictures.bad]
    for done, index in enumerate(good, 1):
        at = maps.paired(pictures.names[index])
        assert at is not None
        wanted = number[maps[at][0].long()]
        regions = segmented(predictor, pictures[index][None].float() / 255, size=size, radius=radius).regions
        own = torch.tensor([known.names.index(name) for name in regions.names])
        found = own[regions.resized(*wanted.shape).labels]
        matrix += confusion(found, wanted, count, known.ignore)
        on_picture(done, len(good))
    shares = [None if math.isnan(share) else share for share in intersection_over_union(matrix).tolist()]
    most = torch.zeros_like(matrix)
    most[:, int(matrix.sum(1).argmax())] = matrix.sum(1)
    return Judged(
        mean_iou(matrix),
        pixel_accuracy(matrix),
        dict(zip(known.names, shares, strict=True)),
        matrix.tolist(),
        (mean_iou(most), pixel_accuracy(most)),
        len(good),
        digest,
    )
