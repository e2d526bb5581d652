"""Colour spaces against scikit-image, resampling and feathering against closed forms and scipy."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from skimage import color as reference

from sfumato.errors import InputError
from sfumato.picture.color import (
    lab_to_rgb,
    linear_to_srgb,
    luminance,
    rgb_to_lab,
    rgb_to_yiq,
    srgb_to_linear,
    yiq_to_rgb,
)
from sfumato.picture.masks import feather, read_mask
from sfumato.picture.resize import fit_short_side, resize

RGB = np.concatenate([np.random.default_rng(0).random((40, 30, 3)) ** 2, np.eye(3)[None].repeat(10, 1)[:, :30]])


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32)).permute(2, 0, 1)[None]


def array(x: torch.Tensor) -> np.ndarray:
    return x[0].permute(1, 2, 0).numpy()


def test_lab():
    lab = reference.rgb2lab(RGB)
    assert np.abs(array(rgb_to_lab(tensor(RGB))) - lab).max() < 1e-3  # of 100: float32
    assert np.abs(rgb_to_lab(tensor(RGB).double())[0].permute(1, 2, 0).numpy() - lab).max() < 1e-4
    assert np.abs(array(lab_to_rgb(tensor(lab))) - RGB).max() < 1e-4
    wild = np.random.default_rng(1).uniform(-128, 128, (30, 30, 3)) * [0.4, 1, 1] + [50, 0, 0]
    with pytest.warns(UserWarning, match="negative Z"):
        right = reference.lab2rgb(wild)
    assert np.abs(array(lab_to_rgb(tensor(wild))) - right).max() < 1e-4


def test_yiq_and_luminance():
    yiq = reference.rgb2yiq(RGB)
    assert np.abs(array(rgb_to_yiq(tensor(RGB))) - yiq).max() < 1e-6
    assert np.abs(array(yiq_to_rgb(tensor(yiq))) - RGB).max() < 1e-5
    assert np.abs(array(luminance(tensor(RGB)))[..., 0] - yiq[..., 0]).max() < 1e-6


def test_linear_light():
    x = torch.linspace(0, 1, 256, dtype=torch.float64)
    assert torch.allclose(linear_to_srgb(srgb_to_linear(x)), x, atol=1e-7)
    assert srgb_to_linear(torch.tensor(0.5)).item() == pytest.approx(0.21404114, abs=1e-6)  # IEC 61966-2-1


def test_gradients_are_finite_at_black_and_white():
    for value in (0.0, 1.0):
        x = torch.full((1, 3, 2, 2), value, requires_grad=True)
        lab_to_rgb(rgb_to_lab(x)).sum().backward()
        assert torch.isfinite(x.grad).all()
        x = torch.full((1, 3, 2, 2), value, requires_grad=True)
        linear_to_srgb(srgb_to_linear(x)).sum().backward()
        assert torch.allclose(x.grad, torch.ones(()), atol=1e-3)


def test_resize_is_antialiased_and_bounded():
    x = tensor(RGB)
    assert resize(x, *x.shape[-2:]) is x
    small = resize(x[:, :1], 12, 10)
    pillow = Image.fromarray(x[0, 0].numpy()).resize((10, 12), Image.Resampling.BICUBIC)
    assert np.abs(small[0, 0].numpy() - np.clip(np.asarray(pillow), 0, 1)).max() < 1e-5
    hard = (torch.arange(64) % 16 < 8).float().expand(1, 1, 64, 64)
    assert resize(hard, 200, 200).min() >= 0
    assert resize(hard, 200, 200).max() <= 1
    with pytest.raises(InputError):
        resize(x, 0, 5)


def test_fit_short_side():
    assert fit_short_side(600, 800, 300) == (300, 400)
    assert fit_short_side(800, 600, 300) == (400, 300)
    assert fit_short_side(37, 4000, 1) == (1, 108)
    assert fit_short_side(1, 1, 512) == (512, 512)
    assert fit_short_side(2, 3, 1) == (1, 2)
    for bad in ((0, 5, 5), (5, 5, 0)):
        with pytest.raises(InputError):
            fit_short_side(*bad)


@pytest.mark.parametrize(("height", "width", "radius"), [(30, 40, 6), (9, 300, 20), (5, 7, 12), (600, 3, 5), (1, 1, 3)])
def test_feather_is_a_reflected_gaussian(height, width, radius):
    mask = (torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    right = mask[0, 0].double().numpy()
    for axis in (0, 1):
        right = gaussian_filter1d(right, radius / 2, axis=axis, mode="reflect", radius=int(np.ceil(1.5 * radius)))
    assert np.abs(feather(mask, radius)[0, 0].numpy() - right).max() < 1e-5


def test_feather_limits():
    mask = torch.zeros(1, 1, 50, 400)
    mask[..., 200:] = 1
    soft = feather(mask, 10)
    assert soft[..., :185].eq(0).all()  # exactly: what is outside stays untouched
    assert soft[..., 215:].sub(1).abs().max() < 1e-5
    assert soft[0, 0, 25].diff().min() >= -1e-6
    assert torch.equal(feather(mask, 0), mask)
    assert torch.allclose(feather(mask, 1e7), torch.tensor(0.5), atol=1e-4)
    for bad in (-1, float("nan"), float("inf")):
        with pytest.raises(InputError):
            feather(mask, bad)


def test_read_mask(tmp_path):
    square = np.zeros((20, 30), np.uint8)
    square[5:15, 10:20] = 255
    mask, resized = read_mask(square, (20, 30))
    assert not resized
    assert torch.equal(mask[0, 0], torch.from_numpy(square / np.float32(255)))
    mask, resized = read_mask(square, (40, 60))
    assert resized
    assert mask.shape == (1, 1, 40, 60)
    assert mask[0, 0, 20, 30] == 1
    path = tmp_path / "cut out.png"
    Image.fromarray(np.dstack([np.zeros((20, 30, 3), np.uint8), square])).save(path)
    assert torch.equal(read_mask(path, (20, 30))[0][0, 0], torch.from_numpy(square / np.float32(255)))
    opaque = np.dstack([square, square, square, np.full_like(square, 255)])  # constant alpha says nothing
    assert torch.allclose(read_mask(opaque, (20, 30))[0][0, 0], torch.from_numpy(square / np.float32(255)))
    with pytest.raises(InputError, match="is empty"):
        read_mask(np.zeros((4, 4)), (4, 4))
