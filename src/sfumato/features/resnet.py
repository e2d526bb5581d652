"""ResNet-50 as a feature network, for weights in torchvision's layout.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), table 1, in the form called v1.5: the stride of
a stage stands on the 3 x 3 convolution. Batch normalisation is frozen and folded into the convolutions.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import InputError, unknown

BLOCKS = (3, 4, 6, 3)
"""Bottleneck blocks a stage; stages two to four halve the picture in their first block."""
PLACES = {
    f"stage{stage}" if block == count else f"stage{stage}.{block}": f"layer{stage}.{block - 1}"
    for stage, count in enumerate(BLOCKS, 1)
    for block in range(1, count + 1)
}
"""Torchvision's name of the block behind every layer: "stage2.1" is "layer2.0", "stage2", the last, "layer2.3"."""
LAYERS = ("stem", *PLACES)
EPSILON = 1e-5


class Conv(NamedTuple):
    """A convolution with its batch normalisation folded in."""

    weight: Tensor
    bias: Tensor
    stride: int

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.weight.shape[2] // 2)


class ResNet50:
    """ResNet-50 by layer names, frozen; computes up to the last layer asked for.

    `stem` is the first convolution's activation, `stage1` .. `stage4` the stages' outputs; `stage3.1` .. `stage3.5`
    (and so on) are the blocks before a stage's last. `state` is a table in torchvision's names. Raises `InputError`
    for a table that lacks a tensor or has one of another shape.
    """

    layers = LAYERS

    def __init__(self, state: Mapping[str, Tensor], *, name: str, sha256: str) -> None:
        self.name, self.sha256 = name, sha256
        self.mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        self.deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        try:
            self.convs = _folded(state)
        except KeyError as missing:
            raise InputError(f"{name}: not a ResNet-50 in torchvision's layout (no {missing.args[0]})") from None
        except ValueError as wrong:
            raise InputError(f"{name}: not a ResNet-50 in torchvision's layout ({wrong})") from None

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Weights moved and cast; in bfloat16 the activations are bfloat16 too."""
        self.convs = {k: Conv(w.to(device, dtype), b.to(device, dtype), s) for k, (w, b, s) in self.convs.items()}
        self.mean, self.deviation = self.mean.to(device), self.deviation.to(device)
        return self

    def __call__(self, pictures: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """{layer: N x C x H/s x W/s, rounded up} of sRGB pictures N x 3 x H x W in [0, 1], s = 2, 4, 8, 16, 32.

        Raises `InputError` for an unknown layer.
        """
        last = max((_index(layer) for layer in layers), default=-1)
        if last < 0:
            return {}
        stem = self.convs["conv1"]
        mean, deviation = self.mean.to(pictures.dtype), self.deviation.to(pictures.dtype)
        x = stem(((pictures - mean) / deviation).to(stem.weight.dtype)).relu()
        kept = {"stem": x}
        if last > 0:
            x = F.max_pool2d(x, 3, 2, 1)
        for layer in LAYERS[1 : last + 1]:
            x = self._block(x, PLACES[layer])
            if layer in layers:
                kept[layer] = x
        return {layer: kept[layer] for layer in layers}

    def _block(self, x: Tensor, place: str) -> Tensor:
        """1 x 1, 3 x 3, 1 x 1, added to what came in."""
        y = self.convs[f"{place}.conv1"](x).relu()
        y = self.convs[f"{place}.conv2"](y).relu()
        shortcut = self.convs.get(f"{place}.downsample.0")
        return (self.convs[f"{place}.conv3"](y) + (shortcut(x) if shortcut else x)).relu()

    def stride(self, layer: str) -> int:
        """2 for the stem; 4, 8, 16, 32 for stages one to four."""
        return 2 << int(layer[5]) if _index(layer) else 2

    def cells(self, size: int, layer: str) -> int:
        """Every halving rounds up."""
        return -(-size // self.stride(layer))

    def reach(self, layer: str) -> int:
        """Half the receptive field: position i is centred on pixel i * stride, the first of its cell."""
        reach = 3  # of the stem's 7 x 7
        step = 4
        for name in LAYERS[1 : _index(layer) + 1]:
            # A block's 3 x 3 steps at the stride of its input; the first follows a 3 x 3 pooling at the stem's.
            reach += step + 2 if name == "stage1.1" else step
            step = self.stride(name)
        return reach


def _index(layer: str) -> int:
    if layer not in LAYERS:
        raise unknown("layer", layer, LAYERS)
    return LAYERS.index(layer)


def _folded(state: Mapping[str, Tensor]) -> dict[str, Conv]:
    """The convolutions by torchvision's names, every one with the batch normalisation that follows it."""
    folded = {"conv1": _fold(state, "conv1", "bn1", (64, 3, 7, 7), 2)}
    inputs = 64
    for place in PLACES.values():
        stage, block = int(place[5]), int(place[7])
        width, stride = 32 << stage, 2 if stage > 1 and block == 0 else 1
        sizes = {1: (width, inputs, 1, 1), 2: (width, width, 3, 3), 3: (4 * width, width, 1, 1)}
        for i, shape in sizes.items():
            conv = f"{place}.conv{i}"
            folded[conv] = _fold(state, conv, f"{place}.bn{i}", shape, stride if i == 2 else 1)
        if block == 0:
            conv, shape = f"{place}.downsample.0", (4 * width, inputs, 1, 1)
            folded[conv] = _fold(state, conv, f"{place}.downsample.1", shape, stride)
        inputs = 4 * width
    for stage, count in enumerate(BLOCKS, 1):
        if f"layer{stage}.{count}.conv1.weight" in state:
            raise ValueError(f"it has layer{stage}.{count} too: a deeper network")
    return folded


def _fold(state: Mapping[str, Tensor], conv: str, norm: str, shape: tuple[int, ...], stride: int) -> Conv:
    weight = state[f"{conv}.weight"].double()
    if weight.shape != shape:
        raise ValueError(f"{conv} has shape {tuple(weight.shape)}, not {shape}")
    scale, shift, mean, variance = (
        state[f"{norm}.{key}"].double() for key in ("weight", "bias", "running_mean", "running_var")
    )
    gain = scale / (variance + EPSILON).sqrt()
    return Conv((weight * gain.view(-1, 1, 1, 1)).float(), (shift - mean * gain).float(), stride)
