"""What these tests share: a feature network small enough for float64, and pictures made of numbers."""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.features.vgg import CONVS, VGG19, Padding, Pooling, Weights


@cache
def _convs(width: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Random convolutions whose channels all speak: about a third of each is cut off by its ReLU, on average."""
    generator, convs = torch.Generator().manual_seed(11), dict[str, tuple[Tensor, Tensor]]()
    x = (tensor(96, 96, seed=77) - 0.5) * 3
    for conv in CONVS:
        if conv != "1_1" and conv.endswith("_1"):
            x = F.avg_pool2d(x, 2)
        outputs = width + int(conv[0]) // 2
        weight = torch.randn(outputs, x.shape[1], 3, 3, generator=generator, dtype=torch.float64)
        found = F.conv2d(x, weight, padding=1)
        spread, mean = found.std((0, 2, 3)), found.mean((0, 2, 3))
        convs[conv] = (weight / spread[:, None, None, None], 0.5 - mean / spread)
        x = F.relu(F.conv2d(x, *convs[conv], padding=1))
    return convs


def narrow(
    pooling: Pooling = "average", padding: Padding = "replicate", dtype: torch.dtype = torch.float64, width: int = 4
) -> VGG19:
    """VGG-19 with a few channels a block and random weights."""
    convs = {k: (w.to(dtype), b.to(dtype)) for k, (w, b) in _convs(width).items()}
    return VGG19(
        Weights(convs, (0.5, 0.5, 0.5), (3.0, 3.0, 3.0), "narrow", "ab" * 32), pooling=pooling, padding=padding
    )


def tensor(height: int, width: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """1 x 3 x H x W in [0.05, 0.95]: waves in other directions and colours for every seed, with some noise."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height) / 16, torch.arange(width) / 16, indexing="ij")
    angles = 6.28 * torch.rand(3, 3, generator=generator)
    waves = torch.stack([torch.sin(x * (1 + 2 * a) + y * 3 * b.cos() + 6 * c) for a, b, c in angles])
    picture = 0.5 + 0.3 * waves + 0.15 * (2 * torch.rand(3, height, width, generator=generator) - 1)
    return picture[None].to(dtype)


def array(height: int, width: int, seed: int) -> np.ndarray:
    """The same as an H x W x 3 float32 array."""
    return np.ascontiguousarray(tensor(height, width, seed, torch.float32)[0].permute(1, 2, 0).numpy())


def off(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|."""
    assert a.shape == b.shape
    return float((a - b).norm() / b.norm())
