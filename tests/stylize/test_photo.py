"""Photorealistic transfer: structure kept, colours taken, region by region, at any size."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sfumato.cli import main
from sfumato.errors import InputError
from sfumato.picture.io import read_picture, write_picture
from sfumato.picture.record import read_record
from sfumato.picture.resize import resize
from sfumato.picture.result import Result
from sfumato.stylize import iter_stylize, stylize
from sfumato.stylize.photo import bounded, weights_at

from .made import array

photo = importlib.import_module("sfumato.stylize.photo")  # the package has a function of the name `stylize`

CONTENT, STYLE, OTHER = array(48, 64, 1), array(44, 36, 2) ** 2 * [1, 0.7, 0.4], array(36, 50, 3) ** 0.5

pytestmark = pytest.mark.usefixtures("light")


def made(content: Any = CONTENT, styles: Any = STYLE, **given: Any) -> Result:
    return stylize(content, styles, **{"method": "photo", "features": "vgg19", "device": "cpu", "steps": 6, **given})


def colors(x: np.ndarray, inside: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance."""
    flat = x.reshape(-1, 3) if inside is None else x[inside]
    return flat.mean(0), np.cov(flat.T, bias=True)


def split(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the left and the right half."""
    left = np.zeros((height, width), np.float32)
    left[:, : width // 2] = 1
    return np.repeat(left[..., None], 3, 2), np.repeat(1 - left[..., None], 3, 2)


def edges(x: np.ndarray) -> np.ndarray:
    y = x @ [0.299, 0.587, 0.114]
    return np.hypot(np.diff(y, axis=0)[:, :-1], np.diff(y, axis=1)[:-1])


def test_the_closed_form_gives_the_style_s_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimal transport of Gaussians, in the middle of the range so that nothing is clipped."""
    monkeypatch.setattr(photo, "SPREAD", 1e-4)
    content, style = 0.4 + 0.2 * CONTENT, 0.3 + 0.3 * np.clip(STYLE, 0, 1).astype(np.float32)
    result = made(content, style, steps=0)
    mean, spread = colors(result.rgb)
    wanted_mean, wanted = colors(style)
    np.testing.assert_allclose(mean, wanted_mean, atol=2e-3)
    np.testing.assert_allclose(spread, wanted, atol=3e-4)
    assert result.record["steps"] == 1
    assert result.record["settings"]["steps"] == 0
    assert result.record["weights"] == {}


def test_fitting_lowers_the_style_distance_and_keeps_edges() -> None:
    work = iter_stylize(CONTENT, STYLE, method="photo", features="vgg19", device="cpu", steps=12, content_weight=0.0)
    losses = [i.losses for i in work]
    assert losses[0] == {}
    assert min(each["style"] for each in losses[1:]) < 0.8 * losses[1]["style"]
    out = work.result().rgb
    assert np.corrcoef(edges(out).ravel(), edges(CONTENT).ravel())[0, 1] > 0.8


@pytest.mark.parametrize("steps", [0, 5])
def test_a_picture_in_its_own_style_stays(steps: int) -> None:
    result = made(CONTENT, CONTENT, steps=steps)
    assert np.abs(result.rgb - CONTENT).max() < 0.01


def test_strength_goes_from_the_picture_to_the_transfer() -> None:
    np.testing.assert_array_equal(made(strength=0).rgb, CONTENT)
    content, style = 0.4 + 0.2 * CONTENT, 0.35 + 0.3 * np.clip(STYLE, 0, 1).astype(np.float32)
    full, half = made(content, style).rgb, made(content, style, strength=0.5).rgb
    np.testing.assert_allclose(half, (content + full) / 2, atol=1e-5)


def test_outside_a_mask_nothing_changes() -> None:
    left, _ = split(48, 64)
    result = made(mask=left, feather=2).rgb
    np.testing.assert_array_equal(result[:, 36:], CONTENT[:, 36:])
    assert np.abs(result[:, :28] - CONTENT[:, :28]).mean() > 0.05


def test_every_region_takes_its_own_style() -> None:
    masks = split(48, 64)
    result = made(CONTENT, [STYLE, OTHER], mask=list(masks), feather=1).rgb
    for mask, own, other in ((masks[0], STYLE, OTHER), (masks[1], OTHER, STYLE)):
        inside = mask[..., 0] > 0.5
        mean = colors(result, inside)[0]
        before = np.abs(colors(CONTENT, inside)[0] - colors(np.asarray(own))[0]).sum()
        assert np.abs(mean - colors(np.asarray(own))[0]).sum() < 0.35 * before
        assert np.abs(mean - colors(np.asarray(own))[0]).sum() < np.abs(mean - colors(np.asarray(other))[0]).sum()


def test_style_masks_and_shares() -> None:
    style = np.concatenate([STYLE[:36, :30], OTHER[:, :30]], 1).astype(np.float32)
    left, _ = split(36, 60)
    masked = made(CONTENT, style, style_masks=[left], steps=0).rgb
    np.testing.assert_allclose(masked.mean((0, 1)), STYLE[:36, :30].clip(0, 1).mean((0, 1)), atol=0.06)
    both = made(CONTENT, [STYLE, OTHER], style_weights=(3, 1), steps=0).rgb.mean((0, 1))
    one, two = (made(CONTENT, s, steps=0).rgb.mean((0, 1)) for s in (STYLE, OTHER))
    np.testing.assert_allclose(both, 0.75 * one + 0.25 * two, atol=0.03)


def test_a_large_picture_is_the_small_one_enlarged() -> None:
    small = torch.from_numpy(np.clip(CONTENT, 0, 1)).permute(2, 0, 1)[None].float()
    small = resize(resize(small, 24, 32), 168, 224)  # smooth, so that resampling itself costs little
    large = resize(small, 504, 672)
    masks = [split(168, 224), split(504, 672)]
    results = [
        made(x[0].permute(1, 2, 0).numpy(), [STYLE, OTHER], mask=list(m), feather=f, size="original", steps=3)
        for x, m, f in zip((small, large), masks, (2, 6), strict=True)
    ]
    reduced = resize(results[1].tensor, 168, 224)
    assert float((reduced - results[0].tensor).abs().mean()) < 0.01


def test_rows_at_a_time_are_the_whole() -> None:
    weights = torch.rand(1, 2, 7, 9)
    whole = torch.nn.functional.interpolate(weights, (40, 51), mode="bilinear", align_corners=False)
    parts = [weights_at(weights, rows, 40, 51) for rows in (slice(0, 13), slice(13, 14), slice(14, 40))]
    torch.testing.assert_close(torch.cat(parts, 2), whole)
    work = iter_stylize(CONTENT, STYLE, method="photo", features="vgg19", device="cpu", steps=1)
    for _ in work:
        pass
    assert work.work is not None
    np.testing.assert_allclose(work.work.picture()[0].permute(1, 2, 0), work.result().rgb, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "wanted"), [((480, 640), (128, 171)), ((100, 90), (100, 90)), ((200, 8000), (57, 2280))]
)
def test_the_copy_is_bounded(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert bounded(*size, 128, 1 << 17) == wanted


def test_a_record_repeats_the_pixels(tmp_path: Any) -> None:
    first = made(seed=3)
    first.save(tmp_path / "a.png")
    assert first.record["settings"]["preset"] == "photo"
    again = made(CONTENT, STYLE, like=tmp_path / "a.png")
    np.testing.assert_array_equal(again.rgb, first.rgb)
    assert read_picture(tmp_path / "a.png").rgb.shape == CONTENT.shape


def test_stopping_early_keeps_what_there_is() -> None:
    work = iter_stylize(CONTENT, STYLE, method="photo", features="vgg19", device="cpu", steps=6)
    np.testing.assert_array_equal(work.result().rgb, CONTENT)
    next(iter(work))
    result = work.result()
    np.testing.assert_allclose(result.rgb, made(steps=0).rgb, atol=1e-6)
    assert result.record["settings"]["steps"] == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (17, 16)])
