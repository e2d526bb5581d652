"""How much memory is allowed, and that it is given back."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from sfumato import memory
from sfumato.errors import InputError
from sfumato.memory import allowed, parse_bytes

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 * GIB),
        ("2G", 2 * GIB),
        ("2gb", 2 * GIB),
        ("500 MB", 500 * MIB),
        ("1.5gib", 3 * GIB // 2),
        (" 64k ", 64 << 10),
        ("1T", 1 << 40),
        ("1048576", MIB),
        (".5GiB", GIB // 2),
        (1048576, MIB),
    ],
)
def test_parse_bytes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "two", "-1G", "0", "0GiB", "1.2.3G", "1PB", "1 G B", "nan"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(InputError, match="is not an amount of memory: write it like 2GiB"):
        parse_bytes(text)


def test_auto_is_what_is_held_and_most_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=100 * MIB))
    free = SimpleNamespace(available=1000 * MIB)
    monkeypatch.setattr(memory, "psutil", SimpleNamespace(Process=lambda: process, virtual_memory=lambda: free))
    assert 500 * MIB <= allowed("auto") <= 1000 * MIB
    assert allowed("2GiB") == 2 * GIB


HOLES = """
import psutil, torch
from sfumato.cli_flags import prepare_memory
prepare_memory()
rss = lambda: psutil.Process().memory_info().rss >> 20
pieces = [torch.ones(1 << 22) for _ in range(20)]
held = pieces[-1]
before = rss()
del pieces
kept = rss()
from sfumato.memory import release
release()
print(before - kept, kept - rss())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_given_back_below_what_is_held() -> None:
    """19 pieces of 16 MiB lie below a living one, where the command's allocator keeps them until it is asked."""
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    at_once, when_asked = map(int, done.stdout.split())
    assert at_once < 32
    assert when_asked > 250
