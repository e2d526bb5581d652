"""Colour for grey pictures: lightness stays as it is at full size, colours are guessed on a bounded copy and led by
dots.

    from sfumato.restore.colorize import colorize
    colorize("old.jpg", hint=("120,80,#3060c0",)).save("new.png")
"""

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sfumato.errors import InputError, checked

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.models.colorizer import Colorist
    from sfumato.picture.io import Picture, Source
    from sfumato.picture.result import Result

DEFAULT = "colorizer"
"""The bundled model."""
LONGEST = 4
"""Long side of what the network looks at, over the short side asked for, at most."""
PULL = 0.001
"""How soon a dot's influence fades; see `picture/spread.py`."""
EPS = 1e-3
"""Variance of the lightness, in [0, 1], from which an edge holds colours apart."""
ALIKE = 0.06
"""Difference of lightness, in [0, 1], up to which a dot's neighbours are taken for the same thing."""
COLORED = 8.0
"""Distance from grey in Lab from which a pixel of a picture of dots is a dot, where the file has no transparency."""
AGREE = 12
"""Cells on the short side, over those around a cell that its colour agrees with where the lightness is even."""
AGREE_EPS = 3e-3
"""Variance of the lightness of cells from which they need not."""
BAND = 1 << 20
"""Pixels coloured at a time."""


@dataclass(frozen=True)
class ColorizeOptions:
    """How to colour."""

    hint: tuple[str, ...] = ()
    """Colours at points, as X,Y,#rrggbb: pixels from the left and from the top, a colour; only its hue and strength
    count."""
    saturation: float = 1.0
    """Factor on all colours: 0 is grey."""
    size: int = 256
    """Short side in pixels at which the network looks at the picture."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not 32 <= self.size <= 2048:
            raise InputError(f"size must be a whole number between 32 and 2048, not {self.size!r}")
        wrong = isinstance(self.saturation, bool) or not isinstance(self.saturation, int | float)
        if wrong or not math.isfinite(self.saturation) or not 0 <= self.saturation <= 4:
            raise InputError(f"saturation must be a number between 0 and 4, not {self.saturation!r}")
        for text in self.hint:
            read_hint(text)


class Hint(NamedTuple):
    """A colour at a point."""

    x: int
    y: int
    color: tuple[int, int, int]


def read_hint(text: str) -> Hint:
    """`X,Y,#rrggbb`. Raises `InputError`."""
    parts = text.replace(" ", "").split(",")
    try:
        if len(parts) != 3 or not parts[2].startswith("#") or len(parts[2]) != 7:
            raise ValueError
        red, green, blue = bytes.fromhex(parts[2][1:])
        return Hint(int(parts[0]), int(parts[1]), (red, green, blue))
    except ValueError:
        raise InputError(f"a hint is X,Y,#rrggbb, for example 120,80,#3060c0, not {text!r}") from None


class Colorizer:
    """A model ready for many pictures."""

    def __init__(self, model: str | os.PathLike[str] | None = None, **given: Any) -> None:
        """Arguments as `colorize`. Raises `InputError`."""
        self.options = checked(ColorizeOptions, given)
        from sfumato.device import choose_device
        from sfumato.models.colorizer import Colorist
        from sfumato.weights.registry import entries

        if model is None and DEFAULT not in entries():
            raise InputError("this version bundles no colorizer: say which with --model, a file of weights or a run")
        self.model = os.fspath(DEFAULT if model is None else model)
        self.colorist: Colorist
        self.colorist, self.sha256 = Colorist.load(self.model, choose_device(self.options.device))

    def __call__(self, source: "Source", hints: "Source | None" = None) -> "Result":
        """One picture, coloured. Raises `InputError`."""
        from sfumato.picture.io import read_picture
        from sfumato.picture.result import finished, tensor_of

        picture, o = read_picture(source), self.options
        read = [picture]
        rgb = tensor_of(picture)
        dots = dots_of(o.hint, picture)
        if hints is not None:
            read.append(read_picture(hints))
            dots = joined(dots, dots_in(read[-1], picture))
        changed = colored(self.colorist, rgb, dots, size=o.size, saturation=float(o.saturation))
        notes = ["it had colours, which were replaced"] if has_colors(rgb) else []
        settings = {**asdict(o), "model": self.model}
        weights = {self.model: self.sha256}
        return finished("colorize", picture, changed, settings=settings, weights=weights, inputs=read, notes=notes)


def colorize(
    picture: "Source",
    *,
    model: str | os.PathLike[str] | None = None,
    hints: "Source | None" = None,
    output: str | Path | None = None,
    **given: Any,
) -> "Result":
    """A picture with colours.

    Args:
        picture: whatever `read_picture` takes; only its lightness counts.
        model: a bundled model's name, a file of weights or the folder of a training run; the bundled one if left out.
        hints: a picture of the same size, transparent but for dots of colour, or grey but for them.
        output: a file to write.
        given: fields of `ColorizeOptions` by name.

    Raises:
        InputError: whatever cannot be used, in one sentence.
    """
    done = Colorizer(model, **given)(picture, hints)
    if output is not None:
        done.save(output)
    return done


def has_colors(rgb: "Tensor") -> bool:
    """Whether a picture 1 x 3 x H x W has hues that differ: a print turned brown has one hue."""
    from sfumato.picture.color import rgb_to_lab
    from sfumato.picture.resize import fit_short_side, resize

    small = resize(rgb, *fit_short_side(rgb.shape[2], rgb.shape[3], min(64, *rgb.shape[2:])))
    ab = rgb_to_lab(small)[0, 1:].flatten(1)
    return float((ab - ab.mean(1, keepdim=True)).square().sum(0).mean().sqrt()) > COLORED


def dots_of(hints: tuple[str, ...], picture: "Picture") -> "Tensor | None":
    """Points as 1 x 3 x H x W: Lab's a and b, and 1 where there is a dot. Raises `InputError` outside the picture."""
    import torch

    from sfumato.picture.color import rgb_to_lab

    if not hints:
        return None
    dots = torch.zeros(1, 3, picture.height, picture.width)
    for hint in map(read_hint, hints):
        if not (0 <= hint.x < picture.width and 0 <= hint.y < picture.height):
            raise InputError(
                f"the hint at {hint.x},{hint.y} lies outside {picture.name!r}, which is {picture.width} x "
                f"{picture.height} pixels"
            )
        color = torch.tensor(hint.color).view(1, 3, 1, 1) / 255
        dots[0, :2, hint.y, hint.x] = rgb_to_lab(color)[0, 1:, 0, 0]
        dots[0, 2, hint.y, hint.x] = 1
    return dots


