"""The models that come with sfumato: what each is, where its file lies, under what terms. No torch is imported here."""

import tomllib
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

from sfumato.errors import InputError, unknown

ROOT = Path(str(resources.files("sfumato"))) / "weights"
"""Folder of registry.toml, LICENSES.md and bundled/."""


@dataclass(frozen=True)
class Entry:
    """A bundled model, as registry.toml describes it."""

    name: str
    version: str
    """Of the weights: every new file is a new version."""
    family: str
    file: str
    """In the folder bundled/."""
    sha256: str
    licence: str
    """Of the weights; the code has its own."""
    data: str
    """What it was trained on and the terms of that, in a sentence."""
    preset: str
    """The preset that trained it."""
    size: int
    """Bytes of the file."""
    card: str

    @property
    def path(self) -> Path:
        return ROOT / "bundled" / self.file


def entries() -> dict[str, Entry]:
    """{name: entry} of the bundled models, in the order of registry.toml.

    Raises `ValueError` where the registry itself is wrong (a fault of sfumato, not of its user).
    """
    wanted = {f.name: f.type for f in fields(Entry) if f.name != "name"}
    found = {}
    for name, table in tomllib.loads((ROOT / "registry.toml").read_text(encoding="utf-8")).items():
        wrong = sorted(set(wanted) ^ set(table)) or [k for k, kind in wanted.items() if type(table[k]) is not kind]
        if wrong:
            raise ValueError(f"registry.toml, [{name}]: {', '.join(wrong)} missing, unknown or of the wrong type")
        found[name] = Entry(name=name, **table)
    return found


def find(name: str) -> Entry:
    """The bundled model `name`. Raises `InputError` with the nearest name for one that does not exist."""
    known = entries()
    if name in known:
        return known[name]
    if not known:
        raise InputError(f"unknown model {name!r}: none is bundled with this version, so give a file or a training run")
    raise unknown("model", name, known)


def models_table() -> list[dict[str, str]]:
    """A row a bundled model for the verb `sfumato models`: name, family, size, version, licence, data."""
    return [
        {
            "name": entry.name,
            "family": entry.family,
            "size": f"{entry.size / 1e6:.1f} MB",
            "version": entry.version,
            "licence": entry.licence,
            "data": entry.data,
        }
        for entry in entries().values()
    ]
