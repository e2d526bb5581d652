"""VGG-19, the field's feature network.

Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015), table 1,
column E, without the fully connected layers. `reluB_I` is the activation after the ReLU, `convB_I` the one before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import unknown
from sfumato.features.conv import frozen_conv
from sfumato.layers.winograd import transposed

BLOCKS = (2, 2, 4, 4, 4)
"""Convolutions a block; a 2 x 2 pooling stands between blocks."""
WIDTHS = (64, 128, 256, 512, 512)
"""Channels a block."""
CONVS = tuple(f"{block}_{index}" for block, count in enumerate(BLOCKS, 1) for index in range(1, count + 1))
LAYERS = tuple(f"{kind}{conv}" for conv in CONVS for kind in ("conv", "relu"))

Pooling = Literal["average", "max"]
Padding = Literal["zeros", "replicate"]


@dataclass(frozen=True)
class Weights:
    """Convolutions and the range in which their pictures were.

    `convs` maps "1_1" .. "5_4", or the first of these, to (C_out x C_in x 3 x 3, C_out), input channels in the order
    RGB; the first layer sees (picture - mean) * scale. A distilled network has fewer channels; where its `maps` (by
    layer, C x c x 1 x 1 and C) lead to the full widths, what it says of these layers comes through them: statistics of
    the narrow channels themselves weigh directions otherwise than VGG-19's do. Convolutions in `ups` (C x r x 1 x 1)
    are in two parts, the first with r outputs and without a bias (`sfumato.features.low_rank`).
    """

    convs: Mapping[str, tuple[Tensor, Tensor]]
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    name: str
    sha256: str
    maps: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    ups: Mapping[str, Tensor] = field(default_factory=dict)


class VGG19:
    """VGG-19 by layer names, frozen; computes up to the last layer asked for.

    `pooling`: "average" (Gatys et al. 2016, section 2: smoother pictures) or "max" (as trained). `padding`: "zeros"
    (as trained) or "replicate" (no dark frame outside the picture, so nothing pulls its borders).
    """

    def __init__(self, weights: Weights, *, pooling: Pooling = "average", padding: Padding = "zeros") -> None:
        self.name, self.sha256 = weights.name, weights.sha256
        self.pooling, self.padding = pooling, padding
        self.mean = torch.tensor(weights.mean).view(1, 3, 1, 1)
        self.scale = torch.tensor(weights.scale).view(1, 3, 1, 1)
        self.convs = {conv: (w, b, transposed(w)) for conv, (w, b) in weights.convs.items()}
        self.maps = dict(weights.maps)
        self.ups = {conv: (up, up.transpose(0, 1).contiguous()) for conv, up in weights.ups.items()}
        self.layers = tuple(layer for layer in LAYERS if layer[4:] in self.convs)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Weights moved and cast. In bfloat16 the activations are bfloat16 too; the statistics make them float32."""
        self.convs = {
            k: (w.to(device, dtype), b.to(device, dtype), a.to(device, dtype)) for k, (w, b, a) in self.convs.items()
        }
        self.maps = {k: (w.to(device, dtype), b.to(device, dtype)) for k, (w, b) in self.maps.items()}
        self.ups = {k: (u.to(device, dtype), a.to(device, dtype)) for k, (u, a) in self.ups.items()}
        if dtype in (torch.bfloat16, torch.float16) or (device is not None and torch.device(device).type == "cuda"):
            last = torch.channels_last
            self.convs = {
                k: (w.to(memory_format=last), b, a.to(memory_format=last)) for k, (w, b, a) in self.convs.items()
            }
        self.mean, self.scale = self.mean.to(device), self.scale.to(device)
        return self

    def __call__(self, pictures: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """{layer: N x C x H/s x W/s} of sRGB pictures N x 3 x H x W in [0, 1], s = 1, 2, 4, 8, 16 by block.

        Raises `InputError` for an unknown layer. A picture too small for a pooling is pooled as far as it goes: a
        side of one stays one.
        """
        for layer in layers:
            if layer not in self.layers:
                raise unknown("layer", layer, self.layers)
        wanted, kept = set(layers), dict[str, Tensor]()
        dtype = self.convs["1_1"][0].dtype
        mean, scale = self.mean.to(pictures.dtype), self.scale.to(pictures.dtype)
        x = ((pictures - mean) * scale).to(dtype)
        for conv, (weight, bias, adjoint) in self.convs.items():
            if not wanted:
                break
            if conv != "1_1" and conv.endswith("_1"):
                x = self._pool(x)
            before, after = f"conv{conv}", f"relu{conv}"
            relu = before not in wanted
            padded = F.pad(x, (1, 1, 1, 1), "replicate") if self.padding == "replicate" else x
            x = frozen_conv(
                padded, weight, bias, adjoint, padding=int(self.padding == "zeros"), relu=relu, up=self.ups.get(conv)
            )
            if not relu:
                kept[before] = x
                x = F.relu(x)
            if after in wanted:
                kept[after] = x
            wanted -= {before, after}
        return {layer: self._widened(layer, kept[layer]) for layer in layers}

    def _widened(self, layer: str, x: Tensor) -> Tensor:
        return F.conv2d(x, *self.maps[layer]) if layer in self.maps else x

    def _pool(self, x: Tensor) -> Tensor:
        window = (min(2, x.shape[2]), min(2, x.shape[3]))
        return F.avg_pool2d(x, window) if self.pooling == "average" else F.max_pool2d(x, window)

    def stride(self, layer: str) -> int:
        """1, 2, 4, 8, 16 for blocks one to five."""
        return 1 << _block(layer)

    def cells(self, size: int, layer: str) -> int:
        """Every pooling halves and rounds down, except that one stays one."""
        return max(1, size >> _block(layer))

    def reach(self, layer: str) -> int:
        """Every convolution adds its stride."""
        _block(layer)
        return sum(1 << (int(conv[0]) - 1) for conv in CONVS[: CONVS.index(layer[4:]) + 1])


def _block(layer: str) -> int:
    """Poolings before the layer."""
    if layer not in LAYERS:
        raise unknown("layer", layer, LAYERS)
    return int(layer[4]) - 1
