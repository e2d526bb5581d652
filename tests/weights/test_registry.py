"""The registry's own rules, and every model that is really bundled."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from sfumato.errors import InputError
from sfumato.weights import registry
from sfumato.weights.files import load_model
from sfumato.weights.registry import entries, find, models_table

SIZE_OF_ALL = 40_000_000
"""Bytes: the house's limit for all bundled files together."""


def test_every_bundled_file_is_registered_and_is_what_the_registry_says() -> None:
    known = entries()
    lying = {p.name for p in (registry.ROOT / "bundled").glob("*") if p.suffix == ".safetensors"}
    assert lying == {entry.file for entry in known.values()}
    assert sum(entry.size for entry in known.values()) <= SIZE_OF_ALL
    terms = (registry.ROOT / "LICENSES.md").read_text(encoding="utf-8")
    for name, entry in known.items():
        data = entry.path.read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry.size, entry.sha256)
        assert load_model(name).family == entry.family
        assert re.search(rf"^## {re.escape(name)}$", terms, re.MULTILINE), f"LICENSES.md has no section {name}"
        assert entry.licence in terms
        assert entry.data.strip()


def test_an_entry_knows_its_file(bundled: Path) -> None:
    entry = find("tiny")
    assert entry.path == bundled
    assert (entry.version, entry.family, entry.licence) == ("2", "onepass", "CC0-1.0")


def test_the_table_of_the_verb_models(bundled: Path) -> None:
    size = bundled.stat().st_size
    assert models_table() == [
        {
            "name": "tiny",
            "family": "onepass",
            "size": f"{size / 1e6:.1f} MB",
            "version": "2",
            "licence": "CC0-1.0",
            "data": "Noise; no terms.",
        }
    ]
    assert json.loads(json.dumps(models_table())) == models_table()


@pytest.mark.usefixtures("bundled")
def test_an_unknown_name() -> None:
    with pytest.raises(InputError, match=r"unknown model 'tny': did you mean 'tiny'\? \(valid: tiny\)"):
        find("tny")
    (registry.ROOT / "registry.toml").write_text("# nothing yet\n")
    with pytest.raises(InputError, match="unknown model 'tiny': none is bundled with this version"):
        find("tiny")
    assert models_table() == []


@pytest.mark.usefixtures("bundled")
@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('licence = "CC0-1.0"\n', "", "licence"),
        ("size = ", "bytes = ", "bytes, size"),
        ('version = "2"', "version = 2", "version"),
    ],
)
def test_a_registry_that_lacks_something_is_a_fault_of_ours(old: str, new: str, named: str) -> None:
    file = registry.ROOT / "registry.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=rf"registry\.toml, \[tiny\]: {named} missing, unknown or of the wrong type"):
        entries()
