"""Files of trained networks: safetensors with one JSON document of what they are.

Tensors are named `network.parameter` and kept in half precision; the file's metadata has, under `sfumato`, the JSON
{"format": 1, "family": ..., "config": {...}, "about": {...}}. Nothing that could run code is read: a pickle is refused.
Torch is imported when tensors are needed, not with this module.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.errors import InputError
from sfumato.weights.registry import entries, find

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FORMAT = 1
"""Version of the metadata and of the names of tensors."""
EXPORTED = "weights.safetensors"
"""Name of the exported model in the folder of a training run."""
MOST_HEADER = 100_000_000
"""Bytes: safetensors' own limit."""


@dataclass(frozen=True)
class Header:
    """What a file of weights says of itself before its tensors."""

    family: str
    config: dict[str, Any]
    about: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Model:
    """Trained networks as tensors, and what they are."""

    family: str
    config: dict[str, Any]
    """Fields of the family's Config."""
    tensors: "dict[str, dict[str, Tensor]]"
    """{network: {parameter: tensor}} on the CPU; floating tensors are float32."""
    about: dict[str, Any]
    """How it was made: preset, data, steps, scores, versions."""
    sha256: str
    """Of the file."""
    name: str
    """The bundled model's name, or the path as given."""

    def fill(self, networks: "Mapping[str, nn.Module]") -> None:
        """Copy the tensors into `networks` by name, all or nothing.

        Networks of the file that are not asked for are left out. Raises `InputError` where one asked for is not in the
        file or has other parameters or shapes.
        """
        import torch

        for name, network in networks.items():
            if name not in self.tensors:
                raise InputError(f"{self.name}: holds no network {name!r}, but {', '.join(sorted(self.tensors))}")
            own, given = network.state_dict(), self.tensors[name]
            for key in sorted(own.keys() | given.keys()):
                shapes = [tuple(t[key].shape) if key in t else None for t in (given, own)]
                if shapes[0] != shapes[1]:
                    has, wants = ("nothing" if s is None else " x ".join(map(str, s)) or "a number" for s in shapes)
                    raise InputError(
                        f"{self.name}: made for a network of another size ({name}.{key}: {has} in the file, "
                        f"{wants} in the network)"
                    )
        with torch.no_grad():
            for name, network in networks.items():
                network.load_state_dict(self.tensors[name])


def save_model(
    path: str | os.PathLike[str],
    family: str,
    config: Mapping[str, Any],
    networks: "Mapping[str, nn.Module]",
    about: Mapping[str, Any],
    dtype: "torch.dtype | None" = None,
) -> None:
    """Write a model whole or not at all; an older file stays until the new one is complete.

    Args:
        path: file to write; missing folders are made.
        family: the family of `sfumato.models` that the networks belong to.
        config: fields of the family's Config; must be JSON (tuples become lists).
        networks: parameters and buffers of each are kept, on whatever device they are.
        about: anything that JSON holds.
        dtype: of floating tensors in the file; None is float16. Integers are kept as they are.

    Raises:
        InputError: values that are not finite or too large for `dtype`; a path that cannot be written, a full disk.
    """
    import torch
    from safetensors.torch import save

    kind = torch.float16 if dtype is None else dtype
    tensors: dict[str, Tensor] = {}
    for network, module in networks.items():
        if not network or "." in network:
            raise ValueError(f"a network's name must not be empty nor hold a dot: {network!r}")
        for key, tensor in module.state_dict().items():
            value = tensor.detach().to("cpu", kind if tensor.is_floating_point() else tensor.dtype, copy=True)
            if value.is_floating_point() and not value.isfinite().all():
                finite = tensor.isfinite().all()
                fault = f"too large for {str(kind).removeprefix('torch.')}" if finite else "NaN or infinite"
                raise InputError(f"cannot write {str(path)!r}: {network}.{key} has values that are {fault}")
            tensors[f"{network}.{key}"] = value.contiguous()
    document = {"format": FORMAT, "family": family, "config": dict(config), "about": dict(about)}
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    _write_whole(Path(path), save(tensors, metadata={"sfumato": text}))


