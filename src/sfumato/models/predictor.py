"""What the verb `segment` asks of a family that labels pictures, and what such families share."""

import os
from collections.abc import Callable
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.models.pretrained import Pretrained, digest, is_pretrained
from sfumato.models.registry import FAMILIES, family, offers
from sfumato.models.sampler import config_from
from sfumato.picture.label_maps import Color
from sfumato.train.classes import ClassList
from sfumato.weights.files import load_model

C = TypeVar("C")


class Predictor(Protocol):
    """A trained network at work. A family's class of this name is found by `load_predictor`."""

    classes: tuple[str, ...]
    """Names in the order of the labels."""
    colors: tuple[Color, ...]
    """One a class, to show it."""
    ignore: int
    """The label that counted for nothing in training."""
    side: int
    """Short side in pixels at which pictures look as they did in training."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """From a bundled model's name, a file of weights or the folder of a run. Raises as `load_model`."""
        ...

    def predict(self, pictures: Tensor) -> Tensor:
        """N x K x H x W chances, a sum of 1 at every pixel, float32 on the CPU, of N x 3 x H x W in [0, 1].

        Any size; no picture's depend on the others.
        """
        ...


class SoftmaxPredictor:
    """The predictor of a network that gives scores: the same for every family that has one."""

    def __init__(self, network: nn.Module, classes: ClassList, side: int, device: torch.device | str = "cpu") -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.device, self.side = device, side
        self.classes, self.colors, self.ignore = classes.names, classes.shown, classes.ignore

    @torch.no_grad()
    def predict(self, pictures: Tensor) -> Tensor:
        """As `Predictor.predict`."""
        pictures = pictures.to(self.device).contiguous(memory_format=torch.channels_last)  # depthwise: 5 times as fast
        scores = self.network(pictures)
        found: Tensor = scores.float().softmax(1).cpu().contiguous()
        return found


def load_segmenter(
    source: str | os.PathLike[str], name: str, kind: type[C], make: Callable[[C], nn.Module]
) -> tuple[C, nn.Module, ClassList]:
    """A family's Config, its network, which `make` builds of it, and its classes. Raises as `load_model`."""
    model = load_model(source, name)
    config: Any = config_from(kind, model.config)
    classes = ClassList(tuple(config.classes), tuple(config.colors), config.ignore)
    classes.check(str(source))
    network = make(config)
    model.fill({"segmenter": network})
    return config, network, classes


def load_predictor(source: str | os.PathLike[str], device: torch.device | str = "cpu") -> tuple[Predictor, str]:
    """The segmenter in a bundled model, a file of weights or a run, and the file's sha256.

    Also one of `transformers` (`sfumato.models.pretrained`). Raises `InputError` also for a model that labels no
    pixels.
    """
    if is_pretrained(source):
        return Pretrained.load(source, device), digest(source)
    model = load_model(source)
    if model.family not in FAMILIES or not offers(model.family, "Predictor"):
        able = ", ".join(name for name in FAMILIES if offers(name, "Predictor"))
        raise InputError(f"{model.name}: a {model.family} model labels no pixels; these do: {able}")
    predictor: Predictor = family(model.family).Predictor.load(source, device)
    return predictor, model.sha256
