"""One drawn face: its attributes, chosen by a seed, and its pixels.

Drawn by the styles of DiceBear (PyPI: dicebear-core, dicebear-styles) and rendered by resvg (resvg-py); both come with
sfumato's extra `data`. Whatever is drawn is known: every part's variant, every colour, the background, the pose.
"""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfumato.errors import InputError, unknown

STYLES = ("toon-head", "avataaars", "adventurer", "micah", "personas")
"""Those with varied faces whose terms allow training and sharing what was trained."""
NONE = "none"
"""A part that is not there, a colour that nothing has."""
BACKGROUNDS = (
    "#b6e3f4", "#c0aede", "#d1d4f9", "#ffd5dc", "#ffdfbf", "#e8e4d9", "#f4d06f", "#8fbcbb", "#88aa66", "#d08770",
    "#5e81ac", "#7b5e7b", "#334455", "#2b2d42",
)  # fmt: skip
POSE = {"scale": [1.05, 1.2], "rotate": [-5, 5], "translateX": [-4, 4], "translateY": [0, 4]}
"""Ranges: in shares of the picture, degrees, percent. Larger than whole, so that the body reaches the lower edge."""
SEEN = 24
"""Difference of a colour, of 255, from which a pixel belongs to a part."""


@dataclass(frozen=True)
class Face:
    """One face, completely described."""

    style: str
    options: Mapping[str, Any]
    """What the drawing package must be told to draw it again."""
    attributes: Mapping[str, str]
    """Every part's variant and every colour, `NONE` where it is not there; `background`; `flip`."""
    svg: str

    def pixels(self, size: int) -> NDArray[np.uint8]:
        """size x size x 3."""
        import resvg_py

        data = bytes(resvg_py.svg_to_bytes(svg_string=self.svg, width=size, height=size, skip_system_fonts=True))
        return np.array(Image.open(io.BytesIO(data)).convert("RGB"))

    def changed(self, attribute: str, value: str) -> "Face":
        """The same face with one part or colour changed. Raises `InputError` for what the style does not have."""
        choices = self.choices(attribute)
        if value not in choices:
            raise unknown(f"{attribute} of {self.style}", value, choices)
        options = dict(self.options)
        if attribute in colours(self.style):
            options[f"{attribute.removesuffix(' colour')}Color"] = [value]
        elif value == NONE:
            options[f"{attribute}Probability"] = 0
        else:
            options |= {f"{attribute}Variant": value, f"{attribute}Probability": 100}
        return drawn(self.style, options)

    def choices(self, attribute: str) -> tuple[str, ...]:
        """What an attribute can be. Raises `InputError`."""
        known = {**parts(self.style), **colours(self.style)}
        if attribute not in known:
            raise unknown(f"attribute of {self.style}", attribute, known)
        return known[attribute]

    def regions(self, size: int) -> NDArray[np.uint8]:
        """size x size labels: 0 background, k the k-th part of `region_names` that is seen there.

        A part is where the picture changes when it is left out; of several the one drawn last. What is left of the
        face itself is its last label.
        """
        whole = self.pixels(size).astype(int)
        labels = np.zeros((size, size), np.uint8)
        bare = drawn(self.style, {**self.options, **{f"{part}Probability": 0 for part in definition(self.style).parts}})
        empty = drawn(self.style, {**self.options, "scale": 0.01, "translateX": 400, "translateY": 400})
        background = empty.pixels(size).astype(int)
        names = region_names(self.style)
        labels[np.abs(bare.pixels(size) - background).max(2) > SEEN] = len(names) - 1
        for number, part in enumerate(names[1:-1], 1):
            if not self.options.get(f"{part}Probability"):
                continue
            without = drawn(self.style, {**self.options, f"{part}Probability": 0})
            labels[np.abs(without.pixels(size) - whole).max(2) > SEEN] = number
        return labels


@dataclass(frozen=True)
class Definition:
    """A style as its package describes it."""

    style: Any
    parts: dict[str, tuple[str, ...]]
    """Every part in the order of drawing, with its variants."""
    optional: frozenset[str]
    """Parts that may be missing."""
    colours: dict[str, tuple[str, ...]]
    meta: dict[str, Any]


