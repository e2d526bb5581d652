#!/usr/bin/env python3
"""Training and sampling speed of every generator, next to the plain modules of the tutorials, written below.

    python bench/generators.py                       all families, one thread
    python bench/generators.py --only dcgan --rounds 9

Both sides have the same sizes, batch, optimisers' number of steps and regularisation, and get the same ready batch:
reading pictures is left out. Ours is the engine's step (named noise, `minimize` with its checks, the average of the
weights); the textbook's is a bare loop without an average. Ours, textbook, ours, textbook ... in one process; what is
measured is processor seconds (all threads together), which other work on the machine disturbs less than the clock.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from running import command_line, machine, table
from textbook import Dcgan, Gan, InfoGan, PgGan, Textbook, WganGp
from textbook_large import BigGan, StyleGan2
from torch import Tensor

from sfumato.generate.sampling import paint
from sfumato.models import biggan, dcgan, gan, infogan, pggan, stylegan2, wgan_gp
from sfumato.models.sampler import Sampler
from sfumato.train.engine import make_fabric
from sfumato.train.options import TrainOptions
from sfumato.train.run import Run

TEXTBOOKS: dict[str, Callable[[Any], Textbook]] = {
    "gan": Gan,
    "dcgan": Dcgan,
    "wgan_gp": WganGp,
    "infogan": InfoGan,
    "pggan": PgGan,
    "stylegan2": StyleGan2,
    "biggan": BigGan,
}
CLASSES = ("a", "b", "c", "d")
SMALL = {"code": 128, "channel_base": 1024, "channel_max": 128}
FAMILIES: dict[str, tuple[Any, dict[str, Any], int]] = {
    "gan": (gan, {"prior": "normal", "learning_rate": 1e-4, "judge_rate": 1e-4, "momentum": 0.9}, 28),
    "dcgan": (dcgan, {"channels": 1, "prior": "normal"}, 28),
    "wgan_gp": (wgan_gp, {"channels": 1, "normalised": False, "critic_steps": 4}, 28),
    "infogan": (infogan, {}, 28),
    "pggan": (pggan, {"latent": 128, "channel_base": 1024, "channel_max": 128, "growth": 0.0}, 64),
    "stylegan2": (stylegan2, {**SMALL, "r1_every": 4, "path_every": 4, "augmentation": "none"}, 64),
    "biggan": (biggan, {"width": 16, "embedding": 64, "classes": CLASSES}, 64),
}
"""Module, what differs from the family's defaults, side in pixels. Lazy steps come every fourth step, as rounds are of
four, and no side augments."""


def ours(name: str, batch: int) -> tuple[Callable[[Tensor, Tensor], None], Callable[[int], Tensor]]:
    """One step of training; so many pictures."""
    module, settings, side = FAMILIES[name]
    config = module.Config(resolution=side, features="", **settings)
    options = TrainOptions(batch=batch, resolution=side, device="cpu", threads=0)
    method = module.Method(config)
    run = Run(make_fabric(options), method, options, 10**6)

    def train(real: Tensor, label: Tensor) -> None:
        run.begin(run.step + 1)
        method.step(run, (real, label) if getattr(config, "classes", ()) else (real,))
        run.average()

    sampler: Sampler = sampler_of(name, config, run)
    return train, lambda count: paint(sampler, sampler.draw(range(count)))


def sampler_of(name: str, config: Any, run: Run) -> Any:
    """The family's sampler of the run's averaged networks, without the way through a file."""
    if name == "stylegan2":
        return stylegan2.Sampler(config, *(run.ema[k] for k in ("mapping", "synthesis")), torch.device("cpu"))  # type: ignore[arg-type]
    network = run.ema["generator"]
    if name in ("biggan", "infogan"):
        return FAMILIES[name][0].Sampler(config, network)
    prior = getattr(config, "prior", "normal")
    return FAMILIES[name][0].Sampler(network, latent=config.latent, prior=prior, resolution=config.resolution)


def textbook(name: str) -> tuple[Callable[[Tensor, Tensor], None], Callable[[int], Tensor], Textbook]:
    module, settings, side = FAMILIES[name]
    method = TEXTBOOKS[name](module.Config(resolution=side, **settings))

    @torch.no_grad()
    def sample(count: int) -> Tensor:
        """As many at once as `sfumato.generate` makes."""
        method.generator.eval()
        made = torch.cat([method.sample(8) for _ in range(count // 8)])
        method.generator.train()
        return made.clamp(0, 1)

    return method.step, sample, method


def weights(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for m in modules for p in m.parameters())


def four(step: Callable[[Tensor, Tensor], None], *batch: Tensor) -> Callable[[], object]:
    return lambda: [step(*batch) for _ in range(4)]


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(FAMILIES), help="families, with commas")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5, help="of four steps and 16 samples a side; medians are shown")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows: list[list[Any]] = []
    for name in given.only.split(","):
        side, channels = FAMILIES[name][2], 1 if FAMILIES[name][2] == 28 else 3
        real = torch.rand(given.batch, channels, side, side, generator=torch.Generator().manual_seed(0))
        label = torch.arange(given.batch) % len(CLASSES)
        train, sample = ours(name, given.batch)
        train_plain, sample_plain, plain = textbook(name)
        work = {"train": four(train, real, label), "train plain": four(train_plain, real, label)}
        work |= {"sample": partial(sample, 16), "sample plain": partial(sample_plain, 16)}
        for task in work.values():
            task()  # buffers and first touches
        took = {task: list[float]() for task in work}
        for _ in range(given.rounds):
            for task, do in work.items():
                took[task].append(seconds(do))
        line: list[Any] = [name, side, f"{weights(plain.generator, plain.discriminator):,}"]
        for task, pictures in (("train", 4 * given.batch), ("sample", 16)):
            a, b = took[task], took[f"{task} plain"]
            line += [f"{pictures / statistics.median(x):.1f}" for x in (a, b)]
            ratios = [y / x for x, y in zip(a, b, strict=True)]
            line.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})")
        rows.append(line)
        print(name, *line[2:], file=sys.stderr, flush=True)
    header = ["family", "px", "weights", "training", "textbook", "x ours", "sampling", "textbook", "x ours"]
    print(f"    {command_line()}\n\n{machine()}\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()
