"""A ring of eight Gaussians in the plane and a game for it, so small that what goes wrong does so at once."""

# ruff: noqa: ARG002

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sfumato.losses.adversarial import OBJECTIVES, r1_penalty
from sfumato.metrics.embedding import Embedded
from sfumato.metrics.generated import compare
from sfumato.models.adversaries import told_apart


class Ring:
    """Data without pictures: points are drawn, none is stored."""

    names: ClassVar[list[str]] = []
    bad: ClassVar[dict[str, str]] = {}

    @staticmethod
    def point(rng: np.random.Generator) -> Tensor:
        angle = 2 * np.pi * rng.integers(8) / 8
        place = np.array([np.cos(angle), np.sin(angle)]) + 0.05 * rng.standard_normal(2)
        return torch.from_numpy(place.astype(np.float32))


@dataclass(frozen=True)
class Config:
    """How the game is played."""

    objective: str = "bce"
    penalty: float = 1.0
    """Weight of R1, which keeps a healthy game healthy."""
    rate: float = 2e-3
    judge_rate: float = 2e-3
    scale: float = 1.0
    """Of what the generator makes; 0 cripples it."""


class Method:
    roles: ClassVar[tuple[str, ...]] = ("data",)
    players: ClassVar[tuple[str, str]] = ("generator", "discriminator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: Config = Config()) -> None:
        self.config = config
        self.resolution = 8

    def networks(self) -> dict[str, nn.Module]:
        def layers(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(nn.Linear(inputs, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, outputs))

        return {"generator": layers(4, 2), "discriminator": layers(2, 1)}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        rates = {"generator": self.config.rate, "discriminator": self.config.judge_rate}
        return {k: torch.optim.Adam(networks[k].parameters(), lr=r, betas=(0.5, 0.99)) for k, r in rates.items()}

    def sample(self, data: Mapping[str, Any], rng: np.random.Generator) -> tuple[Tensor, ...]:
        return (data["data"].point(rng),)

    def step(self, run: Any, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        c, net = self.config, run.networks
        real, noise = batch[0].requires_grad_(), torch.randn(len(batch[0]), 4, generator=run.noise("z"))
        made = c.scale * net["generator"](noise)
        scores, made_scores = net["discriminator"](real)[:, 0], net["discriminator"](made.detach())[:, 0]
        doubt = OBJECTIVES[c.objective].discriminator(scores, made_scores)
        run.minimize("discriminator", doubt + c.penalty * r1_penalty(scores, real))
        loss = OBJECTIVES[c.objective].generator(net["discriminator"](made)[:, 0])
        run.minimize("generator", loss)
        return {"generator": loss, "discriminator": doubt, "told apart": told_apart(scores, made_scores)}

    def preview(self, run: Any, batch: tuple[Tensor, ...]) -> Tensor:
        return torch.zeros(3, 8, 8)

    def evaluate(self, run: Any, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        real = torch.cat([b for (b,) in batches])
        noise = torch.randn(len(real), 4, generator=torch.Generator().manual_seed(0))
        made = self.config.scale * run.networks["generator"](noise)
        return compare(Embedded(made, None), Embedded(real, None), "points")
