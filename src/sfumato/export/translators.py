"""A translator's generator with plain layers, as ONNX wants it: a picture in, the translated picture out."""

import copy

import torch
from torch import Tensor, nn
from torch.export import Dim

from sfumato.export.graphs import Graph
from sfumato.layers.residual import CELL, InstanceNorm, Parts, Reflected, Through, painted
from sfumato.models.translator import LEAST


class TranslatorGraph(nn.Module):
    """1 x 3 x H x W in [0, 1] to the same; sides are multiples of 4, at least 8."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.onto = parts.onto
        layers = (*parts.stem, *parts.inner, *parts.rise, parts.leave)
        self.layers = nn.Sequential(*(plain(copy.deepcopy(layer)) for layer in layers))

    def forward(self, picture: Tensor) -> Tensor:
        x, base = 2 * picture - 1, None
        for layer in self.layers:
            if isinstance(layer, Through):
                x = layer.join(x, picture)
                base = layer.base(x)
            else:
                x = layer(x)
        return painted(x if base is None else x + base, picture, onto=self.onto).picture


def plain(module: nn.Module) -> nn.Module:
    """The module with PyTorch's own layers in place of those that go by a faster way on CPUs."""
    if isinstance(module, Reflected):
        reach = module.kernel_size[0] // 2
        conv = nn.Conv2d(module.in_channels, module.out_channels, module.kernel_size[0])
        conv.weight, conv.bias = module.weight, module.bias
        return nn.Sequential(nn.ReflectionPad2d(reach), conv)
    if isinstance(module, InstanceNorm):
        return nn.InstanceNorm2d(module.num_features, eps=module.eps)
    for name, child in module.named_children():
        setattr(module, name, plain(child))
    return module


def translator_graph(parts: Parts) -> Graph:
    """Pictures whose sides are multiples of 4, from 8 pixels."""
    least = LEAST // CELL
    sides = {2: CELL * Dim("cells_down", min=least), 3: CELL * Dim("cells_across", min=least)}
    return TranslatorGraph(parts), {"picture": torch.rand(1, 3, 48, 80)}, ["translated"], {"picture": sides}
