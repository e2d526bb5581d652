"""What a family's step needs of a run, plainly, for tests that look at single steps."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor


def pattern() -> Tensor:
    """1 x 8 x 8: dark above, bright below."""
    found = torch.full((1, 8, 8), 0.85)
    found[:, :4] = 0.15
    return found


def learns(method: Any, steps: int, batch: int = 16) -> tuple[float, float]:
    """How far made pictures are from `pattern()`, before and after so many steps on noisy copies of it."""
    run, wanted = Steps(method), pattern().expand(method.config.channels, -1, -1)

    def gap() -> float:
        generator = run.networks["generator"].eval()
        made = generator(method.noise(run, "look", 64)).detach()
        generator.train()
        return float((made - wanted).abs().mean())

    before = gap()
    for k in range(steps):
        noise = torch.randn(batch, *wanted.shape, generator=torch.Generator().manual_seed(k))
        run.go((wanted + 0.05 * noise).clamp(0, 1))
    return before, gap()


class Steps:
    """Networks, optimisers and named chance; remembers what was minimised."""

    def __init__(self, method: Any, seed: int = 0, *, steps: int = 100, hours: float | None = None) -> None:
        self.method, self.seed = method, seed
        torch.manual_seed(seed)
        self.networks = method.networks()
        self.ema, self.device, self.world = self.networks, torch.device("cpu"), 1
        self.optimizers = method.optimizers(self.networks)
        self.options = SimpleNamespace(hours=hours, precision="32-true")
        self.state: dict[str, Tensor] = {}
        self.step, self.steps = 0, steps
        self.minimized = list[tuple[str, float]]()

    @property
    def progress(self) -> float:
        return max(0, self.step - 1) / self.steps

    def go(self, *batch: Tensor) -> dict[str, Tensor]:
        """The next step; what it logs."""
        self.step += 1
        logs: dict[str, Tensor] = self.method.step(self, batch)
        return logs

    def randn(self, purpose: str, count: int, *shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=self.noise(purpose))

    def rand(self, purpose: str, count: int, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=self.noise(purpose))

    def noise(self, purpose: str) -> torch.Generator:
        place = sum(ord(c) * 31**i for i, c in enumerate(purpose)) % 1_000_003
        return torch.Generator().manual_seed(place + 1_000_003 * (self.step + 100_000 * self.seed))

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        return {name: value.item() for name, value in values.items()}

    def autocast(self) -> Any:
        return nullcontext()

    def minimize(self, name: str, loss: Tensor) -> None:
        self.minimized.append((name, loss.item()))
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        loss.backward(inputs=[p for group in optimizer.param_groups for p in group["params"]])
        optimizer.step()


def steps_of(method: Any, **options: Any) -> Any:
    """Untyped: it stands in for a Run."""
    return Steps(method, **options)
