"""A small convolutional classifier: its network, and a trained one by name.

LeCun, Bottou, Bengio & Haffner, "Gradient-Based Learning Applied to Document Recognition" (Proc. IEEE 86, 1998),
section II: convolutions and subsampling in turn, then fully connected layers; here with max pooling, rectifiers, batch
normalisation (Ioffe & Szegedy 2015) and dropout (Srivastava et al. 2014), as it is built today.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.features.sources import load_features
from sfumato.weights.files import load_model

TRUNK = "relu2_2"
"""Layer of a trunk."""


class Classifier(nn.Module):
    """Pictures N x 3 x R x R in [0, 1] to scores of classes; `features` is the layer before.

    `channels` 1 sees grey pictures (the mean of the three). A block is two 3 x 3 convolutions and a 2 x 2 max pooling.
    With a `trunk` they begin at its features `TRUNK`, half as large as pictures; it stays as it is and is not saved.
    """

    def __init__(
        self,
        *,
        resolution: int,
        channels: int,
        widths: Sequence[int],
        hidden: int,
        classes: int,
        dropout: float = 0.0,
        trunk: FeatureNetwork | None = None,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        side, inputs, layers = resolution, channels, list[nn.Module]()
        if trunk is not None:
            found = trunk(torch.zeros(1, 3, resolution, resolution), (TRUNK,))[TRUNK]
            inputs, side = found.shape[1], min(found.shape[2:])
        for width in widths:
            for first in (inputs, width):
                layers += [nn.Conv2d(first, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
            side, inputs = side // 2, width
        if side < 1:
            raise InputError(f"{len(widths)} poolings leave nothing of {resolution} px: give fewer widths")
        self.resolution, self.channels = resolution, channels
        self.body = nn.Sequential(*layers)
        self.hidden = nn.Linear(inputs * side * side, hidden)
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(hidden, classes)

    def features(self, pictures: Tensor) -> Tensor:
        """N x hidden, after the rectifier."""
        if pictures.shape[2:] != (self.resolution, self.resolution):
            pictures = F.interpolate(pictures, self.resolution, mode="bilinear", antialias=True, align_corners=False)
        x = pictures.mean(1, keepdim=True) if self.channels == 1 else pictures
        found: Tensor = F.relu(self.hidden(self.body(self.seen(x)).flatten(1)))
        return found

    def seen(self, x: Tensor) -> Tensor:
        """What the first convolution is given, of pictures N x C x R x R."""
        if self.trunk is None:
            return x * 2 - 1
        found = self.trunk.to(x.device)(x.expand(-1, 3, -1, -1), (TRUNK,))[TRUNK]
        return found.log1p()  # after a rectifier; networks differ by orders of magnitude

    def forward(self, pictures: Tensor) -> Tensor:
        """N x classes: logarithms of chances, but for a constant."""
        scores: Tensor = self.scores(self.dropout(self.features(pictures)))
        return scores


class Trained:
    """A trained classifier: its network in eval mode, the names of its classes, and where it is from."""

    def __init__(self, config: Mapping[str, Any], network: Classifier, name: str, sha256: str) -> None:
        self.config, self.name, self.sha256 = dict(config), name, sha256
        self.classes: tuple[str, ...] = tuple(config["classes"])
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def chances(self, pictures: Tensor) -> Tensor:
        """N x classes, each row sums to 1, of pictures N x 3 x H x W in [0, 1]."""
        found: Tensor = self.network(pictures).softmax(1)
        return found


def build(config: Mapping[str, Any]) -> Classifier:
    """The network of a Config of `sfumato.models.classifier`, its classes known."""
    return Classifier(
        resolution=config["resolution"],
        channels=config["channels"],
        widths=config["widths"],
        hidden=config["hidden"],
        classes=len(config["classes"]),
        dropout=config["dropout"],
        trunk=load_features(config["trunk"], pooling="max") if config.get("trunk") else None,
    )


def load_classifier(source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Trained:
    """A trained classifier by a bundled name, file or run. Raises as `load_model`."""
    model = load_model(source, "classifier")
    try:
        network = build(model.config)
    except (KeyError, TypeError) as error:
        raise InputError(f"{model.name}: damaged (its configuration is not a classifier's: {error!r})") from None
    model.fill({"classifier": network})
    return Trained(model.config, network.to(device), model.name, model.sha256)
