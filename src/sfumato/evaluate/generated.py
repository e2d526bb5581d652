"""Generated pictures against real ones: every metric, next to rows that show what it can be fooled by."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sfumato._version import __version__
from sfumato.device import choose_device
from sfumato.errors import InputError
from sfumato.evaluate.sets import PictureSet, Shown, embedded, holds_pictures, made_set, read_set
from sfumato.generate.sampling import class_number, load_sampler
from sfumato.metrics.embedding import ClassifierEmbedding, Embedded, Embedding, load_embedding
from sfumato.metrics.generated import central, compare, halves, names, repeated
from sfumato.metrics.perceptual_path_length import EPSILON, activations, path_lengths, trimmed
from sfumato.metrics.sliced_wasserstein import SIDE, sliced_wasserstein

FEW = 1000
"""Pictures below which the Frechet distance says little."""
PATCHED = 1024
"""Pictures whose patches are compared at most."""
IDENTITY, REPEATED, HALVES = "the data themselves", "one of them, repeated", "half of them against half"


@dataclass(frozen=True)
class Evaluation:
    """Numbers and all that is needed to have them again."""

    features: str
    """The feature network."""
    features_sha256: str
    columns: tuple[str, ...]
    rows: dict[str, dict[str, float]]
    """The made pictures, then what no generator scores: reference rows."""
    size: tuple[int, int]
    """Height and width at which all were compared."""
    made: dict[str, Any]
    data: dict[str, Any]
    shares: dict[str, tuple[float, float]]
    """Class: share of the made pictures and of the data, where the network knows classes."""
    notes: tuple[str, ...]
    version: str = __version__

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def table(self) -> str:
        """For people."""
        wide = max(len(name) for name in self.rows)
        wanted = [max(len(column), 9) for column in self.columns]
        head = " ".join(f"{column:>{w}}" for column, w in zip(self.columns, wanted, strict=True))
        lines = [f"{'':<{wide}} {head}"]
        for name, row in self.rows.items():
            values = [f"{row[c]:>{w}.4g}" if c in row else " " * w for c, w in zip(self.columns, wanted, strict=True)]
            lines.append(f"{name:<{wide}} {' '.join(values)}")
        lines.append("")
        if self.shares:
            lines.append("class: share made, share in the data")
            lines += [f"  {name}: {made:.3f} {real:.3f}" for name, (made, real) in self.shares.items()]
            lines.append("")
        lines.append(f"features: {self.features}; {self.size[1]} x {self.size[0]} px")
        lines.append(f"pictures: {self.made['pictures']} made, {self.data['pictures']} real of {self.data['of']}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def evaluate_generated(
    source: str | Path,
    data: str | Path,
    *,
    features: str | None = None,
    count: int = 2048,
    seed: int = 1,
    truncation: float = 1.0,
    class_: str = "",
    path_length: int = 0,
    device: str = "auto",
    cache: bool = True,
    on_batch: Shown | None = None,
) -> Evaluation:
    """Judge a generator, or a folder of pictures, by real pictures.

    Args:
        source: a bundled model's name, a file of weights, a run; or a folder, zip or array of made pictures.
        data: real pictures, brought to the size of the made ones.
        features: the feature network; None is VGG-19.
        count: pictures made, and real ones at most; as many on both sides where there are enough.
        seed: of the first picture made.
        truncation: as in `generate`.
        class_: only this class of a conditional generator.
        path_length: pairs of latents between which the perceptual path length is measured; 0 leaves it out.
        device: where networks work.
        cache: keep the data's features for the next time, in `$SFUMATO_CACHE` or the user's cache folder.
        on_batch: called with (pictures made, pictures to make).

    Raises:
        InputError: whatever cannot be used, in one sentence.
    """
    if count < 2:
        raise InputError(f"count must be at least 2, not {count}")
    if path_length < 0:
        raise InputError(f"path_length must be 0 or a number of pairs, not {path_length}")
    if path_length and holds_pictures(source):
        raise InputError(f"{source}: pictures have no latents to walk between, so no path length: give a generator")
    place = choose_device(device)
    embedding = load_embedding(features, place)
    made = made_set(
        source, count=count, seed=seed, truncation=truncation, class_=class_, device=place, on_batch=on_batch
    )
    height, width = made.pixels.shape[2:]
    real = read_set(data, size=(height, width), count=count)
    of_made, of_real = embedded(made, embedding, cached=False), embedded(real, embedding, cached=cache)
    rows = {made.name: compare(of_made, of_real, embedding.title) | _patches(made, real)}
    walked = (
        _walked(source, embedding, path_length, seed, truncation, class_, place, on_batch) if path_length else ({}, [])
    )
    rows[made.name] |= walked[0]
    rows |= references(of_real, embedding.title)
    rows[IDENTITY] |= _patches(real, real)
    columns = tuple(dict.fromkeys(k for row in rows.values() for k in row if not k.endswith("deviation")))
    return Evaluation(
        features=embedding.name,
        features_sha256=embedding.sha256,
        columns=columns,
        rows=rows,
        size=(height, width),
        made=made.about,
        data=real.about | {"sha256": real.sha256},
        shares=class_shares(embedding, of_made, of_real),
        notes=(
            *made.notes,
            *real.notes,
            *count_notes(len(made.pixels), len(real.pixels), embedding.title),
            *walked[1],
        ),
    )


def references(real: Embedded, title: str) -> dict[str, dict[str, float]]:
    """What the data score by themselves: a generator that knows them by heart, one that knows a single picture, and
    the distance that is only chance.

    The halves have half as many pictures, so their Frechet distance is larger than that of equally good whole sets.
    """
    rows = {IDENTITY: compare(real, real, title), REPEATED: compare(repeated(real, central(real)), real, title)}
    if len(real.features) >= 4:
        rows[HALVES] = compare(*halves(real), title)
    return rows


def count_notes(made: int, real: int, title: str) -> list[str]:
    """What the numbers of pictures mean for the numbers."""
    notes, fid = [], names(title)["FID"]
    if made != real:
        notes.append(f"{made} made pictures against {real} real ones: {fid} falls with more of either")
    if min(made, real) < FEW:
        notes.append(f"{fid} of fewer than {FEW} pictures is mostly chance: compare {names(title)['KID']} instead")
    return notes


def class_shares(embedding: Embedding, made: Embedded, real: Embedded) -> dict[str, tuple[float, float]]:
    """How often each class is found on either side: classes that a generator forgot are seen here."""
    if not isinstance(embedding, ClassifierEmbedding) or made.chances is None or real.chances is None:
        return {}
    classes = embedding.trained.classes
    parts = [torch.bincount(x.argmax(1), minlength=len(classes)) / len(x) for x in (made.chances, real.chances)]
    return {name: (float(a), float(b)) for name, a, b in zip(classes, *parts, strict=True)}


def _walked(
    source: str | Path,
    embedding: Embedding,
    pairs: int,
    seed: int,
    truncation: float,
    class_: str,
    device: torch.device,
    on_batch: Shown | None,
) -> tuple[dict[str, float], list[str]]:
    """The perceptual path length of a generator, and a note on what it is of."""
    name, perceived = activations(embedding)
    sampler, _ = load_sampler(source, device)
    found = trimmed(
        path_lengths(
            sampler,
            perceived,
            pairs=pairs,
            seed=seed,
            truncation=truncation,
            label=class_number(sampler, class_),
            on_batch=on_batch,
        )
    )
    note = (
        f"{name}: {found.kept} of {pairs} pairs of latents, seeds from {seed} on, steps of {EPSILON:g} anywhere "
        "between the two; not LPIPS, which the published lengths are in"
    )
    return {name: found.mean, f"{name} deviation": found.deviation}, [note]


def _patches(made: PictureSet, real: PictureSet) -> dict[str, float]:
    """The sliced Wasserstein distance at every scale, of as many pictures as both have; nothing of tiny ones."""
    count = min(len(made.pixels), len(real.pixels), PATCHED)
    if min(made.pixels.shape[2:]) < SIDE:
        return {}
    found = sliced_wasserstein(made.pixels[:count].float() / 255, real.pixels[:count].float() / 255)
    return {f"SWD {side} px": value for side, value in found.items()}
