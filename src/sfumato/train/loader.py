"""Batches ahead of time: samples are pure functions of (seed, step, index), so threads may make them in any order."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

Sample = Callable[[np.random.Generator], tuple[Tensor, ...]]
AHEAD = 3
"""Batches that are being prepared while one is used."""


def sample_rng(seed: int, step: int, index: int) -> np.random.Generator:
    """The generator of one sample; `index` counts over all processes."""
    return np.random.default_rng([seed, step, index])


def collate(samples: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Samples stacked, tensor by tensor."""
    return tuple(torch.stack(column) for column in zip(*samples, strict=True))


class Loader:
    """Iterates over this process's batches from step `first` on; a context manager.

    Process `rank` of `world` takes the samples rank, rank + world, ... of every step's `batch * world`. With
    `threads` 0 samples are made when they are asked for.
    """

    def __init__(
        self, sample: Sample, *, seed: int, batch: int, first: int, threads: int, rank: int = 0, world: int = 1
    ) -> None:
        self.sample, self.seed, self.step = sample, seed, first
        self.indices = range(rank, batch * world, world)
        self.pool = ThreadPoolExecutor(threads, "sfumato-samples") if threads else None
        self.queue: deque[list[Future[tuple[Tensor, ...]]]] = deque()

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return self

    def __next__(self) -> tuple[Tensor, ...]:
        if self.pool is None:
            samples = [self._make(self.step, i) for i in self.indices]
            self.step += 1
            return collate(samples)
        while len(self.queue) <= AHEAD:
            self.queue.append([self.pool.submit(self._make, self.step, i) for i in self.indices])
            self.step += 1
        return collate([future.result() for future in self.queue.popleft()])

    def _make(self, step: int, index: int) -> tuple[Tensor, ...]:
        return self.sample(sample_rng(self.seed, step, index))
