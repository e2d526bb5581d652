"""Foreign checkpoints: what PyTorch and pickle write is read, what could run code or fill the memory is refused."""

import argparse
import collections
import copyreg
import io
import os
import pickle
import pickletools
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.weights import pickles
from sfumato.weights.foreign import Stored, read_foreign

MARK = "something was run"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In an empty folder, in which nothing may have been run in the end."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    yield
    assert not Path(MARK).exists()


def contents() -> dict[str, Any]:
    x = torch.randn(4, 6)
    return {
        "turned": nn.Parameter(x.t()),
        "half": x.half(),
        "part": x.bfloat16()[1:, 2:],
        "whole numbers": torch.arange(3),
        "yes": torch.tensor([True, False]),
        "one": torch.tensor(2.5, dtype=torch.float64),
        "none": torch.zeros(0, 2),
        "state": nn.BatchNorm2d(3).state_dict(),
        "adam": torch.optim.Adam([nn.Parameter(x)]).state_dict(),
        "numbers": [np.float64(1.5), np.float32(-2.5), np.int64(-7), np.uint8(200), np.bool_(True), 10**30, b"", "ä"],
        "set": {1, 2},
        "ordered": collections.OrderedDict(a=1),
        "size": x.shape,
        "args": argparse.Namespace(size=16, paths=["a"]),
        "array": np.zeros(3),
    }


def written(value: object, how: int | str) -> bytes:
    """As a pickle of a protocol, or as torch.save writes it now ("zip") or did once ("old")."""
    if isinstance(how, int):
        return pickle.dumps(value, how)
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=how == "zip")
    return file.getvalue()


def read(data: bytes) -> Any:
    Path("f.pkl").write_bytes(data)
    return read_foreign("f.pkl").root


def stored(value: object) -> Iterator[Stored]:
    """All tensors of containers."""
    if isinstance(value, Stored):
        yield value
    elif isinstance(value, dict | list | tuple):
        for member in value.values() if isinstance(value, dict) else value:
            yield from stored(member)


def refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(data)
    assert str(caught.value).startswith("f.pkl: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("how", [2, 3, 4, 5, "zip", "old"])
def test_what_is_read_is_what_was_written(how: int | str) -> None:
    wanted = contents()
    found = read(written(wanted, how))
    for key in ("half", "part", "whole numbers", "yes", "one", "none", "turned"):
        tensor = found[key].tensor()
        assert tensor.dtype == wanted[key].dtype
        assert tensor.is_contiguous()
        assert torch.equal(tensor, wanted[key]), key
    assert list(found["state"]) == list(wanted["state"])
    assert torch.equal(found["state"]["running_var"].tensor(), torch.ones(3))
    assert found["adam"]["param_groups"] == [{**wanted["adam"]["param_groups"][0]}]
    assert found["numbers"] == wanted["numbers"]
    assert [type(n) for n in found["numbers"][:5]] == [float, float, int, int, bool]
    assert (found["set"], found["ordered"], found["size"]) == ({1, 2}, {"a": 1}, (4, 6))
    assert found["args"].state == {"size": 16, "paths": ["a"]}


class Trap:
    """Runs when it is read by `pickle`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (MARK,))


def test_the_trap_works() -> None:
    """Else the tests below say nothing."""
    pickle.loads(pickle.dumps(Trap()))
    assert Path(MARK).is_dir()
    Path(MARK).rmdir()


@pytest.mark.parametrize("how", [0, 1, 2, 3, 4, 5, "zip", "old"])
def test_a_trap_is_refused_by_its_name(how: int | str) -> None:
    refused(written({"a": torch.zeros(2), "b": [Trap()]}, how), r"refused, it asks for 'posix\.mkdir'|'nt\.mkdir'")


def nested(payload: bytes) -> bytes:
    """A pickle that hands `payload` to torch.storage._load_from_bytes."""
    data = b"B" + struct.pack("<I", len(payload)) + payload
    return b"\x80\x03ctorch.storage\n_load_from_bytes\n" + data + b"\x85R."


def old_file(value: bytes, keys: bytes = b"\x80\x02]q\x00.", tail: bytes = b"") -> bytes:
    """A PyTorch file of the older kind around the pickle `value`."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    return b"".join(pickle.dumps(part, 2) for part in head) + value + keys + tail


def stack_global(module: str, name: str, argument: str = MARK) -> bytes:
    """module.name(argument) in protocol 4."""
    texts = [b"\x8c" + bytes([len(t.encode())]) + t.encode() for t in (module, name)]
    return b"\x80\x04" + b"".join(texts) + b"\x93\x8c" + bytes([len(argument)]) + argument.encode() + b"\x85R."


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06NtQ"
RUN = f"__import__('os').mkdir({MARK!r})".encode()
MALICE = {
    "os.system by GLOBAL": (b"cos\nsystem\n(S'mkdir x'\ntR.", r"'os\.system'"),
    "os.mkdir by STACK_GLOBAL": (stack_global("os", "mkdir"), r"'os\.mkdir'"),
    "eval": (b"cbuiltins\neval\n(V" + RUN + b"\ntR.", r"'builtins\.eval'"),
    "exec": (b"c__builtin__\nexec\n(V" + RUN + b"\ntR.", r"'builtins\.exec'"),
    "getattr": (b"\x80\x02cbuiltins\ngetattr\n.", r"'builtins\.getattr'"),
    "import": (b"\x80\x02c__builtin__\n__import__\n.", r"'builtins\.__import__'"),
    "a dotted name": (stack_global("torch._utils", "_rebuild_tensor_v2.__globals__"), r"__globals__'"),
    "a name in our own modules": (stack_global("sfumato.weights.foreign", "os.mkdir"), r"foreign\.os\.mkdir'"),
    "a name of another alphabet": (stack_global("os", "\uff4dkdir"), r"'os\.\\uff4dkdir'"),
    "torch.load": (stack_global("torch", "load"), r"'torch\.load'"),
    "torch.hub": (stack_global("torch.hub", "load"), r"'torch\.hub\.load'"),
    "a class of torch.nn": (stack_global("torch.nn.modules.linear", "Linear"), r"modules\.linear\.Linear'"),
    "a name made of numbers": (b"\x80\x04K\x01K\x02\x93.", "by what is no text"),
    "INST": (b"(S'mkdir x'\nios\nsystem\n.", "instruction INST"),
    "OBJ": (b"\x80\x02(cargparse\nNamespace\nK\x01o.", "instruction OBJ"),
    "NEWOBJ_EX": (b"\x80\x04\x8c\x08argparse\x8c\x09Namespace\x93)}\x92.", "instruction NEWOBJ_EX"),
    "EXT1": (b"\x80\x02\x82\xf0)R.", "instruction EXT1"),
    "EXT2": (b"\x80\x02\x83\xf0\x00)R.", "instruction EXT2"),
    "a persistent id": (b"\x80\x02K\x01Q.", "instruction BINPERSID"),
    "a buffer from outside": (b"\x80\x05\x97.", "instruction NEXT_BUFFER"),
    "a call of what was made": (b"\x80\x02cargparse\nNamespace\n)R)R.", "calls something that is no name"),
    "a call of a number": (b"\x80\x02K\x01)R.", "calls something that is no name"),
    "a state for a name": (b"\x80\x02cargparse\nNamespace\n}X\x04\x00\x00\x00makeK\x01sb.", "sets the state of"),
    "a state for a list": (b"\x80\x02]}b.", "sets the state of"),
    "items for a name": (b"\x80\x02cargparse\nNamespace\nX\x04\x00\x00\x00makeK\x01s.", "fills something that is no"),
    "items for a tuple": (b"\x80\x02)K\x01a.", "fills something that is no list"),
    "a trap in a storage": (nested(pickle.dumps(Trap())), r"mkdir'"),
    "a trap as a storage's value": (nested(old_file(pickle.dumps(Trap(), 2))), r"mkdir'"),
    "a trap among the keys": (nested(old_file(b"\x80\x02" + STORAGE + b".", pickle.dumps([Trap()], 2))), "mkdir'"),
    "a storage in a storage": (nested(nested(b"")), r"_load_from_bytes'"),
    "no storage in a storage": (nested(pickle.dumps(1)), "no storage where one should be"),
    "another id than a storage's": (old_file(b"\x80\x02(K\x01K\x02K\x03K\x04K\x05tQ."), "no storage"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALICE)
def test_malice_is_refused_and_nothing_runs(name: str) -> None:
    data, message = MALICE[name]
    copyreg.add_extension("os", "mkdir", 0xF0)  # type: ignore[no-untyped-call]
    try:
        refused(data, message)
    finally:
        copyreg.remove_extension("os", "mkdir", 0xF0)  # type: ignore[no-untyped-call]
    assert not Path("x").exists()


def tensor_of(shape: bytes, stride: bytes, count: int = 6) -> bytes:
    """A tensor of that shape and stride, a pickle's instructions each, on a storage of six numbers."""
    head = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE.replace(b"K\x06", b"K" + bytes([count]))
    keys, numbers = b"\x80\x02]X\x01\x00\x00\x000a.", struct.pack("<q", count) + bytes(24)
    return old_file(head + b"K\x00" + shape + b"\x85" + stride + b"\x85\x89}tR.", keys, numbers)


def deflated() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"}" * 5_000_000 + b".")
    return file.getvalue()


def overlapping() -> bytes:
    """An archive whose many entries are the same bytes."""
    data = written({"a": torch.zeros(1000)}, "zip")
    file = io.BytesIO(data)
    with zipfile.ZipFile(file, "a") as archive:
        entry = archive.getinfo("archive/data/0")
        archive.filelist += [entry] * 1000
        for k in range(1000):
            twin = zipfile.ZipInfo(f"archive/data/{k + 1}")
            for name in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(twin, name, getattr(entry, name))
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
        archive._didModify = True  # type: ignore[attr-defined]
    return file.getvalue()


HUGE = {
    "bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x", "damaged or cut short"),
    "text": (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x", "damaged or cut short"),
    "a number": (b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b"x", "damaged or cut short"),
    "a number in digits": (b"I" + b"9" * 100_000 + b"\n.", "not a pickle"),
    "a place to remember": (b"\x80\x02K\x01r\xff\xff\xff\xffj\xfe\xff\xff\xff.", "damaged or cut short"),
    "a key that is deep": (b"\x80\x02}" + b")" + b"\x85" * 20_000 + b"K\x01s.", "neither text nor a number"),
    "a shape on few numbers": (tensor_of(b"J\x00\x00\x00\x40", b"K\x01"), "larger than what the file stores"),
    "a shape without a stride": (tensor_of(b"J\x00\x00\x00\x40", b"K\x00"), "larger than what the file stores"),
    "a negative shape": (tensor_of(b"J\xff\xff\xff\xff", b"K\x01"), "strange shape"),
    "a storage beyond the end": (tensor_of(b"K\x06", b"K\x01", 200), "numbers are not all there"),
    "an archive that swells": (deflated(), "compressed archive"),
    "an archive of one piece": (overlapping(), "compressed archive"),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_sizes_cost_nothing(name: str) -> None:
    data, message = HUGE[name]
    tracemalloc.start()
    refused(data, message)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 * len(data) + 4_000_000


def test_an_ordinary_tensor_of_six() -> None:
    """The builder above makes a file that is right where it is not meant to be wrong."""
    assert read(tensor_of(b"K\x06", b"K\x01")).tensor().tolist() == [0] * 6


def test_instructions_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MOST_INSTRUCTIONS", 1000)
    refused(b"\x80\x02" + b"}" * 1000 + b".", "more than 1,000 instructions")


def test_tensors_do_not_share_for_ever() -> None:
    x = torch.zeros(10_000)
    assert len(list(stored(read(written([x[i:] for i in range(3)], "zip"))))) == 3
    refused(written([x[i:] for i in range(100)], "zip"), "its tensors claim")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"GIF89a...", "not a pickle"),
        (b"\x80\x04", "damaged or cut short"),
        (b"PK\x03\x04 and no more", "damaged"),
        (b"\x80\x02K\x01", "damaged or cut short"),
        (b".", "not a pickle"),
    ],
)
def test_other_files(data: bytes, message: str) -> None:
    refused(data, message)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"no\.pkl: cannot be read \(no such file"):
        read_foreign("no.pkl")


