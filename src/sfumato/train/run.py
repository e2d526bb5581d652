"""What a family's step sees of the engine: networks, named chance, state that survives restarts, and `minimize`."""

import contextlib
import copy
import functools
import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from sfumato.train.alarms import DivergedError
from sfumato.train.options import TrainOptions

if TYPE_CHECKING:
    from lightning_fabric import Fabric

EMA_RAMP = 0.05
"""The half-life is at most this share of the samples seen (Karras et al. 2020, ADA's `ema_rampup`)."""


def stable_seed(*parts: object) -> int:
    """63 bits of a hash that every process and every Python gives alike."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 1


def rate_factor(step: int, steps: int, warmup: int, decay: float, shape: str = "cosine") -> float:
    """Share of the full learning rate in step 1 .. steps: a line from 0, a plateau, a fall to 0 of the given shape."""
    progress = (step - 1) / max(1, steps)
    rise = min(1.0, step / (warmup + 1)) if warmup else 1.0
    if decay <= 0 or progress <= 1 - decay:
        return rise
    fallen = (progress - (1 - decay)) / decay
    return rise * (1 - fallen if shape == "linear" else 0.5 * (1 + math.cos(math.pi * fallen)))


class Run:
    """One training run, as seen from a step."""

    def __init__(self, fabric: "Fabric", method: Any, options: TrainOptions, steps: int) -> None:
        """Networks from the seed, the same in every process."""
        self.fabric, self.options = fabric, options
        self.seed, self.step, self.steps = options.seed, 0, steps
        """`step` is the step being made, from 1; `steps` how many there will be."""
        self.rank, self.world, self.device = fabric.global_rank, fabric.world_size, fabric.device
        self.state: dict[str, Tensor] = {}
        """Whatever else must survive a restart: tensors on any device."""
        torch.manual_seed(stable_seed(options.seed, "networks"))
        self.networks: dict[str, nn.Module] = {k: n.to(self.device).train() for k, n in method.networks().items()}
        self.ema: dict[str, nn.Module] = {
            k: copy.deepcopy(self.networks[k]).eval().requires_grad_(False) for k in method.averaged
        }
        """Averages of the networks over the steps, in eval mode."""
        self.optimizers: dict[str, Optimizer] = method.optimizers(self.networks)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = float(group["lr"]) * options.rate
        if options.precision != "32":
            for network in (*self.networks.values(), *self.ema.values()):
                self._autocast(network)
        self.factors: dict[str, float] = {}
        """Factors on the optimisers' learning rates, after something went wrong."""
        self.norms: dict[str, Tensor] = {}
        """Norm of every optimiser's last gradient, before it was clipped."""
        self._checks: list[tuple[int, str, Tensor, Tensor]] = []

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1)."""
        return max(0, self.step - 1) / max(1, self.steps)

    def noise(self, purpose: str) -> torch.Generator:
        """A fresh CPU generator, a pure function of (seed, step, rank, purpose)."""
        return torch.Generator().manual_seed(stable_seed(self.seed, self.step, self.rank, purpose))

    def randn(self, purpose: str, count: int, *shape: int) -> Tensor:
        """Normal numbers, count x shape; row i belongs to sample i of the batch, in whichever process it is."""
        return torch.stack([torch.randn(shape, generator=g) for g in self._rows(purpose, count)]).to(self.device)

    def rand(self, purpose: str, count: int, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), otherwise as `randn`."""
        return torch.stack([torch.rand(shape, generator=g) for g in self._rows(purpose, count)]).to(self.device)

    def autocast(self) -> "contextlib.AbstractContextManager[Any]":
        """The run's arithmetic, for calls that go round a network's `forward` (which has it already)."""
        return self.fabric.autocast()

    def minimize(self, name: str, loss: Tensor) -> None:
        """One step of optimiser `name` on `loss`; weights that it does not hold get no gradient.

        Gradients are averaged over the processes and clipped to `options.clip`. Raises `DivergedError` for a loss or
        gradient that is not finite (on a GPU up to `log_every` steps later, but before anything is kept).
        """
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        weights = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self.fabric.backward(loss, inputs=weights)
        weights = [p for p in weights if p.grad is not None]
        value = self._mean_over_processes(loss.detach(), [p.grad for p in weights if p.grad is not None])
        norm = get_total_norm([p.grad for p in weights if p.grad is not None])
        self.norms[name] = norm
        self._checks.append((self.step, name, value, norm))
        if self.device.type == "cpu":  # elsewhere looking means waiting
            self.check_finite()
        if self.options.clip is not None:
            clip_grads_with_norm_(weights, self.options.clip, norm)
        o = self.options
        factor = rate_factor(self.step, self.steps, o.warmup, o.decay, o.decay_shape) * self.factors.get(name, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def check_finite(self) -> None:
        """Raises `DivergedError` if a loss or gradient since the last look was not finite."""
        checks, self._checks = self._checks, []
        if not checks:
            return
        finite = torch.stack([torch.stack((value, norm)).isfinite() for _, _, value, norm in checks]).tolist()
        for (step, name, value, _), (value_fine, norm_fine) in zip(checks, finite, strict=True):
            if not value_fine:
                raise DivergedError(f"the loss of {name!r} became {float(value)} in step {step}")
            if not norm_fine:
                raise DivergedError(f"the gradient of {name!r} is not finite in step {step} (loss {float(value):.4g})")

    def begin(self, step: int) -> None:
        """Set the step; torch's own generators, which dropout uses, become a function of it too."""
        self.step = step
        torch.manual_seed(stable_seed(self.seed, step, self.rank, "torch"))

    @torch.no_grad()
    def average(self) -> None:
        """Move the averages towards the networks; buffers are copied."""
        made = self.options.batch * self.world
        half = min(self.options.ema, EMA_RAMP * made * self.step)
        share = 1 - 0.5 ** (made / half) if half > 0 else 1.0
        for name, average in self.ema.items():
            network = self.networks[name]
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), share)
            for old, new in zip(average.buffers(), network.buffers(), strict=True):
                old.copy_(new)

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """For looking at the networks in one process: no gradients, the same noise every time (that of step 0)."""
        step, rank, world = self.step, self.rank, self.world
        self.rank, self.world = 0, 1
        self.begin(0)
        try:
            with torch.no_grad():
                yield
        finally:
            self.step, self.rank, self.world = step, rank, world

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Scalars averaged over the processes."""
        if not values:
            return {}
        stacked = torch.stack([v.detach().float().reshape(()).to(self.device) for v in values.values()])
        if self.world > 1:
            torch.distributed.all_reduce(stacked)
            stacked /= self.world
        return dict(zip(values, stacked.tolist(), strict=True))

    def agreed(self, *numbers: int) -> tuple[int, ...]:
        """The first process's numbers, in every process."""
        if self.world == 1:
            return numbers
        shared = torch.tensor(numbers, dtype=torch.int64, device=self.device)
        torch.distributed.broadcast(shared, 0)
        return tuple(shared.tolist())

    def _rows(self, purpose: str, count: int) -> Iterator[torch.Generator]:
        for i in range(count):
            sample = i * self.world + self.rank
            yield torch.Generator().manual_seed(stable_seed(self.seed, self.step, "sample", sample, purpose))

    def _mean_over_processes(self, loss: Tensor, gradients: list[Tensor]) -> Tensor:
        """The loss's mean; gradients are replaced by theirs, all in one message."""
        value = loss.float().reshape(())
        if self.world == 1:
            return value
        flat = torch.cat([value[None], *(g.float().flatten() for g in gradients)])
        torch.distributed.all_reduce(flat)
        flat /= self.world
        parts = torch.split(flat[1:], [g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return flat[0]

    def _autocast(self, network: nn.Module) -> None:
        """Let `forward` compute in the run's arithmetic and give float32: what is made of it stays exact."""
        inner = network.forward

        @functools.wraps(inner)
        def forward(*args: Any, **kwargs: Any) -> Any:
            with self.fabric.autocast():
                return _float32(inner(*args, **kwargs))

        network.forward = forward


def _float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
    if isinstance(value, Mapping):
        return {k: _float32(v) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_float32, value))
    if isinstance(value, list | tuple):
        return type(value)(map(_float32, value))
    return value
