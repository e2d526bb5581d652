"""Every option is declared once, documented, and refused when it cannot be, with the nearest that can."""

import math
from dataclasses import fields, replace
from typing import Any

import pytest
from docstring_parser import parse_from_object

from sfumato.errors import InputError
from sfumato.stylize.options import (
    NOT_OF_PHOTO,
    OF_OBJECTIVE,
    OF_ONE_PASS,
    OF_OPTIMISE,
    OF_PHOTO,
    RANGES,
    WHOLE,
    StylizeOptions,
    parse_seconds,
    presets,
    read_preset,
    refuse_foreign,
)

BAD: list[tuple[str, Any]] = [
    ("method", "optimize"),
    ("size", 0),
    ("size", -5),
    ("size", 65537),
    ("size", 2.5),
    ("size", "large"),
    ("size", True),
    ("strength", -0.1),
    ("strength", 1.1),
    ("strength", math.nan),
    ("style_weights", (1.0, -1.0)),
    ("style_weights", (0.0, 0.0)),
    ("style_weights", (math.inf,)),
    ("style_scale", 0),
    ("style_scale", 21),
    ("keep_color", "maybe"),
    ("transfer", "colour"),
    ("seed", -1),
    ("seed", 1.5),
    ("seed", 2**63),
    ("refine", -1),
    ("refine", 2.5),
    ("content_weight", -1),
    ("content_weight", math.inf),
    ("style_weight", -1),
    ("tv_weight", -1e-9),
    ("style_layers", ()),
    ("style_layer_weights", (1.0,)),
    ("style_layer_weights", (0.0,) * 5),
    ("style_layer_weights", (1.0, 1.0, 1.0, 1.0, -1.0)),
    ("statistics", "grams"),
    ("gram_normalisation", "h"),
    ("init", "nois"),
    ("init_noise", 1.5),
    ("optimizer", "sgd"),
    ("learning_rate", 0),
    ("learning_rate", math.nan),
    ("learning_rate", math.inf),
    ("steps", 0),
    ("steps", 2.5),
    ("steps", "ten"),
    ("steps", True),
    ("min_size", 1),
    ("scale_factor", 1.0),
    ("scale_factor", math.inf),
    ("step_decay", 0),
    ("step_decay", 1.5),
    ("schedule", (5, -1)),
    ("schedule", (5, 2.5)),
    ("history", -1),
    ("average", 1.0),
    ("time_budget", "soon"),
    ("time_budget", "0s"),
    ("time_budget", "-5s"),
    ("time_budget", ""),
    ("feather", -1),
    ("pooling", "mean"),
    ("padding", "reflect"),
    ("precision", "float16"),
    ("tile", 16),
    ("tile", 100.5),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_what_cannot_be_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        StylizeOptions.of(**{name: value})
    text = str(caught.value)
    assert name in text or (name == "time_budget" and "is not a time" in text)
    assert "\n" not in text


def test_every_option_with_a_range_has_its_ends_and_nothing_beyond() -> None:
    names = {f.name for f in fields(StylizeOptions)}
    for name, low, high in RANGES:
        assert name in names
        many = isinstance(getattr(StylizeOptions(), name), tuple)
        for value, good in ((low, True), (high, True), (low - 1, False), (high + 1, False)):
            if not math.isfinite(value):
                continue
            if good and name in ("style_weights", "style_layer_weights", "content_weight", "steps") and value == 0:
                continue  # not all of them may be 0; steps only of the method photo
            if name not in (*WHOLE, "size", "refine_size"):
                value = float(value)
            if name == "style_layer_weights":
                value = (value,) * 5
            elif many:
                value = (value,)
            if not good and high + 1 == high:
                continue
            if good:
                StylizeOptions.of(**{name: value})
            else:
                with pytest.raises(InputError, match=name):
                    StylizeOptions.of(**{name: value})


def test_every_named_choice_is_taken_and_its_misspelling_is_shown_the_nearest() -> None:
    for name, value, near in (
        ("method", "optimize", "optimise"),
        ("keep_color", "luminence", "luminance"),
        ("statistics", "meanstd", "mean_std"),
        ("pooling", "averag", "average"),
        ("padding", "zero", "zeros"),
        ("precision", "float", "float32"),
    ):
        with pytest.raises(InputError, match=f"did you mean '{near}'"):
            StylizeOptions.of(**{name: value})
        assert getattr(StylizeOptions.of(**{name: near}), name) == near


def test_unknown_names_are_shown_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown option 'content_wieght': did you mean 'content_weight'"):
        StylizeOptions.of(content_wieght=1.0)
    with pytest.raises(InputError, match="unknown preset 'gatys': did you mean 'gatys2016'"):
        StylizeOptions.of(preset="gatys")
    with pytest.raises(InputError, match="unknown preset"):
        StylizeOptions.of(preset="../../etc/passwd")


def test_both_weights_may_not_be_nothing() -> None:
    with pytest.raises(InputError, match="content_weight and style_weight"):
        StylizeOptions.of(content_weight=0, style_weight=0)
    StylizeOptions.of(content_weight=0)
    StylizeOptions.of(style_weight=0)


def test_presets_load_and_change_what_they_say() -> None:
    assert {"default", "fast", "fine", "gatys2016"} <= set(presets())
    for name in presets():
        options = StylizeOptions.of(preset=name)
        assert options.preset == ("onepass" if name == "default" else name)
        for key, value in read_preset(name).items():
            assert getattr(options, key) == value
    light = {"features": "vgg-lite", "style_layers": StylizeOptions().style_layers[:4]}
    assert StylizeOptions.of() == replace(StylizeOptions(), preset="onepass", **light)
    assert StylizeOptions.of(preset="fast").steps < StylizeOptions().steps < StylizeOptions.of(preset="fine").steps


def test_what_is_given_goes_on_top_of_the_preset() -> None:
    options = StylizeOptions.of(preset="gatys2016", steps=7, relative=True)
    assert (options.steps, options.relative, options.init) == (7, True, "noise")


def test_gatys2016_is_the_paper() -> None:
    """Section 3: content on conv4_2, style on conv1_1 to conv5_1 at w = 1/5, average pooling, L-BFGS from noise."""
    o = StylizeOptions.of(preset="gatys2016")
    assert o.content_layers == ("relu4_2",)
    assert o.style_layers == ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    assert o.style_layer_weights == (0.2,) * 5
    assert (o.pooling, o.optimizer, o.init, o.statistics, o.gram_normalisation) == (
        "average",
        "lbfgs",
        "noise",
        "gram",
        "hw",
    )
    assert o.relative is False
    assert o.content_weight / o.style_weight == pytest.approx(1e-3)
    assert o.tv_weight == o.average == 0


def test_lists_are_as_good_as_tuples() -> None:
    options = StylizeOptions.of(style_weights=[0.7, 0.3], style_layers=["relu1_1"], style_layer_weights=[2.0])
    assert sum(options.style_weights) == 1.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("2m", 120), ("1.5h", 5400), ("90", 90), (" 5 S ", 5), (".5m", 30), (60, 60), (2.5, 2.5)],
)
def test_parse_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "1d", "-1s", "1 2", "0", "1e3", "nan", "60 s please"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InputError, match="is not a time"):
        parse_seconds(text)


