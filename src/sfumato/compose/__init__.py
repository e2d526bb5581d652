"""The verb `compose`: another background, or an object put in, in the light of the place. Torch comes with the work.

from sfumato.compose import compose
compose("photo.jpg", background="sea.jpg", only=("person",)).save("at-sea.png")
compose("photo.jpg", insert="balloon.png", at="300,120").save("balloon-there.png")
"""

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sfumato.errors import InputError, checked, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.picture.io import Picture, Source
    from sfumato.picture.result import Result

__all__ = ["ComposeOptions", "compose"]

NEAR = 0.15
"""Width of the surroundings that an object takes its light from, as a share of the picture's short side."""
AUTO = {"light": 0.5, "color": 0.25}
"""Strengths that `auto` takes, by method."""
METHODS = ("auto", "light", "color", "seamless", "none")


@dataclass(frozen=True)
class ComposeOptions:
    """What goes where, and how it is made to fit."""

    only: tuple[str, ...] = ()
    """What of the photograph stands before the new background: classes (person, car) that the segmenter names, or
    masks."""
    except_: tuple[str, ...] = field(default=(), metadata={"name": "except"})
    """What of it does not: classes or masks."""
    at: str = ""
    """Where the middle of the inserted object goes, as X,Y in pixels from the left and from the top."""
    scale: float = 1.0
    """Factor on the inserted object's size."""
    match: Literal["auto", "light", "color", "seamless", "none"] = "auto"
    """How an object is made to fit: `light` by the ratio of the surroundings it comes from to those it comes to,
    `color` by the mean and contrast of its new surroundings, `seamless` by gradients (Poisson), for objects cut out
    with some of their surroundings, `none` as it is. `auto`: light at half strength where it has surroundings, seamless
    where it is a whole rectangle, else color at a quarter."""
    strength: float = 1.0
    """How far `light` and `color` go, from 0 to 1."""
    feather: float = 1.0
    """Pixels by which the object's edge is softened."""
    segmenter: str = "scene"
    """A segmenter for `only`: a bundled name, a file of weights, a training run."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""
        if self.match not in METHODS:
            raise unknown("match", self.match, METHODS)
        for name, low, high in (("scale", 0.001, 1000), ("strength", 0, 1), ("feather", 0, 1000)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise InputError(f"{name} must be a number between {low:g} and {high:g}, not {value!r}")
        if self.at:
            read_point(self.at)


class Layer(NamedTuple):
    """Something to paste, at the size of the picture that it goes into."""

    picture: "Tensor"
    """1 x 3 x H x W; colours outside the mask are its old surroundings or nothing."""
    mask: "Tensor"
    """1 x 1 x H x W in [0, 1]."""
    surrounded: bool
    """Whether `picture` shows the object's old surroundings."""
    whole: bool
    """Whether it is a rectangle of which nothing was cut away."""


def read_point(text: str) -> tuple[int, int]:
    """`X,Y`. Raises `InputError`."""
    try:
        x, y = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"a place is X,Y in pixels, for example 300,120, not {text!r}") from None
    return x, y


def compose(
    picture: "Source",
    *,
    background: "Source | None" = None,
    insert: "Source | None" = None,
    style: "Source | None" = None,
    output: str | Path | None = None,
    **given: Any,
) -> "Result":
    """A picture of two.

    Args:
        picture: whatever `read_picture` takes. With `background` what `only` names is taken out of it; with `insert`
            it is what the object goes into.
        background: fills the picture's frame, enlarged or reduced and cut to its proportions.
        insert: an object, transparent around it or a whole rectangle.
        style: a picture in whose style the whole is painted afterwards.
        output: a file to write.
        given: fields of `ComposeOptions` by name.

    Raises:
        InputError: whatever cannot be used, in one sentence.
    """
    options = checked(ComposeOptions, given)
    if (background is None) == (insert is None):
        raise InputError("say what to compose: a background or an object to insert, one of the two")
    if insert is not None and not options.at:
        raise InputError("say where the object goes: --at X,Y")
    if insert is not None and (options.only or options.except_):
        raise InputError("--only and --except say what stands before a background: leave them out with an object")
    if background is not None and (options.at or options.scale != 1):
        raise InputError("--at and --scale are of an object to insert: leave them out with a background")
    from sfumato.picture.io import read_picture
    from sfumato.picture.result import finished, tensor_of

    source, other = read_picture(picture), read_picture(background if background is not None else insert)
    read, weights = [source, other], dict[str, str]()
    painting = None if style is None else read_picture(style)
    if background is not None:
        layer = _taken_out(source, options, read, weights)
        ground = framed(other, source.height, source.width)
    else:
        layer, ground = placed(other, source, options), tensor_of(source)
    method = options.match
    if method == "auto":
        method = "light" if layer.surrounded else "seamless" if layer.whole else "color"
    made = composed(layer, ground, method, _strength(options, method))
    done = finished(
        "compose",
        source,
        made,
        settings={**asdict(options), "match": method},
        weights=weights,
        inputs=read if painting is None else [*read, painting],
        maps={"object": layer.mask[0, 0]},
    )
    if painting is not None:
        done = _styled(done, painting, options.device)
    if output is not None:
        done.save(output)
    return done