def test_small_thin_and_flat_pictures(size: tuple[int, int]) -> None:
    assert np.isfinite(made(array(*size, 1), array(*size[::-1], 2), steps=2).rgb).all()
    flat = np.full((20, 30, 3), 0.3, np.float32)
    result = made(flat, STYLE, steps=2).rgb
    assert result.std((0, 1)).max() < 0.05  # one colour is not blown up to a range
    assert np.isfinite(made(CONTENT, flat, steps=2).rgb).all()


def test_a_region_of_one_pixel() -> None:
    dot = np.zeros((48, 64, 3), np.float32)
    dot[10, 10] = 1
    small = np.zeros((44, 36, 3), np.float32)
    small[3, 3] = 1
    result = made(CONTENT, [STYLE, OTHER], mask=[dot, 1 - dot], style_masks=[small, None], feather=0, steps=2).rgb
    assert np.isfinite(result).all()


def test_colours_kept() -> None:
    from sfumato.picture.color import rgb_to_yiq

    content = 0.3 + 0.4 * CONTENT
    result = made(content, 0.3 + 0.4 * np.clip(OTHER, 0, 1), keep_color="luminance").tensor
    own = torch.from_numpy(content).permute(2, 0, 1)[None].float()
    inside = ((result > 0.01) & (result < 0.99)).all(1, keepdim=True).expand(-1, 2, -1, -1)
    chroma = (rgb_to_yiq(result) - rgb_to_yiq(own))[:, 1:][inside]
    assert float(chroma.abs().max()) < 1e-5


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, pixels in (("a", CONTENT), ("b", np.clip(STYLE, 0, 1))):
        write_picture(tmp_path / f"{name}.png", pixels)
    command = ["stylize", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(tmp_path / "out.png"), "--photo"]
    assert main([*command, "--steps", "0", "--features", "vgg19", "--quiet"]) == 0
    assert read_record(tmp_path / "out.png")["settings"]["method"] == "photo"
    assert main([*command, "--method", "optimise"]) == 2
    assert "--photo is short for --method photo, but --method optimise was given" in capsys.readouterr().err


def test_options_of_other_methods_are_refused() -> None:
    for name, value in (("tv_weight", 2.0), ("model", "x"), ("refine", 3), ("schedule", (3,)), ("average", 0.5)):
        with pytest.raises(InputError, match=f"^{name} is not an option of the method photo"):
            made(**{name: value})
    with pytest.raises(InputError, match=r"^smoothness is not an option of the method optimise"):
        stylize(CONTENT, STYLE, method="optimise", smoothness=0.1)
    with pytest.raises(InputError, match="smoothness must be a number at least 0"):
        made(smoothness=-1.0)
    with pytest.raises(InputError, match="preset 'fast' is of the method optimise"):
        made(preset="fast")
