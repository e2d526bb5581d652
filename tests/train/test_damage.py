"""Damage made on purpose does what it says."""

import numpy as np
import torch

from sfumato.train import damage

GREY = torch.full((3, 96, 96), 0.5)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_grain_has_its_deviation_white_and_correlated() -> None:
    for radius in (0.0, 0.7, 1.4):
        noise = damage.grain(GREY, rng(), 0.08, radius=radius) - 0.5
        assert abs(float(noise.std()) - 0.08) < 0.004
        beside = float((noise[:, :, 1:] * noise[:, :, :-1]).mean() / noise.square().mean())
        wanted = np.exp(-1 / (4 * radius**2)) if radius else 0.0  # autocorrelation of a Gaussian
        assert abs(beside - wanted) < 0.04
    grey = damage.grain(GREY, rng(), 0.08, grey=True)
    assert torch.equal(grey[0], grey[2])
    colored = damage.grain(GREY, rng(), 0.08) - 0.5
    assert abs(float((colored[0] * colored[1]).mean())) < 0.0005


def test_counted_light_is_noisier_where_there_is_more() -> None:
    for level in (0.1, 0.4):
        found = damage.shot_noise(torch.full((3, 128, 128), level), rng(), 400)
        assert abs(float(found.mean()) - level) < 0.002
        assert abs(float(found.var()) / (level / 400) - 1) < 0.05


def test_jpeg_loses_more_at_less_quality_and_nothing_of_grey() -> None:
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    good, bad = (float((damage.jpeg(picture, q, subsampling=0) - picture).square().mean()) for q in (95, 10))
    assert good < 0.001 < 0.02 < bad
    assert float((damage.jpeg(torch.full((3, 16, 16), 128 / 255), 50) - 128 / 255).abs().max()) < 1e-6


def test_fading_lifts_black_dulls_white_and_keeps_the_order() -> None:
    ramp = torch.linspace(0, 1, 64).expand(3, 64, 64).contiguous()
    assert torch.allclose(damage.faded(ramp, rng(), 0.0), ramp, atol=1e-6)
    for seed in range(20):
        found = damage.faded(ramp, rng(seed)).mean(1)  # over rows: light is uneven along them
        contrast = found[:, -4:].mean() - found[:, :4].mean()
        assert 0.2 < contrast < 0.98
    assert float((damage.uneven(40, 30, rng(), 0.1) - 1).abs().max()) <= 0.1 + 1e-6


def test_shrinking_takes_what_is_fine_and_leaves_what_is_coarse() -> None:
    x = torch.arange(64.0)
    fine, coarse = (0.5 + 0.4 * torch.sin(2 * torch.pi * x / period) for period in (2.5, 32))
    for line, left in ((fine, (0.0, 0.1)), (coarse, (0.9, 1.1))):
        found = damage.shrunk(line.expand(3, 64, 64).contiguous(), 3.0)[:, :, 8:-8]
        assert left[0] <= float(found.std() / line[8:-8].std()) <= left[1]


def test_what_a_denoiser_sees_is_a_function_of_the_generator() -> None:
    picture = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(2))
    assert torch.equal(damage.noisy(picture, rng(3)), damage.noisy(picture, rng(3)))
    levels = np.array([float((damage.noisy(GREY, rng(k)) - GREY).square().mean().sqrt()) for k in range(200)])
    assert (levels == 0).mean() > 0.04
    assert levels.max() < 0.3
    assert np.median(levels[levels > 0.004]) < 0.06