def load_model(source: str | os.PathLike[str], family: str | None = None) -> Model:
    """A model by the name of a bundled one, by its file, or by the folder of the training run that made it.

    A bundled name goes first: a file or folder of that name is meant by `./name`. Floating tensors become float32.

    Raises:
        InputError: an unknown name, a missing, damaged or foreign file, a pickle, another format or family, a run
            that has exported nothing, a bundled file that is not the registered one.
    """
    path, expected = locate(source)
    name = os.fspath(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({_reason(error)})") from None
    digest = hashlib.sha256(data).hexdigest()
    if expected is not None and digest != expected:
        raise InputError(f"the bundled model {name!r} is damaged (its sha256 is not the registered one): reinstall it")
    header = parse_header(data, name, family)

    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        flat = load(data)
    except SafetensorError as error:
        raise InputError(f"{name}: damaged ({error})") from None
    tensors: dict[str, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        network, dot, parameter = key.partition(".")
        if not dot:
            raise InputError(f"{name}: not a model of sfumato (its tensor {key!r} belongs to no network)")
        tensors.setdefault(network, {})[parameter] = tensor.float() if tensor.is_floating_point() else tensor
    return Model(header.family, header.config, tensors, header.about, digest, name)


def locate(source: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """The file that a name, a file or a run means, and the sha256 it must have (None: any). Raises `InputError`."""
    name = os.fspath(source)
    if isinstance(source, str) and source in entries():
        entry = find(source)
        if not entry.path.is_file():
            raise InputError(f"the file of the bundled model {name!r} is not in this installation: reinstall sfumato")
        return entry.path, entry.sha256
    path = Path(name)
    if path.is_dir():
        if (path / EXPORTED).is_file():
            return path / EXPORTED, None
        if (path / "config.json").is_file():
            raise InputError(f"{name}: a training run that has not exported {EXPORTED} yet")
        raise InputError(f"{name}: a folder without {EXPORTED}, so not a training run")
    if path.is_file():
        return path, None
    if path.exists():
        raise InputError(f"{name}: not a regular file")
    if path.suffix or path.name != name:
        raise InputError(f"{name}: no such file")
    find(name)  # raises: says the nearest name
    raise AssertionError("entries() knew it")


def parse_header(data: bytes, name: str, family: str | None = None) -> Header:
    """What the file `data` says of itself; `name` is what to call it in errors, `family` the one that is wanted.

    Raises:
        InputError: a pickle or anything else that is not safetensors, a file cut short, one that is not sfumato's, one
            of a newer format or of another family.
    """
    length = int.from_bytes(data[:8], "little")
    if data[8:9] != b"{" or length > MOST_HEADER:
        if data[:4] == b"PK\x03\x04" or data[:1] == b"\x80":  # the first byte of a length may be that, too
            raise InputError(
                f"{name}: refused, a PyTorch or pickle file, which can run code when it is read; "
                "weights are .safetensors (sfumato convert makes them from StyleGAN2's and CycleGAN's)"
            )
        raise InputError(f"{name}: {'not a safetensors file' if data else 'empty'}")
    if len(data) < 8 + length:
        raise InputError(f"{name}: cut short ({len(data):,} bytes, where its header alone has {8 + length:,})")
    try:
        table = json.loads(data[8 : 8 + length])
        metadata = table.pop("__metadata__", {})
        end = 8 + length + max((t["data_offsets"][1] for t in table.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise InputError(f"{name}: damaged (its header cannot be read)") from None
    if len(data) < end:
        raise InputError(f"{name}: cut short ({len(data):,} of {end:,} bytes)")
    return _document(metadata, name, family)


def _document(metadata: object, name: str, family: str | None) -> Header:
    """The JSON under `sfumato`, checked."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get("sfumato"), str):
        raise InputError(f"{name}: holds tensors, but is not a model of sfumato (no 'sfumato' in its metadata)")
    try:
        document = json.loads(metadata["sfumato"])
    except (ValueError, RecursionError):
        document = None
    version = document.get("format") if isinstance(document, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise InputError(f"{name}: made by a newer sfumato (format {version}; this one reads {FORMAT}): update sfumato")
    kinds = {"family": str, "config": dict, "about": dict}
    if (
        not isinstance(document, dict)
        or version != FORMAT
        or not all(isinstance(document.get(k), kind) for k, kind in kinds.items())
    ):
        raise InputError(f"{name}: damaged (its metadata are not those of a model)")
    if family is not None and document["family"] != family:
        raise InputError(f"{name}: is a {document['family']} model, {family} wanted")
    return Header(document["family"], document["config"], document["about"])


def _write_whole(path: Path, data: bytes) -> None:
    """Write beside `path`, then move there."""
    real = Path(os.path.realpath(path))
    temporary = real.with_name(f".sfumato-{secrets.token_hex(8)}.tmp")
    try:
        if real.is_dir():
            raise InputError(f"cannot write {str(path)!r}: it is a directory")
        real.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(real)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot write {str(path)!r}: {_reason(error)}") from error
        raise


def _reason(error: OSError) -> str:
    """An operating-system error in words, without numbers and paths."""
    if error.errno == errno.ENOENT:
        return "no such file"
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
