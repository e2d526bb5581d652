"""The verb with the one-pass network: random weights, everything around them real."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sfumato.errors import InputError
from sfumato.picture.color import rgb_to_yiq
from sfumato.picture.io import read_picture, write_picture
from sfumato.picture.record import read_record
from sfumato.picture.result import Result
from sfumato.stylize import iter_stylize, painter, refine, stylize, work
from sfumato.stylize.optimise import pyramid
from sfumato.stylize.options import StylizeOptions

from .made import array
from .trained import weights

CONTENT, STYLE, OTHER = array(40, 56, 1), array(44, 36, 2), array(36, 50, 3) ** 2


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights(tmp_path_factory.mktemp("weights") / "w.safetensors")


@pytest.fixture(autouse=True)
def _model(network: Path) -> Iterator[None]:
    GIVEN["model"] = str(network)
    yield
    GIVEN.clear()


GIVEN: dict[str, Any] = {}


def made(content: Any = CONTENT, styles: Any = STYLE, **given: Any) -> Result:
    """Of the pass alone, if nothing else is said."""
    return stylize(content, styles, **{"method": "onepass", "refine": 0, "device": "cpu", **GIVEN, **given})


def half(height: int, width: int, *, right: bool = False) -> np.ndarray:
    """A mask whose left (or right) half is white."""
    mask = np.zeros((height, width, 3), np.float32)
    mask[:, width // 2 :] = right
    mask[:, : width // 2] = not right
    return mask


def test_result_is_a_picture_in_every_form() -> None:
    result = made()
    assert result.rgb.shape == CONTENT.shape
    assert result.rgb.dtype == np.float32
    assert 0 <= result.rgb.min() < 0.2 < 0.8 < result.rgb.max() <= 1
    assert result.tensor.shape == (1, 3, 40, 56)
    assert np.abs(np.asarray(result.image) / 255 - result.rgb).max() <= 0.5 / 255 + 1e-6
    assert np.abs(result.rgb - CONTENT).mean() > 0.05


def test_strength() -> None:
    np.testing.assert_array_equal(made(strength=0).rgb, CONTENT)
    assert made(strength=0).record["weights"] == {}
    full = made().rgb
    far = [np.abs(made(strength=s).rgb - full).mean() for s in (0.1, 0.4, 0.7, 1.0)]
    assert far == sorted(far, reverse=True)
    assert far[-1] == 0 < far[-2]


def test_seeds_and_size() -> None:
    np.testing.assert_array_equal(made(seed=3).rgb, made(seed=3).rgb)
    assert np.abs(made(seed=3).rgb - made(seed=4).rgb).mean() > 1e-3
    assert made(size=20).rgb.shape == (20, 28, 3)
    assert made(size=4000).rgb.shape == made(size="original").rgb.shape == (40, 56, 3)


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("refine", [0, 3])
@pytest.mark.parametrize("size", [(1, 1), (3, 70), (70, 3), (1, 50), (17, 16)])
def test_small_and_thin_pictures(size: tuple[int, int], refine: int) -> None:
    result = made(array(*size, 1), array(*size[::-1], 2), refine=refine, refine_size=16)
    assert result.rgb.shape == (*size, 3)
    assert np.isfinite(result.rgb).all()


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("refine", [0, 3])
@pytest.mark.parametrize("flat", ["content", "style", "both"])
def test_flat_pictures(flat: str, refine: int) -> None:
    grey = np.full((40, 56, 3), 0.5, np.float32)
    content, style = (grey if flat in (name, "both") else array(40, 56, 1) for name in ("content", "style"))
    assert np.isfinite(made(content, style, refine=refine).rgb).all()


def test_several_styles_and_their_weights() -> None:
    first, second, both = made(styles=[STYLE]).rgb, made(styles=[OTHER]).rgb, made(styles=[STYLE, OTHER]).rgb
    assert np.abs(both - first).mean() > 0.005
    assert np.abs(both - second).mean() > 0.005
    one = made(styles=[STYLE, OTHER], style_weights=(3.0, 0.0)).rgb
    np.testing.assert_allclose(one, first, atol=1e-5)
    np.testing.assert_allclose(made(styles=[STYLE, OTHER], style_weights=(2.0, 2.0)).rgb, both, atol=1e-6)


@pytest.mark.parametrize("keep_color", ["no", "luminance", "match"])
@pytest.mark.parametrize("tile", [None, 32])
def test_outside_the_mask_every_pixel_stays(keep_color: str, tile: int | None) -> None:
    result = made(mask=half(40, 56), feather=4.0, keep_color=keep_color, tile=tile).rgb
    outside = slice(28 + 6 + 1, None)  # the feather's end is at one and a half of its radius
    np.testing.assert_array_equal(result[:, outside], CONTENT[:, outside])
    assert np.abs(result[:, :20] - CONTENT[:, :20]).mean() > 0.02
    soft = np.abs(result - CONTENT).mean((0, 2))[22:34]
    assert soft[-1] < 0.05 * soft[0]


@pytest.fixture
def strokeless(tmp_path: Path) -> str:
    """A network that only moves colours."""
    return str(weights(tmp_path / "colors.safetensors", strokes=0.0))


def test_a_mask_s_region_gives_the_colors(strokeless: str) -> None:
    """The colours of what is inside the mask become the style's, whatever lies outside."""
    style, left = 0.3 + 0.3 * STYLE, 0.2 + 0.2 * CONTENT  # none is cut off at black or white
    contents = [np.concatenate([left, right], 1) for right in (0.8 + 0.2 * CONTENT, 0.1 * CONTENT)]
    a, b = (made(c, style, mask=half(40, 112), feather=0.0, model=strokeless).rgb for c in contents)
    np.testing.assert_allclose(a[:, :40], b[:, :40], atol=1e-5)  # further in than the canvas is soft
    np.testing.assert_allclose(a[:, :56].mean((0, 1)), style.mean((0, 1)), atol=0.04)
    a, b = (made(c, style, model=strokeless).rgb for c in contents)
    assert np.abs(a - b)[:, :40].mean() > 0.05
    np.testing.assert_allclose(a.mean((0, 1)), style.mean((0, 1)), atol=0.01)


