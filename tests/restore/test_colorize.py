"""Colour for grey pictures: lightness kept, dots honoured, any size, bad input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.errors import InputError
from sfumato.picture.color import rgb_to_lab
from sfumato.picture.io import read_picture
from sfumato.picture.result import tensor_of
from sfumato.restore.colorize import agreed, at_lightness, coarse_dots, colored, colorize, dots_of, read_hint, widened

from .made import Blue, colorizer_file, photo


def lab_of(pixels: np.ndarray) -> torch.Tensor:
    return rgb_to_lab(torch.from_numpy(pixels).permute(2, 0, 1)[None].double())


def test_lightness_is_kept_and_colours_come_through() -> None:
    rgb = tensor_of(read_picture(photo()))
    made = colored(Blue(), rgb)
    before, after = rgb_to_lab(rgb), rgb_to_lab(made)
    assert float((before[:, :1] - after[:, :1]).abs().max()) < 0.1
    middle = after[:, 1:, 10:50, 10:50]
    torch.testing.assert_close(middle.mean((0, 2, 3)), torch.tensor([10.0, -30.0]), atol=0.5, rtol=0)
    strong = rgb_to_lab(colored(Blue(), rgb, saturation=1.5))[:, 1:, 10:50, 10:50]
    torch.testing.assert_close(strong.mean((0, 2, 3)), torch.tensor([15.0, -45.0]), atol=0.7, rtol=0)
    assert float(rgb_to_lab(colored(Blue(), rgb, saturation=0))[:, 1:].abs().max()) < 0.1


def test_colours_that_srgb_lacks_lose_saturation_not_light_nor_hue() -> None:
    lightness = torch.tensor([[3.0, 20.0, 50.0, 80.0, 97.0]])[None, None]
    ab = torch.tensor([60.0, -40.0]).view(1, 2, 1, 1).expand(1, 2, 1, 5)
    found = rgb_to_lab(at_lightness(lightness, ab).double())
    torch.testing.assert_close(found[:, :1], lightness.double(), atol=0.1, rtol=0)
    chroma = found[:, 1:].norm(dim=1).flatten()
    assert bool((chroma[[0, 4]] < 60).all())
    assert float(chroma[2]) == pytest.approx(72.1, abs=0.2)
    strong = chroma > 3
    hue = torch.atan2(found[:, 2], found[:, 1]).flatten()[strong]
    torch.testing.assert_close(hue, torch.full_like(hue, float(np.arctan2(-40, 60))), atol=0.03, rtol=0)


def test_a_dot_is_honoured_and_its_reach_ends_at_edges() -> None:
    pixels = photo(128, 128)
    pixels[:64], pixels[64:] = 90, 170
    rgb = tensor_of(read_picture(pixels))
    dots = dots_of(("60,96,#d03030",), read_picture(pixels))
    after = rgb_to_lab(colored(Blue(), rgb, dots))[0, 1:]
    wanted = rgb_to_lab(torch.tensor([0xD0, 0x30, 0x30]).view(1, 3, 1, 1) / 255)[0, 1:, 0, 0]
    at, far = after[:, 96, 60], after[:, 20, 60]
    lack = float((wanted - at).norm() / (wanted - torch.tensor([10.0, -30.0])).norm())
    assert lack < 0.35  # sRGB has no such red that light
    assert float(at[0] - at[1]) > 0
    assert float((far - torch.tensor([10.0, -30.0])).norm()) < 6


def test_no_dot_is_lost_at_a_coarse_grid() -> None:
    dots = torch.zeros(1, 3, 100, 130)
    for k, (y, x) in enumerate([(0, 0), (99, 129), (50, 64), (51, 64)]):
        dots[0, :, y, x] = torch.tensor([float(10 * k), -5.0, 1.0])
    found = coarse_dots(dots, (7, 9))
    assert int(found[:, 2].sum()) == 3
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([0.0, -5.0, 1.0]))
    torch.testing.assert_close(found[0, :, 6, 8], torch.tensor([10.0, -5.0, 1.0]))
    torch.testing.assert_close(found[0, :, 3, 4], torch.tensor([25.0, -5.0, 1.0]))
    light = torch.full((1, 1, 7, 9), 0.5)
    light[..., 5:] = 0.9
    wide = widened(found, light)
    assert int(wide[0, 2, 2:5, 3:6].sum()) == 6  # not beyond the edge at column 5
    torch.testing.assert_close(wide[0, :, 2, 3], torch.tensor([25.0, -5.0, 1.0]))


def test_large_and_thin_pictures_are_looked_at_bounded() -> None:
    blue = Blue()
    for size in ((900, 1200), (2, 900), (1, 1), (70, 33)):
        made = colored(blue, torch.full((1, 3, *size), 0.5), size=64)
        assert made.shape == (1, 3, *size)
    assert all(max(shape) <= 4 * 64 + 4 for shape in blue.saw)
    assert blue.saw[0] == (1, 1, 64, 84)


def test_the_verb_reads_dots_and_writes_a_record(tmp_path: Path) -> None:
    model = colorizer_file(tmp_path / "c.safetensors")
    Image.fromarray(photo()).save(tmp_path / "old.png")
    shown = np.zeros((60, 80, 4), np.uint8)
    shown[40:44, 20:24] = (220, 30, 30, 255)
    Image.fromarray(shown).save(tmp_path / "dots.png")
    plain = colorize(tmp_path / "old.png", model=model)
    led = colorize(tmp_path / "old.png", model=model, hints=tmp_path / "dots.png", output=tmp_path / "new.png")
    gap = lab_of(led.rgb)[0, 1, 42, 22] - lab_of(plain.rgb)[0, 1, 42, 22]
    assert float(gap) > 10
    again = colorize(tmp_path / "old.png", model=model, hints=tmp_path / "dots.png")
    assert np.array_equal(again.rgb, led.rgb)
    assert led.record["verb"] == "colorize"
    assert led.record["settings"]["size"] == 256
    assert [i["name"].endswith(n) for i, n in zip(led.record["inputs"], ("old.png", "dots.png"), strict=True)]
    assert (tmp_path / "new.png").exists()
    painted = photo()
    painted[40:44, 20:24] = (220, 30, 30)
    same = colorize(tmp_path / "old.png", model=model, hints=painted)
    assert np.abs(same.rgb - led.rgb).max() < 1e-5


def test_sixteen_bits_and_alpha_stay(tmp_path: Path) -> None:
    model = colorizer_file(tmp_path / "c.safetensors")
    deep = (photo(20, 30).astype(np.uint16) * 257)[..., :1]
    rgba = np.concatenate([np.repeat(deep, 3, 2), np.full((20, 30, 1), 30000, np.uint16)], 2)
    done = colorize(rgba, model=model, output=tmp_path / "out.png")
    back = read_picture(tmp_path / "out.png")
    assert back.bits == 16
    assert back.alpha is not None
    assert float(np.abs(back.alpha - 30000 / 65535).max()) < 1e-4
    assert np.abs(back.rgb - done.rgb).max() < 1 / 65000


def test_a_coloured_picture_is_noted(tmp_path: Path) -> None:
    model = colorizer_file(tmp_path / "c.safetensors")
    half = photo()
    half[:, :40], half[:, 40:] = (200, 60, 40), (40, 90, 200)
    assert colorize(half, model=model).notes == ("it had colours, which were replaced",)
    brown = (photo() * np.array([1.0, 0.85, 0.6])).astype(np.uint8)
    assert colorize(brown, model=model).notes == ()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"hint": ("1,2,red",)}, "a hint is X,Y,#rrggbb"),
        ({"hint": ("90,2,#ff0000",)}, "lies outside"),
        ({"hint": ("1,2,#ff00",)}, "a hint is X,Y,#rrggbb"),
        ({"size": 5}, "size must be a whole number between 32 and 2048"),
        ({"saturation": -1}, "saturation must be a number between 0 and 4"),
        ({"colour": 1}, "colour"),
        ({"hints": photo(10, 10)}, "they must be of one size"),
        ({"hints": photo()}, "shows no dots"),
    ],
)
def test_bad_input_is_a_sentence(given: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        colorize(photo(), model=colorizer_file(tmp_path / "c.safetensors"), **given)


def test_hints_are_read() -> None:
    assert read_hint("120, 80, #3060c0") == (120, 80, (0x30, 0x60, 0xC0))


def test_colours_agree_along_a_surface_and_not_across_an_edge() -> None:
    lightness = torch.full((1, 1, 64, 64), 0.2)
    lightness[..., 32:] = 0.8
    noise = 20 * torch.randn(1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    sides = torch.where(lightness < 0.5, 30.0, -30.0)
    found = agreed(sides + noise, lightness)
    assert float((found - sides).std()) < 0.15 * float(noise.std())
    assert (found[..., :30] > 15).all()
    assert (found[..., 34:] < -15).all()
    assert torch.allclose(found.mean((2, 3)), (sides + noise).mean((2, 3)), atol=0.5)
