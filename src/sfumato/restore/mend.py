"""An old photograph made good: scratches found and filled, noise taken away, fading undone, colours if wanted.

from sfumato.restore import restore
restore("old.jpg", color=True).save("new.png")
"""

import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.errors import InputError, checked
from sfumato.restore.denoise import Denoising, check_share

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.models.blemishes import Finder
    from sfumato.models.colorizer import Colorist
    from sfumato.picture.io import Source
    from sfumato.picture.result import Result
    from sfumato.restore.fill import Network

FINDER, DENOISER, INPAINTER, COLORIZER = "blemishes", "denoiser", "inpainter", "colorizer"
"""The bundled models."""
TOO_MUCH = 0.5
"""Share of a picture above which what is found cannot be scratches."""
THICKEST = 0.03
"""Radius of a scratch at most, as a share of the short side: what is thicker may be a white collar."""
MOSTLY = 0.5
"""Share of a connected part in thick places from which all of it is left alone."""
SCALES = (1, 2)
"""Looks at the picture, whose chances are averaged: enlarged, fine cracks are found, and collars are none."""
GROWN = 0.003
"""How far marks are grown, as a share of the short side: their edges are soft."""


@dataclass(frozen=True)
class RestoreOptions:
    """Which steps to make, and how far to go."""

    scratches: bool = True
    """Find scratches, cracks and spots, and fill them."""
    noise: float = 1.0
    """Strength with which noise and the blocks of JPEG are taken away; 0 leaves them."""
    fading: float = 1.0
    """How far contrast and balance are brought back; 0 leaves them."""
    color: bool = False
    """Colour the picture: for black-and-white ones."""
    threshold: float = 0.4
    """Chance from which a pixel counts as scratched; lower finds more."""
    size: int = 512
    """Short side in pixels at which scratches are looked for, at most."""
    finder: str | None = None
    """What finds scratches: a bundled name, a file of weights, a training run."""
    denoiser: str | None = None
    """What takes noise away, likewise."""
    inpainter: str | None = None
    """What fills, likewise; without one holes are filled smoothly."""
    colorizer: str | None = None
    """What colours, likewise."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""
        check_share("noise", self.noise, 4)
        check_share("fading", self.fading, 1)
        check_share("threshold", self.threshold, 1)
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not 64 <= self.size <= 8192:
            raise InputError(f"size must be a whole number between 64 and 8192, not {self.size!r}")


class Restorer:
    """Models ready for many pictures."""

    def __init__(self, **given: Any) -> None:
        """Arguments as `restore`. Raises `InputError`."""
        o = checked(RestoreOptions, given)
        from sfumato.device import choose_device
        from sfumato.weights.registry import entries

        bundled, device = entries(), choose_device(o.device)
        self.weights: dict[str, str] = {}
        self.notes: list[str] = []
        self.finder: Finder | None = None
        self.network: Network | None = None
        self.denoising: Denoising | None = None
        self.colorist: Colorist | None = None

        def chosen(name: str | None, default: str) -> str | None:
            return name if name is not None else default if default in bundled else None

        if o.scratches:
            if finder := chosen(o.finder, FINDER):
                from sfumato.models import blemishes

                self.finder, self.weights[finder] = blemishes.Finder.load(finder, device)
            else:
                self.notes.append("this version bundles nothing that finds scratches: show them with --mask")
            o = replace(o, finder=finder)
        if inpainter := chosen(o.inpainter, INPAINTER):  # masks are filled without scratches too
            from sfumato.models.inpainter import Filler

            self.network, self.weights[inpainter] = Filler.load(inpainter, device)
            o = replace(o, inpainter=inpainter)
        if o.noise > 0:
            if denoiser := chosen(o.denoiser, DENOISER):
                self.denoising = Denoising(denoiser, strength=o.noise, device=o.device)
                self.weights[denoiser] = self.denoising.sha256
            else:
                self.notes.append("this version bundles no denoiser: noise stays, or give --denoiser")
            o = replace(o, denoiser=denoiser)
        if o.color:
            colorizer = chosen(o.colorizer, COLORIZER)
            if colorizer is None:
                raise InputError("this version bundles no colorizer: say which with --colorizer, a file or a run")
            from sfumato.models import colorizer as colorists

            self.colorist, self.weights[colorizer] = colorists.Colorist.load(colorizer, device)
            o = replace(o, colorizer=colorizer)
        self.options = o

    def __call__(self, source: "Source", mask: "Source | None" = None) -> "Result":
        """One photograph, made good. Raises `InputError`."""
        from sfumato.picture.io import read_picture
        from sfumato.picture.result import finished, tensor_of
        from sfumato.restore.colorize import colored, has_colors
        from sfumato.restore.fading import unfaded
        from sfumato.restore.fill import filled
        from sfumato.restore.inpaint import mask_of

        picture, o = read_picture(source), self.options
        rgb, read, notes = tensor_of(picture), [picture], list(self.notes)
        marks = self.found(rgb, notes)
        if mask is not None:
            read.append(read_picture(mask))
            marks = marks.maximum(mask_of(read[-1], picture))
        changed = rgb
        if bool(marks.any()) and not bool(marks.all()):
            changed = filled(self.network, changed, marks)
        if self.denoising is not None:
            changed = self.denoising.work(changed)
        if o.fading > 0:
            changed = unfaded(changed, float(o.fading), marks)
        if self.colorist is not None:
            if has_colors(rgb):
                notes.append("it had colours, which were replaced")
            changed = colored(self.colorist, changed)
        share = float(marks.mean())
        return finished(
            "restore",
            picture,
            changed,
            settings=asdict(o),
            weights=self.weights,
            inputs=read,
            maps={"marks": marks[0, 0]},
            notes=notes,
            scratched=round(share, 4),
        )

    def found(self, rgb: "Tensor", notes: list[str]) -> "Tensor":
        """1 x 1 x H x W of 0 and 1: what is scratched; what is wrong with that goes into `notes`."""
        import torch

        from sfumato.picture.resize import fit_short_side, resize
        from sfumato.restore.inpaint import grown

        height, width = rgb.shape[2:]
        if self.finder is None:
            return torch.zeros(1, 1, height, width)
        side = min(self.options.size, height, width)
        looks = [fit_short_side(height, width, scale * side) for scale in SCALES]
        seen = [resize(self.finder.find(resize(rgb, *look)), height, width) for look in looks]
        chance = torch.stack(seen).mean(0)
        marks = thin(chance > self.options.threshold, THICKEST * min(height, width))
        if float(marks.mean()) > TOO_MUCH:
            notes.append("most of it looks scratched, which cannot be: nothing was filled")
            return torch.zeros_like(marks)
        return grown(marks, math.ceil(GROWN * min(height, width)))


def thin(marks: "Tensor", radius: float) -> "Tensor":
    """1 x 1 x H x W marks as 0 and 1, without discs of more than `radius` pixels that fit in, nor what is mostly such.

    A crack that runs into a torn corner stays; a collar goes with its rim.
    """
    import numpy as np
    import torch
    from scipy import ndimage

    found = marks[0, 0].numpy() > 0
    core = ndimage.distance_transform_edt(found) > radius
    thick = found & (ndimage.distance_transform_edt(~core) <= radius) if core.any() else core
    parts, count = ndimage.label(found, np.ones((3, 3)))
    share = np.asarray(ndimage.mean(thick, parts, np.arange(count + 1)))
    kept = found & ~thick & (share < MOSTLY)[parts]
    return torch.from_numpy(kept.astype(np.float32))[None, None]


def restore(
    picture: "Source",
    *,
    mask: "Source | None" = None,
    output: str | Path | None = None,
    explain: str | os.PathLike[str] | None = None,
    **given: Any,
) -> "Result":
    """An old photograph made good: every step of `RestoreOptions` that is not switched off, in their order.

    Args:
        picture: whatever `read_picture` takes.
        mask: white where the picture is to be filled as well, of its size.
        output: a file to write.
        explain: a file for the scratches that were filled, white on black.
        given: fields of `RestoreOptions` by name.

    Raises:
        InputError: whatever cannot be used, in one sentence.
    """
    check_apart(output, explain)
    done = Restorer(**given)(picture, mask)
    if output is not None:
        done.save(output)
    if explain is not None:
        write_marks(done, explain)
    return done


def check_apart(output: str | os.PathLike[str] | None, explain: str | os.PathLike[str] | None) -> None:
    """Raises `InputError` where the result and its marks would be one file."""
    if output is not None and explain is not None and Path(output).resolve() == Path(explain).resolve():
        raise InputError(
            f"the result and its marks cannot both become {os.fspath(output)!r}: give --explain another name"
        )


def write_marks(done: "Result", path: str | os.PathLike[str]) -> None:
    """What was filled, white on black: a mask for `--mask`, to be corrected by hand. Raises `InputError`."""
    from sfumato.picture.io import check_output, write_picture

    check_output(path, done.inputs)
    write_picture(path, done.maps["marks"].expand(3, -1, -1), record={**done.record, "map": "marks"})
