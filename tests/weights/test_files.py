"""Models written and read again, and every file that must be refused."""

import errno
import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sfumato.errors import InputError
from sfumato.weights import files
from sfumato.weights.files import load_model, save_model

from .conftest import networks


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(path, "onepass", {"width": 4, "sizes": (1, 2)}, networks(), {"preset": "größer", "score": 0.25})
    return path


def header_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The format read by hand: eight bytes of length, JSON, tensors."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header: dict[str, Any], tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def test_what_is_read_is_what_was_written_in_half_precision(file: Path) -> None:
    model = load_model(file, "onepass")
    assert (model.family, model.config) == ("onepass", {"width": 4, "sizes": [1, 2]})
    assert model.about == {"preset": "größer", "score": 0.25}
    assert model.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert model.name == str(file)
    assert model.tensors.keys() == networks().keys()
    for name, network in networks().items():
        state = network.state_dict()
        assert model.tensors[name].keys() == state.keys()
        for key, tensor in state.items():
            read = model.tensors[name][key]
            if tensor.is_floating_point():
                assert read.dtype == torch.float32
                assert torch.equal(read, torch.from_numpy(tensor.numpy().astype(np.float16).astype(np.float32)))
            else:
                assert read.dtype == tensor.dtype
                assert torch.equal(read, tensor)


def test_the_file_is_plain_safetensors_with_the_promised_names(file: Path) -> None:
    header, tensors = header_of(file.read_bytes())
    document = json.loads(header.pop("__metadata__")["sfumato"])
    assert document["format"] == 1
    assert document["family"] == "onepass"
    weight = header["generator.0.weight"]
    assert (weight["dtype"], weight["shape"]) == ("F16", [4, 3, 3, 3])
    assert header["generator.1.num_batches_tracked"]["dtype"] == "I64"
    start, end = weight["data_offsets"]
    values = np.frombuffer(tensors[start:end], np.float16).reshape(4, 3, 3, 3)
    expected = networks()["generator"].state_dict()["0.weight"].numpy().astype(np.float16)
    np.testing.assert_array_equal(values, expected)


def test_float32_is_kept_when_asked_for(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", "onepass", {}, networks(), {}, dtype=torch.float32)
    read = load_model(tmp_path / "m.safetensors").tensors["generator"]["0.weight"]
    assert torch.equal(read, networks()["generator"].state_dict()["0.weight"])


def test_filling_makes_the_same_network_and_leaves_the_rest(file: Path) -> None:
    other = networks(seed=1)
    load_model(file).fill({"generator": other["generator"]})
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted = networks()["generator"].half().float().eval()(x)
    assert torch.equal(other["generator"].eval()(x), wanted)
    assert torch.equal(
        other["style_encoder"].state_dict()["weight"], networks(1)["style_encoder"].state_dict()["weight"]
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"judge": nn.Linear(2, 2)}, "holds no network 'judge', but generator, style_encoder"),
        ({"style_encoder": nn.Linear(5, 2)}, r"style_encoder\.bias: nothing in the file, 2 in the network"),
        ({"style_encoder": nn.Linear(6, 2, bias=False)}, r"weight: 2 x 5 in the file, 2 x 6 in the network"),
    ],
)
def test_filling_another_network_is_refused_before_anything_changes(
    file: Path, asked: dict[str, nn.Module], message: str
) -> None:
    generator = networks(seed=1)["generator"]
    with pytest.raises(InputError, match=message):
        load_model(file).fill({"generator": generator, **asked})
    assert torch.equal(generator.state_dict()["0.weight"], networks(1)["generator"].state_dict()["0.weight"])


def test_a_run_means_its_exported_model(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(InputError, match=r"a folder without weights\.safetensors, so not a training run"):
        load_model(run)
    (run / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"a training run that has not exported weights\.safetensors yet"):
        load_model(run)
    save_model(run / "weights.safetensors", "crossdomain", {"ngf": 8}, networks(), {})
    assert load_model(str(run)).config == {"ngf": 8}


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (TRAPPED,))


TRAPPED = "a pickle was run"


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_a_pickle_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "torch":
        torch.save({"x": Trap()}, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match=r"refused, a PyTorch or pickle file, which can run code when it is read"):
        load_model(name)
    assert not (tmp_path / TRAPPED).exists()


def test_a_length_that_begins_like_a_pickle(tmp_path: Path) -> None:
    """The file's first byte is the header's length modulo 256, which may be a pickle's first byte, 0x80."""
    seen = set()
    for extra in range(0, 256, 8):
        save_model(tmp_path / "m.safetensors", "onepass", {}, networks(), {"note": "x" * extra})
        seen.add((tmp_path / "m.safetensors").read_bytes()[0])
        assert len(load_model(tmp_path / "m.safetensors").about["note"]) == extra
    assert 0x80 in seen


def test_a_file_cut_anywhere_is_refused(file: Path) -> None:
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    for size in (*range(12), 8 + length // 2, 8 + length, 8 + length + 1, len(data) - 1):
        file.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"empty|not a safetensors file|cut short") as caught:
            load_model(file)
        if size >= 9:
            assert f"cut short ({size:,}" in str(caught.value)


