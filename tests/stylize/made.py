"""What these tests share: a feature network small enough for float64, and pictures made of numbers."""

import numpy as np
import torch
from torch import Tensor

from sfumato.features.vgg import CONVS, VGG19, Padding, Pooling, Weights


def narrow(
    pooling: Pooling = "average", padding: Padding = "replicate", dtype: torch.dtype = torch.float64, width: int = 4
) -> VGG19:
    """VGG-19 with a few channels a block and random weights."""
    generator, inputs = torch.Generator().manual_seed(11), 3
    convs = dict[str, tuple[Tensor, Tensor]]()
    for conv in CONVS:
        outputs = width + int(conv[0]) // 2
        weight = torch.randn(outputs, inputs, 3, 3, generator=generator, dtype=torch.float64) * (2 / (9 * inputs)) ** 0.5
        bias = 0.3 + 0.2 * torch.randn(outputs, generator=generator, dtype=torch.float64)
        convs[conv] = (weight.to(dtype), bias.to(dtype))
        inputs = outputs
    return VGG19(Weights(convs, (0.5, 0.45, 0.4), (3.0, 3.0, 3.0), "narrow", "ab" * 32), pooling=pooling, padding=padding)


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