def test_styles_and_strength_mix_colors(strokeless: str) -> None:
    a, b = 0.2 + 0.2 * STYLE, 0.6 + 0.2 * OTHER
    rgb = made(styles=[a, b], style_weights=(3.0, 1.0), strength=0.5, model=strokeless).rgb
    wanted = 0.5 * CONTENT.mean((0, 1)) + 0.375 * a.mean((0, 1)) + 0.125 * b.mean((0, 1))
    np.testing.assert_allclose(rgb.mean((0, 1)), wanted, atol=0.01)


def test_each_mask_has_its_style_s_colors(strokeless: str) -> None:
    content, a, b = 0.3 + 0.3 * CONTENT, 0.2 + 0.2 * STYLE, 0.6 + 0.2 * OTHER
    masks = [half(40, 56), half(40, 56, right=True)]
    rgb = made(content, [a, b], mask=masks, feather=0.0, model=strokeless).rgb
    np.testing.assert_allclose(rgb[:, :20].mean((0, 1)), a.mean((0, 1)), atol=0.05)
    np.testing.assert_allclose(rgb[:, 36:].mean((0, 1)), b.mean((0, 1)), atol=0.05)


def test_a_mask_for_each_style() -> None:
    masks = [half(40, 56), half(40, 56, right=True)]
    result = made(styles=[STYLE, OTHER], mask=masks, feather=4.0)
    assert np.abs(result.rgb - CONTENT).mean((0, 2)).min() > 0.01  # all of it is painted
    swapped = made(styles=[OTHER, STYLE], mask=masks[::-1], feather=4.0).rgb
    np.testing.assert_allclose(swapped, result.rgb, atol=1e-5)
    assert np.abs(made(styles=[OTHER, STYLE], mask=masks, feather=4.0).rgb - result.rgb).mean() > 0.02
    assert len(result.record["inputs"]) == 5
    quarter = np.zeros((40, 56, 3), np.float32)
    quarter[:, 42:] = 1
    partly = made(styles=[STYLE, OTHER], mask=[half(40, 56), quarter], feather=0.0).rgb
    np.testing.assert_array_equal(partly[:, 28:42], CONTENT[:, 28:42])
    assert np.abs(partly - CONTENT)[:, 42:].mean() > 0.02


