"""The one-pass network's two parts with plain tensors in and out, as ONNX wants them."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from sfumato.models.onepass_networks import STRIDES, Colors, Generator, StyleEncoder

Graph = tuple[nn.Module, dict[str, Any], list[str], dict[str, Any]]
"""A module, an example of its inputs by name, names of its outputs, and which sides are free."""


class StyleGraph(nn.Module):
    """A picture in; code, mean and covariance of colours out."""

    def __init__(self, encoder: StyleEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        code, mean, covariance = self.encoder(picture)
        return code, mean, covariance


class GeneratorGraph(nn.Module):
    """A picture, its colours, a code and noise in; the painted picture out."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(
        self,
        picture: Tensor,
        mean: Tensor,
        scale: Tensor,
        matrix: Tensor,
        offset: Tensor,
        code: Tensor,
        noise_1: Tensor,
        noise_2: Tensor,
        noise_4: Tensor,
        noise_8: Tensor,
    ) -> Tensor:
        colors = Colors(mean, scale, matrix, offset)
        features = self.generator.encode(picture, colors)
        noise = [noise_1, noise_2, noise_4, noise_8]
        painted: Tensor = self.generator.decode(picture, features, colors, code[:, None], noise)
        return painted


def style_graph(encoder: StyleEncoder) -> Graph:
    """Pictures of any size from 16 pixels."""
    sides = {2: Dim("height", min=16), 3: Dim("width", min=16)}
    outputs = ["code", "color_mean", "color_covariance"]
    return StyleGraph(encoder), {"picture": torch.rand(1, 3, 48, 80)}, outputs, {"picture": sides}


def generator_graph(generator: Generator) -> Graph:
    """Pictures whose sides are multiples of 8, from 16 pixels."""
    length = generator.trunk[0].first.scale.in_features  # type: ignore[union-attr]
    inputs = {
        "picture": torch.rand(1, 3, 48, 80),
        "mean": torch.rand(1, 3, 1),
        "scale": torch.rand(1, 1, 1),
        "matrix": torch.rand(1, 3, 3),
        "offset": torch.rand(1, 3, 1),
        "code": torch.randn(1, int(length)),  # type: ignore[arg-type]
    }
    height, width = Dim("cells_down", min=2), Dim("cells_across", min=2)
    shapes: dict[str, Any] = {name: {} for name in inputs} | {"picture": {2: 8 * height, 3: 8 * width}}
    for stride in STRIDES:
        inputs[f"noise_{stride}"] = torch.randn(1, 1, 48 // stride, 80 // stride)
        k = 8 // stride
        shapes[f"noise_{stride}"] = {2: k * height, 3: k * width} if k > 1 else {2: height, 3: width}
    return GeneratorGraph(generator), inputs, ["painted"], shapes
