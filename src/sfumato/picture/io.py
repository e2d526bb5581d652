"""Reading and writing pictures: files of every common format, arrays, tensors and Pillow pictures.

Whatever is wrong with a file or a path is an `InputError` of one sentence that names it. No torch is imported here.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfumato.errors import InputError
from sfumato.picture.arrays import array_hash, from_array, from_pillow, is_tensor, tensor_to_array
from sfumato.picture.decode import Decoded, decode
from sfumato.picture.encode import encode
from sfumato.picture.formats import format_of
from sfumato.picture.record import forget_sidecar, sidecar_path, sidecar_text, to_json

Source = Any
"""A path, the bytes of a file, a Pillow picture, a numpy array, a torch tensor, or a Picture."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture as the verbs see it."""

    rgb: NDArray[np.float32]
    """H x W x 3, sRGB, [0, 1], contiguous."""
    alpha: NDArray[np.float32] | None
    """H x W in [0, 1]; None where the source has none."""
    bits: int
    """8 or 16: depth of the source."""
    icc: bytes | None
    """The source's profile, so that the output can be converted back; None is sRGB."""
    sha256: str
    """Of the file's bytes, or of the array's shape, type and bytes."""
    name: str
    """The path as given, or 'array', 'tensor', 'PIL image', 'bytes'."""
    path: Path | None

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])


