"""A picture's regions by a trained network: seen at a bounded size, their edges put onto the picture's own."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sfumato.picture.guided import along_edges
from sfumato.picture.regions import Regions
from sfumato.picture.resize import fit_short_side, resize

ROOM = 4 / 3
"""Short side of what the network looks at, next to that of the squares it was trained on, which were parts."""
EPS = 1e-4
"""Variance from which the guided filter takes a change of colour for an edge: a hundredth of the range."""


class Predicts(Protocol):
    """What is used of a `sfumato.models.predictor.Predictor`."""

    classes: tuple[str, ...]
    side: int

    def predict(self, pictures: Tensor) -> Tensor: ...


class Seen(NamedTuple):
    """What a network makes of a picture."""

    regions: Regions
    """At the picture's size; the classes that are the likeliest somewhere."""
    confidence: float
    """Mean chance of the likeliest class, in [0, 1]."""


def segmented(predictor: Predicts, picture: Tensor, *, size: int | None = None, radius: int = 4) -> Seen:
    """The regions of a picture 1 x 3 x H x W in [0, 1] of any size.

    Args:
        predictor: a trained segmenter.
        size: short side in pixels at which it looks, at most the picture's own; None is what it was trained at.
        radius: of the guided filter (He et al. 2013), in pixels of that.
    """
    height, width = picture.shape[2:]
    side = min(size or round(ROOM * predictor.side), height, width)
    chances = predictor.predict(resize(picture, *fit_short_side(height, width, side)))
    confidence = float(chances.amax(1).mean())
    present = torch.unique(chances.argmax(1)).tolist()
    found = Regions(tuple(predictor.classes[k] for k in present), chances[0, present])
    return Seen(along_edges(found, picture, radius, EPS), confidence)
