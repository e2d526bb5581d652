"""Modes found and share of good samples on mixtures of Gaussians in the plane, for every objective, several seeds.

    python bench/mixtures.py                        ring of 8 and grid of 25, 5 seeds
    python bench/mixtures.py --steps 2000 --only gan,wgan_gp

The data are those on which mode collapse is shown (Metz et al. 2017; Srivastava et al. 2017; Lin et al. 2018): eight
Gaussians of deviation 0.01 on a circle of radius 1, and 25 of deviation 0.05 on a grid of spacing 2. A sample is good
within three deviations of a centre; a mode is found where at least one of 2500 samples is good and nearest to it.
Generator: two hidden layers of 128 rectifiers from two normal numbers; discriminator: the same from the point. All
objectives have the same networks, Adam with (0.5, 0.9) at 1e-3, batches of 128 and as many generator steps; `wgan_gp`
has its five critic steps a generator step, so it costs more. `gan` is the bare non-saturating objective. Nothing is
chosen by its result: the last weights are judged, and no average of them.

The seeds of one objective are trained side by side as one batched network; their weights never meet.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.losses.adversarial import OBJECTIVES, relativistic

WIDTH, LATENT, BATCH, SAMPLES = 128, 2, 128, 2500
PUBLISHED = {
    "GAN (Srivastava et al. 2017)": (1.0, 3.3),
    "ALI (the same)": (2.8, 15.8),
    "unrolled GAN (the same)": (7.6, 23.6),
    "VEEGAN (the same)": (8.0, 24.6),
}


@dataclass(frozen=True)
class Mixture:
    """Equally likely Gaussians."""

    name: str
    centres: Tensor
    deviation: float

    def sample(self, chance: torch.Generator, *shape: int) -> Tensor:
        which = torch.randint(len(self.centres), shape, generator=chance)
        return self.centres[which] + self.deviation * torch.randn(*shape, 2, generator=chance)

    def judge(self, samples: Tensor) -> tuple[int, float]:
        """Modes found, share of good samples; of N x 2."""
        gaps = torch.cdist(samples, self.centres)
        nearest = gaps.min(1)
        good = nearest.values <= 3 * self.deviation
        return len(nearest.indices[good].unique()), float(good.float().mean())


def ring() -> Mixture:
    angles = torch.arange(8) * (2 * math.pi / 8)
    return Mixture("ring of 8", torch.stack([angles.cos(), angles.sin()], 1), 0.01)


def grid() -> Mixture:
    line = torch.arange(-4.0, 5.0, 2.0)
    return Mixture("grid of 25", torch.cartesian_prod(line, line), 0.05)


class Layers(nn.Module):
    """Perceptrons side by side: S x N x inputs to S x N x outputs, each of S with weights of its own."""

    def __init__(self, seeds: int, salt: int, *sizes: int) -> None:
        """Weights as torch.nn.Linear begins, from each seed's own chance."""
        super().__init__()
        chances = [torch.Generator().manual_seed(1000 * salt + k) for k in range(seeds)]

        def start(rows: int, columns: int, inputs: int) -> nn.Parameter:
            drawn = torch.stack([torch.rand(rows, columns, generator=c) for c in chances])
            return nn.Parameter((2 * drawn - 1) / math.sqrt(inputs))

        self.weights = nn.ParameterList([start(a, b, a) for a, b in pairwise(sizes)])
        self.biases = nn.ParameterList([start(1, b, a) for a, b in pairwise(sizes)])

    def forward(self, x: Tensor) -> Tensor:
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(b, x, w)
            x = x.relu() if i + 1 < len(self.weights) else x
        return x


@dataclass(frozen=True)
class Method:
    """One way to play."""

    objective: str = "bce"
    penalty: str = ""
    """wgan, r1 or dragan: where and at what length the slope is held; none where empty."""
    weight: float = 0.0
    critic_steps: int = 1
    rate: float = 1e-3


METHODS = {
    "gan": Method(),
    "minimax": Method("minimax"),
    "lsgan": Method("lsgan"),
    "hinge": Method("hinge"),
    "relativistic": Method("relativistic"),
    "gan + R1": Method(penalty="r1", weight=0.1),
    "gan + DRAGAN": Method(penalty="dragan", weight=1.0),
    "relativistic + R1": Method("relativistic", "r1", 0.1),
    "wgan_gp": Method("wasserstein", "wgan", 0.1, critic_steps=5),
}