def test_masks_that_overlap_share() -> None:
    white = np.ones((40, 56, 3), np.float32)
    both = made(styles=[STYLE, OTHER], mask=[white, white]).rgb
    np.testing.assert_allclose(both, made(styles=[STYLE, OTHER]).rgb, atol=0.1)
    np.testing.assert_allclose(both, made(styles=[OTHER, STYLE], mask=[white, white]).rgb, atol=1e-5)


def test_a_mask_for_each_style_without_strokes() -> None:
    """Colours only: each half has its style's mean colour."""
    content, a, b = 0.3 + 0.3 * CONTENT, 0.2 + 0.2 * STYLE, 0.6 + 0.2 * OTHER
    masks = [half(40, 56), half(40, 56, right=True)]
    rgb = made(content, [a, b], mask=masks, feather=0.0, transfer="color").rgb
    np.testing.assert_allclose(rgb[:, :28].mean((0, 1)), a.mean((0, 1)), atol=3e-3)
    np.testing.assert_allclose(rgb[:, 28:].mean((0, 1)), b.mean((0, 1)), atol=3e-3)


def test_a_style_mask_matters_and_hides_what_is_outside() -> None:
    style = np.concatenate([STYLE, 1 - STYLE], 1)
    mask = half(*style.shape[:2])
    masked, whole = made(styles=style, style_masks=[mask]).rgb, made(styles=style).rgb
    assert np.abs(masked - whole).mean() > 0.01
    np.testing.assert_allclose(made(styles=style, style_masks=[np.ones_like(style)]).rgb, whole, atol=1e-4)


def test_keep_color(strokeless: str) -> None:
    content = 0.3 + 0.4 * CONTENT

    def chroma(rgb: np.ndarray) -> np.ndarray:
        return rgb_to_yiq(torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None])[0, 1:].numpy()

    kept = made(content, keep_color="luminance").rgb
    inside = ((kept > 0) & (kept < 1)).all(2)
    assert inside.mean() > 0.3
    assert np.abs(chroma(kept) - chroma(content))[:, inside].max() < 1e-5
    blue, red = CONTENT * (0.4, 0.5, 1.0), STYLE * (1.0, 0.4, 0.3)
    plain, matched = (made(blue, red, keep_color=k, model=strokeless).rgb.mean((0, 1)) for k in ("no", "match"))
    mean = blue.mean((0, 1))
    assert np.abs(matched - mean).max() < 0.1 * np.abs(plain - mean).max()


def test_tiles_and_memory_choose_no_other_picture() -> None:
    whole = made(size="original").rgb
    np.testing.assert_allclose(made(size="original", tile=32).rgb, whole, atol=2e-5)
    with pytest.raises(InputError, match=r"56 x 40 pixels need more than the 0.01 GiB of memory allowed: allow \d"):
        made(max_memory="10MiB")


def test_sixteen_bits_and_alpha_are_carried(tmp_path: Path) -> None:
    rgb = np.rint(CONTENT * 65535).astype(np.uint16)
    alpha = np.rint(np.linspace(0, 65535, 40 * 56)).astype(np.uint16).reshape(40, 56, 1)
    made(np.concatenate([rgb, alpha], 2), output=tmp_path / "out.png")
    out = read_picture(tmp_path / "out.png")
    assert out.bits == 16
    assert out.alpha is not None
    np.testing.assert_allclose(out.alpha, alpha[..., 0] / 65535, atol=1e-4)
    assert len(np.unique(np.rint(out.rgb * 65535))) > 1000