def composed(layer: Layer, ground: "Tensor", method: str, strength: float) -> "Tensor":
    """The layer over the ground, made to fit; 1 x 3 x H x W in [0, 1], outside the mask exactly the ground."""
    import torch

    from sfumato.compose.light import Seen, around, clean_colors, like_surroundings, relit, seamless

    mask = layer.mask
    if method == "seamless":
        return torch.where(mask > 0.5, seamless(layer.picture, ground, (mask > 0.5).float()), ground)
    pasted = layer.picture
    reach = math.ceil(NEAR * min(mask.shape[2:]))
    if method == "light":
        outside = (mask < 0.02).float()
        here = Seen(ground, torch.ones_like(mask))
        pasted = relit(pasted, Seen(pasted, outside if bool(outside.any()) else mask), here, strength)
    elif method == "color":
        pasted = like_surroundings(pasted, mask, Seen(ground, around(mask, reach)), strength)
    pasted = clean_colors(pasted, mask) if layer.surrounded else pasted
    return torch.where(mask <= 0, ground, torch.where(mask >= 1, pasted, torch.lerp(ground, pasted, mask)))


def placed(thing: "Picture", source: "Picture", options: ComposeOptions) -> Layer:
    """An object at its size and place in the frame of `source`. Raises `InputError` where none of it is inside."""
    import torch

    from sfumato.picture.masks import feather
    from sfumato.picture.resize import resize
    from sfumato.picture.result import tensor_of

    height, width = max(1, round(options.scale * thing.height)), max(1, round(options.scale * thing.width))
    if max(height, width) > 4 * max(source.height, source.width):
        raise InputError(f"{thing.name!r} would be {width} x {height} pixels: give a smaller --scale")
    whole = thing.alpha is None or float(thing.alpha.min()) > 0.98
    alpha = torch.ones(1, 1, thing.height, thing.width)
    if thing.alpha is not None:
        alpha = torch.from_numpy(thing.alpha)[None, None].contiguous()
    cover = resize(alpha, height, width)
    small = resize(tensor_of(thing), height, width)
    if not whole:  # what is transparent has no colour of its own to mix in
        small = torch.where(cover > 0, resize(tensor_of(thing) * alpha, height, width) / cover.clamp_min(1e-6), small)
        small = small.clamp(0, 1)
    x, y = read_point(options.at)
    top, left = y - height // 2, x - width // 2
    rows = slice(max(0, top), min(source.height, top + height))
    columns = slice(max(0, left), min(source.width, left + width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise InputError(f"at {x},{y} nothing of {thing.name!r} lies within {source.name!r}")
    picture = torch.zeros(1, 3, source.height, source.width)
    mask = torch.zeros(1, 1, source.height, source.width)
    own = (..., slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    picture[..., rows, columns], mask[..., rows, columns] = small[own], cover[own]
    if not bool((mask > 0.5).any()):
        raise InputError(f"{thing.name!r} is transparent all over, or too small at that --scale")
    if options.feather > 0 and not whole:
        mask = torch.minimum(mask, feather(mask, options.feather))
    return Layer(picture, mask, surrounded=False, whole=whole)


def framed(ground: "Picture", height: int, width: int) -> "Tensor":
    """A background that fills a frame: enlarged or reduced, its middle cut out; 1 x 3 x height x width."""
    from sfumato.picture.resize import resize
    from sfumato.picture.result import tensor_of

    share = max(height / ground.height, width / ground.width)
    rows, columns = max(height, round(share * ground.height)), max(width, round(share * ground.width))
    whole = resize(tensor_of(ground), rows, columns)
    top, left = (rows - height) // 2, (columns - width) // 2
    return whole[:, :, top : top + height, left : left + width].contiguous()


def _taken_out(source: "Picture", options: ComposeOptions, read: "list[Picture]", weights: "dict[str, str]") -> Layer:
    """What `only` names, with its surroundings. Raises `InputError`."""
    from sfumato.device import choose_device
    from sfumato.picture.masks import feather
    from sfumato.picture.result import tensor_of
    from sfumato.segment.lazy import Segmenter
    from sfumato.segment.where import selected

    if not options.only:
        raise InputError("say what stands before the new background: --only with a class or masks")
    rgb = tensor_of(source)
    segmenter = Segmenter(options.segmenter, choose_device(options.device))
    size = (source.height, source.width)
    mask, more = selected(options.only, options.except_, size, lambda: segmenter(rgb).regions, source.name)
    read += more
    weights |= segmenter.weights
    return Layer(rgb, feather(mask, options.feather), surrounded=True, whole=False)


def _strength(options: ComposeOptions, method: str) -> float:
    """What surroundings say of a light is little where they show other things: bench/compose.py."""
    return AUTO.get(method, 1.0) * options.strength if options.match == "auto" else options.strength


def _styled(done: "Result", style: "Picture", device: str) -> "Result":
    """The whole painted in a style, at its own size."""
    from sfumato.stylize import stylize

    painted = stylize(done.rgb, style, size="original", device=device)
    record = {**done.record, "style": painted.record}
    return replace(done, pixels=painted.pixels, record=record)
