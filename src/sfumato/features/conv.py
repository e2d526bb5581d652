"""3 x 3 convolution + ReLU for frozen networks: less memory and, on CPUs, less arithmetic than autograd's own.

The weights never learn, so the backward pass needs neither the input nor the output, only which outputs were
positive: a bool a position instead of a float. On CPUs large layers go through Winograd's transform
(`sfumato.layers.winograd`).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from sfumato.layers.winograd import convolve

Up = tuple[Tensor, Tensor]
"""The second part of a convolution in two, C x r x 1 x 1, and its adjoint."""


class _FrozenConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, adjoint: Tensor, padding: int, relu: bool, up: Up | None
    ) -> Tensor:
        y = (
            convolve(x, weight, bias, padding)
            if up is None
            else F.conv2d(convolve(x, weight, None, padding), up[0], bias)
        )
        if relu:
            y = y.relu_()
        if ctx.needs_input_grad[0]:
            ctx.padding, ctx.relu, ctx.up = padding, relu, None if up is None else up[1]
            ctx.save_for_backward(adjoint, y > 0) if relu else ctx.save_for_backward(adjoint)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        adjoint = ctx.saved_tensors[0]
        if ctx.relu:
            grad = grad * ctx.saved_tensors[1]
        if ctx.up is not None:
            grad = F.conv2d(grad, ctx.up)
        return convolve(grad, adjoint, None, 2 - ctx.padding), None, None, None, None, None, None


def frozen_conv(
    x: Tensor, weight: Tensor, bias: Tensor, adjoint: Tensor, *, padding: int, relu: bool, up: Up | None = None
) -> Tensor:
    """ReLU(x * weight + bias) of N x C x H x W, 3 x 3, stride 1; gradients reach x only, once.

    `adjoint` is `transposed(weight)`, kept by the caller so that it is made once; `padding` is 0 or 1 (zeros). With
    `up` the convolution is in two parts: ReLU(up (x * weight) + bias).
    """
    y: Tensor = _FrozenConv.apply(x, weight, bias, adjoint, padding, relu, up)  # type: ignore[no-untyped-call]
    return y
