"""Every option of `stylize`, declared once: Python keyword, command-line option and entry in the record."""

import math
import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from importlib import resources
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sfumato.errors import InputError, unknown

Method = Literal["onepass", "optimise", "photo"]
Statistics = Literal["gram", "mean_std", "w2", "neighbours", "attention"]
KeepColor = Literal["no", "luminance", "match"]
Match = Literal["auto", "classes", "attention", "clusters"]

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


@dataclass(frozen=True)
class StylizeOptions:
    """How a picture is stylized. Defaults make a painting of a photograph within seconds on two cores."""

    method: Method = "onepass"
    """`onepass`: a trained network paints at once, and a few steps of optimisation follow; `optimise` fits the picture
    to the style from the beginning (Gatys et al. 2016), which takes a minute and paints the bolder strokes; `photo`
    takes light and colours and leaves every line where it is. Left out, it is the one that the options given
    belong to."""
    model: str = "onepass"
    """Network of the one pass: a bundled one by name, a file of weights, or the folder of a training run."""
    refine: int = 6
    """Steps of optimisation on top of the one pass, 0 for the pass alone."""
    refine_size: int | Literal["original"] = 512
    """Short side in pixels at which these steps are made, whatever the result's: what they change is enlarged and the
    fine detail is the pass's. From 363 on in a pyramid from 256, with half as many steps at every larger size."""
    preset: str = "default"
    """Named settings: `default`, `fast`, `fine`, `gatys2016` (the paper to the letter), `onepass` and `photo` (of
    these methods)."""
    size: int | Literal["original"] = 512
    """Short side of the result in pixels (a smaller picture is not enlarged), or `original`."""
    strength: float = 1.0
    """0 leaves the picture as it is, 1 reaches for the style's own statistics."""
    style_weights: tuple[float, ...] = ()
    """Shares of several styles, in their order; equal when left out."""
    style_scale: float = 1.0
    """Short side of the style pictures relative to the result's: above 1 for larger strokes, below 1 for finer ones."""
    keep_color: KeepColor = "no"
    """Keep the photograph's colours: `luminance` transfers lightness only, `match` recolours the styles first."""
    transfer: Literal["style", "color"] = "style"
    """`color` takes the style's colours only and leaves every stroke out."""
    seed: int = 0
    """Chooses the noise that the picture is painted with, or starts from: another seed, other brushwork."""
    noise: float = 0.3
    """Of the one pass, how much of that noise: 0 none, and every seed gives the same; 1 all it was trained with."""
    content_weight: float = 0.3
    """Weight of the content distance."""
    style_weight: float = 1.0
    """Weight of the style distance."""
    tv_weight: float = 1.0
    """Weight of the total variation, which calms speckles and in excess blurs."""
    content_layers: tuple[str, ...] = ("relu4_1",)
    """Layers whose activations hold the content; `convB_I` is before, `reluB_I` after the activation."""
    style_layers: tuple[str, ...] = STYLE_LAYERS
    """Layers whose statistics are the style."""
    style_layer_weights: tuple[float, ...] = ()
    """Weights of the style layers, in their order; equal when left out."""
    statistics: Statistics = "gram"
    """What of a layer's activations is style: Gram matrix, mean and deviation, their Gaussian (`w2`), or place by place
    the nearest of the style's (`neighbours`), or what is attended to (`attention`)."""
    gram_normalisation: Literal["hw", "chw", "hw2"] = "hw"
    """Divisor of Gram matrices: positions, channels x positions, or positions squared."""
    relative: bool = True
    """Measure each layer's distance in units of the untouched photograph's (needs no tuning); no: as in the paper."""
    init: Literal["content", "style", "noise"] = "content"
    """What the first, smallest picture starts from."""
    init_noise: float = 0.1
    """Standard deviation of the noise added to the start (0 to 1)."""
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    """L-BFGS is faster; Adam needs less memory."""
    learning_rate: float = 0.02
    """Adam's step, in units of the range from black to white."""
    steps: int = 50
    """Steps at the smallest scale of the pyramid; of `photo`, steps after its closed form, 0 for that alone."""
    min_size: int = 128
    """Short side of the smallest picture of the pyramid."""
    detail: float = 1.0
    """Share of the photograph's own fine detail with which each larger scale starts."""
    scale_factor: float = 2.0
    """Ratio of neighbouring sizes in the pyramid; a large number means a single size."""
    step_decay: float = 0.4
    """Each larger scale gets this share of the previous one's steps, but at least five."""
    schedule: tuple[int, ...] = ()
    """Steps of every scale, smallest first, in place of `steps`; a record keeps those made (0: not reached)."""
    history: int = 10
    """Pairs that L-BFGS remembers."""
    average: float = 0.0
    """Decay of the running mean of iterates (0 shows the last one itself)."""
    time_budget: str | None = None
    """Time for the optimisation, such as 60s or 2m: steps are fitted to it, and the record keeps how many were made."""
    semantic: bool = False
    """Every part of the photograph takes its style from the part of the style that belongs to it: sky from sky."""
    match: Match = "auto"
    """What belongs together: `classes` (sky, water, person ... as the segmenter names them), `attention` (classes of
    the photograph, and what looks like them in the style), `clusters` (what looks alike in both); `auto`: classes where
    the segmenter is sure of both pictures, else clusters."""
    segmenter: str = "scene"
    """Network that names the parts of a picture: a bundled one, a file of weights, the folder of a training run, or a
    network of `transformers` (a folder, or `hub:` and a name)."""
    only: tuple[str, ...] = ()
    """Paint these and nothing else: classes such as `person`, or masks, white inside."""
    except_: tuple[str, ...] = ()
    """Leave these as they are: classes such as `sky`, or masks, white inside."""
    smoothness: float = 0.1
    """Of `photo`: how alike the changes at neighbouring places and at neighbouring lightnesses are."""
    feather: float = 8.0
    """Softness of a mask's edge in pixels of the result."""
    pooling: Literal["average", "max"] = "average"
    """Pooling of the feature network."""
    padding: Literal["zeros", "replicate"] = "replicate"
    """What the feature network sees beyond the border."""
    features: str = "vgg19"
    """Feature network: `vgg19`, `vgg-lite` (it with fewer multiplications, nearly as good), `mixed` (`vgg-lite` from
    384 pixels), or a file: VGG-19 or ResNet-50 in torchvision's layout, or one that `sfumato train distill` made."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the networks; `auto` optimises in bfloat16 where the processor has it."""
    tile: int | None = None
    """Side in pixels of the tiles that large pictures are worked in; chosen from `max_memory` when left out.
    The steps after the one pass take tiles of twice that."""
    max_memory: str = "auto"
    """Memory that the process may take, such as 2GiB; larger pictures are worked in tiles, with the same result."""

    @classmethod
    def of(cls, preset: str | None = None, **given: Any) -> "StylizeOptions":
        """A preset's options with those given on top; without a preset the one of the method, where it has one.

        Raises `InputError` for unknown names and values out of range.
        """
        names = {f.name for f in fields(cls)}
        for name in given:
            if name not in names:
                raise unknown("option", name, sorted(names))
        if preset in (None, "default"):
            given.setdefault("method", method_of(given))
            preset = PRESET_OF.get(given["method"], "default")
        options = replace(cls(), **{**read_preset(preset), **given, "preset": preset})
        options.check()
        return options

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""
        for f in fields(self):
            value, choices = getattr(self, f.name), get_args(get_type_hints(type(self))[f.name])
            if get_origin(get_type_hints(type(self))[f.name]) is Literal and value not in choices:
                raise unknown(f.name, value, map(str, choices))
        for name in ("size", "refine_size"):
            side = getattr(self, name)
            if side != "original" and (not isinstance(side, int) or isinstance(side, bool)):
                raise InputError(f"{name} must be a number of pixels or 'original', not {side!r}")
        for name, low, high in RANGES:
            value = getattr(self, name)
            kind, number = (int, "a whole number") if name in WHOLE else (int | float, "a number")
            values = value if isinstance(value, tuple | list) else (value,)
            for v in values:
                if v is None or v == "original":
                    continue
                if isinstance(v, bool) or not isinstance(v, kind) or not low <= v <= high or not math.isfinite(v):
                    limit = f"between {low:g} and {high:g}" if high < math.inf else f"at least {low:g}"
                    raise InputError(f"{name} must be {number} {limit}, not {v!r}")
        if not self.style_layers:
            raise InputError("style_layers must name at least one layer")
        if self.style_layer_weights and len(self.style_layer_weights) != len(self.style_layers):
            raise InputError(
                f"{len(self.style_layer_weights)} style_layer_weights for {len(self.style_layers)} style_layers"
            )
        for name in ("style_weights", "style_layer_weights"):
            if getattr(self, name) and sum(getattr(self, name)) <= 0:
                raise InputError(f"{name} must not all be 0")
        if self.content_weight == 0 == self.style_weight:
            raise InputError("content_weight and style_weight must not both be 0")
        if self.steps == 0 and self.method == "optimise":
            raise InputError("steps must be at least 1, not 0: only the method photo has something to show without any")
        if self.time_budget is not None:
            parse_seconds(self.time_budget)


