"""The bundled denoiser does what its card says, on a photograph that comes with sfumato."""

import numpy as np
import pytest
import torch

from sfumato.demo import __file__ as demo
from sfumato.metrics.ssim import ssim
from sfumato.picture.io import read_picture
from sfumato.picture.resize import fit_short_side, resize
from sfumato.restore.denoise import Denoising
from sfumato.train.damage import grain, jpeg


def photo() -> torch.Tensor:
    from pathlib import Path

    path = sorted((Path(demo).parent / "photos").glob("*"))[0]
    whole = torch.from_numpy(read_picture(path).rgb).permute(2, 0, 1)[None]
    small = resize(whole, *fit_short_side(whole.shape[2], whole.shape[3], 192))
    return small[:, :, :160, :160].contiguous()


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


@pytest.mark.parametrize(("kind", "gain"), [("grain", 3.0), ("film", 1.0), ("jpeg", 0.2)])
def test_it_takes_noise_away(kind: str, gain: float) -> None:
    clean, rng = photo(), np.random.default_rng(0)
    damaged = {
        "grain": lambda: grain(clean[0], rng, 25 / 255),
        "film": lambda: grain(clean[0], rng, 20 / 255, grey=True, radius=0.8),
        "jpeg": lambda: jpeg(clean[0], 15),
    }[kind]()[None]
    made = Denoising().work(damaged)
    assert psnr(made, clean) > psnr(damaged, clean) + gain
    assert float(ssim(made, clean)) > float(ssim(damaged, clean))


def test_a_clean_picture_stays_nearly_as_it_is() -> None:
    clean = photo()
    assert psnr(Denoising().work(clean), clean) > 34
