"""Convolutions that learn, by Winograd's transform: values and every gradient against float64."""

import pytest
import torch
import torch.nn.functional as F

from sfumato.layers.residual import InstanceNorm, Reflected
from sfumato.layers.winograd import convolution3, winograd_pays


def off(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).detach().abs().max() / b.detach().abs().max())


@pytest.mark.skipif(not torch._nnpack_available(), reason="this PyTorch has no NNPACK")
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_the_direct_convolutions(bias: bool) -> None:
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(2, 64, 36, 41, generator=chance)
    weight, shift = torch.randn(48, 64, 3, 3, generator=chance) / 24, torch.randn(48, generator=chance)
    given = [x, weight, *([shift] if bias else [])]
    assert winograd_pays(x, weight)
    ours = [t.clone().requires_grad_() for t in given]
    y = convolution3(ours[0], ours[1], ours[2] if bias else None)
    plain = [t.double().requires_grad_() for t in given]
    z = F.conv2d(plain[0], plain[1], plain[2] if bias else None)
    assert off(y, z) < 1e-4
    grad = torch.randn(y.shape, generator=chance)
    for mine, theirs in zip(
        torch.autograd.grad(y, ours, grad), torch.autograd.grad(z, plain, grad.double()), strict=True
    ):
        assert off(mine, theirs) < 1e-4


def test_what_is_small_or_under_autocast_is_pytorchs() -> None:
    x, weight = torch.randn(1, 64, 34, 34), torch.randn(64, 64, 3, 3)
    assert torch.equal(convolution3(x[:, :, :20], weight, None), F.conv2d(x[:, :, :20], weight))
    with torch.autocast("cpu", torch.bfloat16):
        assert convolution3(x, weight, None).dtype == torch.bfloat16


def test_reflected_layers_keep_the_sides() -> None:
    torch.manual_seed(0)
    for channels, outputs, side, kernel in ((4, 8, 9, 3), (64, 128, 33, 3), (16, 3, 20, 7), (3, 16, 8, 7)):
        layer, reach = Reflected(channels, outputs, kernel), kernel // 2
        x = torch.randn(2, channels, side, side + 3)
        plain = F.conv2d(F.pad(x, (reach,) * 4, "reflect"), layer.weight, layer.bias)
        assert off(layer(x), plain) < 1e-4


@pytest.mark.parametrize("shape", [(2, 5, 7, 9), (1, 64, 32, 32), (3, 4, 2, 2)])
def test_instance_norm_is_pytorchs(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y, z = InstanceNorm(shape[1])(x.mT), F.instance_norm(x.mT)  # also where memory lies otherwise
    torch.testing.assert_close(y, z)
    grad = torch.randn_like(y)
    (mine,), (theirs,) = (torch.autograd.grad(out, x, grad) for out in (y, z))
    torch.testing.assert_close(mine, theirs)
