"""Pictures as feature vectors, by networks whose name stands beside every number made of them.

VGG-19's relu5_4, mean over positions ("VGG"); the layer before last of a classifier trained by us (its own name); or
Inception-v3 from a file ("Inception-v3"), the only one whose Frechet distance is called FID.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.features.classifier import Trained, load_classifier
from sfumato.features.inception import Inception, load_inception
from sfumato.features.sources import load_features, read_state
from sfumato.weights.files import EXPORTED
from sfumato.weights.registry import entries

LAYER = "relu5_4"


class Embedded(NamedTuple):
    """A set of pictures as a network sees it."""

    features: Tensor
    """N x D, float32 on the CPU."""
    chances: Tensor | None
    """N x classes; None where the network knows no classes."""


class Embedding(Protocol):
    """A feature network for judging sets of pictures."""

    name: str
    """What exactly computes the features."""
    title: str
    """What stands beside a number: "FID-VGG"."""
    sha256: str
    """Of the weights."""

    def __call__(self, pictures: Tensor) -> Embedded:
        """Of pictures N x 3 x H x W in [0, 1]."""
        ...


class VggEmbedding:
    """512 numbers of VGG-19, max pooling as it was trained, at the pictures' own size."""

    def __init__(self, network: FeatureNetwork, device: torch.device | str = "cpu") -> None:
        self.network, self.device, self.sha256 = network.to(device), device, network.sha256
        self.name, self.title = f"{network.name} {LAYER}, mean over positions", "VGG"

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Embedded:
        found = self.network(pictures.to(self.device), (LAYER,))[LAYER]
        return Embedded(found.float().mean((2, 3)).cpu(), None)


class ClassifierEmbedding:
    """The features of a classifier's last layer but one, and its chances."""

    def __init__(self, trained: Trained, device: torch.device | str = "cpu") -> None:
        self.trained, self.device, self.sha256 = trained, device, trained.sha256
        trained.network.to(device)
        self.name = f"classifier {trained.name}, last layer but one"
        path = Path(trained.name)
        self.title = path.parent.name if path.name == EXPORTED else path.stem if path.suffix else path.name

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Embedded:
        network = self.trained.network
        features = network.features(pictures.to(self.device))
        return Embedded(features.cpu(), network.scores(features).softmax(1).cpu())


class InceptionEmbedding:
    """2048 pooled features and 1008 classes of Inception-v3."""

    def __init__(self, network: Inception, name: str, sha256: str, device: torch.device | str = "cpu") -> None:
        self.network, self.device, self.sha256 = network.to(device), device, sha256
        self.name, self.title = f"Inception-v3 ({name}), pooled", "Inception-v3"

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Embedded:
        features = self.network.features(pictures.to(self.device))
        return Embedded(features.cpu(), self.network.chances(features).cpu())


def load_embedding(source: str | os.PathLike[str] | None = None, device: torch.device | str = "cpu") -> Embedding:
    """The feature network `source`: "vgg19" (also for None), a classifier (bundled name, file or run), or a file of
    VGG-19 or Inception-v3 in their published layouts. Raises `InputError`.
    """
    name = os.fspath(source) if source is not None else "vgg19"
    if name == "vgg19":
        return VggEmbedding(load_features("vgg19", pooling="max"), device)
    path = Path(name)
    ours = name in entries() or path.is_dir() or (path.is_file() and path.suffix == ".safetensors" and _is_ours(path))
    if ours:
        return ClassifierEmbedding(load_classifier(name), device)
    if not path.is_file():
        raise InputError(f"no feature network {name!r}: neither 'vgg19', nor a classifier, nor a file of weights")
    if "Mixed_7c.branch_pool.conv.weight" in read_state(path):
        network, digest = load_inception(path)
        return InceptionEmbedding(network, path.name, digest, device)
    found = load_features(path, pooling="max")
    if LAYER not in found.layers:
        raise InputError(f"{name}: has no {LAYER}, so it cannot judge pictures")
    return VggEmbedding(found, device)


def embed(embedding: Embedding, batches: Iterable[Tensor]) -> Embedded:
    """All pictures of some batches, N x 3 x H x W in [0, 1] each, as one set. Raises `InputError` for none."""
    parts = [embedding(batch) for batch in batches]
    if not parts:
        raise InputError("there are no pictures to judge")
    chances = [p.chances for p in parts if p.chances is not None]
    return Embedded(torch.cat([p.features for p in parts]), torch.cat(chances) if chances else None)


def _is_ours(path: Path) -> bool:
    """Whether a safetensors file carries the description that our models have."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return b'"sfumato"' in file.read(min(length, 1 << 20))
