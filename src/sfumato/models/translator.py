"""What translating asks of a family that turns pictures of one domain into another's, and what such families share."""

import os
from collections.abc import Callable, Mapping
from typing import Literal, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError, unknown
from sfumato.layers.residual import CELL, Parts
from sfumato.models.registry import FAMILIES, family, offers
from sfumato.weights.files import load_model

Direction = Literal["a_to_b", "b_to_a"]
DIRECTIONS: tuple[Direction, Direction] = ("a_to_b", "b_to_a")
LEAST = 8
"""Pixels a side: below, reflected borders have nothing to reflect."""


class Translator(Protocol):
    """A trained network at work. A family's class of this name is found by `load_translator`."""

    directions: tuple[Direction, ...]
    """Those that the model has."""
    side: int
    """Short side in pixels at which pictures look as they did in training."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """From a bundled model's name, a file of weights or the folder of a run. Raises as `load_model`."""
        ...

    def translate(self, pictures: Tensor, direction: Direction = "a_to_b") -> Tensor:
        """N x 3 x H x W in [0, 1], float32 on the CPU, of pictures of the same shape; any size, none sees another.

        Raises `InputError` for a direction that the model has not.
        """
        ...

    def parts(self, direction: Direction = "a_to_b") -> Parts:
        """The network of a direction, on its device, for pictures larger than memory. Raises as `translate`."""
        ...


class WholeTranslator:
    """The translator of networks that see whole pictures: the same for every family that has them."""

    def __init__(
        self,
        ways: Mapping[Direction, Callable[[Tensor], Tensor]],
        parts: Callable[[Direction], Parts],
        side: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """`ways` paint N x 3 x H x W with sides that are multiples of 4, on `device`; `parts` are theirs."""
        self.ways, self.side, self.device = dict(ways), side, device
        self._parts = parts
        self.directions: tuple[Direction, ...] = tuple(d for d in DIRECTIONS if d in ways)

    @torch.no_grad()
    def translate(self, pictures: Tensor, direction: Direction = "a_to_b") -> Tensor:
        """As `Translator.translate`; borders are repeated to whole cells and cut off again."""
        self.check(direction)
        height, width = pictures.shape[2:]
        made = self.ways[direction](whole_cells(pictures.to(self.device)))
        return made[:, :, :height, :width].float().clamp(0, 1).cpu()

    def parts(self, direction: Direction = "a_to_b") -> Parts:
        """As `Translator.parts`."""
        self.check(direction)
        return self._parts(direction)

    def check(self, direction: Direction) -> None:
        if direction not in DIRECTIONS:
            raise unknown("direction", direction, DIRECTIONS)
        if direction not in self.ways:
            raise InputError(f"this model goes {' and '.join(self.directions)} only, not {direction}")


def whole_cells(pictures: Tensor) -> Tensor:
    """Pictures with the right and lower border repeated until the sides are multiples of 4, at least 8."""
    height, width = (max(LEAST, -(-side // CELL) * CELL) for side in pictures.shape[2:])
    if (height, width) == tuple(pictures.shape[2:]):
        return pictures
    return F.pad(pictures, (0, width - pictures.shape[3], 0, height - pictures.shape[2]), "replicate")


def ready(network: nn.Module, device: torch.device | str) -> nn.Module:
    """For use: no dropout, no gradients."""
    return network.to(device).eval().requires_grad_(False)


def load_translator(source: str | os.PathLike[str], device: torch.device | str = "cpu") -> tuple[Translator, str]:
    """The translator in a bundled model, a file of weights or a run, and the file's sha256.

    Raises `InputError` also for a model that translates nothing.
    """
    model = load_model(source)
    if model.family not in FAMILIES or not offers(model.family, "Translator"):
        able = ", ".join(name for name in FAMILIES if offers(name, "Translator"))
        raise InputError(f"{model.name}: a {model.family} model translates no pictures; these do: {able}")
    translator: Translator = family(model.family).Translator.load(source, device)
    return translator, model.sha256
