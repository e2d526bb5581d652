"""One pass against the plain network, tiles against the whole, sums against what they sum."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.models.onepass_networks import STRIDES, Colors
from sfumato.picture.finish import Finish
from sfumato.style.recolor import color_moments, keep_luminance
from sfumato.stylize import onepass
from sfumato.stylize.iterate import Style
from sfumato.stylize.onepass import PERIOD, SAMPLE, OnePass, color_sums, cut, noise_of, reduced, spread_windows
from sfumato.stylize.options import StylizeOptions
from sfumato.stylize.painter import Painter

from .made import tensor
from .trained import networks, painter

STYLE, OTHER = tensor(44, 36, 2, torch.float32), tensor(36, 50, 3, torch.float32) ** 2


@pytest.fixture(scope="module")
def brush(tmp_path_factory: pytest.TempPathFactory) -> Painter:
    return painter(tmp_path_factory.mktemp("weights") / "w.safetensors")


def run(
    brush: Painter, content: Tensor, masks: Tensor | None = None, styles: Sequence[Tensor] = (STYLE,), **given: Any
):
    options = StylizeOptions.of(**{"method": "onepass", "size": "original", "noise": 1.0, **given})
    seen = None if masks is None else masks.sum(1, keepdim=True).clamp(0, 1)
    finish = Finish(content, seen, 8, keep_luminance if options.keep_color == "luminance" else None)
    parts = [Style(s, None, 1.0) for s in styles]
    return OnePass(brush, content, parts, masks, options, finish, 1 << 40)


def done(*args: Any, **given: Any) -> np.ndarray:
    work = run(*args, **given)
    moments = list(work)
    assert [m.step for m in moments] == list(range(1, moments[0].total + 1))
    assert work.steps == 1
    return work.pixels


def plain(content: Tensor, styles: Sequence[Tensor], seed: int, side: int) -> np.ndarray:
    """The network as its module describes it, noise included, on the whole picture."""
    generator, encoder = networks()
    with torch.no_grad():
        found = [encoder(F.interpolate(s, fit(s, side), mode="bicubic", antialias=True).clamp(0, 1)) for s in styles]
        style = found[0]
        for k, other in enumerate(found[1:], 2):
            style = style.mixed(other, 1 / k)
        colors = Colors.between(*color_moments(content), style)
        generator_of_noise = torch.Generator().manual_seed(seed)
        maps = torch.randn(4, PERIOD, PERIOD, generator=generator_of_noise)
        sides = [-(-s // 8) * 8 for s in content.shape[2:]]
        noise = [m[None, None, : sides[0] // s, : sides[1] // s] for m, s in zip(maps, STRIDES, strict=True)]
        made = generator(content, colors, style.code, noise).clamp(0, 1)
    return made[0].permute(1, 2, 0).numpy()


def fit(picture: Tensor, side: int) -> tuple[int, int]:
    height, width = picture.shape[2:]
    return round(height * side / min(height, width)), round(width * side / min(height, width))


@pytest.mark.parametrize("size", [(40, 56), (17, 31), (8, 8), (1, 50), (65, 9)])
@pytest.mark.parametrize("styles", [(STYLE,), (STYLE, OTHER, STYLE.flip(3))])
def test_it_is_the_network(brush: Painter, size: tuple[int, int], styles: Sequence[Tensor]) -> None:
    content = tensor(*size, 1, torch.float32)
    wanted = plain(content, styles, 7, max(16, min(size)))
    found = done(brush, content, styles=styles, seed=7)
    np.testing.assert_allclose(found, wanted, atol=3e-5)
    assert found.shape == (*size, 3)


def ramps(kind: str, height: int, width: int) -> Tensor | None:
    """Soft masks 1 x K x H x W, or none."""
    across, down = torch.linspace(0, 1, width).expand(1, 1, height, width), torch.linspace(1, 0, height)[:, None]
    both = torch.cat([0.6 * across, 0.3 * down.expand(1, 1, height, width)], 1)
    return {"none": None, "one": across, "two": both}[kind]


@pytest.mark.parametrize("size", [(200, 135), (83, 331)])
@pytest.mark.parametrize("kind", ["none", "one", "two"])
@pytest.mark.parametrize("small", [False, True], ids=["block", "blocks"])
def test_tiled_is_whole(
    brush: Painter, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], kind: str, small: bool
) -> None:
    """Also where the deep part is computed in several blocks."""
    content, masks = tensor(*size, 1, torch.float32), ramps(kind, *size)
    styles = (STYLE, OTHER) if kind == "two" else (STYLE,)
    whole = done(brush, content, masks, styles, seed=3)
    assert whole.std() > 0.1
    if small:
        monkeypatch.setattr(onepass, "BLOCK", 96)
    for tile in (32, 48, 111):
        tiled = done(brush, content, masks, styles, seed=3, tile=tile)
        np.testing.assert_allclose(tiled, whole, atol=2e-5)


def test_tiles_show_their_progress(brush: Painter) -> None:
    content = tensor(90, 90, 1, torch.float32)
    work = run(brush, content, tile=32)
    seen = []
    for moment in work:
        seen.append(moment.preview.clone())
        assert moment.size == (90, 90)
        assert (work.steps == 1) == (moment.step == moment.total)
    assert len(seen) == 10
    assert not seen[0].any()
    painted = [int((s.sum(1) > 0).sum()) for s in seen[1:]]
    assert painted == sorted(painted)
    assert painted[-1] == 8100


def test_a_preview_is_of_bounded_size(brush: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onepass, "PREVIEW", 500)
    (moment,) = run(brush, tensor(60, 90, 1, torch.float32))
    assert moment.preview.shape == (1, 3, 15, 23)


def test_before_the_last_tile_the_picture_is_the_photograph(brush: Painter) -> None:
    content = tensor(90, 90, 1, torch.float32)
    work = run(brush, content, tile=32)
    iterator = iter(work)
    for _ in range(4):
        next(iterator)
    assert work.finished() is None
    assert work.picture() is content
    assert work.resolved() == {}


@pytest.mark.parametrize("size", [(512, 512), (700, 1000), (1080, 1920), (2160, 3840), (8192, 8192), (64, 30000)])
@pytest.mark.parametrize("largest", [64, 500, 1000, 5000])
def test_cuts_cover_and_lie_on_cells(size: tuple[int, int], largest: int) -> None:
    for side in size:
        end = -(-side // 8) * 8
        spans = cut(0, end, largest, 32, end)
        assert spans[0].start == 0
        assert [s.stop for s in spans[:-1]] == [s.start for s in spans[1:]]
        assert spans[-1].stop == spans[-1].high == end
        for s in spans:
            assert all(v % 8 == 0 for v in s[:4])
            assert 0 < s.stop - s.start <= max(8, largest)
            assert (s.low, s.high) == (max(0, s.start - 32), min(end, s.stop + 32))
        assert [s.last for s in spans] == [False] * (len(spans) - 1) + [True]


@pytest.mark.parametrize("size", [(1024, 1024), (1080, 1920), (8192, 8192), (64, 30000), (30000, 24), (728, 736)])
def test_windows_are_spread_over_the_picture(size: tuple[int, int]) -> None:
    height, width = (-(-side // 8) * 8 for side in size)
    windows = spread_windows(height, width)
    assert len({(w.y.stop - w.y.start, w.x.stop - w.x.start) for w in windows}) == 1
    assert 0.5 * SAMPLE < sum((w.y.stop - w.y.start) * (w.x.stop - w.x.start) for w in windows) <= SAMPLE
    for axis, side in ((0, height), (1, width)):
        spans = sorted({w[axis] for w in windows})
        assert all(v % 8 == 0 for s in spans for v in s[:2])
        assert all((s.low, s.high) == (s.start, s.stop) for s in spans)
        if len(spans) > 1:
            assert spans[0].start == 0
            assert side - 8 < spans[-1].stop <= side
            gaps = np.diff([s.start for s in spans])
            assert gaps.max() - gaps.min() <= 8


def test_windows_stand_for_the_picture(brush: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that is alike everywhere, whole and by the statistics of windows."""
    content = tensor(200, 320, 1, torch.float32)
    whole = done(brush, content, seed=3)
    monkeypatch.setattr(onepass, "WHOLE", 30_000)
    monkeypatch.setattr(onepass, "SAMPLE", 30_000)
    monkeypatch.setattr(onepass, "WINDOW", 64)
    sampled = done(brush, content, seed=3)
    assert 1e-5 < np.abs(sampled - whole).mean() < 0.1 * whole.std()
    for tile in (64, 150):
        np.testing.assert_allclose(done(brush, content, seed=3, tile=tile), sampled, atol=2e-5)