RANGES: tuple[tuple[str, float, float], ...] = (
    ("size", 1, 65536),
    ("strength", 0, 1),
    ("style_weights", 0, math.inf),
    ("style_scale", 0.05, 20),
    ("seed", 0, 2**63 - 1),
    ("refine", 0, 100_000),
    ("refine_size", 16, 65536),
    ("noise", 0, 10),
    ("content_weight", 0, math.inf),
    ("style_weight", 0, math.inf),
    ("tv_weight", 0, math.inf),
    ("style_layer_weights", 0, math.inf),
    ("init_noise", 0, 1),
    ("learning_rate", 1e-6, 1e30),
    ("steps", 0, 100_000),
    ("min_size", 16, 65536),
    ("detail", 0, 2),
    ("scale_factor", 1.1, math.inf),
    ("step_decay", 0.01, 1),
    ("schedule", 0, 100_000),
    ("history", 1, 1000),
    ("average", 0, 0.9999),
    ("smoothness", 0, math.inf),
    ("feather", 0, 65536),
    ("tile", 32, 65536),
)
"""Option, smallest and largest value."""
WHOLE = ("seed", "refine", "steps", "min_size", "schedule", "history", "tile")
"""Options that count."""
PRESET_OF = {"onepass": "onepass", "photo": "photo"}
"""Methods whose settings are a preset."""
OF_ONE_PASS = ("model", "refine", "refine_size", "noise")
OF_PHOTO = ("smoothness",)
OF_OBJECTIVE = (
    "content_weight",
    "style_weight",
    "tv_weight",
    "content_layers",
    "style_layers",
    "style_layer_weights",
    "statistics",
    "gram_normalisation",
    "relative",
    "optimizer",
    "learning_rate",
    "history",
    "average",
    "pooling",
    "padding",
    "features",
    "schedule",
    "time_budget",
)
"""Of `optimise`, and of `onepass` with `refine`."""
NOT_OF_PHOTO = ("tv_weight", "optimizer", "learning_rate", "average", "schedule", "time_budget")
"""Of these, what `photo` has no use for; of the next, it has steps alone."""
OF_OPTIMISE = (
    "init",
    "init_noise",
    "steps",
    "min_size",
    "detail",
    "scale_factor",
    "step_decay",
)
"""Of `optimise` alone. What is named in none of these lists goes for every method."""


