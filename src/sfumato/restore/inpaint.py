"""Holes filled and objects removed: what a mask or a class names is painted over with what could be behind it.

from sfumato.restore.inpaint import inpaint
inpaint("photo.jpg", only=("person",)).save("alone.png")
"""

import math
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sfumato.errors import InputError, checked, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.picture.io import Picture, Source
    from sfumato.picture.result import Result
    from sfumato.restore.fill import Network

DEFAULT = "inpainter"
"""The bundled model."""
GROWN = 0.012
"""How far a class's region is grown, as a share of the picture's short side: shadows, hair, soft edges."""


@dataclass(frozen=True)
class InpaintOptions:
    """What to fill, and how."""

    only: tuple[str, ...] = ()
    """What to remove: classes (person, car) that the segmenter names, or masks."""
    except_: tuple[str, ...] = field(default=(), metadata={"name": "except"})
    """What of it to keep: classes or masks."""
    grow: int | None = None
    """Pixels by which the hole is grown; where left out 1.2 % of the short side for classes, none for masks."""
    method: Literal["auto", "network", "exemplar", "smooth"] = "auto"
    """`network`: a trained inpainter; `exemplar`: thin holes closed as a plate would, deep ones with patches of the
    picture itself; `smooth`: deep ones without any detail; `auto`: the network where the version bundles one or --model
    gives one, else exemplar."""
    segmenter: str = "scene"
    """A segmenter for `only`: a bundled name, a file of weights, a training run."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""
        methods = ("auto", "network", "exemplar", "smooth")
        if self.method not in methods:
            raise unknown("method", self.method, methods)
        wrong = isinstance(self.grow, bool) or not isinstance(self.grow, int) or not 0 <= self.grow <= 4096
        if self.grow is not None and wrong:
            raise InputError(f"grow must be a whole number between 0 and 4096, not {self.grow!r}")


class Inpainter:
    """A model ready for many pictures."""

    def __init__(self, model: str | os.PathLike[str] | None = None, **given: Any) -> None:
        """Arguments as `inpaint`. Raises `InputError`."""
        self.options = checked(InpaintOptions, given)
        from sfumato.device import choose_device
        from sfumato.segment.lazy import Segmenter
        from sfumato.weights.registry import entries

        self.weights: dict[str, str] = {}
        self.network: Network | None = None
        bundled = DEFAULT in entries()
        method = self.options.method
        if method == "auto":
            method = "network" if bundled or model is not None else "exemplar"
        if method == "network":
            if model is None and not bundled:
                raise InputError("this version bundles no inpainter: say which with --model, or --method exemplar")
            from sfumato.models.inpainter import Filler

            name = os.fspath(DEFAULT if model is None else model)
            self.network, self.weights[name] = Filler.load(name, choose_device(self.options.device))
        elif model is not None:
            raise InputError(f"a model was given, but --method {method} uses none")
        self.options = replace(self.options, method=method)
        self.segmenter = Segmenter(self.options.segmenter, choose_device(self.options.device))

    def __call__(self, source: "Source", mask: "Source | None" = None) -> "Result":
        """One picture, filled. Raises `InputError`."""
        from sfumato.picture.io import read_picture
        from sfumato.picture.result import finished, tensor_of
        from sfumato.restore.fill import filled

        picture, o = read_picture(source), self.options
        rgb, read = tensor_of(picture), [picture]
        hole = self._hole(picture, rgb, mask, read)
        changed = filled(self.network, rgb, hole, smooth=o.method == "smooth")
        grow = o.grow if o.grow is not None else self._growth(picture, mask)
        return finished(
            "inpaint",
            picture,
            changed,
            settings={**asdict(o), "grow": grow},
            weights={**self.weights, **self.segmenter.weights},
            inputs=read,
            maps={"hole": hole[0, 0]},
        )

    def _hole(self, picture: "Picture", rgb: "Tensor", mask: "Source | None", read: "list[Picture]") -> "Tensor":
        """1 x 1 x H x W of 0 and 1. Raises `InputError` where nothing or everything would be filled."""
        import torch

        from sfumato.picture.io import read_picture
        from sfumato.segment.where import selected

        o = self.options
        if (mask is None) == (not o.only):
            raise InputError("say what to fill: a mask, or --only with a class or masks, one of the two")
        hole = torch.ones(1, 1, picture.height, picture.width)
        if mask is not None:
            read.append(read_picture(mask))
            hole = mask_of(read[-1], picture)
        if o.only or o.except_:
            size = (picture.height, picture.width)
            chosen, more = selected(o.only, o.except_, size, lambda: self.segmenter(rgb).regions, picture.name)
            read += more
            hole = torch.minimum(hole, (chosen > 0.5).float())
        hole = grown(hole, o.grow if o.grow is not None else self._growth(picture, mask))
        if o.except_:  # what is to be kept is kept from the growth too
            kept, _ = selected((), o.except_, size, lambda: self.segmenter(rgb).regions, picture.name)
            hole = torch.minimum(hole, (kept > 0.5).float())
        if not bool(hole.any()):
            raise InputError(f"nothing of {picture.name!r} is to be filled")
        if bool(hole.all()):
            raise InputError(f"all of {picture.name!r} would be filled: nothing is left to fill it from")
        return hole

    def _growth(self, picture: "Picture", mask: "Source | None") -> int:
        return 0 if mask is not None else math.ceil(GROWN * min(picture.height, picture.width))


def inpaint(
    picture: "Source",
    *,
    mask: "Source | None" = None,
    model: str | os.PathLike[str] | None = None,
    output: str | Path | None = None,
    **given: Any,
) -> "Result":
    """A picture with its holes filled; pixels outside them are as they were.

    Args:
        picture: whatever `read_picture` takes.
        mask: white where the picture is to be filled, of its size; or give `only`.
        model: a bundled model's name, a file of weights or the folder of a training run; the bundled one if left out.
        output: a file to write.
        given: fields of `InpaintOptions` by name.

    Raises:
        InputError: whatever cannot be used, in one sentence.
    """
    done = Inpainter(model, **given)(picture, mask)
    if output is not None:
        done.save(output)
    return done


def mask_of(mask: "Picture", picture: "Picture") -> "Tensor":
    """1 x 1 x H x W of 0 and 1. Raises `InputError` for another size, all black or all white."""
    from sfumato.picture.masks import read_mask

    if (mask.height, mask.width) != (picture.height, picture.width):
        raise InputError(
            f"the mask {mask.name!r} is {mask.width} x {mask.height} pixels, but {picture.name!r} is "
            f"{picture.width} x {picture.height}: they must be of one size"
        )
    hole = (read_mask(mask, (picture.height, picture.width))[0] > 0.5).float()
    if not bool(hole.any()):
        raise InputError(f"the mask {mask.name!r} is dark all over: white is what is to be filled")
    if bool(hole.all()):
        raise InputError(f"the mask {mask.name!r} is white all over: nothing is left to fill the hole from")
    return hole


def grown(hole: "Tensor", pixels: int) -> "Tensor":
    """The hole and whatever lies within so many pixels of it."""
    import torch
    from scipy.ndimage import distance_transform_edt

    if pixels == 0 or not bool(hole.any()):
        return hole
    return torch.from_numpy(distance_transform_edt(hole[0, 0].numpy() < 0.5) <= pixels)[None, None].float()
