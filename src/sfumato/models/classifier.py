"""A small convolutional classifier: which of its classes a picture is of.

LeCun, Bottou, Bengio & Haffner, "Gradient-Based Learning Applied to Document Recognition" (Proc. IEEE 86, 1998); the
network is in `sfumato.features.classifier`, for its last layer but one is also what generated pictures are judged by.
Trained by the cross entropy with smoothed labels (Szegedy et al. 2016, section 7) and AdamW (Loshchilov & Hutter 2019).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.features.classifier import Classifier, build
from sfumato.metrics import segmentation
from sfumato.train.data import Pictures, crop
from sfumato.train.labels import Numbers, classes_of, indices
from sfumato.train.run import Run

RANGES = {
    "resolution": (8, 512),
    "channels": (1, 3),
    "hidden": (1, 4096),
    "dropout": (0, 0.99),
    "smoothing": (0, 0.99),
    "learning_rate": (1e-7, 1),
    "weight_decay": (0, 10),
}
CELL = 12
"""Pixels a cell of the confusion matrix is shown with."""


@dataclass(frozen=True)
class Config:
    """Sizes and weights."""

    resolution: int = 64
    """Side in pixels of the pictures seen."""
    channels: int = 3
    """3 for colour, 1 for grey pictures."""
    trunk: str = ""
    """Trained feature network (`onepass`, `vgg-lite`, `vgg19`, a file) on whose relu2_2 it stands: fewer samples do."""
    widths: tuple[int, ...] = (32, 64, 128)
    """Channels of the blocks, after each of which the sides are halved."""
    hidden: int = 128
    """Length of the feature vector before the last layer."""
    dropout: float = 0.5
    """Chance of a feature to be left out."""
    smoothing: float = 0.05
    """Share of the label that is spread over all classes."""
    crop_scale: tuple[float, float] = (0.85, 1.0)
    """Side of a crop relative to the picture's short side."""
    flip: bool = True
    """Mirror half of the pictures; not where left and right mean something."""
    label: str = ""
    """Column of labels.csv that names a picture's class; its sub-folder where empty."""
    classes: tuple[str, ...] = ()
    """Names of the classes; read from the data."""
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2


class Method:
    """Training."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    averaged: ClassVar[tuple[str, ...]] = ("classifier",)

    def __init__(self, config: Config) -> None:
        if config.channels == 2:
            raise InputError("channels must be 1 or 3, not 2")
        self.config = config
        self.resolution = config.resolution
        self.numbers = Numbers(config.classes, config.label)

    def fitted(self, data: Mapping[str, Pictures]) -> "Method":
        """With the classes that the data have."""
        c = self.config
        if c.classes:
            indices(data["data"], c.classes, c.label)
            return self
        return Method(dataclasses.replace(c, classes=classes_of(data["data"], c.label)))

    def networks(self) -> dict[str, nn.Module]:
        if len(self.config.classes) < 2:
            raise InputError("a classifier needs at least two classes")
        return {"classifier": build(dataclasses.asdict(self.config))}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        c = self.config
        weights = networks["classifier"].parameters()
        return {"classifier": torch.optim.AdamW(weights, lr=c.learning_rate, weight_decay=c.weight_decay)}

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A crop and its class's number."""
        c, pictures = self.config, data["data"]
        index = pictures.draw(rng)
        picture = crop(pictures[index], rng, size=c.resolution, scale=c.crop_scale, flip=c.flip)
        return picture, torch.tensor(self.numbers(pictures, index))

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        pictures, wanted = batch
        scores = run.networks["classifier"](pictures)
        loss = F.cross_entropy(scores, wanted, label_smoothing=self.config.smoothing)
        run.minimize("classifier", loss)
        return {"loss": loss, "accuracy": (scores.argmax(1) == wanted).float().mean()}

    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:  # noqa: ARG002
        """The confusion matrix of the last judgement, true classes downwards, white for 0 and black for a whole row."""
        classes = len(self.config.classes)
        matrix = run.state.get("confusion", torch.zeros(classes, classes)).cpu().float()
        shares = matrix / matrix.sum(1, keepdim=True).clamp_min(1)
        cells = (1 - shares).sqrt()[None].expand(3, -1, -1)  # one mistake in a hundred can be seen
        return F.interpolate(cells[None], scale_factor=CELL)[0]

    @torch.no_grad()
    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Share of pictures whose class is found; the most frequent mistakes are the dark cells of the preview."""
        network = run.ema["classifier"]
        assert isinstance(network, Classifier)
        run.state["confusion"] = sum(
            (confusion(network(pictures), wanted, len(self.config.classes)) for pictures, wanted in batches),
            start=torch.zeros((), dtype=torch.int64, device=run.device),
        )
        accuracy = accuracy_of(run.state["confusion"])
        return {"score": 1 - accuracy, "accuracy": accuracy}

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        if steps * batch >= 50_000:
            return None
        return f"{steps * batch:,} samples are few for a classifier: give it 50,000 or more"


def confusion(scores: Tensor, wanted: Tensor, classes: int) -> Tensor:
    """How many pictures of class i (row) were taken for class j (column): K x K whole numbers."""
    return segmentation.confusion(scores.argmax(1), wanted, classes)


def accuracy_of(matrix: Tensor) -> float:
    """Share of the pictures on the diagonal."""
    return segmentation.pixel_accuracy(matrix)