def method_of(given: Collection[str]) -> Method:
    """The method that is meant where none is named: the one that the options given belong to first."""
    if any(name in OF_ONE_PASS for name in given):
        return "onepass"
    if any(name in OF_PHOTO for name in given):
        return "photo"
    return "optimise" if any(name in (*OF_OBJECTIVE, *OF_OPTIMISE) for name in given) else StylizeOptions.method


def refuse_foreign(options: StylizeOptions, given: Collection[str]) -> None:
    """Raises `InputError` for the first of the options given that its method would not look at."""
    refined = options.method == "onepass" and options.refine > 0
    for name in given:
        if options.method == "optimise" and name in OF_ONE_PASS:
            raise InputError(f"{name} is not an option of the method optimise: leave it out, or take method onepass")
        if options.method == "onepass" and name in (*OF_OPTIMISE, *(() if refined else OF_OBJECTIVE)):
            with_refine = ", or add refine" if name in OF_OBJECTIVE else ""
            raise InputError(
                f"{name} is not an option of the method onepass: leave it out, or take method optimise{with_refine}"
            )
        if options.method == "photo" and name in (*OF_ONE_PASS, *NOT_OF_PHOTO, *(set(OF_OPTIMISE) - {"steps"})):
            raise InputError(f"{name} is not an option of the method photo: leave it out, or take another method")
        if options.method != "photo" and name in OF_PHOTO:
            raise InputError(
                f"{name} is not an option of the method {options.method}: leave it out, or take method photo"
            )
    if "match" in given and not options.semantic:
        raise InputError("match says how semantic finds what belongs together: add semantic, or leave match out")
    preset = read_preset(options.preset)
    if "preset" in given and preset.get("method", options.method) != options.method:
        raise InputError(f"the preset {options.preset!r} is of the method {preset['method']}, not of {options.method}")


def parse_seconds(text: str | float) -> float:
    """'60s', '2m', '1.5h' or '90' in seconds. Raises `InputError`."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(s|m|h|)\s*", str(text).lower())
    if not match or float(match[1]) <= 0:
        raise InputError(f"{text!r} is not a time: write it like 60s or 2m")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def presets() -> list[str]:
    """Names of the presets."""
    folder = resources.files("sfumato") / "presets"
    return ["default", *sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))]


def read_preset(name: str) -> dict[str, Any]:
    """The options that a preset changes. Raises `InputError` for an unknown one."""
    if name == "default":
        return {}
    if name not in presets():
        raise unknown("preset", name, presets())
    table = tomllib.loads((resources.files("sfumato") / "presets" / f"{name}.toml").read_text())
    return {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
