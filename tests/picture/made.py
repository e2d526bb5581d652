"""Pictures that the tests share: made here, small, and the same every time."""

import io
import struct

import imagecodecs
import numpy as np
from PIL import Image

from sfumato.picture.formats import need_heif

need_heif()
WRITTEN = ("png", "jpg", "webp", "tif", "bmp", "avif", "heic")
DISPLAY_P3 = imagecodecs.cms_profile(
    "rgb", whitepoint=[0.3127, 0.3290], primaries=[0.680, 0.320, 0.265, 0.690, 0.150, 0.060], gamma=2.2
)
GREY_18 = imagecodecs.cms_profile("gray", gamma=1.8)


def smooth(height: int, width: int) -> np.ndarray:
    """H x W x 3 in [0.1, 0.9]: soft enough for every codec, and no two corners alike."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return (0.1 + 0.8 * np.stack([x, y, (2 - x - y) / 2], -1)).astype(np.float32)


def cmyk_profile() -> bytes:
    """A CMYK output profile with a 2-point table to Lab (ICC 'mft2'): its black is a dark green, its cyan a red.

    Unlike any formula, so that a test sees whether the profile was used.
    """
    corners = [
        ((20.0, -30.0, 20.0) if k else (40.0, 50.0, 30.0) if c else (95.0 - 30 * m - 30 * y, 10.0 * m, 40.0 * y))
        for c in (0, 1)
        for m in (0, 1)
        for y in (0, 1)
        for k in (0, 1)
    ]
    lab = b"".join(
        struct.pack(">3H", round(L * 652.8), round((a + 128) * 256), round((b + 128) * 256)) for L, a, b in corners
    )
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    line = struct.pack(">2H", 0, 65535)
    table = b"mft2" + bytes(4) + bytes([4, 3, 2, 0]) + identity + struct.pack(">2H", 2, 2) + line * 4 + lab + line * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags, at = b"", 128 + 4 + 12 * 3
    for name, body in ((b"desc", text), (b"wtpt", white), (b"A2B0", table)):
        tags += struct.pack(">4s2I", name, at, len(body))
        at += len(body)
    head = struct.pack(">I4sI4s4s4s12s4s", at, b"lcms", 0x02100000, b"prtr", b"CMYK", b"Lab ", bytes(12), b"acsp")
    head += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", 3) + tags + text + white + table


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    """`image` as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()
