"""Memory: what the user allows, what the process holds, and how it is given back."""

import contextlib
import ctypes
import re
import sys

import psutil

from sfumato.errors import InputError

UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
RESERVE = 160 << 20
"""Beside what is counted: PyTorch's scratch, pages that are only partly free."""


def parse_bytes(text: str | int) -> int:
    """'2GiB', '2G', '500 MB', '1.5gib' in bytes (powers of 1024). Raises `InputError`."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]?)(i?b)?\s*", str(text).lower())
    if not match or float(match[1]) <= 0:
        raise InputError(f"{text!r} is not an amount of memory: write it like 2GiB or 500MiB")
    return int(float(match[1]) * UNITS[match[2]])


def allowed(max_memory: str) -> int:
    """Bytes that this process may hold in all; 'auto' is what it holds plus three fifths of what is free."""
    if max_memory == "auto":
        return int(psutil.Process().memory_info().rss + 0.6 * psutil.virtual_memory().available)
    return parse_bytes(max_memory)


def release() -> None:
    """Give freed memory back to the system (Linux with glibc; else nothing): a tile's and a picture's pieces do not fit
    into each other's holes, and both would be held."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
