"""Every option of `segment`, declared once: Python keyword, command-line option and entry in the record."""

from dataclasses import dataclass

from sfumato.errors import InputError


@dataclass(frozen=True)
class SegmentOptions:
    """How closely to look."""

    size: int | None = None
    """Short side in pixels at which the network looks at the picture; what it was trained at when left out."""
    radius: int = 4
    """How far edges may move onto the photograph's own, in pixels of what the network looks at; 0 leaves them soft."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""
        ranges = {"size": (16, 4096), "radius": (0, 64)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is None and name == "size":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InputError(f"{name} must be a whole number between {low} and {high}, not {value!r}")
