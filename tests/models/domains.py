"""Two toy domains whose correspondence is known: dark above, bright below, in two colours."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIDE = 16


def brightness(count: int, seed: int, side: int = SIDE) -> Tensor:
    """N x 1 x side x side: dark above a border that lies anywhere in the middle half, bright below it."""
    chance = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))
    border = side * (0.25 + 0.5 * chance[:, 0])
    low = 0.1 + 0.1 * chance[:, 1]
    below = torch.arange(side) >= border[:, None]
    return torch.where(below, 0.9, low[:, None])[:, None, :, None].expand(-1, 1, side, side).contiguous()


def red(pattern: Tensor) -> Tensor:
    """Domain a."""
    return torch.cat([pattern, 0.3 * pattern, 0.2 + 0 * pattern], 1)


def blue(pattern: Tensor) -> Tensor:
    """Domain b."""
    return torch.cat([0.2 + 0 * pattern, 0.3 * pattern, pattern], 1)


def batch_of(count: int, seed: int, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Unpaired pictures of both."""
    return red(brightness(count, 2 * seed, side)), blue(brightness(count, 2 * seed + 1, side))


def write(folder: Path, count: int = 12) -> dict[str, str]:
    """Folders a and b of so many pictures 20 x 24, for `train`."""
    for role, color, seed in (("a", red, 1), ("b", blue, 2)):
        (folder / role).mkdir()
        for i, picture in enumerate(color(brightness(count, seed, 24))[:, :, :20]):
            pixels = (picture * 255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(np.ascontiguousarray(pixels)).save(folder / role / f"{i}.png")
    return {role: str(folder / role) for role in "ab"}
