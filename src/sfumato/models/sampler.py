"""What the verb `generate` asks of a family with a generator, and what such families share."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.models.latent import Reader, Space, first_matrix
from sfumato.train.run import stable_seed
from sfumato.weights.files import load_model

C = TypeVar("C")
N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Code:
    """A part of the latents that means something by itself."""

    name: str
    values: tuple[float, ...]
    """What to show of it: every class of a categorical code, a range of a continuous one."""
    labels: tuple[str, ...]
    """The values as people read them."""


Prior = Literal["uniform", "normal"]
"""Of the numbers that a generator begins with: uniform in [-1, 1], or normal."""


class Sampler(Protocol):
    """A trained generator at work. A family's class of this name is found by `sfumato.generate`."""

    size: tuple[int, int]
    """Height and width of its pictures."""
    classes: tuple[str, ...]
    """Names of its classes in the order of their numbers; empty for an unconditional one."""
    codes: tuple[Code, ...]
    """Codes that can be turned by name; mostly none."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """From a bundled model's name, a file of weights or the folder of a run. Raises as `load_model`."""
        ...

    def draw(self, seeds: Sequence[int], *, truncation: float = 1.0, label: int | None = None) -> Tensor:
        """Latents len(seeds) x ... on the CPU; row i depends on seeds[i], `truncation` and `label` alone.

        `truncation` below 1 gives up variety for quality in the family's own way; `label` is a class's number, and
        without one every seed draws its own.
        """
        ...

    def blend(self, first: Tensor, last: Tensor, share: float) -> Tensor:
        """Latents between two, `share` of the second."""
        ...

    def turn(self, latents: Tensor, code: str, value: float) -> Tensor:
        """Latents with a code of `codes` set to `value`."""
        ...

    def paint(self, latents: Tensor) -> Tensor:
        """N x 3 x H x W in [0, 1], float32 on the CPU; no picture depends on the others."""
        ...


class NoiseSampler:
    """The sampler of a generator of plain noise: the same for every family that has one.

    Truncation multiplies the noise: towards the middle of what the generator has seen.
    """

    classes: tuple[str, ...] = ()
    codes: tuple[Code, ...] = ()

    def __init__(
        self, generator: nn.Module, *, latent: int, prior: Prior, resolution: int, device: torch.device | str = "cpu"
    ) -> None:
        """`generator` makes N x 1 or 3 x R x R in [0, 1] of N x latent."""
        self.generator, self.device = generator.to(device).eval().requires_grad_(False), device
        self.latent, self.prior, self.size = latent, prior, (resolution, resolution)

    def draw(self, seeds: Sequence[int], *, truncation: float = 1.0, label: int | None = None) -> Tensor:
        """N x latent; there are no classes, so no label either."""
        assert label is None
        noise = normal(seeds, self.latent) if self.prior == "normal" else 2 * uniform(seeds, self.latent) - 1
        return truncation * noise

    def blend(self, first: Tensor, last: Tensor, share: float) -> Tensor:
        """Along the sphere where the noise is normal, else straight."""
        return slerp(first, last, share) if self.prior == "normal" else torch.lerp(first, last, share)

    def turn(self, latents: Tensor, code: str, value: float) -> Tensor:
        """There are no codes. Raises `InputError`."""
        raise InputError(f"this model has no code {code!r} to set to {value:g} for {len(latents)} pictures")

    @torch.no_grad()
    def paint(self, latents: Tensor) -> Tensor:
        """N x 3 x R x R in [0, 1] on the CPU."""
        return coloured(self.generator(latents.to(self.device))).float().cpu()

    def space(self) -> Space:
        """One layer: the noise (and InfoGAN's codes beside it) as it is drawn."""
        width = self.draw([0]).shape[1]
        return Space(
            family=type(self).__module__.rpartition(".")[2],
            layers=1,
            width=width,
            size=self.size,
            network=self.generator,
            device=torch.device(self.device),
            painted=lambda network, codes: coloured(network(codes[:, 0])),
            drawn=lambda seeds, _label: self.draw(seeds)[:, None],
            readers=(Reader("", 0, partial(first_matrix, width=width), styles=False),),
        )


def coloured(pictures: Tensor) -> Tensor:
    """Grey pictures N x 1 x H x W with their plane three times; others as they are."""
    return pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures


def normal(seeds: Sequence[int], *shape: int, purpose: str = "latent") -> Tensor:
    """Normal numbers, len(seeds) x shape; row i is a function of seeds[i] and `purpose`."""
    return torch.stack([torch.randn(shape, generator=generator(seed, purpose)) for seed in seeds])


def uniform(seeds: Sequence[int], *shape: int, purpose: str = "latent") -> Tensor:
    """Uniform numbers in [0, 1), otherwise as `normal`."""
    return torch.stack([torch.rand(shape, generator=generator(seed, purpose)) for seed in seeds])


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator, a pure function of both."""
    return torch.Generator().manual_seed(stable_seed("generate", purpose, seed))


def slerp(first: Tensor, last: Tensor, share: float) -> Tensor:
    """Along the great circle between N x ... rows, lengths from one to the other: White 2016, section 2.

    A straight line between two normal vectors passes where hardly any sample lies.
    """
    a, b = first.flatten(1).double(), last.flatten(1).double()
    length_a, length_b = (x.norm(dim=1, keepdim=True).clamp_min(1e-12) for x in (a, b))
    a, b = a / length_a, b / length_b
    angle = (a * b).sum(1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    straight = sine < 1e-6
    safe = sine.masked_fill(straight, 1.0)
    one = torch.where(straight, 1 - share, ((1 - share) * angle).sin() / safe)
    other = torch.where(straight, share, (share * angle).sin() / safe)
    way = one * a + other * b
    way = way / way.norm(dim=1, keepdim=True).clamp_min(1e-12)
    met: Tensor = (way * torch.lerp(length_a, length_b, share)).view_as(first).to(first.dtype)
    return met


def load_generator(source: str | os.PathLike[str], family: str, kind: type[C], make: Callable[[C], N]) -> tuple[C, N]:
    """A family's Config and its generator, which `make` builds of it, as a file has them. Raises as `load_model`."""
    model = load_model(source, family)
    config = config_from(kind, model.config)
    made = make(config)
    model.fill({"generator": made})
    return config, made


def config_from(kind: type[C], table: Mapping[str, Any]) -> C:
    """A family's Config of what a file says of it: lists are tuples, fields that it does not know are left out."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{k: _tuples(v) for k, v in table.items() if k in known})


def sheet(pictures: Tensor, columns: int | None = None) -> Tensor:
    """N x 3 x H x W side by side, row by row: 3 x rows H x columns W; what is missing in the last row is white."""
    count, channels, height, width = pictures.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    whole = pictures.new_ones(rows * columns, channels, height, width)
    whole[:count] = pictures
    laid = whole.view(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    return laid.reshape(channels, rows * height, columns * width)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
