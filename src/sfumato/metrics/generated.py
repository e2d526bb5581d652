"""Generated pictures against real ones, as numbers whose feature network is in their names."""

from collections.abc import Iterable

import torch
from torch import Tensor

from sfumato.metrics.embedding import Embedded, Embedding, embed
from sfumato.metrics.frechet import frechet_distance, gaussian
from sfumato.metrics.inception_score import SPLITS, inception_score
from sfumato.metrics.kernel import kernel_distance
from sfumato.metrics.manifold import NEAREST_DENSITY, manifold


def names(title: str) -> dict[str, str]:
    """What the numbers are called with the features of the network `title`; only Inception-v3's have the bare names."""
    end = "" if title == "Inception-v3" else f"-{title}"
    return {key: f"{key}{end}" for key in ("FID", "KID", "IS")}


def compare(made: Embedded, real: Embedded, title: str) -> dict[str, float]:
    """Every metric that so many pictures allow.

    FID and KID; precision, recall, density, coverage; IS where the network knows classes; and `diversity`: the root of
    the made features' total variance over the real ones'.
    """
    name = names(title)
    a, b = gaussian(made.features), gaussian(real.features)
    found = {name["FID"]: frechet_distance(a, b)}
    kernel, deviation = kernel_distance(made.features, real.features)
    found |= {name["KID"]: kernel, f"{name['KID']} deviation": deviation}
    if min(len(made.features), len(real.features)) > NEAREST_DENSITY:
        balls = manifold(made.features, real.features)
        found |= {k: getattr(balls, k) for k in ("precision", "recall", "density", "coverage")}
    found["diversity"] = float((a.covariance.trace() / b.covariance.trace().clamp_min(1e-12)).sqrt())
    if made.chances is not None and len(made.chances) >= SPLITS:
        score, deviation = inception_score(made.chances)
        found |= {name["IS"]: score, f"{name['IS']} deviation": deviation}
    return found


def judged(embedding: Embedding, made: Iterable[Tensor], real: Iterable[Tensor]) -> dict[str, float]:
    """The figures of a training run, from batches N x 3 x H x W in [0, 1]: `compare`, and the FID as "score"."""
    found = compare(embed(embedding, map(rounded, made)), embed(embedding, map(rounded, real)), embedding.title)
    return {"score": found[names(embedding.title)["FID"]], **found}


def rounded(pictures: Tensor) -> Tensor:
    """At the 256 values that a file holds: real pictures come from files."""
    return (pictures.clamp(0, 1) * 255).round() / 255


def repeated(pictures: Embedded, index: int) -> Embedded:
    """One picture in place of all."""
    count = len(pictures.features)
    chances = None if pictures.chances is None else pictures.chances[index].expand(count, -1)
    return Embedded(pictures.features[index].expand(count, -1), chances)


def central(pictures: Embedded) -> int:
    """The picture nearest to the mean of all."""
    features = pictures.features.double()
    return int(torch.linalg.vector_norm(features - features.mean(0), dim=1).argmin())


def halves(pictures: Embedded) -> tuple[Embedded, Embedded]:
    """Every second picture, and the others."""
    parts = []
    for start in (0, 1):
        chances = None if pictures.chances is None else pictures.chances[start::2]
        parts.append(Embedded(pictures.features[start::2], chances))
    return parts[0], parts[1]