def dots_in(dots: "Picture", picture: "Picture") -> "Tensor":
    """A picture of dots as `dots_of`: what is opaque, or has a colour. Raises `InputError`."""
    import torch

    from sfumato.picture.color import rgb_to_lab
    from sfumato.picture.result import tensor_of

    if (dots.height, dots.width) != (picture.height, picture.width):
        raise InputError(
            f"the dots {dots.name!r} are {dots.width} x {dots.height} pixels, but {picture.name!r} is "
            f"{picture.width} x {picture.height}: they must be of one size"
        )
    ab = rgb_to_lab(tensor_of(dots))[:, 1:]
    if dots.alpha is not None and dots.alpha.min() < 0.5:
        shown = torch.from_numpy(dots.alpha)[None, None] >= 0.5
    else:
        shown = torch.linalg.vector_norm(ab, dim=1, keepdim=True) > COLORED
    if not bool(shown.any()):
        raise InputError(f"{dots.name!r} shows no dots: paint them on transparency, or in colour on grey")
    return torch.cat([ab * shown, shown.float()], 1)


def joined(first: "Tensor | None", second: "Tensor") -> "Tensor":
    """Dots of two kinds; the first go before the second."""
    import torch

    return second if first is None else torch.where(first[:, 2:] > 0, first, second)


