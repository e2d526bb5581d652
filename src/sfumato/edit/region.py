"""The part of a picture that a generator knows, a box or a face: cut out, and what changed in it put back."""

import torch
from torch import Tensor

from sfumato.edit.align import Frame, cut_out, feather, footprint, laid
from sfumato.errors import InputError
from sfumato.picture.membrane import membrane
from sfumato.picture.resize import resize, resize_signed

SMALLEST = 8
"""Pixels a side."""
FAINT = 0.01
"""Share of a mask below which a pixel of the generator's lies outside."""
SWEEPS = 60
"""Relaxations of what is carried into a mask."""
EDGE = 0.06
"""Share of a box's short side over which a change fades at the box's inner borders."""

Box = tuple[int, int, int, int]
"""X, Y, width, height."""
Place = Box | Frame
"""A box, or a face's frame."""


def box_in(size: tuple[int, int], wanted: Box | None, proportions: tuple[int, int]) -> Box:
    """The box given, checked, or the largest one in the middle with a generator's height : width.

    Raises `InputError` for a tiny picture, or a box that is not inside it.
    """
    height, width = size
    if min(size) < SMALLEST:
        raise InputError(f"a picture of {width} x {height} pixels is too small to be edited: {SMALLEST} are the least")
    if wanted is not None:
        x, y, w, h = wanted
        if x + w > width or y + h > height:
            raise InputError(f"the box {x},{y},{w},{h} does not lie inside the picture of {width} x {height}")
        return wanted
    down, across = proportions
    h = min(height, width * down // across)
    w = min(width, height * across // down)
    return (width - w) // 2, (height - h) // 2, w, h


def cut(picture: Tensor, place: Place, size: tuple[int, int]) -> Tensor:
    """What lies at the place of a picture 1 x 3 x H x W, at `size`."""
    if isinstance(place, Frame):
        return cut_out(picture, place, size)
    x, y, w, h = place
    return resize(picture[..., y : y + h, x : x + w], *size)


def put_back(
    picture: Tensor,
    place: Place,
    before: Tensor,
    after: Tensor,
    mask: Tensor | None = None,
    *,
    whole: bool = False,
    seamless: bool = True,
) -> Tensor:
    """The picture 1 x 3 x H x W with a change at a place; pixels where the mask is 0, or outside, equal to the bit.

    Args:
        picture: in [0, 1].
        place: where.
        before: 1 x 3 x h x w, what the generator makes of the picture.
        after: what it makes of the changed codes.
        mask: 1 x 1 x H x W in [0, 1].
        seamless: what the change does around the mask (skin turns paler with a laugh), or with `whole` how the likeness
            differs from the picture there, is carried into it smoothly and taken off, so that no border shows: Perez et
            al. 2003, equation 8.
        whole: `after` itself, not its difference from `before`: the generator's likeness with its faults, and nothing
            of what was there.
    """
    values = after if whole else after - before
    if mask is not None and seamless:  # at the generator's size: a membrane of a photograph takes a minute
        size = (values.shape[2], values.shape[3])
        within = cut(mask, place, size) > FAINT
        if not bool(within.all()):
            excess = values - cut(picture, place, size) if whole else values
            values = values - membrane(excess, within, SWEEPS)
    if isinstance(place, Frame):
        rows, columns, inside = footprint(place, (picture.shape[2], picture.shape[3]))
        if not inside.numel():
            return picture.clone()
        amount, fitted = feather(inside, EDGE), laid(values, place, inside, signed=not whole)
    else:
        x, y, w, h = place
        rows, columns, amount = slice(y, y + h), slice(x, x + w), _window(picture.shape[-2:], place)
        fitted = resize(values, h, w) if whole else resize_signed(values, h, w)
    part = picture[..., rows, columns]
    if mask is not None:
        amount = amount * mask[..., rows, columns]
    changed = torch.lerp(part, fitted, amount) if whole else part + amount * fitted
    out = picture.clone()
    out[..., rows, columns] = torch.where(amount > 0, changed.clamp(0, 1), part)
    return out


def _window(size: "torch.Size | tuple[int, int]", box: Box) -> Tensor:
    """1 x 1 x h x w: 1 in the box, falling to 0 at those of its borders that lie inside the picture."""
    x, y, w, h = box
    reach = max(1.0, EDGE * min(w, h))

    def line(length: int, low: bool, high: bool) -> Tensor:
        place = torch.arange(length) + 0.5
        first = (place / reach).clamp(max=1) if low else torch.ones(length)
        last = ((length - place) / reach).clamp(max=1) if high else torch.ones(length)
        return first * last

    down = line(h, y > 0, y + h < size[-2])
    across = line(w, x > 0, x + w < size[-1])
    return torch.outer(down, across)[None, None]
