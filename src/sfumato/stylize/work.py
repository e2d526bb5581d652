"""Everything around a method: reading, sizes, masks, colours, strength, the result and its record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.features.sources import load_features
from sfumato.picture.io import Picture, Source, check_output, read_picture, write_picture
from sfumato.picture.masks import feather, read_mask
from sfumato.picture.record import new_record, read_record
from sfumato.picture.resize import fit_short_side, resize
from sfumato.style.recolor import keep_luminance, match_color
from sfumato.stylize.device import choose_device, choose_precision
from sfumato.stylize.memory import allowed
from sfumato.stylize.optimise import Iterate, Optimisation, Style, pyramid
from sfumato.stylize.options import StylizeOptions

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, eq=False)
class Stylized:
    """A stylized picture and how it was made."""

    rgb: NDArray[np.float32]
    """H x W x 3, sRGB, [0, 1]."""
    source: Picture
    """The content picture, whose alpha, profile and depth the file gets."""
    record: dict[str, Any]
    """Settings, seed, steps made, versions, hashes of inputs and weights."""

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
        """Write the picture with its record, whole or not at all. Raises `InputError`."""
        write_picture(path, self.rgb, like=self.source, record=self.record)


class Stylizing:
    """One picture being stylized: iterate over it, ask for `result()` at any moment.

    After a NaN (`DivergedError` is raised while iterating) or an interruption, `result()` is the best picture so far.
    """

    def __init__(
        self, source: Picture, styles: Sequence[Picture], options: StylizeOptions, notes: Sequence[str]
    ) -> None:
        self.source, self.styles, self.options, self.notes = source, styles, options, list(notes)
        self.inputs: list[Picture] = [source, *styles]
        self.work: Optimisation | None = None
        self.network: FeatureNetwork | None = None
        self.content: Tensor
        self.mask: Tensor | None = None
        self.parts: list[Style] = []

    @classmethod
    def prepare(
        cls,
        content: Source,
        styles: Source | Sequence[Source],
        mask: Source | None,
        style_masks: Sequence[Source | None],
        like: str | Path | None,
        options: StylizeOptions | None,
        given: Mapping[str, Any],
    ) -> "Stylizing":
        """Read and check everything, before any long work."""
        options = gathered(like, options, given)
        source = read_picture(content)
        read = [read_picture(s) for s in (styles if isinstance(styles, list | tuple) else [styles])]
        if not read:
            raise InputError("no style picture was given")
        if options.style_weights and len(options.style_weights) != len(read):
            raise InputError(f"{len(options.style_weights)} style_weights for {len(read)} styles")
        if style_masks and len(style_masks) != len(read):
            raise InputError(f"{len(style_masks)} style masks for {len(read)} styles")
        self = cls(source, read, options, [])
        device = choose_device(options.device)
        height, width = source.height, source.width
        if options.size != "original" and options.size < min(height, width):
            height, width = fit_short_side(height, width, options.size)
        if like is not None:
            self.options = options = adapted(options, read_record(like), source, (height, width), given)
        self.content = _tensor(source, (height, width)).to(device)
        if mask is not None:
            self.mask = feather(self._mask(mask, (height, width), source.name), options.feather).to(device)
        weights = options.style_weights or (1.0,) * len(read)
        tensors = [_tensor(s).to(device) for s in read]
        masks = [
            None if m is None else self._mask(m, (s.height, s.width), s.name).to(device)
            for m, s in zip(style_masks or [None] * len(read), read, strict=True)
        ]
        if options.keep_color == "match":
            tensors = [match_color(t, self.content, self.mask) for t in tensors]
        self.parts = [Style(t, m, w) for t, m, w in zip(tensors, masks, weights, strict=True)]
        if options.transfer == "style" and options.strength > 0:
            self.network = load_features(options.features, pooling=options.pooling, padding=options.padding)
            self.network = self.network.to(device, choose_precision(options.precision, device))
            self.work = Optimisation(
                self.network, self.content, self.parts, self.mask, options, allowed(options.max_memory)
            )
        return self

    def _mask(self, source: Source, size: tuple[int, int], name: str) -> Tensor:
        picture = read_picture(source)
        self.inputs.append(picture)
        mask, resized = read_mask(picture, size)
        if resized:
            change = f"{picture.width} x {picture.height} to {size[1]} x {size[0]}"
            self.notes.append(f"mask {picture.name} resized from {change} pixels for {name}")
        return mask

    def check_output(self, path: str | Path) -> None:
        """Say now, not after the work, that `path` cannot be written. Raises `InputError`."""
        check_output(path, self.inputs, tuple(self.content.shape[2:]))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Iterate]:
        if self.work is not None:
            yield from self.work

    def result(self) -> Stylized:
        """The picture as it stands: the last one after the iteration, before that the best so far."""
        options, content = self.options, self.content
        if self.work is None:
            picture = self._recolored() if options.transfer == "color" else content
        else:
            picture = self.work.picture()
        if options.keep_color == "luminance":
            picture = keep_luminance(picture, content)
        if self.mask is not None:  # exact outside the mask, soft at its edge
            picture = torch.where(self.mask > 0, content + self.mask * (picture - content), content)
        rgb = np.ascontiguousarray(picture[0].permute(1, 2, 0).float().cpu().numpy())
        return Stylized(rgb, self.source, self._record())

    def _recolored(self) -> Tensor:
        """Colours alone: the content with the styles' mean and covariance of colours."""
        total = sum(p.share for p in self.parts)
        moved = sum((p.share / total) * match_color(self.content, p.picture, p.mask, self.mask) for p in self.parts)
        return self.content + self.options.strength * (moved - self.content)

    def _record(self) -> dict[str, Any]:
        made = self.work.made if self.work is not None else []
        settings = asdict(self.options)
        if self.work is not None and made:
            schedule = made + [0] * (len(self.work.scales) - len(made))
            settings |= {"tile": self.work.tile, "schedule": schedule, "time_budget": None}
        weights = {} if self.network is None else {self.network.name: self.network.sha256}
        return new_record("stylize", settings, self.inputs, weights, steps=sum(made), styles=len(self.styles))


def gathered(like: str | Path | None, options: StylizeOptions | None, given: Mapping[str, Any]) -> StylizeOptions:
    """Options from a record, an options object or a preset, with the given ones on top."""
    if like is not None and options is not None:
        raise InputError("give options or like, not both")
    if like is not None:
        record = read_record(like)
        if record.get("verb") != "stylize":
            raise InputError(f"{str(like)!r} was made by {record.get('verb')!r}, not by stylize")
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in record.get("settings", {}).items()}
        return StylizeOptions.of(**{**settings, **given})
    if options is not None:
        options = replace(options, **given)
        options.check()
        return options
    return StylizeOptions.of(**given)


def adapted(
    options: StylizeOptions, record: dict[str, Any], source: Picture, size: tuple[int, int], given: Mapping[str, Any]
) -> StylizeOptions:
    """A record's options for another photograph: the tile and the steps that fitted only the one it was made of go."""
    inputs = record.get("inputs") or [{}]
    if inputs[0].get("sha256") != source.sha256 and "tile" not in given:
        options = replace(options, tile=None)
    plain = replace(options, schedule=())
    if options.schedule and "schedule" not in given and len(pyramid(*size, plain)) != len(options.schedule):
        return plain
    return options


def _tensor(picture: Picture, size: tuple[int, int] | None = None) -> Tensor:
    tensor = torch.from_numpy(picture.rgb).permute(2, 0, 1)[None]
    return resize(tensor, *size) if size is not None else tensor
