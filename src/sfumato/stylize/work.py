"""Everything around a method: reading, sizes, masks, colours, strength, the result and its record."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.device import choose_device, choose_precision
from sfumato.errors import InputError
from sfumato.features.sources import load_features
from sfumato.memory import allowed
from sfumato.picture.finish import LARGE, Finish
from sfumato.picture.io import Picture, Source, check_output, read_picture
from sfumato.picture.masks import feather, read_mask
from sfumato.picture.record import new_record
from sfumato.picture.region_maps import read_regions
from sfumato.picture.resize import fit_short_side, resize
from sfumato.picture.result import Result
from sfumato.segment.lazy import Segmenter
from sfumato.segment.where import selected
from sfumato.style.recolor import keep_luminance, match_color
from sfumato.stylize.iterate import Iterate, Style, Work
from sfumato.stylize.like import Roles, adapted, gathered, recorded, recorded_styles, repeated
from sfumato.stylize.optimise import Optimisation
from sfumato.stylize.options import StylizeOptions
from sfumato.stylize.semantic import Plan, plan

MIXED = ("vgg19", "vgg-lite")
"""For small and for large scales."""


class Stylizing:
    """One picture being stylized: iterate over it, ask for `result()` at any moment.

    After a NaN (`DivergedError` is raised while iterating) or an interruption, `result()` is the best picture so far.
    """

    def __init__(
        self, source: Picture, styles: Sequence[Picture], options: StylizeOptions, notes: Sequence[str]
    ) -> None:
        self.source, self.styles, self.options, self.notes = source, styles, options, list(notes)
        self.inputs: list[Picture] = [source, *styles]
        self.work: Work | None = None
        self.finish: Finish
        self.content: Tensor
        self.masks: Tensor | None = None
        self.parts: list[Style] = []
        self.plan: Plan | None = None
        self.segmenter: Segmenter
        self.by_class: dict[str, int] = {}
        self.roles: dict[str, Any] = {}

    @classmethod
    def prepare(
        cls,
        content: Source,
        styles: Source | Sequence[Source],
        mask: Source | Sequence[Source] | None,
        style_masks: Sequence[Source | None],
        like: str | Path | None,
        options: StylizeOptions | None,
        given: Mapping[str, Any],
        regions: Sequence[Source] = (),
        style_for: Mapping[str, Source] | None = None,
    ) -> "Stylizing":
        """Read and check everything, before any long work."""
        record = None if like is None else recorded(like)
        if like is not None and record is not None and not style_for and not _several(styles):
            styles, style_for = recorded_styles(record, like)
        options = gathered(like, options, {**given, "semantic": True} if regions or style_for else given)
        source = read_picture(content)
        read = [read_picture(s) for s in _several(styles)]
        own = {name: read_picture(s) for name, s in (style_for or {}).items()}
        roles, notes = Roles(own, [] if mask is None else _several(mask), style_masks, regions), list[str]()
        if like is not None and record is not None:
            roles, notes = repeated(record, like, source, [*read, *own.values()], roles, options.semantic)
        masks, style_masks, regions = roles.mask, roles.style_masks, roles.regions
        check_counts(options, len(read) or (1 if own else 0), len(masks), len(style_masks))
        if options.semantic:
            check_semantic(options, len(read) + len(own), len(masks), len(style_masks), len(regions))
        self = cls(source, [*read, *own.values()], options, notes)
        self.by_class = {name: len(read) + k for k, name in enumerate(own)}
        if own:
            self.roles["style_for"] = {name: 1 + k for name, k in self.by_class.items()}
        device = choose_device(options.device)
        height, width = source.height, source.width
        if options.size != "original" and options.size < min(height, width):
            height, width = fit_short_side(height, width, options.size)
        if record is not None:
            self.options = options = adapted(options, record, source, (height, width), given)
        self.content = _tensor(source, (height, width))
        if masks:
            self.roles["mask"] = self._next(len(masks))
            soft = [feather(self._mask(m, (height, width), source.name), options.feather) for m in masks]
            self.masks = torch.cat(soft, 1) if len(soft) > 1 else soft[0]
            if len(soft) > 1:
                self.masks = self.masks / self.masks.sum(1, keepdim=True).clamp_min(1)
        self.segmenter = Segmenter(options.segmenter, device)
        if options.only or options.except_:
            self._select()
        if options.semantic:
            self._match(regions, device)
        else:
            self._read_styles(style_masks or [None] * len(read))
        kept = keep_luminance if options.keep_color == "luminance" else None
        self.finish = Finish(self.content, self._seen(), source.bits, kept)
        if options.transfer == "style" and options.strength > 0:
            self.work = self._method(device, allowed(options.max_memory))
        if like is not None and record is not None and "model" not in given and "features" not in given:
            self._compare_weights(record, like)
        return self

    def _next(self, count: int) -> list[int]:
        """Numbers in the record of the inputs that are read next."""
        return list(range(len(self.inputs), len(self.inputs) + count))

    def _mask(self, source: Source, size: tuple[int, int], name: str) -> Tensor:
        picture = read_picture(source)
        self.inputs.append(picture)
        mask, resized = read_mask(picture, size)
        if resized:
            change = f"{picture.width} x {picture.height} to {size[1]} x {size[0]}"
            self.notes.append(f"mask {picture.name} resized from {change} pixels for {name}")
        return mask

    def _seen(self) -> Tensor | None:
        """How much of the work is seen where, all masks together, 1 x 1 x H x W."""
        if self.masks is None or self.masks.shape[1] == 1:
            return self.masks
        return self.masks.sum(1, keepdim=True).clamp(0, 1)

    def _read_styles(self, masks: Sequence[Source | None]) -> None:
        """The styles as tensors on the CPU, recoloured where that is asked for, with their masks and shares."""
        shares = self.options.style_weights or (1.0,) * len(self.styles)
        for k, (picture, source, share) in enumerate(zip(self.styles, masks, shares, strict=True)):
            mask, key, tensor = None, picture.sha256, _tensor(picture)
            if source is not None:
                mask = self._mask(source, (picture.height, picture.width), picture.name)
                key += self.inputs[-1].sha256
                self.roles.setdefault("style_masks", [None] * len(self.styles))[k] = len(self.inputs) - 1
            if self.options.keep_color == "match":
                mine = None if self.masks is None else self._mask_of(k)
                tensor, key = match_color(tensor, _sample(self.content), None if mine is None else _sample(mine)), ""
            self.parts.append(Style(tensor, mask, share, key or None))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.content.shape[2], self.content.shape[3]

    def _select(self) -> None:
        """`only` and `except` as a mask, on top of the others."""
        only, but, name = self.options.only, self.options.except_, self.source.name
        mask, read = selected(only, but, self.size, lambda: self.segmenter(self.content).regions, name)
        self.inputs += read
        self.masks = mask if self.masks is None else self.masks * mask

    def _match(self, maps: Sequence[Source], device: torch.device) -> None:
        """Masks and parts of the styles for what belongs together."""
        tensors = [_tensor(picture) for picture in self.styles]
        sizes = [self.size, *((t.shape[2], t.shape[3]) for t in tensors)]
        own, read = read_regions(maps, sizes) if maps else ([], [])
        if maps:
            self.roles["regions"] = self._next(len(read))
        self.inputs += read
        self.plan = plan(
            self.content,
            tensors,
            self.by_class,
            match=self.options.match,
            maps=own,
            segmenter=self.segmenter,
            features=lambda: load_features("vgg19", pooling="average", padding="replicate").to(device),
        )
        masks = self.plan.masks(self.options.feather)
        masks = masks if self.masks is None else masks * self.masks
        seen = masks.amax((0, 2, 3)) > 0.01
        self.masks = masks[:, seen]
        for k, choice in enumerate(c for c, here in zip(self.plan.made(), seen.tolist(), strict=True) if here):
            tensor = tensors[choice.source]
            if self.options.keep_color == "match":
                tensor = match_color(tensor, _sample(self.content), _sample(self.masks[:, k : k + 1]))
            self.parts.append(Style(tensor, choice.mask, 1.0))

    def _mask_of(self, style: int) -> Tensor:
        """The mask that a style goes into."""
        assert self.masks is not None
        return self.masks if self.masks.shape[1] == 1 else self.masks[:, style : style + 1]

    def _method(self, device: torch.device, limit: int) -> Work:
        if self.options.method == "onepass":
            return self._onepass(device, limit)
        if self.options.method == "photo":
            return self._photo(device, limit)
        return self._optimisation(device, limit, self.options)

    def _photo(self, device: torch.device, limit: int) -> Work:
        from sfumato.stylize.photo import Photo

        options = self.options
        features = load_features(options.features, pooling=options.pooling, padding=options.padding)
        network = features.to(device, choose_precision(options.precision, device))
        return Photo(network, device, self.content, self.parts, self.masks, options, self.finish, limit)

    def _onepass(self, device: torch.device, limit: int) -> Work:
        from sfumato.stylize.onepass import OnePass
        from sfumato.stylize.painter import load_painter

        options = self.options
        painter = load_painter(options.model, device)
        if options.refine == 0:
            return OnePass(painter, self.content, self.parts, self.masks, options, self.finish, limit)
        from sfumato.stylize.refine import Refined, refined_size, refining

        second = self._optimisation(device, limit, refining(options), refined_size(*self.size, options))
        raw = replace(self.finish, mask=None, colors=None)
        first = OnePass(painter, self.content, self.parts, self.masks, options, raw, limit)
        if options.tile is None and second.tile < max(second.content.shape[2:]):
            first.tile = min(first.tile, second.tile // 2)
        second.tile = 2 * first.tile  # the record has one for both, and tiled steps cost twice and more
        return Refined(first, second, self.finish)

    def _optimisation(
        self, device: torch.device, limit: int, options: StylizeOptions, size: tuple[int, int] | None = None
    ) -> Optimisation:
        """Of the picture, or of a copy of another size."""
        names = MIXED if options.features == "mixed" else (options.features,)
        found = [load_features(name, pooling=options.pooling, padding=options.padding) for name in names]
        network, *light = (f.to(device, choose_precision(options.precision, device)) for f in found)
        parts = [
            replace(p, picture=p.picture.to(device), mask=None if p.mask is None else p.mask.to(device))
            for p in self.parts
        ]
        content = resize(self.content, *(size or self.size)).to(device)
        masks = None if self.masks is None else resize(self.masks, *(size or self.size)).to(device)
        return Optimisation(network, content, parts, masks, options, limit, *light)

    def _compare_weights(self, record: Mapping[str, Any], like: str | Path) -> None:
        """Say where a record was made with other weights than the ones of the same name here."""
        recorded = record.get("weights")
        for name, digest in (self.work.weights() if self.work is not None else {}).items():
            if isinstance(recorded, dict) and recorded.get(name, digest) != digest:
                self.notes.append(f"{like} was made with other weights of {name} than these: the result will differ")

    def check_output(self, path: str | Path) -> None:
        """Say now, not after the work, that `path` cannot be written. Raises `InputError`."""
        check_output(path, self.inputs, tuple(self.content.shape[2:]))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Iterate]:
        if self.work is not None:
            yield from self.work

    def result(self) -> Result:
        """The picture as it stands: the last one after the iteration, before that the best so far."""
        return Result(self._pixels(), self.source, self._record(), self.inputs)

    def _pixels(self) -> NDArray[Any]:
        if self.work is None:
            return self.finish.whole(self._recolored() if self.options.transfer == "color" else self.content)
        finished = self.work.finished()
        return self.finish.whole(self.work.picture()) if finished is None else finished

    def _recolored(self) -> Tensor:
        """Colours alone: the content with the styles' mean and covariance of colours."""
        if self.masks is not None and self.masks.shape[1] > 1:
            shares = list((self.masks / self.masks.sum(1, keepdim=True).clamp_min(1e-6)).unbind(1))
        else:
            total = sum(p.share for p in self.parts)
            shares = [torch.tensor(p.share / total) for p in self.parts]
        moved = torch.zeros_like(self.content)
        for k, (part, share) in enumerate(zip(self.parts, shares, strict=True)):
            mine = None if self.masks is None else self._mask_of(k)
            moved += share * match_color(self.content, part.picture, part.mask, mine)
        return self.content + self.options.strength * (moved - self.content)

    def _record(self) -> dict[str, Any]:
        settings, weights, steps = asdict(self.options), {}, 0
        if self.work is not None:
            settings, weights, steps = settings | self.work.resolved(), self.work.weights(), self.work.steps
        weights |= self.segmenter.weights
        roles = {"roles": self.roles} if self.roles else {}
        return new_record("stylize", settings, self.inputs, weights, steps=steps, styles=len(self.styles), **roles)


