"""Training pictures: folders, zips, arrays, lists of files; decoded once, drawn and cropped by a generator of numbers.

Everything drawn is a pure function of the generator's state: neither the cache nor the threads that share it change a
sample. A picture that cannot be decoded is stepped over in a fixed order, counted and named.
"""

import contextlib
import glob
import hashlib
import io
import json
import os
import threading
import zipfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sfumato.errors import InputError
from sfumato.picture.formats import known_extensions
from sfumato.train.arrays import is_array_file, read_arrays
from sfumato.train.labels import TABLE, read_table
from sfumato.train.pixels import Pixels, decoded, header_size, label_map, reduced

if TYPE_CHECKING:
    from sfumato.train.classes import ClassList

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Mapping[str, Path]
"""A folder (read with its sub-folders), a zip, an npz, an idx file, a picture, a glob, a list of pictures, or pictures
by the names that they shall have."""

Size = int | tuple[int, int]
"""Side of a square in pixels, or height and width."""


class Entry(NamedTuple):
    """One file: its name within the source, where it lies (None: in the zip or array) and its size in bytes."""

    name: str
    path: Path | None
    size: int


class Box(NamedTuple):
    """A rectangle in shares of a picture's height and width, and whether it is mirrored."""

    top: float
    left: float
    height: float
    width: float
    flip: bool