@pytest.mark.parametrize("bits", [8, 16])
def test_a_large_result_is_written_as_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    from sfumato.picture import finish

    content = np.rint(CONTENT * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    made(content, output=tmp_path / "a.png")
    monkeypatch.setattr(finish, "LARGE", 100)
    result = made(content, output=tmp_path / "b.png")
    assert result.pixels.dtype == content.dtype
    a, b = (read_picture(tmp_path / name) for name in ("a.png", "b.png"))
    assert a.bits == b.bits == bits
    np.testing.assert_array_equal(a.rgb, b.rgb)
    np.testing.assert_array_equal(result.rgb, b.rgb)


def test_the_record_says_which_network(tmp_path: Path, network: Path) -> None:
    content, style = tmp_path / "content.png", tmp_path / "style.png"
    write_picture(content, CONTENT)
    write_picture(style, STYLE)
    result = made(content, style, output=tmp_path / "out.png", seed=9)
    record = read_record(tmp_path / "out.png")
    assert record == json.loads(json.dumps(result.record))
    (name, digest), *rest = record["weights"].items()
    assert not rest
    assert name == record["settings"]["model"] == str(network)
    assert digest == painter.load_painter(str(network), torch.device("cpu")).sha256
    assert record["settings"]["tile"] >= 56
    assert record["steps"] == 1
    assert [i["sha256"] for i in record["inputs"]] == [read_picture(p).sha256 for p in (content, style)]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"seed": 5, "strength": 0.4, "keep_color": "luminance"},
        {"tile": 32, "style_scale": 1.7},
        {"size": 30, "precision": "bfloat16"},
        {"transfer": "color"},
        {"strength": 0.0},
        {"refine": 4},
        {"refine": 6, "optimizer": "adam", "content_weight": 1.0, "keep_color": "luminance", "tile": 32},
    ],
)
@pytest.mark.usefixtures("light")
def test_the_same_record_gives_the_same_pixels(tmp_path: Path, given: dict[str, Any]) -> None:
    first = made(output=tmp_path / "a.png", **{**({"precision": "float32"} if "refine" in given else {}), **given})
    again = stylize(CONTENT, STYLE, like=tmp_path / "a.png", output=tmp_path / "b.png")
    np.testing.assert_array_equal(again.rgb, first.rgb)
    assert read_picture(tmp_path / "b.png").sha256 == read_picture(tmp_path / "a.png").sha256
    assert again.record == first.record


def test_like_with_other_weights_of_the_name_says_so(tmp_path: Path) -> None:
    path = weights(tmp_path / "mine.safetensors")
    made(output=tmp_path / "a.png", model=str(path))
    assert iter_stylize(CONTENT, STYLE, like=tmp_path / "a.png").notes == []
    weights(path, seed=1)
    (note,) = iter_stylize(CONTENT, STYLE, like=tmp_path / "a.png").notes
    assert "was made with other weights" in note
    assert str(path) in note
    assert iter_stylize(CONTENT, STYLE, like=tmp_path / "a.png", model=GIVEN["model"]).notes == []


def test_networks_and_styles_are_read_once_for_many_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = weights(tmp_path / "w.safetensors", seed=3)
    loads, encoded = [], []
    load, forward = painter.load_model, painter.StyleEncoder.forward
    monkeypatch.setattr(painter, "load_model", lambda *a: (loads.append(a), load(*a))[1])
    monkeypatch.setattr(painter.StyleEncoder, "forward", lambda *a: (encoded.append(1), forward(*a))[1])
    for seed in range(3):
        made(array(40, 56, seed), [STYLE, OTHER], model=str(path))
    assert len(loads) == 1
    assert len(encoded) == 2
    made(array(40, 56, 9), [STYLE, OTHER], model=str(path), keep_color="match")
    assert len(encoded) == 4  # recoloured for this photograph


def test_interrupted_before_the_end_it_is_the_photograph() -> None:
    work = iter_stylize(CONTENT, STYLE, method="onepass", refine=0, tile=32, **GIVEN)
    iterator = iter(work)
    for _ in range(3):
        next(iterator)
    np.testing.assert_array_equal(work.result().rgb, CONTENT)
    assert work.result().record["steps"] == 0