@cache
def definition(name: str) -> Definition:
    """Raises `InputError` for an unknown style or where the packages are missing."""
    if name not in STYLES:
        raise unknown("style", name, STYLES)
    try:
        from dicebear import Style
    except ImportError:
        raise InputError("drawn faces need three more packages: pip install 'sfumato[data]'") from None
    document = json.loads(files("dicebear_styles").joinpath(f"{name}.json").read_text("utf-8"))
    components = document["components"]
    order = list(dict.fromkeys([*_drawn(document["canvas"]["elements"]), *components]))
    return Definition(
        Style(document),
        {part: tuple(components[part]["variants"]) for part in order},
        frozenset(part for part in order if "probability" in components[part]),
        {colour: tuple(entry["values"]) for colour, entry in document["colors"].items()},
        document["meta"],
    )


def parts(style: str) -> dict[str, tuple[str, ...]]:
    """The parts that vary and what they can be."""
    d = definition(style)
    found = {part: (*variants, *((NONE,) if part in d.optional else ())) for part, variants in d.parts.items()}
    return {part: choices for part, choices in found.items() if len(choices) > 1}


def colours(style: str) -> dict[str, tuple[str, ...]]:
    """The colours that vary, as "hair colour", and their values."""
    return {f"{name} colour": values for name, values in definition(style).colours.items() if len(values) > 1}


def region_names(style: str) -> tuple[str, ...]:
    """Names of the labels of `Face.regions`, from 0."""
    return ("background", *definition(style).parts, "face")


def face(style: str, seed: int, index: int) -> Face:
    """The `index`-th face of a seed: its parts, colours, background and pose, a function of all three."""
    chosen = {"seed": f"{seed} {index}", "backgroundColor": list(BACKGROUNDS), **POSE}
    chosen |= {"backgroundColorFill": ["solid", "linear", "radial"], "backgroundColorAngle": [0, 360]}
    first = _resolved(style, {**chosen, "flip": ["none", "horizontal"]})[1]
    return drawn(style, frozen(style, first))


def frozen(style: str, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Options that leave nothing to chance: every part's variant or absence, every colour."""
    options = {k: v for k, v in resolved.items() if k not in ("idRandomization", "borderRadius")}
    keep = ("Variant", "Color", "ColorFill", "ColorAngle")
    general = ("scale", "rotate", "translateX", "translateY", "flip")
    options = {k: v for k, v in options.items() if k in general or k.endswith(keep)}
    for part in definition(style).parts:
        options[f"{part}Probability"] = 100 if f"{part}Variant" in options else 0
    for name, values in definition(style).colours.items():
        options.setdefault(f"{name}Color", [values[0]])  # should a change bring a part that has it
    return options | {"seed": "frozen"}


def drawn(style: str, options: Mapping[str, Any]) -> Face:
    """The face that frozen options describe."""
    svg, resolved = _resolved(style, options)
    attributes = {part: resolved.get(f"{part}Variant", NONE) for part in parts(style)}
    for name in colours(style):
        found = resolved.get(f"{name.removesuffix(' colour')}Color")
        attributes[name] = found[0] if found else NONE
    attributes["background"] = " ".join(resolved["backgroundColor"]) if "backgroundColor" in resolved else NONE
    attributes["flip"] = resolved["flip"]
    return Face(style, dict(options), attributes, svg)


def credit(style: str) -> str:
    """Whose drawings they are and under what terms."""
    meta = definition(style).meta
    licence = meta["license"]
    return f"{style}: {licence['text']}. Drawn by DiceBear (https://www.dicebear.com), parts recombined."


def _resolved(style: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The drawing as SVG, and every choice that went into it."""
    from dicebear import Avatar

    found = Avatar(definition(style).style, dict(options)).to_json()
    return found["svg"], found["options"]


def _drawn(elements: list[Any]) -> Iterator[str]:
    """Names of the parts of a canvas, in the order of drawing."""
    for element in elements:
        if isinstance(element, dict):
            if element.get("type") == "component":
                yield element["name"]
            yield from _drawn(element.get("children") or [])
