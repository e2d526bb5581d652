"""Feature networks: pictures in, activations by layer name out.

A feature network is any object with the few members of `FeatureNetwork`; style statistics and losses ask for layers
by name and never know which network they came from.
"""

from collections.abc import Sequence
from typing import Protocol, Self

import torch
from torch import Tensor


class FeatureNetwork(Protocol):
    """What the losses need of a network.

    `layers` lists the names in the order of computation, `name` and `sha256` go into a picture's record.

    Tiles: a crop that starts at a multiple of a layer's stride, ends at another or at the picture's end, and is at
    least one stride wide has the picture's own positions, and the picture's own values at all of them whose cells lie
    `reach` pixels or more from the crop's inner borders.
    """

    name: str
    sha256: str
    layers: tuple[str, ...]

    def __call__(self, pictures: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """{layer: N x C x h x w} of sRGB pictures N x 3 x H x W in [0, 1]; computes no layer past the last asked for.

        Raises `InputError` for an unknown layer.
        """
        ...

    def stride(self, layer: str) -> int:
        """Pixels of the picture per position of the layer: position i has pixels [i * stride, (i + 1) * stride)."""
        ...

    def cells(self, size: int, layer: str) -> int:
        """Positions of the layer along a side of `size` pixels: size / stride rounded down (VGG) or up (ResNet)."""
        ...

    def reach(self, layer: str) -> int:
        """How many pixels beyond its own cell a position of the layer sees, on each side (receptive-field halo)."""
        ...

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Weights moved to a device and cast; returns the network itself."""
        ...