def sides(name: str) -> tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """What discriminator and generator pay, of the scores of real and made points; summed over the seeds' means."""
    if name == "relativistic":
        return relativistic, lambda real, made: relativistic(made, real)
    objective = OBJECTIVES[name]
    return objective.discriminator, lambda _, made: objective.generator(made)


def penalised(method: Method, judge: Layers, real: Tensor, made: Tensor, chance: torch.Generator) -> Tensor:
    """Mean over the points of the slope's distance from what it should be; the seeds' points do not mix."""
    if method.penalty in ("wgan", "dragan"):
        u = torch.rand(*real.shape[:2], 1, generator=chance)
        other = (
            made
            if method.penalty == "wgan"
            else real + 0.5 * real.std((1, 2), keepdim=True) * torch.rand(real.shape, generator=chance)
        )
        at = torch.lerp(real, other, u).requires_grad_()
    else:
        at = real.clone().requires_grad_()
    (slope,) = torch.autograd.grad(judge(at).sum(), at, create_graph=True)
    if method.penalty == "r1":
        return 0.5 * slope.square().sum(2).mean()
    return (slope.norm(dim=2) - 1).square().mean()


def play(method: Method, mixture: Mixture, seeds: int, steps: int) -> Iterator[tuple[int, list[tuple[int, float]]]]:
    """(step, judgement a seed) at the half and at the end."""
    generator = Layers(seeds, 1, LATENT, WIDTH, WIDTH, 2)
    judge = Layers(seeds, 2, 2, WIDTH, WIDTH, 1)
    players = [torch.optim.Adam(n.parameters(), lr=method.rate, betas=(0.5, 0.9)) for n in (generator, judge)]
    doubt, fooling = sides(method.objective)
    chance = torch.Generator().manual_seed(0)

    def noise(count: int = BATCH) -> Tensor:
        return torch.randn(seeds, count, LATENT, generator=chance)

    for step in range(1, steps + 1):
        for _ in range(method.critic_steps):
            real = mixture.sample(chance, seeds, BATCH)
            with torch.no_grad():
                made = generator(noise())
            loss = doubt(judge(real), judge(made))
            if method.weight:
                loss = loss + method.weight * penalised(method, judge, real, made, chance)
            players[1].zero_grad()
            (seeds * loss).backward()  # the mean over seeds times their number: every seed its own mean
            players[1].step()
        loss = fooling(judge(mixture.sample(chance, seeds, BATCH)), judge(generator(noise())))
        players[0].zero_grad()
        (seeds * loss).backward()
        players[0].step()
        if step in (steps // 2, steps):
            with torch.no_grad():
                yield step, [mixture.judge(points) for points in generator(noise(SAMPLES))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--only", default=",".join(METHODS), help="methods, with commas")
    parser.add_argument("--out", type=Path, help="a JSON file of all numbers")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    print(f"{'':<20}" + "".join(f"{m.name + ': modes':>19} {'good':>6}" for m in (ring(), grid())))
    for name in given.only.split(","):
        line = f"{name:<20}"
        for mixture in (ring(), grid()):
            began = time.process_time()
            for step, found in play(METHODS[name], mixture, given.seeds, given.steps):
                modes, good = (torch.tensor([float(x[k]) for x in found]) for k in (0, 1))
                spread = f"{modes.mean():.1f} +- {modes.std(correction=0):.1f}"
                rows.append(
                    {"method": name, "data": mixture.name, "step": step, "modes": modes.tolist(), "good": good.tolist()}
                )
            line += f"{spread:>19} {good.mean():>6.2f}"
            print(f"{name}, {mixture.name}: {time.process_time() - began:.0f} s of CPU time", file=sys.stderr)
        print(line, flush=True)
    for name, (on_ring, on_grid) in PUBLISHED.items():
        print(f"{name:<32} {on_ring:>6.1f} {'':>6}{on_grid:>19.1f}")
    if given.out is not None:
        given.out.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
