"""The verb denoise: depth, alpha, masks, records; bad input in one sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato import InputError, cli, read_picture, read_record
from sfumato.restore.denoise import Denoising, denoise

from .models import denoiser_file


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return denoiser_file(tmp_path_factory.mktemp("model"))


def test_sixteen_bits_alpha_and_pixels_outside_the_mask_stay(tmp_path: Path, model: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 1 << 16, (21, 30, 4), dtype=np.uint16)
    mask = np.zeros((21, 30), np.uint8)
    mask[5:15, 8:20] = 255
    done = denoise(pixels, mask=mask, model=model, output=tmp_path / "out.png")
    back = read_picture(tmp_path / "out.png")
    was = read_picture(pixels)
    assert back.bits == 16
    assert back.alpha is not None
    assert was.alpha is not None
    assert np.array_equal(back.alpha, was.alpha)
    outside = mask == 0
    assert np.array_equal(np.rint(back.rgb[outside] * 65535), pixels[..., :3][outside])
    assert float(np.abs(done.rgb[~outside] - was.rgb[~outside]).mean()) > 1e-3
    record = read_record(tmp_path / "out.png")
    assert record["verb"] == "denoise"
    assert record["settings"]["strength"] == 1.0
    assert list(record["weights"].values()) == [Denoising(model).sha256]
    assert len(record["inputs"]) == 2


def test_grey_stays_grey_and_tiny_pictures_work(model: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 255, (17, 9), dtype=np.uint8)
    found = denoise(grey, model=model).rgb
    assert found.shape == (17, 9, 3)
    assert float(np.ptp(found, 2).max()) == 0
    assert denoise(grey[:1, :1], model=model).rgb.shape == (1, 1, 3)
    assert np.array_equal(denoise(grey, model=model, strength=0).rgb, read_picture(grey).rgb)


def test_bad_options_are_said_in_a_sentence(model: Path, tmp_path: Path) -> None:
    grey = np.zeros((8, 8), np.uint8)
    with pytest.raises(InputError, match="strength must be a number between 0 and 4"):
        denoise(grey, model=model, strength=-1)
    with pytest.raises(InputError, match="unknown option 'strenght'"):
        denoise(grey, model=model, strenght=1)
    with pytest.raises(InputError, match="is empty"):
        denoise(grey, model=model, mask=np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match="no such file"):
        denoise(tmp_path / "none.png", model=model)


def test_the_command(model: Path, tmp_path: Path) -> None:
    photo, out = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(np.random.default_rng(2).integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(photo)
    assert cli.main(["denoise", str(photo), "-o", str(out), "--model", str(model), "--strength", "0.5", "-q"]) == 0
    whole, half, was = denoise(photo, model=model).tensor, read_picture(out).rgb, read_picture(photo).rgb
    wanted = (whole[0].permute(1, 2, 0).numpy() + was) / 2
    assert float(np.abs(half - wanted).max()) < 0.02  # the whole one is clipped first
    assert cli.main(["denoise", str(photo), "-o", str(photo), "--model", str(model), "-q"]) == 2
    assert torch.equal(torch.from_numpy(read_picture(photo).rgb), torch.from_numpy(was))
