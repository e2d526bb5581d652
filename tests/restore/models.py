"""Networks of a few channels, saved as models are: what verbs need of weights in tests."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.models import blemishes, denoiser
from sfumato.weights.files import save_model

DENOISER = denoiser.Config(widths=(8, 12), blocks=1, estimator=8)
FINDER = blemishes.Config(widths=(8, 12), blocks=1, encoder="none")


def awake(network: nn.Module, std: float = 0.12) -> nn.Module:
    """With weights large enough to change something."""
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=std)
    return network


def saved(path: Path, family: str, config: Any, name: str, network: nn.Module) -> Path:
    save_model(path, family, asdict(config), {name: network}, {})
    return path


def denoiser_file(folder: Path) -> Path:
    return saved(folder / "denoiser.safetensors", "denoiser", DENOISER, "denoiser", awake(denoiser.Network(DENOISER)))


def finder_file(folder: Path) -> Path:
    """A finder trained for a moment on bright lines."""
    torch.manual_seed(0)
    network = blemishes.Network(FINDER)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for step in range(70):
        pictures, marks = lines(step)
        loss = nn.functional.cross_entropy(network(pictures), marks[:, 0].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return saved(folder / "finder.safetensors", "blemishes", FINDER, "finder", network)


def lines(seed: int, count: int = 8, side: int = 32) -> tuple[Tensor, Tensor]:
    """Grey pictures with a bright line, and where it is."""
    rng = torch.Generator().manual_seed(seed)
    level = 0.2 + 0.4 * torch.rand(count, 1, 1, 1, generator=rng)
    marks = torch.zeros(count, 1, side, side)
    for k in range(count):
        row = int(torch.randint(2, side - 4, (), generator=rng))
        marks[k, :, row : row + 2] = 1
    return torch.where(marks > 0, 0.95, level).expand(-1, 3, -1, -1).contiguous(), marks
