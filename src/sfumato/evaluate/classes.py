"""A classifier against labelled pictures: accuracy and confusion matrix."""

from dataclasses import dataclass
from pathlib import Path

import torch

from sfumato.device import choose_device
from sfumato.features.classifier import load_classifier
from sfumato.models.classifier import accuracy_of, confusion
from sfumato.train.data import Box, Pictures, cut
from sfumato.train.labels import indices

BATCH = 64


@dataclass(frozen=True)
class Classified:
    """What a classifier made of some pictures."""

    accuracy: float
    classes: tuple[str, ...]
    confusion: list[list[int]]
    """True classes downwards, found ones across."""
    pictures: int
    model_sha256: str

    def table(self) -> str:
        """For people."""
        wide = max(5, *(len(name) for name in self.classes))
        lines = [f"accuracy {self.accuracy:.4f} of {self.pictures} pictures; true classes downwards", ""]
        lines.append(" " * wide + "".join(f" {name:>{wide}}" for name in self.classes))
        for name, row in zip(self.classes, self.confusion, strict=True):
            lines.append(f"{name:>{wide}}" + "".join(f" {n:>{wide}}" if n else " " * wide + "." for n in row))
        return "\n".join(lines)


def evaluate_classifier(model: str | Path, data: str | Path, *, device: str = "auto") -> Classified:
    """Every picture of `data` (sub-folders, an array, or labels.csv as in training), its middle square.

    Raises `InputError` for a label that the classifier does not know.
    """
    trained = load_classifier(model, choose_device(device))
    size = int(trained.config["resolution"])
    pictures = Pictures(data, side=round(1.5 * size))
    wanted = torch.tensor(indices(pictures, trained.classes, str(trained.config.get("label", ""))))
    place = next(trained.network.parameters()).device
    matrix = torch.zeros(len(trained.classes), len(trained.classes), dtype=torch.int64)
    for numbers in torch.split(torch.arange(len(pictures)), BATCH):
        shown = torch.stack([middle(pictures[int(i)], size) for i in numbers])
        matrix += confusion(trained.chances(shown.to(place)).cpu(), wanted[numbers], len(trained.classes))
    return Classified(accuracy_of(matrix), trained.classes, matrix.tolist(), len(pictures), trained.sha256)


def middle(picture: torch.Tensor, size: int) -> torch.Tensor:
    """The largest square in the middle of 3 x H x W at size x size."""
    height, width = picture.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return cut(picture, Box(top / height, left / width, side / height, side / width, False), size)