@pytest.mark.parametrize("how", [4, "zip", "old"])
def test_a_file_cut_anywhere_is_refused(how: int | str) -> None:
    data = written({"a": torch.randn(40), "b": torch.randn(3)}, how)
    for end in range(0, len(data) - 1, 7):
        with pytest.raises(InputError):
            read(data[:end])


@pytest.mark.parametrize("how", [4, "zip", "old"])
def test_damaged_bytes_raise_nothing_else(how: int | str) -> None:
    """1000 files with one to four bytes changed: read, or refused in a sentence."""
    chance, counts = np.random.default_rng(0), collections.Counter[bool]()
    data = written({"a": nn.Parameter(torch.randn(3)), "n": np.float64(2), "o": collections.OrderedDict(x=1)}, how)
    for _ in range(1000):
        changed = bytearray(data)
        for at in chance.integers(len(data), size=chance.integers(1, 5)):
            changed[at] = chance.integers(256)
        try:
            for tensor in stored(read(bytes(changed))):
                assert isinstance(tensor.tensor(), Tensor)
            counts[True] += 1
        except InputError:
            counts[False] += 1
    assert min(counts.values()) > 50


def test_every_instruction_is_known_or_refused() -> None:
    """Those of Python's own list that are not refused, so that a new one is not taken by mistake."""
    allowed = set()
    for code in pickletools.opcodes:
        machine = pickles._Machine({}, "f", None)
        machine.stack, machine.below = [[], 1], [[1]]
        try:
            if code.name not in pickles.LITERALS | pickles.CONSTANTS.keys():
                machine.do(code.name, 0)
        except InputError as error:
            if "instruction" in str(error):
                continue
        except (TypeError, AttributeError, ValueError, LookupError):
            pass
        allowed.add(code.name)
    forbidden = {code.name for code in pickletools.opcodes} - allowed
    assert forbidden == {
        *("INST", "OBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER"),
        *("READONLY_BUFFER", "STOP"),
    }
