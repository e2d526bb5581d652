"""The verb `segment`: what is where in a picture. Torch comes with the work.

from sfumato.segment import segment
segment("photo.jpg", output="regions.png").regions.shares
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.errors import InputError, checked
from sfumato.segment.options import SegmentOptions

if TYPE_CHECKING:
    from sfumato.models.predictor import Predictor, load_predictor
    from sfumato.picture.io import Picture, Source
    from sfumato.picture.label_maps import Color
    from sfumato.picture.regions import Regions
    from sfumato.segment.work import segmented

__all__ = ["DEFAULT", "SegmentOptions", "Segmented", "Segmenter", "load_predictor", "segment", "segmented"]

Model = str | os.PathLike[str]
DEFAULT = "scene"
"""The bundled model."""


@dataclass(frozen=True, eq=False)
class Segmented:
    """A picture, its regions, and how they were found."""

    picture: "Picture"
    regions: "Regions"
    """At the picture's size, soft, with the classes' names; only classes that occur."""
    confidence: float
    """Mean chance of the likeliest class, in [0, 1]."""
    classes: tuple[str, ...]
    """All that the model knows, in the order of their labels."""
    colors: "tuple[Color, ...]"
    """One a class."""
    record: dict[str, Any]

    @property
    def labels(self) -> Any:
        """H x W numbers of the likeliest class in `classes`, a tensor of whole numbers."""
        import torch

        numbers = torch.tensor([self.classes.index(name) for name in self.regions.names])
        return numbers[self.regions.labels]

    def save(self, output: Model) -> list[Path]:
        """The label map where `output` names a PNG; else a folder with it, the overlay, and a soft mask a class.

        In the folder: NAME-regions.png, NAME-overlay.png, NAME-masks/CLASS.png, by the picture's name. Returns the
        paths. Raises `InputError` for a path that cannot be written or is the picture's own.
        """
        from sfumato.picture.io import check_output, write_picture
        from sfumato.picture.label_files import label_map_name, write_label_map
        from sfumato.picture.overlay import overlay

        target, name = Path(output), self.picture.path or Path("picture")
        alone = bool(target.suffix) and not target.is_dir()
        first = target if alone else target / label_map_name(name)
        check_output(first, [self.picture])
        write_label_map(first, self.labels, self.classes, self.colors, self.record)
        if alone:
            return [first]
        written = [first, target / f"{name.stem}-overlay.png"]
        colors = dict(zip(self.classes, self.colors, strict=True))
        write_picture(written[1], overlay_array(overlay(self.picture.rgb, self.regions, colors)), record=self.record)
        for k, region in enumerate(self.regions.names):
            written.append(target / f"{name.stem}-masks" / f"{file_name(region)}.png")
            mask = self.regions.weights[k].expand(3, -1, -1)
            write_picture(written[-1], mask, record={**self.record, "region": region})
        return written


class Segmenter:
    """A model ready for many pictures."""

    def __init__(self, model: Model | None = None, **given: Any) -> None:
        """Arguments as `segment`. Raises `InputError`."""
        self.options = checked(SegmentOptions, given)
        from sfumato.device import choose_device
        from sfumato.models.predictor import load_predictor
        from sfumato.weights.registry import entries

        if model is None and DEFAULT not in entries():
            raise InputError("this version bundles no segmenter: say which with --model, a file of weights or a run")
        self.model = DEFAULT if model is None else model
        self.predictor: Predictor
        self.predictor, self.sha256 = load_predictor(self.model, choose_device(self.options.device))

    def __call__(self, source: "Source") -> Segmented:
        """The regions of one picture, as `read_picture` takes it. Raises `InputError`."""
        import torch

        from sfumato.picture.io import read_picture
        from sfumato.picture.record import new_record
        from sfumato.segment.work import segmented

        picture, o = read_picture(source), self.options
        rgb = torch.from_numpy(picture.rgb).permute(2, 0, 1)[None]
        regions, confidence = segmented(self.predictor, rgb, size=o.size, radius=o.radius)
        settings = {**asdict(o), "model": os.fspath(self.model)}
        record = new_record("segment", settings, [picture], {os.fspath(self.model): self.sha256})
        return Segmented(picture, regions, confidence, self.predictor.classes, self.predictor.colors, record)


def segment(picture: "Source", *, model: Model | None = None, output: Model | None = None, **given: Any) -> Segmented:
    """The regions of a picture: what is sky, water, a person.

    Args:
        picture: whatever `read_picture` takes.
        model: a bundled model's name, a file of weights or the folder of a training run; the bundled one if left out.
        output: a PNG to write the label map to, or a folder for that, an overlay and masks.
        given: fields of `SegmentOptions` by name.

    Raises:
        InputError: whatever cannot be used, in one sentence.
    """
    found = Segmenter(model, **given)(picture)
    if output is not None:
        found.save(output)
    return found


def overlay_array(image: Any) -> Any:
    """Pillow's picture as an array H x W x 3."""
    import numpy as np

    return np.asarray(image.convert("RGB"))


def file_name(region: str) -> str:
    """A class's name as a file's: letters, digits, dots and dashes as they are, the rest as _."""
    kept = "".join(c if c.isalnum() or c in ".-" else "_" for c in region)
    return kept.lstrip(".") or "_"


def legend(names: Sequence[str], shares: Sequence[float]) -> str:
    """A line for people: sky 41 %, water 30 %, ..., the largest first."""
    rows = sorted(zip(shares, names, strict=True), reverse=True)
    return ", ".join(f"{name} {100 * share:.0f} %" for share, name in rows)


def __getattr__(name: str) -> Any:
    homes = {"load_predictor": "sfumato.models.predictor", "segmented": "sfumato.segment.work"}
    if name not in homes:
        raise AttributeError(f"module 'sfumato.segment' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(homes[name]), name)
