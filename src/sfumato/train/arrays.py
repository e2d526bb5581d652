"""Pictures kept as one array: a .npz file, or the idx files in which the digits of MNIST are published.

A picture's name is made of its label and its number, "3/00017", as if every class had a folder.
"""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfumato.errors import InputError

IDX_BYTE = 0x08
"""The idx format's code of unsigned bytes."""
MOST_BYTES = 8 << 30


class Arrays:
    """The pictures of one file by name, uint8 H x W x 3."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.integer] | None) -> None:
        """`pixels` N x H x W or N x H x W x 1, 3; `labels` N whole numbers from 0, or None."""
        self.pixels = pixels
        width = len(str(max(0, len(pixels) - 1)))
        numbers = [f"{i:0{width}d}" for i in range(len(pixels))]
        if labels is not None:
            wide = len(str(labels.max(initial=0)))
            numbers = [f"{label:0{wide}d}/{number}" for label, number in zip(labels.tolist(), numbers, strict=True)]
        self.names = numbers
        self._at = {name: i for i, name in enumerate(numbers)}

    def __getitem__(self, name: str) -> NDArray[np.uint8]:
        picture = self.pixels[self._at[name]]
        grey = picture if picture.ndim == 3 else picture[..., None]
        return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:2], 3)))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)


def is_array_file(path: Path) -> bool:
    """By its name: digits.npz, train-images-idx3-ubyte, t10k-images-idx3-ubyte.gz."""
    return path.suffix.lower() == ".npz" or "-idx" in path.name


def read_arrays(path: Path) -> Arrays:
    """The pictures of a .npz or idx file.

    In a .npz they are its one array of bytes with three or four dimensions, labels its one list of as many whole
    numbers, whatever the names. Beside `X-images-idx3-ubyte` the labels are `X-labels-idx1-ubyte`, if it is there.
    Raises `InputError` for anything else.
    """
    try:
        pixels, labels = _npz(path) if path.suffix.lower() == ".npz" else _idx(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as arrays of pictures ({error})") from None
    if labels is not None and (labels.shape != pixels.shape[:1] or labels.min(initial=0) < 0):
        raise InputError(f"{path}: its labels are not {len(pixels)} whole numbers from 0, one a picture")
    return Arrays(pixels, labels)


def _npz(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.integer] | None]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    found = [a for a in arrays.values() if a.dtype == np.uint8 and _pictures(a)]
    if len(found) != 1:
        shapes = ", ".join(f"{name} {a.dtype} {a.shape}" for name, a in arrays.items())
        raise InputError(f"{path}: needs one array of pictures, uint8 N x H x W or N x H x W x 3, and has {shapes}")
    whole = [a for a in arrays.values() if a.ndim == 1 and len(a) == len(found[0]) and a.dtype.kind in "iu"]
    return found[0], whole[0] if len(whole) == 1 else None


def _pictures(array: NDArray[np.generic]) -> bool:
    return array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3))


def _idx(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.integer] | None]:
    pixels = read_idx(path)
    if pixels.ndim != 3:
        raise InputError(f"{path}: holds no pictures, but an array of {pixels.ndim} dimensions")
    beside = path.with_name(path.name.replace("-images", "-labels").replace("idx3", "idx1"))
    return pixels, read_idx(beside) if beside != path and beside.is_file() else None


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An idx file of bytes, gzipped or not: 0 0 8 D, D sizes of four bytes, the numbers. Raises ValueError, OSError."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as file:
        head = file.read(4)
        if len(head) < 4 or head[:3] != bytes((0, 0, IDX_BYTE)):
            raise ValueError("not an idx file of bytes")
        sizes = np.frombuffer(file.read(4 * head[3]), ">u4")
        if len(sizes) != head[3] or int(np.prod(sizes, dtype=np.uint64)) > MOST_BYTES:
            raise ValueError("its sizes cannot be")
        count = int(np.prod(sizes, dtype=np.uint64))
        data = file.read(count + 1)
    if len(data) != count:
        raise ValueError(f"{len(data)} bytes where {count} should be")
    return np.frombuffer(data, np.uint8).reshape(tuple(int(s) for s in sizes))
