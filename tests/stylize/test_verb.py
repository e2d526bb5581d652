"""The verb `stylize` from Python: what goes around the optimiser, with a narrow network in place of VGG-19."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sfumato
from sfumato.errors import InputError
from sfumato.picture.color import rgb_to_yiq
from sfumato.picture.io import read_picture, write_picture
from sfumato.picture.record import read_record
from sfumato.picture.result import Result
from sfumato.style.recolor import match_color
from sfumato.stylize import StylizeOptions, iter_stylize, stylize
from sfumato.stylize.optimise import DivergedError

from .made import array, tensor

pytestmark = pytest.mark.usefixtures("light")

QUICK: dict[str, Any] = {"method": "optimise", "min_size": 16, "steps": 4, "precision": "float32", "device": "cpu"}
CONTENT, STYLE, OTHER = array(40, 56, 1), array(44, 36, 2), array(36, 50, 3)


def made(content: Any = CONTENT, styles: Any = STYLE, **given: Any) -> Result:
    return stylize(content, styles, **{**QUICK, **given})


def png(path: Path, rgb: np.ndarray, **options: Any) -> Path:
    write_picture(path, rgb, **options)
    return path


def half(height: int, width: int) -> np.ndarray:
    """A mask whose left half is white."""
    mask = np.zeros((height, width, 3), np.float32)
    mask[:, : width // 2] = 1
    return mask


def test_result_is_a_picture_in_every_form() -> None:
    result = made()
    assert result.rgb.shape == CONTENT.shape
    assert result.rgb.dtype == np.float32
    assert 0 <= result.rgb.min() <= result.rgb.max() <= 1
    assert result.tensor.shape == (1, 3, 40, 56)
    assert result.image.size == (56, 40)
    assert np.abs(np.asarray(result.image) / 255 - result.rgb).max() <= 0.5 / 255 + 1e-6
    assert np.abs(result.rgb - CONTENT).mean() > 0.01


def test_every_kind_of_source_gives_the_same(tmp_path: Path) -> None:
    eight = np.rint(CONTENT * 255).astype(np.uint8)
    path = tmp_path / "content.png"
    Image.fromarray(eight).save(path)
    wanted = made(eight).rgb
    sources = [
        path,
        str(path),
        path.read_bytes(),
        Image.fromarray(eight),
        torch.from_numpy(eight.copy()).permute(2, 0, 1),
        read_picture(path),
    ]
    for source in sources:
        np.testing.assert_array_equal(made(source).rgb, wanted)
    np.testing.assert_array_equal(made(eight, [STYLE]).rgb, wanted)
    np.testing.assert_array_equal(made(eight, options=StylizeOptions.of(**QUICK)).rgb, wanted)


def test_two_runs_are_one_and_two_seeds_are_two() -> None:
    a, b, c = made(seed=3), made(seed=3), made(seed=4)
    np.testing.assert_array_equal(a.rgb, b.rgb)
    assert 0.001 < np.abs(a.rgb - c.rgb).mean() < 0.3


def test_strength() -> None:
    np.testing.assert_array_equal(made(strength=0).rgb, CONTENT)
    np.testing.assert_array_equal(made(strength=0, transfer="color").rgb, CONTENT)
    far = [np.abs(made(strength=s, steps=12, init_noise=0.0).rgb - CONTENT).mean() for s in (0.2, 0.6, 1.0)]
    assert far == sorted(far)
    assert far[0] < 0.8 * far[2]


def test_size_shrinks_and_never_enlarges() -> None:
    assert made(size=20).rgb.shape == (20, 28, 3)
    assert made(size=4000).rgb.shape == made(size="original").rgb.shape == (40, 56, 3)
    assert made(size=1).rgb.shape == (1, 1, 3)


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (70, 3), (1, 50), (17, 16)])
@pytest.mark.parametrize("statistics", ["gram", "mean_std", "w2"])
def test_small_and_thin_pictures(size: tuple[int, int], statistics: str) -> None:
    result = made(array(*size, 1), array(*size[::-1], 2), statistics=statistics)
    assert result.rgb.shape == (*size, 3)
    assert np.isfinite(result.rgb).all()


@pytest.mark.parametrize("flat", ["content", "style", "both"])
@pytest.mark.parametrize("statistics", ["gram", "mean_std", "w2"])
def test_flat_pictures(flat: str, statistics: str) -> None:
    grey = np.full((40, 56, 3), 0.5, np.float32)
    content, style = (grey if flat in (name, "both") else array(40, 56, 1) for name in ("content", "style"))
    assert np.isfinite(made(content, style, statistics=statistics).rgb).all()


def test_content_as_its_own_style() -> None:
    """Nothing to do: the relative distance's unit is nothing, and still no NaN."""
    assert np.isfinite(made(CONTENT, CONTENT).rgb).all()


