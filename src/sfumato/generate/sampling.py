"""Trained generators by name, and their pictures in batches of one size."""

import os
from collections.abc import Iterator

import torch
from torch import Tensor

from sfumato.errors import InputError, unknown
from sfumato.models.registry import FAMILIES, family, offers
from sfumato.models.sampler import Sampler
from sfumato.weights.files import load_model

BATCH = 8
"""Pictures made at once, always: other sizes take other paths through the arithmetic and differ in the last bits."""


def load_sampler(source: str | os.PathLike[str], device: torch.device | str = "cpu") -> tuple[Sampler, str]:
    """The generator in a bundled model, a file of weights or a run, and the file's sha256.

    Raises `InputError` also for a model that makes no pictures from chance.
    """
    model = load_model(source)
    if model.family not in FAMILIES or not offers(model.family, "Sampler"):
        able = ", ".join(name for name in FAMILIES if offers(name, "Sampler"))
        raise InputError(f"{model.name}: a {model.family} model makes no pictures of its own; these do: {able}")
    sampler: Sampler = family(model.family).Sampler.load(source, device)
    return sampler, model.sha256


def paint(sampler: Sampler, latents: Tensor) -> Tensor:
    """Pictures N x 3 x H x W in [0, 1] of latents, each the same whatever comes after it."""
    return torch.cat(list(painted(sampler, latents)))


def painted(sampler: Sampler, latents: Tensor) -> Iterator[Tensor]:
    """The pictures of `paint`, at most `BATCH` at a time."""
    for part in torch.split(latents, BATCH):
        missing = BATCH - len(part)
        whole = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
        yield sampler.paint(whole)[: len(part)].clamp(0, 1)


def class_number(sampler: Sampler, name: str) -> int | None:
    """The number of a class given by name or number; None where none is given. Raises `InputError`."""
    if not name:
        return None
    if not sampler.classes:
        raise InputError(f"this model knows no classes, so it cannot show {name!r}")
    if name in sampler.classes:
        return sampler.classes.index(name)
    if name.isdigit() and int(name) < len(sampler.classes):
        return int(name)
    raise unknown("class", name, sampler.classes)
