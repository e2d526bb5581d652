"""One thread, and a feature network that is small enough for whole runs."""

from collections.abc import Iterator

import pytest
import torch

from sfumato.features.vgg import VGG19, Padding, Pooling
from sfumato.stylize import work

from .made import narrow


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other on busy cores make small tests five times as slow."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb works with the narrow network in place of VGG-19."""

    def load(source: str, *, pooling: Pooling, padding: Padding) -> VGG19:
        assert source in ("vgg19", "vgg-lite")
        return narrow(pooling, padding, torch.float32)

    monkeypatch.setattr(work, "load_features", load)