def chroma(rgb: np.ndarray) -> np.ndarray:
    return rgb_to_yiq(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0, 1:].numpy()


def test_keep_color_luminance_keeps_the_chroma() -> None:
    content = 0.3 + 0.4 * CONTENT  # room for other lightness
    result = made(content, keep_color="luminance").rgb
    inside = ((result > 0) & (result < 1)).all(2)
    assert inside.mean() > 0.5
    assert np.abs(chroma(result) - chroma(content))[:, inside].max() < 1e-5
    assert np.abs(result - content).mean() > 0.01


def test_keep_color_match_recolours_the_style() -> None:
    blue, red = CONTENT * (0.4, 0.5, 1.0), STYLE * (1.0, 0.4, 0.3)
    recoloured = match_color(*(torch.from_numpy(x).float().permute(2, 0, 1)[None] for x in (red, blue)))
    by_hand = made(blue, recoloured[0].permute(1, 2, 0).numpy()).rgb
    assert np.abs(made(blue, red, keep_color="match").rgb - by_hand).max() < 1e-4
    assert np.abs(made(blue, red).rgb - by_hand).mean() > 0.01


def test_transfer_color_takes_colours_only() -> None:
    calm = 0.35 + 0.3 * STYLE * (1.0, 0.6, 0.8)
    content = 0.3 + 0.3 * CONTENT
    result = made(content, calm, transfer="color")
    assert result.record["steps"] == 0
    np.testing.assert_allclose(result.rgb.mean((0, 1)), calm.mean((0, 1)), atol=2e-3)
    np.testing.assert_allclose(
        np.cov(result.rgb.reshape(-1, 3).T), np.cov(calm.reshape(-1, 3).T), atol=0.1 * calm.var()
    )
    halfway = made(content, calm, transfer="color", strength=0.5).rgb
    np.testing.assert_allclose(halfway, (content + result.rgb) / 2, atol=1e-5)


def test_several_styles_and_their_weights() -> None:
    first, second, both = made(styles=[STYLE]).rgb, made(styles=[OTHER]).rgb, made(styles=[STYLE, OTHER]).rgb
    assert np.abs(both - first).mean() > 0.003
    assert np.abs(both - second).mean() > 0.003
    one = made(styles=[STYLE, OTHER], style_weights=(1.0, 0.0)).rgb
    np.testing.assert_allclose(one, first, atol=2e-3)
    np.testing.assert_array_equal(made(styles=[STYLE, OTHER], style_weights=(2.0, 2.0)).rgb, both)
    many = made(styles=(STYLE, OTHER, CONTENT), style_weights=[0.2, 0.3, 0.5])
    assert len(many.record["inputs"]) == 4
    assert many.record["styles"] == 3


@pytest.mark.parametrize("keep_color", ["no", "luminance"])
def test_outside_the_mask_every_pixel_stays(keep_color: str) -> None:
    result = made(mask=half(40, 56), feather=4.0, keep_color=keep_color).rgb
    outside = slice(28 + 6 + 1, None)  # the feather's end is at one and a half of its radius
    np.testing.assert_array_equal(result[:, outside], CONTENT[:, outside])
    assert np.abs(result[:, :20] - CONTENT[:, :20]).mean() > 0.008
    hard = made(mask=half(40, 56), feather=0.0).rgb
    np.testing.assert_array_equal(hard[:, 28:], CONTENT[:, 28:])
    assert np.abs(hard[:, 26:28] - CONTENT[:, 26:28]).max() > 0


def test_a_grey_mask_changes_in_proportion() -> None:
    full, quarter = (made(mask=np.full((40, 56, 3), level, np.float32)).rgb - CONTENT for level in (1.0, 0.25))
    np.testing.assert_allclose(quarter, 0.25 * full, atol=2e-3)
    assert np.abs(full).max() > 0.03