class Pictures:
    """The pictures of a source, decoded when asked for and kept in memory while they fit.

    Args:
        source: a folder, a zip, a picture, a glob or a list of pictures; names that start with a dot are left out. Or
            a file of arrays, as `train.arrays` reads them.
        side: pictures are kept with this short side (smaller ones as they are), uint8, antialiased.
        limit_bytes: memory for decoded pictures; beyond it the one not used for longest goes.
        max_pixels: a file that claims more is bad.
        names: only these, e.g. one part of a split; all where None.
        labels: files are label maps, 1 x H x W of labels, reduced without mixing: one 8-bit channel as it is, or, with
            a class list that has colours, those colours.

    Raises:
        InputError: nothing there, no picture in it, or a name of `names` that it lacks.
    """

    def __init__(
        self,
        source: Source,
        *,
        side: int,
        limit_bytes: int = 2 << 30,
        max_pixels: int = 100_000_000,
        names: Collection[str] | None = None,
        labels: "bool | ClassList" = False,
    ) -> None:
        if side < 1:
            raise InputError(f"pictures cannot be kept with a short side of {side} pixels")
        self.side, self.limit_bytes, self.max_pixels, self.label_maps = side, limit_bytes, max_pixels, labels
        self.title = os.fspath(source) if isinstance(source, str | os.PathLike) else f"a list of {len(source)} pictures"
        single = Path(source) if isinstance(source, str | os.PathLike) else None
        self._root = single if single is not None and single.is_dir() else None
        self._zip: zipfile.ZipFile | None = None
        self._arrays = (
            read_arrays(single) if single is not None and single.is_file() and is_array_file(single) else None
        )
        if self._arrays is not None:
            entries = [Entry(name, None, self._arrays.pixels[0].nbytes) for name in self._arrays]
        else:
            self._zip, entries = _entries(source)
        if names is not None:
            wanted = set(names)
            missing = sorted(wanted - {e.name for e in entries})
            if missing:
                raise InputError(f"{self.title}: lacks {missing[0]!r}{_more(len(missing) - 1)} of the pictures named")
            entries = [e for e in entries if e.name in wanted]
        if not entries:
            raise InputError(f"{self.title}: no pictures in it")
        self._entries = entries
        self.names: list[str] = [e.name for e in entries]
        self.groups: dict[str, list[int]] = _groups(self.names)
        self.bad: dict[str, str] = {}
        self.snapped: dict[str, dict[str, int]] = {}
        """Of label maps in colours: how many pixels had a declared one, were near one, had another."""
        self.remarks: list[str] = []
        """What a run says of them when it begins."""
        listed = json.dumps([(e.name, e.size) for e in entries]).encode()
        content = b"" if self._arrays is None else np.ascontiguousarray(self._arrays.pixels).tobytes()
        self.sha256 = hashlib.sha256(listed + content).hexdigest()
        roots = np.sqrt([len(members) for members in self.groups.values()])
        self._shares: NDArray[np.float64] = np.cumsum(roots) / roots.sum()
        self._members = list(self.groups.values())
        self._stems = {str(PurePosixPath(name).with_suffix("")): i for i, name in enumerate(self.names)}
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Tensor] = OrderedDict()
        self._cached_bytes = 0
        self._good: set[int] = set()
        self._labels: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        """uint8 3 x H x W (1 x H x W of labels), short side at most `side`; not to be written to.

        Raises `InputError` for a bad picture, which is named in `bad` from then on.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        with self._lock:
            name = self.names[index]
            if name in self.bad:
                raise InputError(f"{name}: {self.bad[name]}")
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        try:
            picture = torch.from_numpy(self._decoded(self._entries[index]))
        except InputError as error:
            with self._lock:
                self.bad[name] = str(error)
            raise InputError(f"{name}: {error}") from error.__cause__
        with self._lock:
            self._good.add(index)
            self._keep(index, picture)
        return picture

    def paths(self) -> dict[str, Path]:
        """Where the pictures of a folder or list lie, by name."""
        return {e.name: e.path.absolute() for e in self._entries if e.path is not None}

    def header(self, index: int) -> tuple[int, int]:
        """Height and width as the file has them, upright. Raises `InputError` for a bad picture."""
        entry = self._entries[index]
        size = None
        if self._arrays is None:
            unreadable = (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
            with contextlib.suppress(*unreadable), self._file(entry) as file:
                size = header_size(file)
        return size or (self[index].shape[1], self[index].shape[2])

    def draw(self, rng: np.random.Generator, *, by_group: bool = False) -> int:
        """An index of a good picture.

        Uniform over all; with `by_group` a group first, with a chance proportional to the square root of its size,
        then uniform inside it. In place of a bad picture comes the next one of its group, after the group's last
        the first; a group all bad gives way to the whole set. Raises `InputError` where every picture is bad.
        """
        chance = rng.random(2)
        everything: Sequence[int] = range(len(self))
        pool = everything
        if by_group:
            pool = self._members[min(int(np.searchsorted(self._shares, chance[0], "right")), len(self._members) - 1)]
        start = int(chance[1] * len(pool))
        for k in range(len(pool)):
            index = pool[(start + k) % len(pool)]
            if self._usable(index):
                return index
        for k in range(len(self)):
            index = (pool[start] + k) % len(self)
            if self._usable(index):
                return index
        first = self.names[0]
        raise InputError(f"{self.title}: none of its {len(self)} pictures can be read ({first}: {self.bad[first]})")

    def paired(self, name: str) -> int | None:
        """The index of the file that is named like `name` but for the extension: the mask of a picture."""
        return self._stems.get(str(PurePosixPath(name).with_suffix("")))

    def labels(self, column: str = "") -> list[str]:
        """A label a picture: its sub-folder ("" at the top), or its entry in `column` of labels.csv ("" for none).

        The table is that of the folder or zip, or of each picture's own folder in a list. Raises `InputError` where
        there is no table or no such column.
        """
        with self._lock:
            if column not in self._labels:
                folders = [PurePosixPath(name).parent.as_posix() for name in self.names]
                found = self._tabled(column) if column else ["" if f == "." else f for f in folders]
                self._labels[column] = found
            return self._labels[column]

    def _tabled(self, column: str) -> list[str]:
        tables = dict[Path | None, dict[str, str]]()
        found = list[str]()
        for entry in self._entries:
            folder = self._root if self._root is not None or entry.path is None else entry.path.parent
            if folder not in tables:
                try:
                    data = self._zip.read(TABLE) if self._zip is not None else ((folder or Path()) / TABLE).read_bytes()
                except (OSError, KeyError):
                    raise InputError(f"{folder or self.title}: no {TABLE} there, so there is no {column!r}") from None
                tables[folder] = read_table(data.decode("utf-8-sig", "replace"), column, f"{self.title}: {TABLE}")
            name = entry.name if self._root is not None or entry.path is None else entry.path.name
            found.append(tables[folder].get(name, ""))
        return found

    def _usable(self, index: int) -> bool:
        if index in self._good:
            return True
        try:
            self[index]
        except InputError:
            return False
        return True

    def _keep(self, index: int, picture: Tensor) -> None:
        if index in self._cache or picture.nbytes > self.limit_bytes:
            return
        self._cache[index] = picture
        self._cached_bytes += picture.nbytes
        while self._cached_bytes > self.limit_bytes:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes

    def _decoded(self, entry: Entry) -> Pixels:
        if self._arrays is not None:
            return planes(reduced(Image.fromarray(self._arrays[entry.name]), self.side))
        if entry.size > 8 * self.max_pixels + (1 << 20):  # as many bytes as 16-bit RGBA has
            raise InputError(f"its {entry.size:,} bytes are more than a picture of {self.max_pixels:,} pixels has")
        try:
            data = entry.path.read_bytes() if entry.path is not None else self._unzipped(entry.name)
        except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise InputError(f"cannot be read ({reason[:1].lower()}{reason[1:]})") from error
        if self.label_maps is not False:
            known = self.label_maps if self.label_maps is not True else None
            colors, ignore = (known.colors, known.ignore) if known is not None else ((), 255)
            found, counts = label_map(data, self.side, self.max_pixels, colors, ignore)
            if counts:
                self.snapped[entry.name] = counts
            return found
        return planes(decoded(data, self.side, self.max_pixels))

    def _file(self, entry: Entry) -> BinaryIO:
        return entry.path.open("rb") if entry.path is not None else io.BytesIO(self._unzipped(entry.name))

    def _unzipped(self, name: str) -> bytes:
        assert self._zip is not None
        return self._zip.read(name)


def crop_box(
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    size: Size,
    scale: tuple[float, float] = (0.6, 1.0),
    flip: bool = True,
) -> Box:
    """A random rectangle of a picture with the proportions of `size`, on whole pixels.

    Its height is uniform between the shares `scale` of the largest that fits, but never under `size` pixels where the
    picture has them: crops are reduced, not enlarged. Its place is uniform, mirrored half of the time.
    """
    chance = rng.random(4)
    wanted_height, wanted_width = _height_width(size)
    largest = min(height, width * wanted_height / wanted_width)
    low = max(scale[0] * largest, min(largest, wanted_height))
    high = min(max(scale[1] * largest, low), largest)
    exact = low + float(chance[0]) * (high - low)
    down = max(1, round(exact))
    across = min(max(1, round(exact * wanted_width / wanted_height)), width)
    top, left = int(chance[1] * (height - down + 1)), int(chance[2] * (width - across + 1))
    return Box(top / height, left / width, down / height, across / width, flip and bool(chance[3] < 0.5))


def cut(picture: Tensor, box: Box, size: Size, *, labels: bool = False) -> Tensor:
    """What lies in `box` at `size`.

    `picture` uint8 C x H x W, C 3 or 1. Returns float32 C x height x width in [0, 1], antialiased; with `labels` the
    nearest raw values, int64 height x width. The same box cuts the same part of a picture and of its mask.
    """
    new_height, new_width = _height_width(size)
    height, width = picture.shape[1:]
    top, left = round(box.top * height), round(box.left * width)
    bottom, right = round((box.top + box.height) * height), round((box.left + box.width) * width)
    image = Image.fromarray(np.ascontiguousarray(_interleaved(picture)[top:bottom, left:right]))
    filter_ = Image.Resampling.NEAREST if labels else Image.Resampling.BICUBIC  # Pillow's smooths when it reduces
    if image.size != (new_width, new_height):
        image = image.resize((new_width, new_height), filter_)
    if box.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = np.array(image)
    if labels:
        return torch.from_numpy(pixels.astype(np.int64))
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return torch.from_numpy(np.multiply(planes, np.float32(1 / 255), dtype=np.float32, order="C"))


def crop(
    picture: Tensor,
    rng: np.random.Generator,
    *,
    size: Size,
    scale: tuple[float, float] = (0.6, 1.0),
    flip: bool = True,
) -> Tensor:
    """A random rectangle of `picture` (uint8 3 x H x W) at `size`, float32 in [0, 1]: `crop_box`, then `cut`."""
    box = crop_box(picture.shape[1], picture.shape[2], rng, size=size, scale=scale, flip=flip)
    return cut(picture, box, size)


def _height_width(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _entries(source: Source) -> tuple[zipfile.ZipFile | None, list[Entry]]:
    """The picture files of a source in the order of their names; its zip where it is one."""
    if isinstance(source, Mapping):
        return None, [Entry(name, path, path.stat().st_size) for name, path in sorted(source.items())]
    if not isinstance(source, str | os.PathLike):
        return None, _listed([Path(p) for p in source])
    path = Path(source)
    if path.is_dir():
        return None, [Entry(p.relative_to(path).as_posix(), p, p.stat().st_size) for p in sorted(_walk(path))]
    if path.is_file() and path.suffix.lower() == ".zip":
        try:
            archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: not a readable zip ({error})") from error
        files = [Entry(i.filename, None, i.file_size) for i in archive.infolist() if not i.is_dir()]
        return archive, sorted({e.name: e for e in files if _is_picture(PurePosixPath(e.name))}.values())
    if path.is_file():
        return None, _listed([path])
    if glob.has_magic(os.fspath(source)):
        found = [Path(p) for p in glob.glob(os.fspath(source), recursive=True)]  # noqa: PTH207 (absolute patterns too)
        return None, _listed([p for p in found if p.is_file() and _is_picture(PurePosixPath(p.name))])
    raise InputError(f"{path}: no such folder, zip or picture")


def _listed(paths: list[Path]) -> list[Entry]:
    """Files given one by one, named from the folder that they have in common."""
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such picture")
    if not paths:
        return []
    absolute = sorted({p.absolute() for p in paths})
    root = Path(os.path.commonpath([p.parent for p in absolute]))
    return [Entry(p.relative_to(root).as_posix(), p, p.stat().st_size) for p in absolute]


def _walk(folder: Path) -> Iterator[Path]:
    """Picture files below `folder`, through links, every folder once."""
    seen = set[tuple[int, int]]()
    for root, folders, files in os.walk(folder, followlinks=True):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in files:
            path = Path(root) / name
            if _is_picture(PurePosixPath(name)) and path.is_file():
                yield path


def _is_picture(name: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.parts)
    return not hidden and name.suffix.lower() in known_extensions()


def _groups(names: Iterable[str]) -> dict[str, list[int]]:
    """Indices by sub-folder where there are several, else by what comes before the name's first "_".

    A number after that belongs to it where others share both: wikiart_5_3740.jpg is of wikiart_5, song_31.jpg of song.
    """
    paths = [PurePosixPath(name) for name in names]
    if len({p.parent for p in paths}) > 1:
        kinds = [p.parent.as_posix() for p in paths]
    else:
        parts = [p.stem.split("_") for p in paths]
        numbered = Counter((p[0], p[1]) for p in parts if len(p) > 2 and p[1].isdigit())
        kinds = ["_".join(p[: 2 if numbered[p[0], p[1]] > 1 else 1]) if len(p) > 1 else "" for p in parts]
    groups: dict[str, list[int]] = {}
    for i, kind in enumerate(kinds):
        groups.setdefault(kind, []).append(i)
    return dict(sorted(groups.items()))


def planes(pixels: Pixels) -> Pixels:
    """H x W x 3 as 3 x H x W."""
    return np.moveaxis(np.ascontiguousarray(pixels), -1, 0)


def _interleaved(picture: Tensor) -> NDArray[Any]:
    """H x W x 3, or H x W of one channel."""
    planes = picture.numpy()
    found: NDArray[Any] = planes[0] if planes.shape[0] == 1 else np.moveaxis(planes, 0, -1)
    return found


def _more(count: int) -> str:
    return f" and {count} more" if count else ""
