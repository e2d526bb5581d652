"""Where a generator's pictures come from, in one form for every family: codes N x layers x width, with gradients.

What inverts pictures and changes them needs to know no family. A family's `Sampler.space()` gives a `Space`: the
generator as a plain network, codes of seeds, and the matrices through which its layers read their codes.
"""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Reader:
    """A linear map from a layer's code to what steers that layer."""

    name: str
    """Of its module in `Space.network`; the module's output is N x channels."""
    layer: int
    matrix: Callable[[nn.Module], Tensor]
    """channels x width, of the network."""
    styles: bool = True
    """Whether its outputs are styles: one a channel of feature maps, and an addition to it a change by itself."""


@dataclass(frozen=True, eq=False)
class Space:
    """A generator and the codes that it reads, frozen until something asks for gradients."""

    family: str
    layers: int
    """Layers with a code of their own; 1 where one code is read once."""
    width: int
    """Numbers of a code."""
    size: tuple[int, int]
    network: nn.Module
    device: torch.device
    painted: Callable[[nn.Module, Tensor], Tensor]
    """N x 3 x H x W, about [0, 1] and not clamped, of the network and codes N x layers x width; differentiable."""
    drawn: Callable[[Sequence[int], int | None], Tensor]
    """N x layers x width on the CPU, of seeds and a class's number."""
    readers: tuple[Reader, ...] = ()
    classes: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    """How many of the classes belong together, of each of which a picture has one; all where left out."""
    tied: bool = True
    """Whether what is drawn is one code for all layers: W of StyleGAN, in which layers of their own are W+."""
    noises: tuple[str, ...] = ()
    """Buffers of the network with the noise that it adds, which an inversion may move."""

    def paint(self, codes: Tensor) -> Tensor:
        """N x 3 x H x W of codes N x layers x width on any device; differentiable, not clamped."""
        return self.painted(self.network, codes.to(self.device))

    @torch.no_grad()
    def show(self, codes: Tensor) -> Tensor:
        """The pictures in [0, 1] on the CPU, at most 8 at a time."""
        return torch.cat([self.paint(part).clamp(0, 1).float().cpu() for part in torch.split(codes, 8)])

    @torch.no_grad()
    def draw(self, seeds: Sequence[int], label: int | None = None) -> Tensor:
        """Codes N x layers x width on the CPU; row i depends on seeds[i] and the class alone."""
        return self.drawn(seeds, label).detach().float().cpu()

    def tuned(self) -> "Space":
        """The same with a copy of the network whose weights can be changed."""
        return dataclasses.replace(self, network=copy.deepcopy(self.network))


class Editable(Protocol):
    """A `Sampler` whose pictures can be inverted and edited."""

    def space(self) -> Space: ...


@contextlib.contextmanager
def styled(space: Space, offsets: Mapping[str, Tensor]) -> Iterator[None]:
    """Within it, what the named readers give has `offsets` (channels, or N x channels) added: StyleSpace."""
    hooks = []
    try:
        for name, offset in offsets.items():
            module = space.network.get_submodule(name)
            hooks.append(module.register_forward_hook(lambda _m, _i, out, o=offset: out + o.to(out)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def first_matrix(network: nn.Module, width: int) -> Tensor:
    """outputs x width: the weights of the layer that reads a generator's noise first."""
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d) and module.in_channels == width:
            return module.weight.flatten(1).T
        if isinstance(module, nn.Linear) and module.in_features == width:
            return module.weight
        if isinstance(module, nn.Conv2d) and module.in_channels == width:
            return module.weight.transpose(0, 1).flatten(1).T
    found = [w for w in network.parameters() if w.dim() == 2 and w.shape[1] == width]
    if not found:
        raise ValueError(f"no layer of the generator reads {width} numbers")
    return found[0]
