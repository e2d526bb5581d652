"""The record of how a picture was made, carried in its own metadata.

PNG holds it in an iTXt chunk, TIFF in ImageDescription, JPEG, WebP, AVIF and HEIC in EXIF UserComment; a BMP, or a
record too long for its file, has a file PATH.json beside it. It is compact JSON with sorted keys, in ASCII.
"""

import hashlib
import json
import platform
import struct
import zlib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from sfumato._version import __version__
from sfumato.errors import InputError
from sfumato.picture.decode import limits
from sfumato.picture.formats import need_heif, sniff

if TYPE_CHECKING:
    from sfumato.picture.io import Picture

KEY = "sfumato"
_MARK = "sfumato "  # opens the text in fields that others use too
_EXIF_IFD, _USER_COMMENT, _IMAGE_DESCRIPTION = 0x8769, 0x9286, 0x010E
_LARGEST = 2**31  # pixels; nothing is decoded
_LONGEST = 64 << 20  # bytes of a compressed record that are unpacked at most


def new_record(
    verb: str, settings: dict[str, Any], inputs: "list[Picture]", weights: dict[str, str], **extra: Any
) -> dict[str, Any]:
    """What it takes to make a picture again: the verb, its settings, hashes of inputs and weights, and versions."""
    return {
        "sfumato": __version__,
        "verb": verb,
        "settings": settings,
        "inputs": [{"name": p.name, "sha256": p.sha256, "size": [p.height, p.width]} for p in inputs],
        "weights": weights,
        "versions": {"python": platform.python_version(), **_versions("numpy", "torch", "pillow")},
        "machine": platform.machine(),
        **extra,
    }


def read_record(path: str | PathLike[str]) -> dict[str, Any]:
    """The record that a picture carries; InputError where there is no picture or it carries none."""
    name = fspath(path)
    try:
        data = Path(name).read_bytes()
        text = _find(data)
        found = _beside(Path(name), data) if text is None else json.loads(text)
    except InputError as error:
        raise InputError(f"cannot read {name!r}: {error}") from None
    except OSError as error:
        raise InputError(f"cannot read {name!r}: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name!r} carries a damaged sfumato record") from error
    if not isinstance(found, dict):
        raise InputError(f"{name!r} carries no sfumato record")
    return found


def to_json(record: dict[str, Any]) -> str:
    """Compact ASCII JSON with sorted keys; InputError on values that JSON does not have."""
    try:
        return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"the record cannot be written as JSON ({error})") from error


def sidecar_path(path: Path) -> Path:
    """Where the record of a picture goes that cannot hold it: out.bmp -> out.bmp.json; never over another's file."""
    beside = path.with_name(path.name + ".json")
    if beside.exists() and _sidecar(beside) is None:
        raise InputError(f"the record of {str(path)!r} would replace {str(beside)!r}, which sfumato did not write")
    return beside


def sidecar_text(record: str, picture: bytes) -> bytes:
    """The file beside a picture: it names the picture's hash, so that it never speaks for a later one."""
    return f'{{"picture_sha256":"{hashlib.sha256(picture).hexdigest()}","record":{record}}}'.encode()


def forget_sidecar(path: Path) -> None:
    """Remove the record beside an older picture at `path`."""
    beside = path.with_name(path.name + ".json")
    if _sidecar(beside) is not None:
        beside.unlink()


def _beside(path: Path, data: bytes) -> Any:
    found = _sidecar(path.with_name(path.name + ".json"))
    return (
        found["record"] if found is not None and found["picture_sha256"] == hashlib.sha256(data).hexdigest() else None
    )


def _sidecar(beside: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(beside.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and set(found) == {"picture_sha256", "record"} else None


def exif_with(record: str) -> bytes:
    """An EXIF block that holds the record as its UserComment, for Pillow's `exif=`."""
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"ASCII\0\0\0" + description(record).encode("ascii")
    return exif.tobytes()


def description(record: str) -> str:
    """The record as the text of a field that others use too."""
    return _MARK + record


def png_text(record: str) -> bytes:
    """An uncompressed iTXt chunk."""
    return png_chunk(b"iTXt", KEY.encode() + b"\0\0\0\0\0" + record.encode("utf-8"))


def png_profile(icc: bytes) -> bytes:
    """An iCCP chunk."""
    return png_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc, 9))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Length, name, data and checksum of a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # vendored or frozen
            found[package] = "unknown"
    return found


def _find(data: bytes) -> str | None:
    kind = sniff(data)
    if kind is None:
        raise InputError("not a picture in a known format" if data else "the file is empty")
    if kind == "PNG":
        return next(_png_texts(data), None)
    if kind == "HEIF":
        need_heif()
    try:
        names = ["JPEG", "MPO"] if kind == "JPEG" else [kind]
        with limits(_LARGEST), Image.open(BytesIO(data), formats=names) as image:
            exif = image.getexif()
            fields = [exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT), exif.get(_IMAGE_DESCRIPTION)]
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(f"the {kind} data is truncated or damaged") from error
    for field in fields:
        text = field.decode("utf-8", "replace") if isinstance(field, bytes) else str(field or "")
        text = text.removeprefix("ASCII\0\0\0")
        if text.startswith(_MARK):
            return text.removeprefix(_MARK).rstrip("\0")
    return None


def _png_texts(data: bytes) -> Iterator[str]:
    """Texts of the iTXt chunks with our key, anywhere in the file."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        at += 12 + length
        key, _, rest = body.partition(b"\0") if kind == b"iTXt" else (b"", b"", b"")
        if key != KEY.encode() or len(rest) < 4:
            continue
        text = rest[2:].split(b"\0", 2)[-1]  # after language and translated key
        if rest[0] == 1:
            try:
                text = zlib.decompressobj().decompress(text, _LONGEST)
            except zlib.error as error:
                raise InputError("the PNG data is truncated or damaged") from error
        yield text.decode("utf-8", "replace")