def test_a_mask_changes_what_the_statistics_are_of() -> None:
    """Two photographs that agree inside the mask and far around it come out alike inside."""
    long = array(16, 400, 1)
    other = long.copy()
    other[:, 300:] = 0.1
    mask = np.zeros((16, 400, 3), np.float32)
    mask[:, :60] = 1
    a, b = (made(x, mask=mask, feather=0.0, min_size=64).rgb for x in (long, other))
    np.testing.assert_allclose(a[:, :60], b[:, :60], atol=1e-6)
    without = [made(x, min_size=64).rgb for x in (long, other)]
    assert np.abs(without[0] - without[1])[:, :60].max() > 1e-4


def test_a_style_mask_matters_and_hides_what_is_outside() -> None:
    style = np.concatenate([STYLE, OTHER[:36, :44].repeat(2, 0)[:44]], 1)
    mask = np.zeros((*style.shape[:2], 3), np.float32)
    mask[:, : STYLE.shape[1]] = 1
    masked, whole = made(styles=style, style_masks=[mask]).rgb, made(styles=style).rgb
    assert np.abs(masked - whole).mean() > 0.0015
    none = made(styles=style, style_masks=[None]).rgb
    np.testing.assert_array_equal(none, whole)
    np.testing.assert_allclose(made(styles=style, style_masks=[np.ones_like(style)]).rgb, whole, atol=1e-3)


def test_a_mask_of_another_size_is_resized_and_said() -> None:
    work = iter_stylize(CONTENT, STYLE, mask=half(80, 112), style_masks=[half(44, 36)], **QUICK)
    (note,) = work.notes
    assert "112 x 80" in note
    assert "56 x 40" in note
    assert "resized" in note
    assert iter_stylize(CONTENT, STYLE, mask=half(40, 56), **QUICK).notes == []
    record = work.result().record
    assert len(record["inputs"]) == 4  # the masks' hashes are kept too


def test_empty_masks_are_refused() -> None:
    black = np.zeros((40, 56, 3), np.float32)
    for masks in ({"mask": black}, {"style_masks": [black]}):
        with pytest.raises(InputError, match="is empty"):
            made(**masks)


@pytest.mark.parametrize("statistics", ["gram", "w2"])
def test_a_mask_of_one_pixel(statistics: str) -> None:
    mask = np.zeros((40, 56, 3), np.float32)
    mask[20, 30] = 1
    assert np.isfinite(made(mask=mask, statistics=statistics).rgb).all()
    assert np.isfinite(made(style_masks=[mask[:, :36]], statistics=statistics).rgb).all()
    assert np.isfinite(made(mask=mask * 0.01, feather=0.0, statistics=statistics).rgb).all()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"styles": []}, "no style picture"),
        ({"style_weights": (1.0, 2.0)}, "2 style_weights for 1 styles"),
        ({"styles": [STYLE, OTHER], "style_weights": (1.0,)}, "1 style_weights for 2 styles"),
        ({"style_masks": [None, None]}, "2 style masks for 1 styles"),
        ({"styles": [STYLE, OTHER], "style_masks": [half(4, 4)]}, "1 style masks for 2 styles"),
        ({"size": 0}, "size must be"),
        ({"style_layers": ("relu4_9",)}, "unknown layer 'relu4_9': did you mean"),
        ({"content_layers": ("conv6_1",)}, "unknown layer 'conv6_1': did you mean"),
        ({"device": "gpu"}, "unknown device"),
        ({"preset": "gatys2015"}, "did you mean 'gatys2016'"),
        ({"max_memory": "much"}, "not an amount of memory"),
        ({"max_memory": "1MiB"}, "of memory allowed"),
        ({"content": "nowhere.jpg"}, "no such file"),
        ({"styles": "nowhere.jpg"}, "no such file"),
        ({"mask": "nowhere.jpg"}, "no such file"),
        ({"like": "nowhere.png"}, "no such file"),
        ({"schedule": (1, 2, 3, 4, 5)}, "5 numbers of steps for the"),
        ({"steps_": 5}, "did you mean 'steps'"),
    ],
)
def test_bad_input_is_one_sentence_before_any_work(given: dict[str, Any], sentence: str) -> None:
    given = {"content": CONTENT, "styles": STYLE, **QUICK, **given}
    with pytest.raises(InputError, match=sentence) as caught:
        iter_stylize(given.pop("content"), given.pop("styles"), **given)
    assert "\n" not in str(caught.value)


