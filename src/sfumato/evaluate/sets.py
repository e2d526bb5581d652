"""Sets of pictures as bytes of one size, and what a feature network sees in them, kept for the next time."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sfumato.errors import InputError
from sfumato.generate.sampling import class_number, load_sampler, painted
from sfumato.metrics.embedding import Embedded, Embedding, embed
from sfumato.models.sampler import Sampler
from sfumato.train.data import Pictures
from sfumato.train.files import write_atomic
from sfumato.weights.files import EXPORTED

BATCH = 32
LARGEST = 1 << 14
"""Short side at which pictures whose size is not known yet are read."""
Shown = Callable[[int, int], None]
"""Called with pictures done and pictures to do."""


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Some pictures, and where they are from."""

    pixels: Tensor
    """uint8 N x 3 x H x W."""
    name: str
    notes: tuple[str, ...]
    about: dict[str, object]
    """What it takes to have them again."""

    @property
    def sha256(self) -> str:
        """Of the pixels and their shape."""
        head = repr(tuple(self.pixels.shape)).encode()
        return hashlib.sha256(head + self.pixels.contiguous().numpy().tobytes()).hexdigest()

    def batches(self) -> "list[Tensor]":
        """N x 3 x H x W in [0, 1], some at a time."""
        return [part.float() / 255 for part in torch.split(self.pixels, BATCH)]


def read_set(source: str | Path, *, size: tuple[int, int] | None, count: int) -> PictureSet:
    """At most `count` pictures of a folder, zip, array or glob, in an order that only their number decides.

    With `size` (height, width) each gives the largest part of that shape from its middle, antialiased, in one step;
    without, all must have one size. Raises `InputError`.
    """
    pictures = Pictures(source, side=min(size) if size is not None else LARGEST)
    order = np.random.default_rng(0).permutation(len(pictures))[:count]
    chosen = sorted(int(i) for i in order)
    arrays, enlarged = list[np.ndarray](), 0
    for i in chosen:
        picture = pictures[i]
        height, width = size if size is not None else (picture.shape[1], picture.shape[2])
        if picture.shape[1:] != (height, width):
            enlarged += int(min(picture.shape[1] / height, picture.shape[2] / width) < 1)
            image = Image.fromarray(np.moveaxis(picture.numpy(), 0, -1))
            fitted = np.array(ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC))
            picture = torch.from_numpy(np.moveaxis(fitted, -1, 0))
        if arrays and arrays[0].shape != picture.shape:
            first = f"{arrays[0].shape[2]} x {arrays[0].shape[1]}"
            raise InputError(
                f"{source}: {pictures.names[i]} has {width} x {height} pixels where others have {first}: made pictures "
                "must have one size"
            )
        arrays.append(picture.numpy())
    notes = []
    if enlarged:
        notes.append(f"{enlarged} pictures of {pictures.title} were enlarged, which makes them soft")
    lossy = sum(Path(pictures.names[i]).suffix.lower() in (".jpg", ".jpeg", ".webp", ".avif") for i in chosen)
    if lossy:
        notes.append(f"{lossy} pictures of {pictures.title} are compressed with losses, whose traces count as detail")
    pixels = torch.from_numpy(np.stack(arrays))
    about = {"name": Path(pictures.title).name, "pictures": len(chosen), "of": len(pictures)}
    return PictureSet(pixels, Path(pictures.title).name, tuple(notes), about)


def made_set(
    source: str | Path,
    *,
    count: int,
    seed: int,
    truncation: float,
    class_: str,
    device: torch.device,
    on_batch: Shown | None,
) -> PictureSet:
    """Pictures of a generator (its name, file or run) by the seeds from `seed` on, or those of a folder as they are."""
    if holds_pictures(source):
        return read_set(source, size=None, count=count)
    sampler, digest = load_sampler(source, device)
    label = class_number(sampler, class_)
    latents = sampler.draw(range(seed, seed + count), truncation=truncation, label=label)
    about = {"name": Path(source).name, "sha256": digest, "pictures": count, "seed": seed, "truncation": truncation}
    pixels = _painted(sampler, latents, on_batch)
    return PictureSet(pixels, Path(source).name, (), about | ({"class": class_} if class_ else {}))


def holds_pictures(source: str | Path) -> bool:
    """Whether it is pictures rather than a model: a folder without weights, a zip, an array."""
    path = Path(source)
    if path.is_dir():
        return not (path / EXPORTED).is_file() and not (path / "config.json").is_file()
    return path.suffix.lower() in (".zip", ".npz") or "-idx" in path.name


def _painted(sampler: Sampler, latents: Tensor, on_batch: Shown | None) -> Tensor:
    parts, done = list[Tensor](), 0
    for part in painted(sampler, latents):
        parts.append((part * 255).round().to(torch.uint8))
        done += len(part)
        if on_batch is not None:
            on_batch(done, len(latents))
    return torch.cat(parts)


def embedded(pictures: PictureSet, embedding: Embedding, *, cached: bool) -> Embedded:
    """What the network sees; kept in `cache_folder()` under a hash of both, and read from there the next time."""
    key = hashlib.sha256(f"{pictures.sha256} {embedding.sha256} {embedding.name} 1".encode()).hexdigest()
    path = cache_folder() / "features" / f"{key}.safetensors"
    if cached and path.is_file():
        try:
            found = load_file(path)
            return Embedded(found["features"], found.get("chances"))
        except (OSError, SafetensorError, KeyError):  # half a file of another program: made again
            pass
    found_now = embed(embedding, pictures.batches())
    if cached:
        tensors = {"features": found_now.features.contiguous()}
        if found_now.chances is not None:
            tensors["chances"] = found_now.chances.contiguous()
        with contextlib.suppress(OSError):  # a full disk or a read-only home: only the next time is slower
            write_atomic(path, save(tensors))
    return found_now


def cache_folder() -> Path:
    """$SFUMATO_CACHE, else sfumato/ in the user's cache folder."""
    if os.environ.get("SFUMATO_CACHE"):
        return Path(os.environ["SFUMATO_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sfumato"