@pytest.mark.usefixtures("light")
def test_refine_starts_from_the_one_pass_and_comes_nearer_to_the_style() -> None:
    plain = made(precision="float32")
    same, more = (made(precision="float32", refine=n) for n in (1, 12))
    np.testing.assert_allclose(same.rgb, plain.rgb, atol=1e-6)  # its first evaluation is the start
    assert same.record["steps"] == 2
    assert more.record["settings"]["refine"] == 12
    assert len(more.record["weights"]) == 2
    moments = list(iter_stylize(CONTENT, STYLE, method="onepass", precision="float32", refine=12, **GIVEN))
    assert [m.step for m in moments] == list(range(1, 14))
    assert {m.total for m in moments} == {13}
    assert min(m.losses["style"] for m in moments[2:]) < 0.1 * moments[1].losses["style"]  # a step may be a trial
    assert np.abs(more.rgb - plain.rgb).mean() > 0.003


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("after", [1, 2, 4])
def test_refine_interrupted_keeps_the_best_and_can_be_repeated(tmp_path: Path, after: int) -> None:
    work = iter_stylize(CONTENT, STYLE, method="onepass", precision="float32", refine=8, **GIVEN)
    iterator = iter(work)
    for _ in range(after):
        next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    result = work.result()
    settings = result.record["settings"]
    assert (settings["refine"], settings["schedule"]) == ((8, [after - 1]) if after > 1 else (0, ()))
    result.save(tmp_path / "a.png")
    again = stylize(CONTENT, STYLE, like=tmp_path / "a.png")
    np.testing.assert_array_equal(again.rgb, result.rgb)
    assert again.record == result.record


@pytest.mark.usefixtures("light")
def test_refine_goes_from_coarse_to_fine_with_the_detail_of_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refine, "SMALLEST", 16)
    given = {"method": "onepass", "precision": "float32", "refine": 1, "schedule": (1, 1), **GIVEN}
    moments = list(iter_stylize(CONTENT[:32, :48], STYLE, **given))
    assert [m.size for m in moments[1:]] == [(16, 24), (32, 48)]
    plain = made(CONTENT[:32, :48], precision="float32")
    same = made(CONTENT[:32, :48], **{k: v for k, v in given.items() if k != "model"})
    np.testing.assert_allclose(same.rgb, plain.rgb, atol=0.02)  # no step was followed; the pass comes back together
    assert same.record["settings"]["schedule"] == [1, 1]


@pytest.mark.usefixtures("light")
def test_the_default_refines_at_two_sizes_and_half_as_often_at_the_larger() -> None:
    options = StylizeOptions.of(method="onepass")
    for (height, width), wanted in {
        (1080, 1920): [(256, 455, 6), (512, 910, 3)],
        (400, 400): [(256, 256, 6), (400, 400, 3)],
        (300, 450): [(300, 450, 6)],
    }.items():
        scales = pyramid(*refine.refined_size(height, width, options), refine.refining(options))
        assert [(s.height, s.width, s.steps) for s in scales] == wanted
    few = replace(options, refine=1)
    assert [s.steps for s in pyramid(512, 512, refine.refining(few))] == [1, 1]


def test_steps_take_tiles_of_twice_those_of_the_pass() -> None:
    painting = iter_stylize(CONTENT, STYLE, method="onepass", precision="float32", refine=1, tile=32, **GIVEN)
    assert isinstance(painting.work, refine.Refined)
    assert (painting.work.first.tile, painting.work.second.tile) == (32, 64)
    for _ in painting:
        pass
    assert painting.result().record["settings"]["tile"] == 32


def test_refine_within_a_time_budget() -> None:
    few = made(precision="float32", refine=100_000, time_budget="0.3s")
    assert 1 <= few.record["settings"]["schedule"][0] < 5000
    assert few.record["settings"]["time_budget"] is None


@pytest.mark.usefixtures("light")
def test_refine_stays_within_the_mask_and_the_colors() -> None:
    result = made(precision="float32", refine=5, mask=half(40, 56), feather=0.0, keep_color="luminance").rgb
    np.testing.assert_array_equal(result[:, 28:], CONTENT[:, 28:])
    assert np.abs(result - CONTENT)[:, :28].mean() > 0.02