def test_every_option_has_a_sentence_of_help() -> None:
    documented = {p.arg_name: p.description for p in parse_from_object(StylizeOptions).params}
    for f in fields(StylizeOptions):
        assert (documented.get(f.name) or "").endswith("."), f.name


def test_options_of_another_method_are_refused_by_name() -> None:
    plain, refined = (StylizeOptions.of(method="onepass", refine=n) for n in (0, 5))
    optimise = StylizeOptions.of(method="optimise")
    for name in OF_OPTIMISE:
        for options in (plain, refined):
            with pytest.raises(InputError, match=f"^{name} is not an option of the method onepass"):
                refuse_foreign(options, [name])
        refuse_foreign(optimise, [name])
    for name in OF_OBJECTIVE:
        with pytest.raises(InputError, match=f"^{name} .* method onepass: .* or add refine"):
            refuse_foreign(plain, [name])
        refuse_foreign(refined, [name])
        refuse_foreign(optimise, [name])
    for name in OF_ONE_PASS:
        with pytest.raises(InputError, match=f"^{name} is not an option of the method optimise"):
            refuse_foreign(optimise, [name])
        refuse_foreign(plain, [name])
    for name in OF_PHOTO:
        for options in (plain, optimise):
            with pytest.raises(InputError, match=f"^{name} is not an option of the method {options.method}"):
                refuse_foreign(options, [name])
    names = {f.name for f in fields(StylizeOptions)}
    assert names > {*OF_ONE_PASS, *OF_OBJECTIVE, *OF_OPTIMISE, *OF_PHOTO}
    for options in (plain, optimise):
        refuse_foreign(options, names - {*OF_ONE_PASS, *OF_OBJECTIVE, *OF_OPTIMISE, *OF_PHOTO, "match", "preset"})
    unused = {*OF_ONE_PASS, *NOT_OF_PHOTO, *OF_OPTIMISE} - {"steps"}
    photo = StylizeOptions.of(method="photo")
    refuse_foreign(photo, names - unused - {"match"})
    for name in unused:
        with pytest.raises(InputError, match=f"^{name} is not an option of the method photo"):
            refuse_foreign(photo, [name])


def test_a_method_s_preset_is_its_default() -> None:
    assert StylizeOptions.of(method="photo") == StylizeOptions.of(preset="photo")
    assert StylizeOptions.of() == StylizeOptions.of(method="onepass") == StylizeOptions.of(preset="onepass")
    assert StylizeOptions.of().features == "vgg-lite"
    assert StylizeOptions.of(method="optimise").features == "vgg19"
    assert StylizeOptions.of(method="photo").size == "original"
    assert StylizeOptions.of(method="photo", steps=0, size=300).size == 300
    with pytest.raises(InputError, match="steps must be at least 1, not 0"):
        StylizeOptions.of(steps=0)


def test_a_preset_is_of_a_method() -> None:
    for name in presets():
        method = StylizeOptions.of(preset=name).method
        refuse_foreign(StylizeOptions.of(preset=name), ["preset"])
        other = "onepass" if method == "optimise" else "optimise"
        if name != "default":
            with pytest.raises(InputError, match=f"the preset '{name}' is of the method {method}, not of {other}"):
                refuse_foreign(StylizeOptions.of(preset=name, method=other), ["preset", "method"])


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ({}, "onepass"),
        ({"size": 300, "seed": 1, "strength": 0.5}, "onepass"),
        ({"time_budget": "10s"}, "optimise"),
        ({"refine_size": 512, "features": "vgg19"}, "onepass"),
        ({"content_weight": 0.5, "size": 300}, "optimise"),
        ({"content_weight": 0.5, "refine": 5}, "onepass"),
        ({"model": "onepass"}, "onepass"),
        ({"init": "noise", "seed": 3}, "optimise"),
        ({"smoothness": 0.2, "steps": 3}, "photo"),
        ({"preset": "default", "refine": 5}, "onepass"),
        ({"preset": "fast"}, "optimise"),
        ({"preset": "photo", "steps": 3}, "photo"),
    ],
)
def test_the_options_given_choose_the_method_where_none_is_named(given: dict[str, Any], method: str) -> None:
    options = StylizeOptions.of(**given)
    assert options.method == method
    refuse_foreign(options, given)
