"""Noise, grain and the blocks of JPEG taken away, as much as a network finds where.

from sfumato.restore.denoise import denoise
denoise("photo.jpg", strength=0.8).save("clean.png")
"""

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.errors import InputError, checked

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.picture.io import Source
    from sfumato.picture.result import Result

DEFAULT = "denoiser"
"""The bundled model."""
GREY = 1.5 / 255
"""Largest difference of the channels of a grey picture, in [0, 1]."""


@dataclass(frozen=True)
class DenoiseOptions:
    """How much to take away."""

    strength: float = 1.0
    """1 takes away the noise that is found, 0.5 half of it; 2 as if there were twice as much; 0 nothing."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""
        check_share("strength", self.strength, 4)


def check_share(name: str, value: Any, most: float) -> None:
    """Raises `InputError` for a value that is no number between 0 and `most`."""
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong or not math.isfinite(value) or not 0 <= value <= most:
        raise InputError(f"{name} must be a number between 0 and {most:g}, not {value!r}")


class Denoising:
    """A model ready for many pictures."""

    def __init__(self, model: str | os.PathLike[str] | None = None, **given: Any) -> None:
        """Arguments as `denoise`. Raises `InputError`."""
        self.options = checked(DenoiseOptions, given)
        from sfumato.device import choose_device
        from sfumato.models.denoiser import Denoiser
        from sfumato.weights.registry import entries

        if model is None and DEFAULT not in entries():
            raise InputError("this version bundles no denoiser: say which with --model, a file of weights or a run")
        self.model = os.fspath(DEFAULT if model is None else model)
        self.denoiser: Denoiser
        self.denoiser, self.sha256 = Denoiser.load(self.model, choose_device(self.options.device))

    def __call__(self, source: "Source", mask: "Source | None" = None) -> "Result":
        """One picture, cleaned. Raises `InputError`."""
        from sfumato.picture.io import read_picture
        from sfumato.picture.masks import read_mask
        from sfumato.picture.result import finished, tensor_of, within

        picture, o = read_picture(source), self.options
        rgb, read, notes = tensor_of(picture), [picture], list[str]()
        changed = self.work(rgb)
        if mask is not None:
            read.append(read_picture(mask))
            where, resized = read_mask(read[-1], (picture.height, picture.width))
            changed = within(changed, rgb, where)
            if resized:
                notes.append(f"the mask {read[-1].name!r} had another size and was resized")
        settings, weights = {**asdict(o), "model": self.model}, {self.model: self.sha256}
        return finished("denoise", picture, changed, settings=settings, weights=weights, inputs=read, notes=notes)

    def work(self, rgb: "Tensor") -> "Tensor":
        """A picture 1 x 3 x H x W in [0, 1], cleaned; a grey one stays grey."""
        from sfumato.picture.color import luminance

        made = self.denoiser.denoise(rgb, float(self.options.strength))
        if float((rgb.amax(1) - rgb.amin(1)).max()) <= GREY and self.options.strength > 0:
            made = luminance(made).expand(-1, 3, -1, -1).contiguous()
        return made


def denoise(
    picture: "Source",
    *,
    mask: "Source | None" = None,
    model: str | os.PathLike[str] | None = None,
    output: str | Path | None = None,
    **given: Any,
) -> "Result":
    """A picture without its noise; its alpha, depth and size stay.

    Args:
        picture: whatever `read_picture` takes.
        mask: white where the picture may change; all of it where left out. Outside, pixels are as they were.
        model: a bundled model's name, a file of weights or the folder of a training run; the bundled one if left out.
        output: a file to write.
        given: fields of `DenoiseOptions` by name.

    Raises:
        InputError: whatever cannot be used, in one sentence.
    """
    done = Denoising(model, **given)(picture, mask)
    if output is not None:
        done.save(output)
    return done
