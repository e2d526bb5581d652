"""Every option of `translate`, declared once: Python keyword, command-line option and entry in the record."""

from dataclasses import dataclass
from typing import Literal

from sfumato.errors import InputError
from sfumato.memory import parse_bytes


@dataclass(frozen=True)
class TranslateOptions:
    """What of a picture is translated, which way, and how large."""

    reverse: bool = False
    """The way back: what was the target is what is given. One-sided models have none."""
    size: int | Literal["original"] = "original"
    """Short side of the result in pixels (a smaller picture is not enlarged), or `original`. Models were trained on
    small pictures: at a size near theirs the changes are large and bold, at a larger one fine."""
    only: tuple[str, ...] = ()
    """Translate these and nothing else: classes such as `sky`, or masks, white inside."""
    except_: tuple[str, ...] = ()
    """Leave these as they are: classes such as `person`, or masks, white inside."""
    segmenter: str = "scene"
    """Network that names the parts of a picture: a bundled one, a file of weights, or the folder of a training run."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    tile: int | None = None
    """Side in pixels of the tiles that large pictures are worked in; chosen from `max_memory` when left out."""
    max_memory: str = "auto"
    """Memory that the process may take, such as 2GiB; larger pictures are worked in tiles, with the same result."""

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""
        for name, low, high in (("size", 8, 65536), ("tile", 16, 65536)):
            value = getattr(self, name)
            if value == "original" or (value is None and name == "tile"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                also = " or 'original'" if name == "size" else ""
                raise InputError(f"{name} must be a whole number between {low} and {high}{also}, not {value!r}")
        if not isinstance(self.reverse, bool):
            raise InputError(f"reverse must be true or false, not {self.reverse!r}")
        if self.max_memory != "auto":
            parse_bytes(self.max_memory)
