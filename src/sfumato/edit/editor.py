"""A generator ready to change many pictures: read, inverted, changed in the codes, put back."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sfumato.device import choose_device
from sfumato.edit.align import Frame
from sfumato.edit.directions import Direction, principal, read_directions, sefa, toward_class
from sfumato.edit.faces import Finder, frames
from sfumato.edit.invert import Inversion, Spread, invert, spread
from sfumato.edit.local import channel_offsets, layer_range, mixed, style_deviations, style_readers
from sfumato.edit.options import EditOptions, Inverting, box_of, changes
from sfumato.edit.region import Place, box_in, cut, put_back
from sfumato.errors import InputError, unknown
from sfumato.features import FeatureNetwork
from sfumato.features.sources import load_features
from sfumato.models.encoder import Trained, open_space
from sfumato.models.latent import styled
from sfumato.picture.io import Picture, Source, read_picture
from sfumato.picture.result import Result, finished, tensor_of
from sfumato.segment.lazy import Segmenter
from sfumato.segment.where import selected
from sfumato.weights.registry import entries

if TYPE_CHECKING:
    from sfumato.models.latent import Space

SEEDS = 1000
"""Drawn codes from which deviations and principal axes are taken."""
PAIRS = 3000
"""Pairs of drawn codes from which the way to a class is learnt: a mapping network makes them in a twentieth second."""
NUMBERED = 10
"""Directions of each numbered kind that are listed; more are there."""
FAR = 0.15
"""Share of the mean picture's error above which a reconstruction is no likeness: by the bundled faces, untuned, five
held-out faces have 0.02 to 0.10, an astronaut, a cat and a cup of coffee 0.19 to 0.21."""
FAR_AT_ONCE = 0.55
"""The same of an encoder's codes with no descent after them, which tells less: 60 held-out faces each of `faces` and
`portraits` have up to 0.53 and 0.48; of ten photographs and paintings seven and five have more, and a cat has less."""
GREY = 2 / 255
ENCODER = "-encoder"
"""A bundled generator's name goes before it in its encoder's."""

OnStep = Callable[[int, int, float], None]


class Editor:
    """One generator, its directions, and what inverts pictures for it."""

    def __init__(self, model: str | os.PathLike[str], **given: Any) -> None:
        """`given`: fields of `EditOptions` and `Inverting`. Raises `InputError`."""
        own, inner = ({f.name for f in fields(kind)} for kind in (EditOptions, Inverting))
        for name in given:
            if name not in own | inner:
                raise unknown("option", name, sorted(own | inner))
        self.options = EditOptions(**{k: v for k, v in given.items() if k in own})
        self.inverting = Inverting(**{k: v for k, v in given.items() if k in inner})
        self.options.check()
        self.inverting.check()
        self.name, self.device = os.fspath(model), choose_device(self.options.device)
        self.space: Space
        self.space, self.sha256 = open_space(model, self.device)
        self.weights = {self.name: self.sha256}
        self.encoder: Trained | None = None
        encoder = self.options.encoder
        if encoder is None and f"{self.name}{ENCODER}" in entries():
            encoder = f"{self.name}{ENCODER}"
        if encoder:
            self.encoder = Trained.load(encoder, self.device)
            self.weights[encoder] = self.encoder.sha256
            if self.encoder.config.generator_sha256 != self.sha256:
                raise InputError(f"{encoder}: an encoder of another generator than {self.name}")
        self.segmenter = Segmenter(self.options.segmenter, self.device)
        self._classes = dict[str, Direction]()

    @cached_property
    def features(self) -> FeatureNetwork | None:
        """What judges likeness."""
        o = self.options
        if not o.features or not self.inverting.perceptual:
            return None
        network = load_features(o.features).to(self.device)
        self.weights[o.features] = network.sha256
        return network

    @cached_property
    def spread(self) -> Spread:
        return spread(self.space)

    @cached_property
    def drawn(self) -> Tensor:
        """Codes of `SEEDS` seeds."""
        return self.space.draw(range(SEEDS))

    @cached_property
    def named(self) -> dict[str, Direction]:
        """Those of files."""
        files = [read_directions(path, self.space, self.sha256) for path in self.options.directions]
        return {d.name: d for found in files for d in found}

    @property
    def own(self) -> tuple[str, ...]:
        """Names that are no numbers: classes of the model, where it has several, and directions of files."""
        classes = self.space.classes if len(self.space.classes) > 1 else ()
        return tuple(dict.fromkeys([*classes, *self.named]))

    @property
    def names(self) -> tuple[str, ...]:
        """What `set` knows."""
        most = min(NUMBERED, self.space.width)
        return (*self.own, *(f"{kind}{k}" for kind in ("sefa", "pca") for k in range(1, most + 1)))

    def direction(self, name: str) -> Direction:
        """By its name. Raises `InputError` that lists those that the model has."""
        if name in self.named:
            return self.named[name]
        if name in self.own and name not in self._classes:
            self._classes[name] = toward_class(self.space, name, range(PAIRS))
        if name in self._classes:
            return self._classes[name]
        for kind in ("sefa", "pca"):
            number = name.removeprefix(kind)
            if name.startswith(kind) and number.isdigit() and 1 <= int(number) <= self.space.width:
                return self._numbered(kind, int(number))
        raise InputError(f"{self.name} has no direction {name!r}; it has {', '.join(self.names)}")

    @cached_property
    def finder(self) -> Finder:
        """What finds faces. Raises `InputError` where its packages are missing."""
        found = Finder()
        self.weights[found.name] = found.sha256
        return found

    def places(self, picture: Picture, face: str) -> list[Place]:
        """What is to be edited: the faces asked for, else the box or the largest middle part. Raises `InputError`."""
        if face:
            return [*frames(self.finder(tensor_of(picture)), face, picture.name, self.space.size)]
        return [box_in((picture.height, picture.width), box_of(self.options.box), self.space.size)]

    def place(self, picture: Picture) -> Place:
        """The first of them: of `all` the largest face."""
        return self.places(picture, "1" if self.options.face == "all" else self.options.face)[0]

    def encode(self, source: Source) -> Tensor:
        """Codes 1 x layers x width of a picture, its box or face cut out. Raises `InputError`."""
        picture = read_picture(source)
        return self.inverted(tensor_of(picture), self.place(picture)).codes.clone()

    def decode(self, codes: Tensor) -> Tensor:
        """Pictures N x 3 x H x W in [0, 1] at the generator's size."""
        return self.space.show(codes)

    def inverted(self, rgb: Tensor, place: Place, on_step: OnStep = lambda *_: None) -> Inversion:
        """The codes of one place of a picture 1 x 3 x H x W."""
        part = cut(rgb, place, self.space.size)
        start = None if self.encoder is None else self.encoder.encode(part)
        return invert(self.space, part, self.features, self.inverting, start=start, on_step=on_step)

    def __call__(self, source: Source, on_step: OnStep = lambda *_: None) -> Result:
        """One picture changed. Raises `InputError`."""
        picture, o = read_picture(source), self.options
        if not o.set and o.add is None and not o.mix:
            raise InputError(f"say what to change: --set NAME=STRENGTH, with {', '.join(self.names)}")
        read = [picture]
        mask = self.mask(picture, read)
        self.check(changes(o.set))
        rgb, places = tensor_of(picture), self.places(picture, o.face)
        other = None
        if o.mix:
            read.append(read_picture(o.mix))
            other = self.inverted(tensor_of(read[-1]), self.place(read[-1])).codes
        whole, notes, likeness = rgb, list[str](), list[dict[str, Any]]()
        for place in places:
            found = self.inverted(rgb, place, on_step)
            codes = found.codes if other is None else mixed(found.codes, other, self.layers)
            after = self.changed(found.space, codes, changes(o.set))
            whole = put_back(whole, place, found.pictures, after, mask, whole=o.whole, seamless=o.seamless)
            notes += self.notes(picture, rgb, place, found, mask)
            likeness.append({"place": written(place), "psnr": round(float(found.psnr[0]), 2),
                             "seconds": round(found.seconds, 2)})  # fmt: skip
        box = o.box if o.face else written(places[0])
        return finished(
            "edit",
            picture,
            whole,
            settings={**asdict(o), **asdict(self.inverting), "box": box, "model": self.name},
            weights={**self.weights, **self.segmenter.weights},
            inputs=read,
            notes=list(dict.fromkeys(notes)),
            reconstruction={**min(likeness, key=lambda one: one["psnr"]), **({"faces": likeness} if o.face else {})},
        )

    def strip(self, source: Source, name: str, strengths: Sequence[float]) -> Tensor:
        """A picture with one direction at several strengths: N x 3 x H x W of the place, at the generator's size."""
        self.check({name: 0.0})
        picture = read_picture(source)
        found = self.inverted(tensor_of(picture), self.place(picture))
        return torch.cat([self.changed(found.space, found.codes, {name: s}) for s in strengths])

    def changed(self, space: "Space", codes: Tensor, wanted: Mapping[str, float]) -> Tensor:
        """Pictures of codes N x layers x width after the options' and the `wanted` changes."""
        channels = {k: v for k, v in wanted.items() if ":" in k}
        moved = codes.clone()
        for name, strength in wanted.items():
            if name not in channels:
                moved[:, self.layers] += self.direction(name).at(codes, strength)[:, self.layers]
        if self.options.add is not None:
            moved[:, self.layers] += self.options.add
        with self._channels(space, channels):
            return space.show(moved)

    @property
    def layers(self) -> list[int]:
        """Those that the options name. Raises `InputError`."""
        return list(layer_range(self.options.layers or ":", self.space.layers))

    def check(self, wanted: Mapping[str, float]) -> None:
        """Raises `InputError` for what the model does not have, before any long work."""
        assert self.layers
        for name in wanted:
            if ":" in name:
                self._offsets({name: 0.0})
            else:
                self.direction(name)

    def mask(self, picture: Picture, read: list[Picture]) -> Tensor | None:
        """Where the picture may change; None for everywhere. Raises `InputError`."""
        o, size = self.options, (picture.height, picture.width)
        if not o.only and not o.except_:
            return None
        for entry in (*o.only, *o.except_):
            if Path(entry).is_file():
                other = read_picture(entry)
                if (other.height, other.width) != size:
                    raise InputError(
                        f"the mask {entry!r} is {other.width} x {other.height}, the picture {size[1]} x {size[0]}"
                    )
        rgb = tensor_of(picture)
        found, more = selected(o.only, o.except_, size, lambda: self.segmenter(rgb).regions, picture.name)
        read += more
        return found

    def notes(self, picture: Picture, rgb: Tensor, place: Place, found: Inversion, mask: Tensor | None) -> list[str]:
        """What the user should hear."""
        said, wanted = list[str](), cut(rgb, place, self.space.size)
        mean = self.space.show(self.spread.mean[None])
        # a tuned generator makes anything, and yet knows nothing of how it changes
        error, far = (float((x - wanted).square().mean()) for x in (found.untuned, mean))
        if error > (FAR if self.inverting.steps else FAR_AT_ONCE) * far:
            share, db = 100 * error / max(far, 1e-9), -10 * math.log10(max(error, 1e-10))
            when = "before tuning " if self.inverting.tune else ""
            said.append(
                f"warning: {picture.name} is hardly what this generator makes: {when}its likeness has {db:.1f} dB, "
                f"{share:.0f} % of the mean picture's error; expect little of the edit"
            )
        if float((wanted.amax(1) - wanted.amin(1)).max()) < GREY:
            said.append(f"warning: {picture.name} is grey; the generator makes colours, and a change may bring some")
        tall, wide = place.sides if isinstance(place, Frame) else (place[3], place[2])
        if min(wide, tall) < min(self.space.size) // 2:
            height, width = self.space.size
            said.append(f"warning: {wide:.0f} x {tall:.0f} pixels are few for a model of {width} x {height}")
        if mask is not None and bool((mask >= 1).all()):
            said.append("warning: the mask is white all over, so it keeps nothing")
        return said

    @contextlib.contextmanager
    def _channels(self, space: "Space", wanted: Mapping[str, float]) -> Iterator[None]:
        with styled(space, self._offsets(wanted)) if wanted else contextlib.nullcontext():
            yield

    def _offsets(self, wanted: Mapping[str, float]) -> dict[str, Tensor]:
        """Channels may be named without the ending `.affine`."""
        readers = style_readers(self.space)
        full = {}
        for name, value in wanted.items():
            reader, _, number = name.rpartition(":")
            full[f"{reader if reader in readers else f'{reader}.affine'}:{number}"] = value
        return channel_offsets(self.space, full, style_deviations(self.space, self.drawn))

    def _numbered(self, kind: str, number: int) -> Direction:
        """The k-th of an unsupervised kind, in the layers chosen."""
        if kind == "pca":
            return principal(self.drawn, number)[-1]
        chosen = self.layers if self.options.layers else None
        return sefa(self.space, number, self.spread.deviation, chosen)[-1]


def written(place: Place) -> str:
    """A box as X,Y,W,H; a frame by its corners, X,Y X,Y ... from the upper left downwards."""
    if isinstance(place, Frame):
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in place.corners)
    return ",".join(map(str, place))
