"""A family small enough for tests that uses whatever a family may: two optimisers, a penalty that differentiates
twice, dropout, batch-independent noise, a pool of earlier fakes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Still:
    """Pictures of plain colours, in memory."""

    def __init__(self, count: int = 12, level: float = 0.5) -> None:
        generator = torch.Generator().manual_seed(count)
        base = (torch.rand(count, 3, 1, 1, generator=generator) * 0.4 - 0.2 + level).clamp(0, 1)
        self.pictures = (base * 255).to(torch.uint8).expand(-1, 3, 16, 16).contiguous()
        self.names = [f"plain_{i}.png" for i in range(count)]
        self.bad: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Tensor:
        return self.pictures[index]

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.random() * len(self))


@dataclass(frozen=True)
class Config:
    """Sizes and weights of the toy."""

    width: int = 4
    """Channels."""
    penalty: float = 0.1
    """Weight of the judge's gradient."""
    dropout: float = 0.0
    """Chance of a channel to be left out."""
    pool: bool = False
    """Show the judge an earlier fake too."""
    learning_rate: float = 1e-2
    """Of Adam."""
    poison: int = 0
    """Step whose loss is NaN."""


class Method:
    roles: ClassVar[tuple[str, ...]] = ("a", "b")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: Config = Config()) -> None:
        self.config = config
        self.resolution = 8

    def networks(self) -> dict[str, nn.Module]:
        c = self.config
        generator = nn.Sequential(
            nn.Conv2d(4, c.width, 3, 1, 1), nn.Softplus(), nn.Dropout2d(c.dropout), nn.Conv2d(c.width, 3, 1)
        )
        judge = nn.Sequential(nn.Conv2d(3, c.width, 3), nn.Softplus(), nn.Conv2d(c.width, 1, 1))
        return {"generator": generator, "judge": judge}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        rate = self.config.learning_rate
        return {k: torch.optim.Adam(networks[k].parameters(), lr=rate, betas=(0.5, 0.99)) for k in networks}

    def sample(self, data: Mapping[str, Any], rng: np.random.Generator) -> tuple[Tensor, ...]:
        return tuple(self.crop(data[role], rng) for role in self.roles)

    def crop(self, pictures: Any, rng: np.random.Generator) -> Tensor:
        picture = pictures[pictures.draw(rng)]
        top = int(rng.random() * (picture.shape[1] - self.resolution + 1))
        return picture[:, top : top + self.resolution, : self.resolution].float() / 255

    def step(self, run: Any, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        dark, bright = batch
        c, net = self.config, run.networks
        run.state["seen"] = run.state.get("seen", torch.zeros(())) + dark.mean()  # of this process, from the beginning
        noise = run.randn("brush", len(dark), 1, *dark.shape[2:])
        fake = net["generator"](torch.cat([dark, noise], 1))
        fooled = F.softplus(-net["judge"](fake)).mean()
        loss = fooled + (fake.mean((2, 3)) - bright.mean((2, 3))).square().mean()
        if run.step == c.poison:
            loss = loss * float("nan")
        run.minimize("generator", loss)

        shown = fake.detach()
        if c.pool:
            earlier = run.state.get("pool", shown)
            keep = torch.rand(len(shown), 1, 1, 1, generator=run.noise("pool")) < 0.5
            run.state["pool"] = torch.where(keep, earlier, shown)
            shown = run.state["pool"]
        real = bright.requires_grad_()
        scores = net["judge"](real)
        (slope,) = torch.autograd.grad(scores.mean((1, 2, 3)).sum(), real, create_graph=True)
        penalty = slope.square().sum((1, 2, 3)).mean()
        judged = F.softplus(-scores).mean() + F.softplus(net["judge"](shown)).mean()
        run.minimize("judge", judged + c.penalty * penalty)
        return {"generator": loss, "judge": judged, "penalty": penalty}

    def preview(self, run: Any, batch: tuple[Tensor, ...]) -> Tensor:
        return torch.cat(list(self.paint(run, batch[0])), 2)

    def paint(self, run: Any, dark: Tensor) -> Tensor:
        noise = run.randn("brush", len(dark), 1, *dark.shape[2:])
        return run.ema["generator"](torch.cat([dark, noise], 1)).clamp(0, 1)

    def evaluate(self, run: Any, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        gaps = [(self.paint(run, dark).mean() - bright.mean()).abs() for dark, bright in batches]
        return {"score": float(torch.stack(gaps).mean())}
