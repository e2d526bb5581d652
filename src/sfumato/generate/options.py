"""Every option of `generate`, declared once: Python keyword, command-line option and entry in the record."""

import math
from dataclasses import dataclass

from sfumato.errors import InputError


@dataclass(frozen=True)
class GenerateOptions:
    """Which pictures to make."""

    count: int = 64
    """Pictures, of the seeds `seed`, `seed` + 1 and so on; a seed's picture is the same however many there are."""
    seed: int = 1
    """Seed of the first picture."""
    truncation: float = 1.0
    """Below 1 gives up variety for quality."""
    class_: str = ""
    """Name or number of the class to show, where the model knows classes; `all` shows every seed in all of them."""
    columns: int = 0
    """Pictures side by side on the sheet; 0 makes it about square."""
    scale: int = 1
    """Times that every pixel is repeated."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""
        ranges = {"count": (1, 100_000), "seed": (0, 2**31 - 1), "columns": (0, 1000), "scale": (1, 64)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InputError(f"{name} must be a whole number between {low} and {high}, not {value!r}")
        if not isinstance(self.truncation, int | float) or not math.isfinite(self.truncation):
            raise InputError(f"truncation must be a number, not {self.truncation!r}")
        if not 0 <= self.truncation <= 2:
            raise InputError(f"truncation must be between 0 and 2, not {self.truncation:g}")
