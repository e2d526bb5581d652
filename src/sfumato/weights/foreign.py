"""Checkpoints of other programs, read without running anything that they hold.

Three layouts: a plain pickle as the authors of StyleGAN2-ADA and StyleGAN3 write it, whose objects carry their own
source code (which is left unread); PyTorch's zip archive; PyTorch's older file of several pickles. All are read by the
machine of `pickles` with the table `NAMES`: tensors, numbers, text and plain containers come out, objects of other
classes as inert records. Torch is imported when a tensor is made, not with this module.
"""

import hashlib
import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.errors import InputError
from sfumato.weights.pickles import PLAIN, Maker, Name, read_pickle, record

if TYPE_CHECKING:
    from torch import Tensor

MAGIC = 0x1950A86A20F9469CFC6C
"""What PyTorch's older files begin with, as a pickle."""
KINDS: dict[str, tuple[str, int]] = {
    "Double": ("float64", 8),
    "Float": ("float32", 4),
    "Half": ("float16", 2),
    "BFloat16": ("bfloat16", 2),
    "Long": ("int64", 8),
    "Int": ("int32", 4),
    "Short": ("int16", 2),
    "Char": ("int8", 1),
    "Byte": ("uint8", 1),
    "Bool": ("bool", 1),
}
"""{kind of storage: its numbers' type and bytes}."""
SCALARS = {"f2": "e", "f4": "f", "f8": "d", "b1": "?"} | {
    f"{kind}{1 << k}": letter for kind, letters in (("i", "bhiq"), ("u", "BHIQ")) for k, letter in enumerate(letters)
}
"""{NumPy's name of a kind of number: the letter of `struct`}."""
FAULTS = (
    *(ValueError, TypeError, LookupError, AttributeError, OSError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""What damaged bytes make the standard library raise."""


@dataclass(eq=False)
class Storage:
    """Numbers in a row; `read` gives their bytes once the file is known to hold them."""

    dtype: str
    width: int
    count: int
    read: Callable[[], bytes | memoryview] | None = None


@dataclass(eq=False)
class Stored:
    """A tensor that lies in the file."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self) -> "Tensor":
        """A copy of it, contiguous."""
        import torch

        assert self.storage.read is not None
        if not math.prod(self.shape):
            return torch.empty(self.shape, dtype=getattr(torch, self.storage.dtype))
        row = torch.frombuffer(bytearray(self.storage.read()), dtype=getattr(torch, self.storage.dtype))
        return row.as_strided(self.shape, self.stride, self.offset).clone(memory_format=torch.contiguous_format)


@dataclass(eq=False)
class Saved:
    """An object that was saved with the source of its class, as StyleGAN2-ADA does: the class's name, its members."""

    kind: str
    members: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Foreign:
    """What a foreign file holds."""

    name: str
    """The path as given."""
    sha256: str
    root: Any
    """Containers, numbers, `Stored`, `Saved` and `Record`."""


@dataclass
class Made:
    """What a reading has made so far, and the makers that note it."""

    title: str
    inner: bool = False
    """Within the bytes of one storage, where no more is allowed than the storage."""
    storages: dict[str, Storage] = field(default_factory=dict)
    tensors: list[Stored] = field(default_factory=list)

    def storage(self, place: Any) -> Storage:
        """What PyTorch's persistent id ("storage", kind, key, device, count, ...) means; the same key, the same one."""
        word, kind, key, _, count, *_ = place
        if word != "storage" or type(kind) is not Name:
            raise ValueError("a persistent id that is no storage")
        dtype, width = KINDS[kind.text.removeprefix("torch.").removesuffix("Storage")]
        if type(key) is not str or type(count) is not int or count < 0:
            raise ValueError("a storage without a name or size")
        return self.storages.setdefault(key, Storage(dtype, width, count))

    def tensor(self, storage: Storage, offset: int, shape: Any, stride: Any, *_: object) -> Stored:
        """torch._utils._rebuild_tensor_v2, without hooks; a tensor that its storage cannot hold is refused."""
        if type(storage) is not Storage or type(shape) is not tuple or type(stride) is not tuple:
            raise ValueError("a tensor without storage or shape")
        if not all(type(n) is int and 0 <= n < 1 << 48 for n in (offset, *shape, *stride)):
            raise ValueError("a tensor with a strange shape")
        last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
        size = math.prod(shape)
        if size and (last >= storage.count or size > storage.count):
            raise InputError(f"{self.title}: refused, a tensor is larger than what the file stores of it")
        self.tensors.append(Stored(storage, offset, shape, stride))
        return self.tensors[-1]

    def loaded(self, data: bytes) -> Storage:
        """torch.storage._load_from_bytes: one storage as an older PyTorch file within the file."""
        if type(data) is not bytes:
            raise ValueError("a storage that is no bytes")
        found = read_old(data, Made(self.title, inner=True))
        if type(found) is not Storage:
            raise ValueError("no storage where one should be")
        return found

    def names(self) -> dict[str, Maker]:
        """The short list: every name that is allowed, and the function of ours that it stands for."""
        if self.inner:
            return STORAGES
        return NAMES | {
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor": self.tensor,
            "torch.storage._load_from_bytes": self.loaded,
        }


def read_foreign(source: str | os.PathLike[str]) -> Foreign:
    """A checkpoint of another program.

    Raises:
        InputError: a file that cannot be read, is damaged or is something else; one that asks for anything but
            tensors, numbers and plain containers.
    """
    name = os.fspath(source)
    try:
        data = Path(name).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{name}: cannot be read ({reason})") from None
    if not data:
        raise InputError(f"{name}: empty")
    made = Made(name)
    try:
        root = read_zip(data, made) if data[:4] == b"PK\x03\x04" else read_old(data, made)
    except InputError:
        raise
    except FAULTS:
        raise InputError(f"{name}: damaged (its parts do not fit together)") from None
    claimed = sum(math.prod(t.shape) * t.storage.width for t in made.tensors)
    if claimed > 4 * len(data):  # tensors may share numbers, but not for ever
        raise InputError(f"{name}: refused, its tensors claim {claimed:,} bytes, and the file has {len(data):,}")
    return Foreign(name, hashlib.sha256(data).hexdigest(), root)


def read_old(data: bytes, made: Made) -> Any:
    """A plain pickle, or PyTorch's older file: number, version, machine, value, storages' names, their numbers."""
    file, view = io.BytesIO(data), memoryview(data)

    def part(persistent: Callable[[Any], object] | None = None) -> Any:
        return read_pickle(file, made.names(), made.title, persistent)

    root = part()
    if root != MAGIC or type(root) is not int:
        return root
    part()
    machine = part()
    if type(machine) is not dict or machine.get("little_endian") is not True:
        raise InputError(f"{made.title}: refused, written on a machine of another byte order")
    root = part(made.storage)
    for key in part():
        storage, at = made.storages[key], file.tell()
        (count,) = struct.unpack_from("<q", view, at)
        begin, end = at + 8, at + 8 + storage.count * storage.width
        if count != storage.count or end > len(data):
            raise InputError(f"{made.title}: damaged or cut short (a tensor's numbers are not all there)")
        storage.read = lambda begin=begin, end=end: view[begin:end]
        file.seek(end)
    return complete(root, made)


def read_zip(data: bytes, made: Made) -> Any:
    """PyTorch's archive NAME/{data.pkl, data/KEY}, nothing compressed."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    table = {info.filename: info for info in archive.infolist()}
    tops = [name.removesuffix("data.pkl") for name in table if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(tops) != 1:
        raise InputError(f"{made.title}: a zip archive, but not one of PyTorch's")
    packed = sum(info.file_size for info in table.values())
    if packed > len(data) or any(info.compress_type != zipfile.ZIP_STORED for info in table.values()):
        raise InputError(f"{made.title}: refused, a compressed archive, which PyTorch does not write")
    order = table.get(tops[0] + "byteorder")
    if order is not None and archive.read(order) != b"little":
        raise InputError(f"{made.title}: refused, written on a machine of another byte order")
    root = read_pickle(io.BytesIO(archive.read(tops[0] + "data.pkl")), made.names(), made.title, made.storage)
    for key, storage in made.storages.items():
        info = table[f"{tops[0]}data/{key}"]
        if info.file_size != storage.count * storage.width:
            raise InputError(f"{made.title}: damaged or cut short (a tensor's numbers are not all there)")
        storage.read = lambda info=info: member(archive, info, made.title)
    return complete(root, made)


def member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, title: str) -> bytes:
    """A file of the archive, its check sum right."""
    try:
        return archive.read(info)
    except FAULTS:
        raise InputError(f"{title}: damaged (the check sum of {info.filename!a} is wrong)") from None


def complete(root: Any, made: Made) -> Any:
    """`root`, if every storage was found."""
    if any(storage.read is None for storage in made.storages.values()):
        raise InputError(f"{made.title}: damaged or cut short (a tensor's numbers are not all there)")
    return root


def saved(meta: Any) -> Saved:
    """torch_utils.persistence: name and members; the source code beside them stays text."""
    kind, members = meta["class_name"], meta["state"]
    if meta["type"] != "class" or type(kind) is not str or type(members) is not dict:
        raise ValueError("an object without class or members")
    return Saved(kind, members)


def table_of(*given: Any) -> dict[Any, Any]:
    """An ordered or attribute dictionary: the old way is a list of pairs, the new one fills it afterwards."""
    pairs = [pair for argument in given for pair in argument]
    if not all(type(key) in PLAIN for key, _ in pairs):
        raise ValueError("a key that is neither text nor a number")
    return dict(pairs)


def number(dtype: Any, data: bytes) -> Any:
    """A number of NumPy's: its kind, as a record with the byte order in its state, and its bytes."""
    order = dtype.state[1]
    (value,) = struct.unpack((">" if order == ">" else "<") + SCALARS[dtype.given[0]], data)
    return value


def encoded(text: str, code: str) -> bytes:
    """Bytes as protocol 2 writes them."""
    if type(text) is not str or code != "latin1":
        raise ValueError("bytes in a strange code")
    return text.encode("latin1")


def set_of(items: Any = ()) -> set[Any]:
    if not all(type(item) in PLAIN for item in items):
        raise ValueError("a member that is neither text nor a number")
    return set(items)


def first(value: Any, *_: object) -> Any:
    """A parameter is its tensor; whether it is trained, and hooks, are left out."""
    return value


STORAGES: dict[str, Maker] = {f"torch.{kind}Storage": record("storage") for kind in KINDS}
"""Names that a persistent id may hold."""
NAMES: dict[str, Maker] = STORAGES | {
    "torch_utils.persistence._reconstruct_persistent_obj": saved,
    "dnnlib.util.EasyDict": table_of,
    "collections.OrderedDict": table_of,
    "argparse.Namespace": record("argparse.Namespace"),
    "builtins.set": set_of,
    "builtins.bytes": lambda: b"",
    "_codecs.encode": encoded,
    "torch.Size": lambda items=(): tuple(items),
    "torch._utils._rebuild_parameter": first,
    "numpy.dtype": record("numpy.dtype"),
    "numpy.ndarray": record("numpy.ndarray"),
    "numpy.core.multiarray.scalar": number,
    "numpy._core.multiarray.scalar": number,
    "numpy.core.multiarray._reconstruct": record("numpy.ndarray"),
    "numpy._core.multiarray._reconstruct": record("numpy.ndarray"),
    "numpy.core.numeric._frombuffer": record("numpy.ndarray"),
    "numpy._core.numeric._frombuffer": record("numpy.ndarray"),
}
"""Names that a file may use, but for those of tensors (`Made.names`), and what stands for them."""
