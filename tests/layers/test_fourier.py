"""Fourier convolutions against numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sfumato.layers.fourier import FourierBlock, Spectral


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 4)])
def test_spectral_is_what_numpy_computes(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = Spectral(6).eval()
    x = torch.randn(2, 6, *size)

    def mixed(name: str, y: NDArray[Any]) -> NDArray[Any]:
        weight = layer.get_parameter(f"{name}.weight")[:, :, 0, 0].detach().numpy()
        found: NDArray[Any] = np.einsum("oi,nihw->nohw", weight, y)
        return found

    half = np.maximum(mixed("before.0", x.numpy()) / np.sqrt(1 + 1e-5), 0)
    spectrum = np.fft.rfft2(half, norm="ortho")
    parts = np.concatenate([spectrum.real, spectrum.imag], 1)
    parts = np.maximum(mixed("within.0", parts) / np.sqrt(1 + 1e-5), 0)
    real, imaginary = np.split(parts, 2, 1)
    wanted = mixed("after", half + np.fft.irfft2(real + 1j * imaginary, s=size, norm="ortho"))
    found = layer(x).detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_one_block_sees_the_whole_picture() -> None:
    """A plain residual block of two 3 x 3 convolutions sees two positions far."""
    torch.manual_seed(0)
    block = FourierBlock(16).eval()
    x = torch.randn(1, 16, 40, 40, requires_grad=True)
    (gradient,) = torch.autograd.grad(block(x)[0, :, 0, 0].sum(), x)
    assert float(gradient[..., 30:, 30:].abs().max()) > 1e-6
    assert block(torch.randn(2, 16, 3, 1)).shape == (2, 16, 3, 1)
