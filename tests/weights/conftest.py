"""A registry of one made-up model, and small networks."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from sfumato.weights import registry
from sfumato.weights.files import save_model

TABLE = """
[tiny]
version = "2"
family = "onepass"
file = "tiny.safetensors"
sha256 = "{sha256}"
size = {size}
licence = "CC0-1.0"
data = "Noise; no terms."
preset = "onepass/cpu"
card = "docs/models/tiny.md"
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def networks(seed: int = 0) -> dict[str, nn.Module]:
    """Parameters, buffers that count (batch normalisation) and a name with a dot inside."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return {
            "generator": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)),
            "style_encoder": nn.Linear(5, 2, bias=False),
        }


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the only registered model, `tiny`."""
    root = tmp_path / "installed"
    monkeypatch.setattr(registry, "ROOT", root)
    file = root / "bundled" / "tiny.safetensors"
    save_model(file, "onepass", {"width": 4}, networks(), {"steps": 3})
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (root / "registry.toml").write_text(TABLE.format(sha256=digest, size=file.stat().st_size))
    return file
