"""Colorizers that were never trained, and pictures."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.models import colorizer, inpainter
from sfumato.models.colorizer import CELL, Colorist
from sfumato.weights.files import save_model


class Blue(Colorist):
    """Everything is one blue; it remembers what it saw."""

    def __init__(self) -> None:
        self.saw = list[tuple[int, ...]]()

    def predict(
        self,
        lightness: torch.Tensor,
        hints: torch.Tensor | None = None,  # noqa: ARG002
        temperature: float | None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        self.saw.append(tuple(lightness.shape))
        height, width = (-(-n // CELL) for n in lightness.shape[2:])
        return torch.tensor([10.0, -30.0]).view(1, 2, 1, 1).expand(1, 2, height, width).contiguous()


def photo(height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    """Two grey fields and a gradient."""
    y, x = np.mgrid[:height, :width]
    grey = np.where(y < height // 2, 70 + x, 170 - x // 2).clip(0, 255)
    return np.repeat(grey[..., None], 3, 2).astype(np.uint8)


def colorizer_file(path: Path) -> Path:
    """A file of weights that chance made."""
    torch.manual_seed(0)
    config = {"encoder": "light", "width": 8, "resolution": 32}
    network = colorizer.Colorizer(colorizer.Config(encoder="light", width=8, resolution=32))
    save_model(path, "colorizer", config, {"colorizer": network}, {})
    return path


def inpainter_file(path: Path) -> Path:
    """Likewise; it paints a little over the membrane."""
    torch.manual_seed(0)
    network = inpainter.Inpainter(inpainter.Config(channels=4, blocks=1, resolution=32))
    torch.nn.init.normal_(network.last.weight, 0, 0.01)
    config = {"channels": 4, "blocks": 1, "resolution": 32}
    save_model(path, "inpainter", config, {"inpainter": network}, {})
    return path