def read_picture(source: Source, *, max_pixels: int = 200_000_000) -> Picture:
    """Read one picture, upright and in sRGB.

    Files are JPEG, PNG, WebP, TIFF, BMP, AVIF, HEIC (with the extra) or single-frame GIF, of any colour mode; EXIF
    orientation is applied, an embedded ICC profile is converted from (a broken one is ignored). Arrays are H x W or
    H x W x 1 to 4 of uint8, uint16 or floats in [0, 1]; tensors 3 x H x W, 1 x 3 x H x W or 1 x H x W likewise. A
    Picture is returned as it is.

    Raises:
        InputError: the source is missing, unreadable, empty, not a picture, damaged, animated, larger than
            `max_pixels`, or has pixels that are not numbers in range.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, bytes | bytearray):
        return _picture("bytes", None, decode(bytes(source), max_pixels), hashlib.sha256(source).hexdigest())
    if isinstance(source, Image.Image):
        return _picture("PIL image", None, *from_pillow(source, max_pixels))
    if is_tensor(source) or isinstance(source, np.ndarray | np.generic):
        array = tensor_to_array(source) if is_tensor(source) else np.asarray(source)
        name = "tensor" if is_tensor(source) else "array"
        return _picture(name, None, from_array(array, max_pixels), array_hash(array))
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"a picture cannot be read from an object of type {type(source).__name__}")
    name = os.fspath(source)
    try:
        data = _bytes_of(name, max_pixels)
        return _picture(name, Path(name), decode(data, max_pixels), hashlib.sha256(data).hexdigest())
    except InputError as error:
        raise InputError(f"cannot read {name!r}: {error}") from error.__cause__


def check_output(
    path: str | os.PathLike[str], inputs: Iterable["Picture | Path"] = (), size: tuple[int, int] | None = None
) -> Path:
    """Say before long work that an output cannot be written.

    Args:
        path: where the picture shall go; missing folders are made later, by `write_picture`.
        inputs: pictures and files that the output must not replace, also through links.
        size: height and width of the output where known, checked against the format's limit.

    Raises:
        InputError: unknown extension, HEIC without its extra, a folder in the way, no permission, an input's file.
    """
    name = os.fspath(path)
    target = Path(name)
    try:
        if target.is_dir():
            _refuse(name, "it is a directory")
        chosen = format_of(target)
        if target.exists() and not target.is_file():
            _refuse(name, "it is not a regular file")
        if target.exists() and not os.access(target, os.W_OK):
            _refuse(name, "the file there is read-only")
        folder = Path(os.path.realpath(target)).parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            _refuse(name, f"{str(folder)!r} is a file, not a directory")
        if not os.access(folder, os.W_OK | os.X_OK):
            _refuse(name, f"no permission to write into {str(folder)!r}")
        for given in inputs:
            taken = given.path if isinstance(given, Picture) else Path(given)
            if taken is not None and taken.exists() and target.exists() and target.samefile(taken):
                _refuse(name, f"it is the input {str(taken)!r}, which would be replaced")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        _refuse(name, _reason(error))
    if size is not None and max(size) > chosen.longest:
        _refuse(name, f"{chosen.name} holds {chosen.longest} pixels a side at most, not {size[1]} x {size[0]}")
    return target


def write_picture(
    path: str | os.PathLike[str],
    rgb: Any,
    *,
    like: Picture | None = None,
    record: dict[str, Any] | None = None,
    bits: int | None = None,
    quality: int = 95,
) -> None:
    """Write one picture whole or not at all; an older file stays until the new one is complete.

    Args:
        path: the extension names the format; missing folders are made; a link is followed.
        rgb: H x W x 3 array, or 3 x H x W or 1 x 3 x H x W tensor; sRGB, floats clamped to [0, 1], or uint8 or uint16
            over their full range.
        like: gives alpha (resized to `rgb`; laid on white where the format has none), the ICC profile (converted to
            and embedded where it is one of RGB, else the output is plain sRGB) and the depth.
        record: carried inside the file (beside it, in PATH.json, where the format cannot hold it); see `read_record`.
        bits: 8 or 16; None takes `like`'s where the format is PNG or TIFF, else 8.
        quality: 1 to 100 for JPEG and WebP; AVIF and HEIC use 5 less, which looks the same, and
            HEIC as much less as keeps the file under 15 MiB, the most its decoders take.

    Raises:
        InputError: as `check_output`; also for pixels that are not finite, and when the disk is full.
    """
    target = check_output(path)
    name = os.fspath(path)
    try:
        array = tensor_to_array(rgb) if is_tensor(rgb) else np.asarray(rgb)
        if array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
            raise InputError(f"an array of shape {array.shape} is not a picture: H x W x 3 is expected")
        if array.dtype.kind != "f" and array.dtype not in (np.uint8, np.uint16):
            raise InputError(f"pixels of type {array.dtype} are neither floats in [0, 1] nor uint8 or uint16")
        alpha, icc, depth = (like.alpha, like.icc, like.bits) if like is not None else (None, None, 8)
        text = to_json(record) if record is not None else None
        data, carried = encode(array, format_of(target), alpha, icc, bits, depth, quality, text)
    except InputError as error:
        raise InputError(f"cannot write {name!r}: {error}") from error.__cause__
    real = Path(os.path.realpath(target))
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        if text is not None and not carried:
            with _replacing(real, data), _replacing(sidecar_path(real), sidecar_text(text, data)):
                pass
        else:
            with _replacing(real, data):
                pass
            forget_sidecar(real)
    except OSError as error:
        _refuse(name, _reason(error))


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all, as `write_picture`; missing folders are made. Raises `InputError`."""
    real = Path(os.path.realpath(path))
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(real, data):
            pass
    except OSError as error:
        _refuse(os.fspath(path), _reason(error))


@contextlib.contextmanager
def _replacing(path: Path, data: bytes) -> Iterator[None]:
    """Write `data` beside `path`, move it there when the block is done, remove it when anything fails."""
    temporary = path.with_name(f".sfumato-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        yield
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _picture(name: str, path: Path | None, decoded: Decoded, digest: str) -> Picture:
    return Picture(decoded.rgb, decoded.alpha, decoded.bits, decoded.icc, digest, name, path)


def _bytes_of(name: str, max_pixels: int) -> bytes:
    try:
        status = Path(name).stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError("it is a directory, not a picture")
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait, a device never end
            raise InputError("it is not a regular file")
        if status.st_size > 64 * max(max_pixels, 1 << 20):
            raise InputError(f"its {status.st_size:,} bytes are more than a picture of {max_pixels:,} pixels has")
        return Path(name).read_bytes()
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """An operating-system error in words, without numbers and paths."""
    if isinstance(error, OSError) and error.errno == errno.ENOENT:
        return "no such file"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return text[:1].lower() + text[1:]


def _refuse(name: str, reason: str) -> NoReturn:
    raise InputError(f"cannot write {name!r}: {reason}")