def test_any_changed_byte_of_the_header_is_an_input_error_or_harmless(file: Path) -> None:
    data = bytearray(file.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(data)
        changed[rng.integers(8 + length)] = rng.integers(256)
        file.write_bytes(changed)
        try:
            load_model(file)
        except InputError as error:
            assert str(error).startswith(f"{file}: ")  # noqa: PT017


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"made by a newer sfumato \(format 2; this one reads 1\): update sfumato"),
        ({"format": 0}, "damaged"),
        ({"format": "1"}, "damaged"),
        ({"family": None}, "damaged"),
        ({"config": []}, "damaged"),
        ({"family": "crossdomain"}, "is a crossdomain model, onepass wanted"),
    ],
)
def test_metadata_that_do_not_fit(file: Path, change: dict[str, Any], message: str) -> None:
    header, tensors = header_of(file.read_bytes())
    document = json.loads(header["__metadata__"]["sfumato"])
    header["__metadata__"]["sfumato"] = json.dumps(document | change)
    file.write_bytes(with_header(header, tensors))
    with pytest.raises(InputError, match=message):
        load_model(file, "onepass")


def test_a_newer_format_is_said_before_the_family(file: Path) -> None:
    """What a newer version means by a family, or where it keeps it, this one cannot know."""
    header, tensors = header_of(file.read_bytes())
    header["__metadata__"]["sfumato"] = json.dumps({"format": 7, "kind": "something new"})
    file.write_bytes(with_header(header, tensors))
    with pytest.raises(InputError, match="made by a newer sfumato"):
        load_model(file, "onepass")


def test_someone_elses_safetensors_is_refused(tmp_path: Path) -> None:
    save_file({"a.b": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="holds tensors, but is not a model of sfumato"):
        load_model(tmp_path / "other.safetensors")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(InputError, match="not a safetensors file"):
        load_model(tmp_path / "picture.png")


@pytest.mark.usefixtures("bundled")
def test_missing_files_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lost\.safetensors: no such file"):
        load_model(tmp_path / "lost.safetensors")
    with pytest.raises(InputError, match=r"runs/lost: no such file"):
        load_model("runs/lost")
    with pytest.raises(InputError, match=r"unknown model 'tinny': did you mean 'tiny'\?"):
        load_model("tinny")


@pytest.mark.usefixtures("bundled")
def test_a_bundled_model_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = load_model("tiny", "onepass")
    assert (model.name, model.config, model.about) == ("tiny", {"width": 4}, {"steps": 3})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    save_model("tiny/weights.safetensors", "crossdomain", {}, networks(), {})
    assert load_model("tiny").family == "onepass"  # the name goes first
    assert load_model("./tiny").family == "crossdomain"


def test_a_changed_or_missing_bundled_file(bundled: Path) -> None:
    save_model(bundled, "onepass", {"width": 4}, networks(seed=1), {"steps": 3})
    with pytest.raises(
        InputError, match=r"the bundled model 'tiny' is damaged \(its sha256 is not the registered one\)"
    ):
        load_model("tiny")
    assert load_model(bundled).family == "onepass"  # as a file it is any file
    bundled.unlink()
    with pytest.raises(InputError, match="the file of the bundled model 'tiny' is not in this installation"):
        load_model("tiny")


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (float("nan"), None, r"generator\.0\.bias has values that are NaN or infinite"),
        (float("inf"), torch.float32, r"generator\.0\.bias has values that are NaN or infinite"),
        (70000.0, None, r"generator\.0\.bias has values that are too large for float16"),
    ],
)
def test_values_that_a_model_must_not_have(file: Path, value: float, dtype: torch.dtype | None, message: str) -> None:
    before, broken = file.read_bytes(), networks()
    broken["generator"].get_parameter("0.bias").data[1] = value
    with pytest.raises(InputError, match=message):
        save_model(file, "onepass", {}, broken, {}, dtype=dtype)
    assert file.read_bytes() == before


@pytest.mark.parametrize("broken", ["write", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    file: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    before = file.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full) if broken == "write" else monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match=r"cannot write '.*model\.safetensors': no space left on device"):
        save_model(file, "onepass", {}, networks(seed=1), {})
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_network_on_another_layout_is_written_in_its_own_order(tmp_path: Path) -> None:
    """Parameters in channels_last, and the same tensor twice, are what training may leave."""
    network = nn.ModuleDict({"a": nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)})
    network["b"] = network["a"]
    save_model(tmp_path / "m.safetensors", "onepass", {}, {"n": network}, {}, dtype=torch.float32)
    read = load_model(tmp_path / "m.safetensors").tensors["n"]
    assert torch.equal(read["a.weight"], network["a"].weight)
    assert torch.equal(read["b.weight"], network["a"].weight)


def test_no_torch_until_tensors_are_needed() -> None:
    code = (
        "import sys; from sfumato.weights import files, registry; registry.models_table()\n"
        "try: files.load_model('nothing.safetensors')\n"
        "except ValueError: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
