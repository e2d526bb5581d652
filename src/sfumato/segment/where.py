"""Where a verb works: `only` and `except`, as classes that a segmenter names or as masks."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.picture.io import Picture, read_picture
from sfumato.picture.masks import read_mask
from sfumato.picture.regions import Regions


def selected(
    only: Sequence[str], but: Sequence[str], size: tuple[int, int], regions: Callable[[], Regions], name: str
) -> tuple[Tensor, list[Picture]]:
    """The mask 1 x 1 x H x W of what is asked for, and the pictures read for it.

    Args:
        only: classes of `regions` or files of masks, together; all of the picture where empty.
        but: likewise, taken away from that.
        size: H and W.
        regions: the picture's, at `size`; called when a class is named.
        name: of the picture.

    Raises:
        InputError: for a class that is not in the picture (the sentence says which are), a mask that cannot be read,
            or when nothing is left.
    """
    read = list[Picture]()

    def union(entries: Sequence[str]) -> Tensor:
        total = torch.zeros(1, 1, *size)
        for entry in entries:
            if Path(entry).is_file():
                read.append(read_picture(entry))
                mask = read_mask(read[-1], size)[0]
            else:
                mask = _class(entry, regions(), name)
            total = torch.maximum(total, mask)
        return total

    found = (union(only) if only else torch.ones(1, 1, *size)) * (1 - union(but))
    if float(found.max()) < 0.5:
        raise InputError(f"only and except leave nothing of {name!r} to work on")
    return found, read


def _class(entry: str, regions: Regions, name: str) -> Tensor:
    if entry not in regions.names:
        there = ", ".join(regions.names)
        hint = "" if "." not in entry and "/" not in entry else f", and there is no file {entry!r}"
        raise InputError(f"{name!r} shows no {entry}{hint}; it shows {there}")
    inside = regions.of(entry)[None, None]
    return ((inside - LOW) / (HIGH - LOW)).clamp(0, 1)


LOW, HIGH = 0.35, 0.65
"""Weights of a class from which a pixel begins to belong to it and wholly does: outside is exactly outside."""
