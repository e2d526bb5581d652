"""3 x 3 convolutions on CPUs by Winograd's transform, which PyTorch carries (NNPACK) but chooses for nothing.

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks" (CVPR). Two to five times as fast as the direct
convolution on AVX2 where a layer is large, and within 2e-5 of it.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def winograd_pays(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and min(weight.shape[:2]) >= 16  # on thin layers the pictures' transform costs more than it saves,
        and max(weight.shape[:2]) >= 64
        and x.shape[2] * x.shape[3] >= 32 * 32  # on small ones the weights'
        and torch._nnpack_available()  # this also initialises it, without which it fails
    )


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """The 3 x 3 convolution of N x C x H x W by the faster of the two algorithms; gradients reach nothing."""
    if not winograd_pays(x, weight):
        return F.conv2d(x, weight, bias, padding=padding)
    # One by one: NNPACK's own loop over a batch is up to twice as slow.
    made = [torch._nnpack_spatial_convolution(one[None], weight, bias, padding, 1) for one in x.contiguous()]
    return made[0] if len(made) == 1 else torch.cat(made)


def transposed(weight: Tensor) -> Tensor:
    """Weights of the adjoint convolution: channels swapped, both axes flipped."""
    return weight.transpose(0, 1).flip(2, 3).contiguous()


class _Convolution(torch.autograd.Function):
    """With gradients of both: the input's is a convolution again, the weights' is PyTorch's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return convolve(x, weight, bias, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted, sums = ctx.needs_input_grad[:2], None
        into_x = convolve(grad, transposed(weight), None, 2) if wanted[0] else None
        if ctx.needs_input_grad[2]:
            sums = grad.sum((0, 2, 3))
        into_weight = None
        if wanted[1]:
            one, none = [1, 1], [0, 0]
            _, into_weight, _ = torch.ops.aten.convolution_backward(
                grad, x, weight, None, one, none, one, False, none, 1, (False, True, False)
            )
        return into_x, into_weight, sums


def convolution3(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 3 x 3 convolution of N x C x H x W without padding, N x D x H - 2 x W - 2; gradients once."""
    if torch.is_autocast_enabled(x.device.type) or not winograd_pays(x, weight):
        return F.conv2d(x, weight, bias)
    y: Tensor = _Convolution.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y