def check_counts(options: StylizeOptions, styles: int, masks: int, style_masks: int) -> None:
    """Raises `InputError` where styles, weights and masks do not go together."""
    if not styles:
        raise InputError("no style picture was given")
    if options.style_weights and len(options.style_weights) != styles:
        raise InputError(f"{len(options.style_weights)} style_weights for {styles} styles")
    if style_masks and style_masks != styles:
        raise InputError(f"{style_masks} style masks for {styles} styles")
    if masks > 1 and masks != styles:
        raise InputError(f"{masks} masks for {styles} styles: give one mask, or one for each style")
    if masks > 1 and options.style_weights:
        raise InputError("style_weights mix styles in one place, but every style has a mask of its own here")


def check_semantic(options: StylizeOptions, styles: int, masks: int, style_masks: int, maps: int) -> None:
    """Raises `InputError` where semantic transfer is asked for something that it decides itself."""
    if style_masks or masks > 1:
        raise InputError("semantic finds the parts of the pictures itself: give one mask at most, and no style masks")
    if options.style_weights:
        raise InputError(
            "style_weights mix styles in one place, but semantic gives every part of the picture one style"
        )
    if maps and maps != styles + 1:
        raise InputError(f"{maps} pictures of regions for one photograph and {styles} styles: give one for each")


def _tensor(picture: Picture, size: tuple[int, int] | None = None) -> Tensor:
    tensor = torch.from_numpy(picture.rgb).permute(2, 0, 1)[None]
    return resize(tensor, *size) if size is not None else tensor


def _several(source: Source | Sequence[Source]) -> list[Source]:
    """One picture or a sequence of them, as a list."""
    return list(source) if isinstance(source, list | tuple) else [source]


def _sample(x: Tensor) -> Tensor:
    """Every k-th pixel of a very large picture, for statistics of its colours."""
    k = math.ceil(math.sqrt(x.shape[2] * x.shape[3] / LARGE))
    return x[:, :, ::k, ::k]