@pytest.mark.usefixtures("light")
def test_optimisation_takes_a_mask_for_each_style() -> None:
    quick = {"method": "optimise", "min_size": 64, "steps": 5, "precision": "float32", "feather": 0.0}
    quarter = np.zeros((40, 56, 3), np.float32)
    quarter[:, 42:] = 1
    masks = [half(40, 56), quarter]
    a = stylize(CONTENT, [STYLE, OTHER], mask=masks, **quick).rgb
    np.testing.assert_array_equal(a[:, 28:42], CONTENT[:, 28:42])
    assert np.abs(a - CONTENT)[:, 42:].mean() > 0.01
    swapped = stylize(CONTENT, [OTHER, STYLE], mask=masks[::-1], **quick).rgb
    np.testing.assert_allclose(swapped, a, atol=1e-3)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"steps": 30, "refine": 2}, "steps is not an option of the method onepass"),
        ({"content_weight": 1.0, "refine": 0}, "content_weight is not an option of the method onepass.*add refine"),
        ({"time_budget": "10s", "refine": 0}, "time_budget is not an option of the method onepass"),
        ({"method": "optimise"}, "model is not an option of the method optimise"),
        ({"preset": "fine"}, "the preset 'fine' is of the method optimise"),
        ({"model": "nowhere.safetensors"}, "nowhere.safetensors: no such file"),
        ({"mask": [half(4, 4), half(4, 4)]}, "2 masks for 1 styles"),
        ({"styles": [STYLE, OTHER], "mask": [half(4, 4)] * 2, "style_weights": (1.0, 2.0)}, "a mask of its own"),
        ({"styles": [STYLE, OTHER], "mask": [half(4, 4), np.zeros((4, 4, 3))]}, "is empty"),
    ],
)
def test_bad_input_is_one_sentence_before_any_work(given: dict[str, Any], sentence: str) -> None:
    given = {"content": CONTENT, "styles": STYLE, "method": "onepass", **GIVEN, **given}
    with pytest.raises(InputError, match=sentence) as caught:
        iter_stylize(given.pop("content"), given.pop("styles"), **given)
    assert "\n" not in str(caught.value)


def test_feature_networks_are_not_loaded_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(work, "load_features", never)
    assert made().record["steps"] == 1


def test_very_large_pictures_are_sampled_for_their_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = made(keep_color="match").rgb
    monkeypatch.setattr(work, "LARGE", 600)
    sampled = made(keep_color="match").rgb
    assert 0 < np.abs(sampled - exact).mean() < 0.02


@pytest.mark.usefixtures("light")
def test_a_small_copy_is_refined_and_its_change_enlarged() -> None:
    given = {"method": "onepass", "precision": "float32", "refine_size": 20, **GIVEN}
    moments = list(iter_stylize(CONTENT, STYLE, refine=12, **given))
    assert [m.size for m in moments[1:]] == [(20, 28)] * 12
    plain = made(precision="float32").tensor
    small = torch.nn.functional.interpolate(plain, (20, 28), mode="bicubic", antialias=True).clamp(0, 1)
    change = torch.nn.functional.interpolate(moments[-1].preview - small, (40, 56), mode="bicubic", antialias=True)
    assert change.abs().mean() > 0.01
    result = made(precision="float32", refine=12, refine_size=20).tensor
    torch.testing.assert_close(result, (plain + change).clamp(0, 1), atol=2e-5, rtol=0)
    same = made(precision="float32", refine=1, refine_size=20).tensor
    torch.testing.assert_close(same, plain, atol=1e-6, rtol=0)


def test_enlarging_rows_is_enlarging_the_whole() -> None:
    x = torch.randn(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    for size in ((40, 60), (47, 71), (20, 30), (200, 300)):
        whole = torch.nn.functional.interpolate(x, size, mode="bicubic", antialias=True)
        parts = [refine.enlarged(x, *size, slice(top, min(top + 13, size[0]))) for top in range(0, size[0], 13)]
        torch.testing.assert_close(torch.cat(parts, 2), whole, atol=2e-5, rtol=0)


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("given", [{}, {"keep_color": "luminance"}])
def test_a_refined_large_picture_is_worked_as_a_small_one(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    """Integers in place of floats, cells in place of the whole: a level's difference."""
    from sfumato.picture import finish

    content = array(130, 180, 4)
    given = {"precision": "float32", "refine": 4, "refine_size": 16, "mask": half(130, 180), **given}
    small = made(content, **given)
    monkeypatch.setattr(finish, "LARGE", 100)
    large = made(np.rint(content * 255).astype(np.uint8), **given)
    assert large.pixels.dtype == np.uint8
    assert np.abs(large.rgb - small.rgb).mean() < 0.02
    np.testing.assert_array_equal(large.pixels[:, 110:], np.rint(content * 255).astype(np.uint8)[:, 110:])
