"""The frozen convolution against PyTorch's own, values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.features.conv import frozen_conv
from sfumato.layers.winograd import convolve, transposed, winograd_pays

from .plain import off

needs_nnpack = pytest.mark.skipif(not torch._nnpack_available(), reason="this PyTorch has no NNPACK")


def made(shape: tuple[int, ...], outputs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    chance = torch.Generator().manual_seed(3)
    x = torch.randn(shape, generator=chance, dtype=dtype).requires_grad_()
    weight = torch.randn(outputs, shape[1], 3, 3, generator=chance, dtype=dtype) / (9 * shape[1]) ** 0.5
    return x, weight, torch.randn(outputs, generator=chance, dtype=dtype) * 0.1


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("padding", [0, 1])
def test_gradient_is_the_numerical_one(padding: int, relu: bool) -> None:
    x, weight, bias = made((2, 3, 5, 4), 4, torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: frozen_conv(x, weight, bias, transposed(weight), padding=padding, relu=relu), (x,)
    )


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(
    ("shape", "dtype", "tolerance"),
    [
        ((2, 5, 9, 7), torch.float64, 1e-14),
        ((1, 3, 1, 3), torch.float64, 1e-14),
        ((1, 64, 33, 41), torch.float32, 1e-4),
        ((3, 64, 40, 32), torch.float32, 1e-4),
    ],
)
def test_values_and_gradients_equal_autograd(
    shape: tuple[int, ...], dtype: torch.dtype, tolerance: float, padding: int, relu: bool
) -> None:
    if padding == 0 and min(shape[2:]) < 3:
        shape = (*shape[:2], 3, 3)
    x, weight, bias = made(shape, 72, dtype)
    ours = frozen_conv(x, weight, bias, transposed(weight), padding=padding, relu=relu)
    reference = F.conv2d(x.double(), weight.double(), bias.double(), padding=padding)
    if relu:  # with our signs: within rounding of zero they may differ
        reference = reference * (ours > 0)
    assert off(ours, reference) < tolerance
    grad = torch.randn(ours.shape, generator=torch.Generator().manual_seed(4), dtype=dtype)
    (got,) = torch.autograd.grad(ours, x, grad)
    (true,) = torch.autograd.grad(reference, x, grad.double())
    assert off(got, true) < tolerance


@needs_nnpack
@pytest.mark.parametrize("shape", [(1, 64, 33, 57), (3, 64, 32, 32), (1, 70, 8, 128)])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_nnpack_is_the_direct_convolution(shape: tuple[int, ...], padding: int) -> None:
    x, weight, bias = made(shape, 65, torch.float32)
    x = x.detach()
    assert winograd_pays(x, weight)
    assert off(convolve(x, weight, bias, padding), F.conv2d(x, weight, bias, padding=padding)) < 1e-4
    for memory in (torch.channels_last, torch.contiguous_format):  # weights come back from a GPU as channels_last
        odd = convolve(x.to(memory_format=memory), weight.to(memory_format=torch.channels_last), None, padding)
        assert off(odd, F.conv2d(x, weight, padding=padding)) < 1e-4


@needs_nnpack
def test_a_batch_is_its_pictures_one_by_one() -> None:
    x, weight, bias = made((3, 64, 32, 40), 64, torch.float32)
    whole = convolve(x.detach(), weight, bias, 1)
    assert torch.equal(whole, torch.cat([convolve(one[None], weight, bias, 1) for one in x.detach()]))


def test_only_the_signs_are_kept_for_the_backward_pass() -> None:
    x, weight, bias = made((1, 4, 16, 16), 8, torch.float32)
    adjoint, kept = transposed(weight), list[Tensor]()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        frozen_conv(x, weight, bias, adjoint, padding=1, relu=True)
    assert sorted(t.dtype for t in kept if t.data_ptr() != adjoint.data_ptr()) == [torch.bool]


def test_no_second_derivative() -> None:
    x, weight, bias = made((1, 2, 4, 4), 2, torch.float64)
    y = frozen_conv(x, weight, bias, transposed(weight), padding=1, relu=False)
    (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