def test_colors_are_summed_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    from sfumato.picture import icc

    monkeypatch.setattr(icc, "_BAND", 500)
    content, masks = tensor(64, 50, 1, torch.float32), torch.rand(1, 2, 64, 50)
    everywhere, inside = color_sums(content, masks)
    for found, wanted in zip(everywhere, color_moments(content), strict=True):
        torch.testing.assert_close(found, wanted)
    for k in range(2):
        for found, wanted in zip(inside, color_moments(content, masks[:, k : k + 1]), strict=True):
            torch.testing.assert_close(found[k : k + 1], wanted)
    everywhere, inside = color_sums(content, None)
    assert all(torch.equal(a, b) for a, b in zip(everywhere, inside, strict=True))


def test_reduced_averages_cells() -> None:
    x = torch.rand(1, 2, 2050, 7)
    torch.testing.assert_close(reduced(x, 3), F.avg_pool2d(x, 3))
    assert reduced(x, 1) is x


def test_noise_is_of_the_place_and_the_seed() -> None:
    a, b = noise_of(1), noise_of(2)
    assert len(a) == 4
    for k in range(4):
        assert a[k].shape == (PERIOD, PERIOD)
        assert abs(float(a[k].std()) - 1) < 0.01
        assert abs(float((a[k] * b[k]).mean())) < 0.01
        assert abs(float((a[k] * a[k - 1]).mean())) < 0.01
    assert all(torch.equal(x, y) for x, y in zip(noise_of.__wrapped__(1), a, strict=True))


