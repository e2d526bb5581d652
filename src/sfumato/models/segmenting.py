"""What families that segment share: their data, their step, their figures. The networks are the families' own."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.losses.segmentation import cross_entropy, dice_loss
from sfumato.metrics.segmentation import confusion, intersection_over_union, mean_iou, pixel_accuracy
from sfumato.models.encoders import TUNED_RATE, Light, VGGLite
from sfumato.picture.label_maps import painted
from sfumato.train.augment import color
from sfumato.train.classes import ClassList, resolved
from sfumato.train.data import Pictures, crop_box, cut
from sfumato.train.run import Run

RANGES: dict[str, tuple[float, float]] = {
    "resolution": (16, 4096),
    "tuned": (0, 4),
    "width": (4, 1024),
    "dice_weight": (0, 100),
    "jitter": (0, 1),
    "ignore": (2, 255),
    "learning_rate": (1e-7, 1),
    "weight_decay": (0, 10),
}


class Training:
    """The method of a family that segments, but for its network; `config` has the fields named below."""

    averaged: ClassVar[tuple[str, ...]] = ("segmenter",)

    def __init__(self, config: Any) -> None:
        """Reads the class list where the Config names a file. Raises `InputError`."""
        found = resolved(config.classes, config.colors, config.ignore)
        if found is not None:
            values = {"classes": found.names, "colors": found.colors, "ignore": found.ignore}
            config = dataclasses.replace(config, **values)
        self.config = config
        self.resolution: int = config.resolution

    @property
    def class_list(self) -> ClassList:
        """What the labels mean. Raises `InputError` where nothing says it."""
        c = self.config
        if not c.classes:
            raise InputError("say what the labels mean: --classes FILE.toml, with the names of the classes in order")
        return ClassList(c.classes, c.colors, c.ignore)

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        """AdamW; pretrained weights go a tenth of the way."""
        c, network = self.config, networks["segmenter"]
        encoder = network.encoder
        assert isinstance(encoder, Light | VGGLite)
        slow = encoder.pretrained()
        known = {id(p) for p in slow}
        groups = [{"params": [p for p in network.parameters() if id(p) not in known], "lr": c.learning_rate}]
        if slow:
            groups.append({"params": slow, "lr": TUNED_RATE * c.learning_rate})
        return {"segmenter": torch.optim.AdamW(groups, weight_decay=c.weight_decay)}

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A random square of a picture, and of its label map."""
        return self._pair(data, rng, self.config.crop_scale, self.config.flip)

    def judged(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """The largest square, somewhere along the long side."""
        return self._pair(data, rng, (1.0, 1.0), False)

    def _pair(
        self, data: Mapping[str, Pictures], rng: np.random.Generator, scale: tuple[float, float], flip: bool
    ) -> tuple[Tensor, ...]:
        pictures, labels = data["data"], data["labels"]
        index = pictures.draw(rng)
        beside = labels.paired(pictures.names[index])
        if beside is None:
            raise InputError(f"{labels.title}: lacks the label map of {pictures.names[index]}")
        picture, label_map = pictures[index], labels[beside]
        box = crop_box(picture.shape[1], picture.shape[2], rng, size=self.resolution, scale=scale, flip=flip)
        return cut(picture, box, self.resolution), cut(label_map, box, self.resolution, labels=True)

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Colours are jittered; cross entropy and Dice."""
        c, (pictures, labels) = self.config, batch
        pictures = color(pictures, run.rand("jitter", len(pictures), 3), c.jitter).clamp(0, 1)
        scores = run.networks["segmenter"](pictures)
        entropy, dice = cross_entropy(scores, labels, c.ignore), dice_loss(scores, labels, c.ignore)
        run.minimize("segmenter", entropy + c.dice_weight * dice)
        counts = labels != c.ignore
        right = ((scores.argmax(1) == labels) & counts).sum() / counts.sum().clamp_min(1)
        return {"cross_entropy": entropy, "dice": dice, "accuracy": right}

    @torch.no_grad()
    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """Pictures, their labels, what was found, in the classes' colours; black where a label counts for nothing."""
        pictures, labels = batch
        found = run.ema["segmenter"](pictures).argmax(1)
        colors = self.class_list.shown
        rows = [pictures.cpu()]
        for maps in (labels, found):
            shown = np.stack([painted(m, colors) for m in maps.cpu().numpy()])
            rows.append(torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 255)
        return torch.cat([torch.cat(list(row), 2) for row in rows], 1)

    @torch.no_grad()
    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Mean intersection over union of the classes that occur, pixel accuracy, and every class's own."""
        c, network = self.config, run.ema["segmenter"]
        matrix = torch.zeros(len(c.classes), len(c.classes), dtype=torch.int64)
        for pictures, labels in batches:
            matrix += confusion(network(pictures).argmax(1), labels, len(c.classes), c.ignore).cpu()
        return figures(matrix, c.classes)

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        if steps * batch >= 5_000:
            return None
        return f"{steps * batch:,} samples are few for a segmenter: give it 5,000 or more"


def figures(matrix: Tensor, classes: Sequence[str]) -> dict[str, float]:
    """What a confusion matrix says; the lower "score", the better."""
    shares = intersection_over_union(matrix).tolist()
    mean = mean_iou(matrix)
    own = {f"IoU {name}": share for name, share in zip(classes, shares, strict=True) if share == share}  # not NaN
    return {"score": 1 - mean, "mIoU": mean, "pixel accuracy": pixel_accuracy(matrix), **own}