def test_options_and_like_together_are_refused(tmp_path: Path) -> None:
    made(output=tmp_path / "a.png")
    with pytest.raises(InputError, match="options or like"):
        stylize(CONTENT, STYLE, like=tmp_path / "a.png", options=StylizeOptions())


def test_the_record_says_what_was_done(tmp_path: Path) -> None:
    content = png(tmp_path / "content.png", CONTENT)
    style = png(tmp_path / "style.png", STYLE)
    result = made(content, style, output=tmp_path / "out.png", seed=9, content_weight=0.7)
    record = read_record(tmp_path / "out.png")
    assert record == json.loads(json.dumps(result.record))
    assert record["verb"] == "stylize"
    assert record["sfumato"] == sfumato.__version__
    assert record["settings"]["seed"] == 9
    assert record["settings"]["content_weight"] == 0.7
    assert record["steps"] == sum(record["settings"]["schedule"])
    assert record["weights"] == {"narrow": "ab" * 32}
    assert [i["sha256"] for i in record["inputs"]] == [read_picture(p).sha256 for p in (content, style)]
    assert {"python", "torch", "numpy"} <= set(record["versions"])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"optimizer": "adam", "seed": 5},
        {"statistics": "w2", "style_layers": ("relu2_1", "relu3_1"), "style_layer_weights": (1.0, 2.0)},
        {"preset": "fast", "keep_color": "luminance"},
        {"size": 30, "average": 0.5, "init": "noise"},
        {"time_budget": "0.4s", "steps": 50},
        {"time_budget": "0.01s", "steps": 50},
        {"tile": 32},
        {"transfer": "color"},
        {"strength": 0.0},
    ],
)
def test_the_same_record_gives_the_same_pixels(tmp_path: Path, given: dict[str, Any]) -> None:
    first = made(output=tmp_path / "a.png", **given)
    again = stylize(CONTENT, STYLE, like=tmp_path / "a.png", output=tmp_path / "b.png")
    np.testing.assert_array_equal(again.rgb, first.rgb)
    assert read_picture(tmp_path / "b.png").sha256 == read_picture(tmp_path / "a.png").sha256
    assert again.record == first.record


@pytest.mark.parametrize("after", [1, 4, 5, 7])
def test_the_record_of_interrupted_work_gives_the_same_pixels(tmp_path: Path, after: int) -> None:
    work = iter_stylize(CONTENT, STYLE, **{**QUICK, "schedule": (4, 4)})
    iterator = iter(work)
    for _ in range(after):
        next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    result = work.result()
    assert result.rgb.shape == CONTENT.shape
    assert result.record["steps"] == after
    result.save(tmp_path / "a.png")
    again = stylize(CONTENT, STYLE, like=tmp_path / "a.png")
    np.testing.assert_array_equal(again.rgb, result.rgb)


def test_result_before_any_step_is_the_photograph() -> None:
    work = iter_stylize(CONTENT, STYLE, **QUICK)
    np.testing.assert_array_equal(work.result().rgb, CONTENT)
    assert work.result().record["steps"] == 0


def test_like_takes_the_settings_and_what_is_given_goes_on_top(tmp_path: Path) -> None:
    made(output=tmp_path / "a.png", seed=7, content_weight=0.9, style_scale=0.5)
    result = stylize(CONTENT, OTHER, like=tmp_path / "a.png", seed=8)
    settings = result.record["settings"]
    assert (settings["seed"], settings["content_weight"], settings["style_scale"]) == (8, 0.9, 0.5)
    np.testing.assert_array_equal(result.rgb, made(styles=OTHER, seed=8, content_weight=0.9, style_scale=0.5).rgb)