def test_noise_repeats_only_after_its_period(brush: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a flat photograph all that is left is noise: equal a period apart, where the deepest stride repeats too."""
    monkeypatch.setattr(onepass, "PERIOD", 16)
    monkeypatch.setattr(onepass, "noise_of", lambda *_: tuple(torch.randn(4, 16, 16).unbind()))
    made = done(brush, torch.full((1, 3, 32, 400), 0.5), seed=5)
    inner = made[:, 100:228]
    np.testing.assert_allclose(inner, made[:, 228:356], atol=1e-5)
    assert np.abs(inner - made[:, 164:292]).max() > 1e-3
    assert inner.std() > 1e-3


def test_seeds_differ_and_repeat(brush: Painter) -> None:
    content = tensor(40, 56, 1, torch.float32)
    a, b, c = (done(brush, content, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).mean() > 1e-3


def test_less_noise_moves_less(brush: Painter) -> None:
    content = tensor(40, 56, 1, torch.float32)
    still, other, little, much = (
        done(brush, content, seed=seed, noise=noise) for seed, noise in ((1, 0.0), (2, 0.0), (1, 0.1), (1, 1.0))
    )
    np.testing.assert_array_equal(still, other)
    assert 0 < 3 * np.abs(little - still).mean() < np.abs(much - still).mean()


def test_a_region_is_its_own_style_s_only(brush: Painter) -> None:
    """Far from the border another style on the other side changes nothing; at it nothing jumps."""
    content = tensor(32, 320, 1, torch.float32)
    masks = torch.zeros(1, 2, 32, 320)
    masks[:, 0, :, :160] = masks[:, 1, :, 160:] = 1
    a, b = (done(brush, content, masks, (STYLE, other)) for other in (OTHER, STYLE.flip(1)))
    np.testing.assert_allclose(a[:, :96], b[:, :96], atol=1e-5)
    assert np.abs(a - b)[:, 224:].mean() > 0.02


def test_regions_of_one_style_are_one_picture(brush: Painter) -> None:
    """A photograph whose halves have the same colours, one style for both of them, soft in between."""
    half = tensor(40, 56, 1, torch.float32)
    content = torch.cat([half, half.flip(3)], 3)
    ramp = torch.linspace(0, 1, 112).expand(1, 1, 40, 112)
    one, both = done(brush, content), done(brush, content, torch.cat([ramp, 1 - ramp], 1), (STYLE, STYLE))
    np.testing.assert_allclose(both, one, atol=2e-4)


def test_where_styles_go_is_symmetric(brush: Painter) -> None:
    content = tensor(40, 56, 1, torch.float32)
    masks = torch.rand(1, 2, 40, 56) / 2
    a = done(brush, content, masks, (STYLE, OTHER))
    b = done(brush, content, masks.flip(1), (OTHER, STYLE))
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert np.abs(a - done(brush, content, masks, (OTHER, STYLE))).mean() > 5e-4


def test_strength_mixes_code_and_colors(brush: Painter) -> None:
    """Half strength is the network with the mean of the photograph's own style and the other's."""
    content = tensor(40, 56, 1, torch.float32)
    wanted = plain(content, (content, STYLE), 0, 40)
    np.testing.assert_allclose(done(brush, content, strength=0.5), wanted, atol=3e-5)


def test_style_scale_is_the_style_s_size_beside_the_result(brush: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    content, sides = tensor(40, 56, 1, torch.float32), []
    plainly = brush.encode
    monkeypatch.setattr(brush, "encode", lambda p, m, side, key: (sides.append(side), plainly(p, m, side, key))[1])
    for scale in (0.05, 0.5, 1.0, 2.0):
        done(brush, content, style_scale=scale)
    assert sides == [16, 20, 40, 80]
    monkeypatch.setattr(onepass, "LARGEST_STYLE", 36 * 44)
    done(brush, content)
    assert sides[-1] == 36
    np.testing.assert_allclose(done(brush, content, style_scale=2.0), done(brush, content), atol=1e-6)


def test_bfloat16_is_close(brush: Painter) -> None:
    content = tensor(90, 70, 1, torch.float32)
    exact = done(brush, content, seed=2)
    for tile in (None, 32):
        rough = done(brush, content, seed=2, precision="bfloat16", tile=tile)
        assert 0 < np.abs(rough - exact).mean() < 0.01


def test_results_without_numbers_are_refused(tmp_path: Path) -> None:
    from sfumato.errors import InputError

    made = painter(tmp_path / "w.safetensors")
    for value in ("inf", "nan"):
        made.generator.paint.bias.fill_(float(value))
        with pytest.raises(InputError, match="the network's result is not a number"):
            done(made, tensor(20, 20, 1, torch.float32))


def test_large_results_are_integers(brush: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    from sfumato.picture import finish

    content = tensor(40, 56, 1, torch.float32)
    exact = done(brush, content, keep_color="luminance")
    monkeypatch.setattr(finish, "LARGE", 100)
    eight = run(brush, content, keep_color="luminance")
    list(eight)
    assert eight.pixels.dtype == np.uint8
    np.testing.assert_array_equal(eight.pixels, np.rint(exact * 255))
    np.testing.assert_allclose(eight.picture()[0].permute(1, 2, 0), exact, atol=0.5 / 255 + 1e-6)