def colored(
    colorist: "Colorist", rgb: "Tensor", dots: "Tensor | None" = None, *, size: int = 256, saturation: float = 1.0
) -> "Tensor":
    """A picture 1 x 3 x H x W in [0, 1] with the network's colours, its lightness kept.

    Args:
        colorist: a trained network.
        rgb: the picture; its own colours do not count.
        dots: 1 x 3 x H x W as `dots_of` gives them.
        size: short side at which the network looks, at most the picture's own.
        saturation: factor on the colours.
    """
    import torch

    from sfumato.models.colorizer import CELL, cells
    from sfumato.picture.color import rgb_to_lab
    from sfumato.picture.guided import guided_filter
    from sfumato.picture.resize import resize

    height, width = rgb.shape[2:]
    share = min(1.0, size / min(height, width), LONGEST * size / max(height, width))
    whole = [max(CELL, CELL * round(share * n / CELL)) for n in (height, width)]
    small = rgb_to_lab(resize(rgb, *whole))[:, :1] / 100
    light = cells(small)
    if dots is None:
        ab = agreed(colorist.predict(small), light)
    else:
        told = widened(coarse_dots(dots, (light.shape[2], light.shape[3])), light)
        ab = led(agreed(colorist.predict(small, told), light), told, light)
    rows = max(1, BAND // width)
    guide = torch.cat([rgb_to_lab(rgb[:, :, y : y + rows])[:, :1] for y in range(0, height, rows)], 2) / 100
    ab = saturation * guided_filter(guide, ab, 1, EPS)
    parts = [at_lightness(100 * guide[:, :, y : y + rows], ab[:, :, y : y + rows]) for y in range(0, height, rows)]
    return torch.cat(parts, 2)


def agreed(ab: "Tensor", lightness: "Tensor") -> "Tensor":
    """Colours of cells 1 x 2 x h x w made even along surfaces: guesses on a bare wall differ from cell to cell.

    The guided filter; on 40 held-out photographs the error of ab falls from 0.833 of grey's to 0.826, and the blotches
    of old backdrops go. Twice as far, colours that are right fade too.
    """
    from sfumato.picture.guided import guided_filter

    return guided_filter(lightness, ab, min(lightness.shape[2:]) // AGREE, AGREE_EPS)


def led(ab: "Tensor", dots: "Tensor", lightness: "Tensor") -> "Tensor":
    """The network's colours 1 x 2 x h x w, led by dots: near them the dots carried along surfaces, as Levin et al. do
    without a network; farther the network's, corrected by what it missed at the dots; far away the network's own."""
    import torch

    from sfumato.picture.spread import spread

    missed = torch.cat([dots[:, :2] - ab, torch.ones_like(dots[:, 2:])], 1)
    faded = spread(missed, dots[:, 2:], lightness, pull=PULL)
    own, near = faded[:, :2], faded[:, 2:]
    return ab + (1 - near) * own + near * (spread(dots[:, :2], dots[:, 2:], lightness) - ab)


def coarse_dots(dots: "Tensor", size: tuple[int, int]) -> "Tensor":
    """Dots 1 x 3 x H x W at the size of a grid: in a cell the mean of its dots, none is lost."""
    import torch

    height, width = dots.shape[2:]
    y, x = torch.nonzero(dots[0, 2] > 0, as_tuple=True)
    cell = (y * size[0] // height) * size[1] + x * size[1] // width
    sums = dots.new_zeros(3, size[0] * size[1]).index_add_(1, cell, dots[0, :, y, x])
    counts = sums[2:].clamp_min(1)
    return torch.cat([sums[:2] / counts, (sums[2:] > 0).to(sums)]).view(1, 3, *size)


def widened(dots: "Tensor", lightness: "Tensor") -> "Tensor":
    """Dots 1 x 3 x h x w of one cell reach into the eight around that are as light and have none themselves."""
    import torch
    import torch.nn.functional as F

    bare = F.pad(torch.cat([dots[:, :2] * dots[:, 2:], dots[:, 2:], lightness * dots[:, 2:]], 1), (1, 1, 1, 1))
    height, width = dots.shape[2:]
    sums = torch.zeros_like(dots)
    for y in range(3):
        for x in range(3):
            near = bare[:, :, y : y + height, x : x + width]
            alike = near[:, 2:3] * ((near[:, 3:] - lightness).abs() < ALIKE)
            sums += alike * torch.cat([near[:, :2], torch.ones_like(alike)], 1)
    wide = sums / sums[:, 2:].clamp_min(1e-6)
    return torch.where(dots[:, 2:] > 0, dots, wide)


def at_lightness(lightness: "Tensor", ab: "Tensor") -> "Tensor":
    """sRGB N x 3 x H x W of exactly that lightness [0, 100]; colours that sRGB lacks there lose saturation, not light.

    How much is found by halving the interval ten times.
    """
    import torch

    from sfumato.picture.color import lab_to_rgb, rgb_to_lab

    def kept(scale: "Tensor") -> "Tensor":
        made = rgb_to_lab(lab_to_rgb(torch.cat([lightness, scale * ab], 1)))
        off: Tensor = torch.linalg.vector_norm(made - torch.cat([lightness, scale * ab], 1), dim=1, keepdim=True)
        return off < 0.1

    low, high = torch.zeros_like(lightness), torch.ones_like(lightness)
    fine = kept(high)
    if not bool(fine.all()):
        for _ in range(10):
            middle = (low + high) / 2
            good = kept(middle)
            low, high = torch.where(good, middle, low), torch.where(good, high, middle)
        low = torch.where(fine, 1.0, low)
    else:
        low = high
    return lab_to_rgb(torch.cat([lightness, low * ab], 1))
