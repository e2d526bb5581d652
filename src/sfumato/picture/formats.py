"""What each file format can hold, and how to tell formats apart by their first bytes."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from sfumato.errors import InputError, unknown


@dataclass(frozen=True)
class Format:
    """One format that sfumato writes."""

    name: str
    """As people say it."""
    codec: str
    """As Pillow says it."""
    extensions: tuple[str, ...]
    deep: bool = False
    """Holds 16 bits a channel."""
    alpha: bool = True
    icc: bool = True
    longest: int = 2**31 - 1
    """Pixels a side at most."""
    metadata: int = 2**31 - 1
    """Bytes of record that fit inside at most; a longer one goes into a file beside the picture."""


FORMATS = (
    Format("JPEG", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), alpha=False, longest=65500, metadata=60000),
    Format("PNG", "PNG", (".png",), deep=True),
    Format("WebP", "WEBP", (".webp",), longest=16383),
    Format("TIFF", "TIFF", (".tif", ".tiff"), deep=True),
    Format("BMP", "BMP", (".bmp",), alpha=False, icc=False, metadata=0),
    Format("AVIF", "AVIF", (".avif",), longest=65535),
    Format("HEIC", "HEIF", (".heic", ".heif"), longest=16384),
)
READABLE = (*(f.name for f in FORMATS), "GIF")
_BY_EXTENSION = {extension: f for f in FORMATS for extension in f.extensions}


def known_extensions() -> tuple[str, ...]:
    """Extensions of the pictures that can be read, in lower case with their dot."""
    return (*_BY_EXTENSION, ".gif")


def format_of(path: Path) -> Format:
    """The format that an output path's extension names; InputError where it names none that can be written."""
    extension = path.suffix.lower()
    if extension not in _BY_EXTENSION:
        if not extension:
            raise InputError(f"cannot write {str(path)!r}: the name needs an extension ({', '.join(_BY_EXTENSION)})")
        raise unknown("picture extension", extension, _BY_EXTENSION)
    found = _BY_EXTENSION[extension]
    if found.codec == "HEIF":
        need_heif()
    return found


def need_heif() -> None:
    """Teach Pillow HEIC; InputError where the extra is not installed."""
    if importlib.util.find_spec("pillow_heif") is None:
        raise InputError("HEIC pictures need one more package: pip install 'sfumato[heic]'")
    import pillow_heif

    pillow_heif.register_heif_opener()


def sniff(data: bytes) -> str | None:
    """Pillow's name of the format whose signature opens `data`, or None."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data[:2] == b"BM":
        return "BMP"
    if data[4:8] == b"ftyp":
        brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        if any(b in brands for b in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")):
            return "HEIF"
    return None
