"""What every verb gives back: the picture it made, how it was made, and how it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.picture.icc import unit
from sfumato.picture.io import Picture, check_output, write_picture
from sfumato.picture.record import new_record

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, eq=False)
class Result:
    """A picture that a verb made, and how."""

    pixels: NDArray[Any]
    """H x W x 3, sRGB: float32 in [0, 1], or full-range integers of a very large picture."""
    source: Picture
    """The picture that was worked on, whose alpha, profile and depth the file gets."""
    record: dict[str, Any]
    """Settings with everything automatic resolved, seed, versions, hashes of inputs and weights."""
    inputs: Sequence[Picture] = ()
    """All that was read: no output replaces one of them."""
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    """What was found on the way, by name, H x W in [0, 1]: the marks that were filled."""
    notes: tuple[str, ...] = ()
    """What the user should hear."""

    @property
    def rgb(self) -> NDArray[np.float32]:
        """H x W x 3, sRGB, [0, 1]."""
        return floats(self.pixels)

    @property
    def tensor(self) -> Tensor:
        """1 x 3 x H x W in [0, 1]."""
        return torch.from_numpy(self.rgb).permute(2, 0, 1)[None]

    @property
    def image(self) -> "Image.Image":
        """An 8-bit Pillow picture."""
        from PIL import Image

        return Image.fromarray(np.rint(self.rgb * 255).astype(np.uint8))

    def save(self, path: str | Path) -> None:
        """Write the picture with its record, whole or not at all. Raises `InputError`, also for an input's path."""
        check_output(path, self.inputs or [self.source], self.pixels.shape[:2])
        write_picture(path, self.pixels, like=self.source, record=self.record)


def floats(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Pixels as float32 in [0, 1]; themselves where they are."""
    return pixels if pixels.dtype == np.float32 else unit(pixels)


def tensor_of(picture: Picture) -> Tensor:
    """1 x 3 x H x W in [0, 1], contiguous."""
    return torch.from_numpy(picture.rgb).permute(2, 0, 1)[None].contiguous()


def within(changed: Tensor, original: Tensor, mask: Tensor) -> Tensor:
    """`changed` where `mask` (1 x 1 x H x W in [0, 1]) is 1, `original` where it is 0: to the bit, both."""
    return torch.where(mask >= 1, changed, torch.where(mask <= 0, original, torch.lerp(original, changed, mask)))


def finished(
    verb: str,
    source: Picture,
    changed: Tensor,
    *,
    settings: Mapping[str, Any],
    weights: Mapping[str, str],
    inputs: Sequence[Picture] = (),
    maps: Mapping[str, Tensor] | None = None,
    notes: Sequence[str] = (),
    **extra: Any,
) -> Result:
    """The result of a verb.

    Args:
        verb: its name.
        source: the picture that was worked on.
        changed: 1 x 3 x H x W in [0, 1].
        settings: options with everything automatic resolved.
        weights: {model: sha256} of the networks used.
        inputs: all pictures read, the source among them; the source alone where left out.
        maps: as `Result.maps`.
        notes: as `Result.notes`.
        extra: further entries of the record.
    """
    read = list(inputs) or [source]
    rgb = np.ascontiguousarray(changed[0].permute(1, 2, 0).clamp(0, 1).numpy())
    record = new_record(verb, dict(settings), read, dict(weights), **extra)
    return Result(rgb, source, record, read, dict(maps or {}), tuple(notes))