def test_like_works_for_a_photograph_with_fewer_or_more_sizes(tmp_path: Path) -> None:
    made(output=tmp_path / "a.png", seed=7)
    for content in (array(16, 20, 1), array(90, 100, 1)):
        result = stylize(content, STYLE, like=tmp_path / "a.png")
        np.testing.assert_array_equal(result.rgb, made(content, seed=7).rgb)
    with pytest.raises(InputError, match="3 numbers of steps"):
        stylize(CONTENT, STYLE, like=tmp_path / "a.png", schedule=(1, 1, 1))


def test_like_something_that_is_not_a_record(tmp_path: Path) -> None:
    plain = png(tmp_path / "plain.png", CONTENT)
    with pytest.raises(InputError, match="carries no sfumato record"):
        made(like=plain)
    for record in ({"verb": "segment", "settings": {}}, {"settings": {}}):
        other = png(tmp_path / "other.png", CONTENT, record=record)
        with pytest.raises(InputError, match="not by stylize"):
            made(like=other)
    newer = png(tmp_path / "newer.png", CONTENT, record={"verb": "stylize", "settings": {"magic": 1}})
    with pytest.raises(InputError, match="unknown option 'magic'"):
        stylize(CONTENT, STYLE, like=newer)


def test_an_output_that_is_an_input_is_refused_before_the_work(tmp_path: Path) -> None:
    content, style = png(tmp_path / "content.png", CONTENT), png(tmp_path / "style.png", STYLE)
    mask = png(tmp_path / "mask.png", half(40, 56))
    before = [p.read_bytes() for p in (content, style, mask)]
    for target in (content, style, mask):
        with pytest.raises(InputError, match="it is the input"):
            made(content, style, mask=mask, output=target)
    assert [p.read_bytes() for p in (content, style, mask)] == before


def test_bad_outputs_are_refused_before_the_work(tmp_path: Path) -> None:
    for target in (tmp_path, tmp_path / "out", tmp_path / "out.xyz"):
        with pytest.raises(InputError, match=r"cannot write|unknown picture extension"):
            made(output=target)
    assert list(tmp_path.iterdir()) == []


def test_a_nan_raises_and_the_best_picture_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from sfumato.features.vgg import VGG19

    work, calls = iter_stylize(CONTENT, STYLE, **{**QUICK, "schedule": (6, 6)}), 0
    plain = VGG19.__call__

    def broken(self: VGG19, pictures: torch.Tensor, layers: Any) -> Any:
        nonlocal calls
        calls += pictures.requires_grad
        found = plain(self, pictures, layers)
        return {k: v * float("nan") for k, v in found.items()} if calls > 4 else found

    monkeypatch.setattr(VGG19, "__call__", broken)
    with pytest.raises(DivergedError, match="nan at step 5"):
        list(work)
    result = work.result()
    assert result.record["steps"] == 4
    assert np.isfinite(result.rgb).all()
    assert np.abs(result.rgb - CONTENT).mean() > 0.001


def test_sixteen_bits_and_alpha_are_carried(tmp_path: Path) -> None:
    rgb = np.rint(CONTENT * 65535).astype(np.uint16)
    alpha = np.rint(np.linspace(0, 65535, 40 * 56)).astype(np.uint16).reshape(40, 56, 1)
    source = np.concatenate([rgb, alpha], 2)
    made(source, output=tmp_path / "out.png")
    out = read_picture(tmp_path / "out.png")
    assert out.bits == 16
    assert out.alpha is not None
    np.testing.assert_allclose(out.alpha, alpha[..., 0] / 65535, atol=1e-4)
    levels = np.unique(np.rint(out.rgb * 65535))
    assert len(levels) > 1000  # not eight bits in sixteen's clothes
    made(source, size=20, output=tmp_path / "small.png")
    small = read_picture(tmp_path / "small.png")
    assert small.alpha is not None
    assert small.alpha.shape == (20, 28)


def test_tiles_give_the_same_picture() -> None:
    whole = made(schedule=(3,), min_size=512, size="original").rgb
    tiled = made(schedule=(3,), min_size=512, size="original", tile=32).rgb
    np.testing.assert_allclose(tiled, whole, atol=2e-3)


def test_previews_can_be_watched() -> None:
    seen = [i.preview.clone() for i in iter_stylize(CONTENT, STYLE, **QUICK)]
    assert len(seen) >= 5
    assert seen[0].shape[2:] < seen[-1].shape[2:] == tensor(40, 56, 1).shape[2:]
