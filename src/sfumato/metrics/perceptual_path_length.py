"""Perceptual path length: how far the picture moves, as a network sees it, for a small step between two latents.

Karras, Laine & Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks" (CVPR 2019), section
4.1, equations 2 and 3: the mean of d(g(z_t), g(z_(t + epsilon))) / epsilon^2 over random pairs of latents and t. As in
the authors' code the smallest and the largest hundredth are left out, and both latents of a pair have one class.
StyleGAN2 (Karras et al. 2020) takes whole pictures, not their middle, and t = 0 only: `ends`.

The published d is LPIPS: VGG-16 with weights learnt from people's judgements. Here it is what LPIPS is without those
weights (Zhang et al. 2018, equation 1 with w = 1), on the network that the number is named after: such numbers
cannot be compared with published ones, but with each other. One picture for all latents scores 0: read it beside the
recall.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import InputError
from sfumato.metrics.embedding import Embedding, VggEmbedding

LAYERS = ("relu1_2", "relu2_2", "relu3_4", "relu4_4", "relu5_4")
"""Of VGG-19: the last of every block, as LPIPS has them of VGG-16."""
EPSILON = 1e-4
LARGEST = 256
"""Larger pictures are reduced by a whole number to about this short side, as the authors do."""
TRIMMED = 0.01
"""Share left out at either end."""
BATCH = 8

Perceived = Callable[[Tensor], Sequence[Tensor]]
"""Pictures N x 3 x H x W in [0, 1] to activations N x C x h x w, a layer each."""


class Walkable(Protocol):
    """What is asked of a generator: part of `sfumato.models.sampler.Sampler`."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    def draw(self, seeds: Sequence[int], *, truncation: float = 1.0, label: int | None = None) -> Tensor: ...

    def blend(self, first: Tensor, last: Tensor, share: float) -> Tensor: ...

    def paint(self, latents: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class PathLength:
    """A mean and what it is of."""

    mean: float
    deviation: float
    """Of the lengths that the mean is of."""
    pairs: int
    kept: int


def activations(embedding: Embedding) -> tuple[str, Perceived]:
    """The name that a path length by this network has, and the network: VGG-19's `LAYERS`, or another's features."""
    if isinstance(embedding, VggEmbedding):
        network, device = embedding.network, embedding.device
        return "PPL-VGG19", lambda x: list(network(x.to(device), LAYERS).values())
    return f"PPL-{embedding.title}", lambda x: [embedding(x).features[:, :, None, None]]


def perceptual_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """N in float64: sum over layers of the mean over positions of |a / |a| - b / |b||^2, lengths over channels."""
    parts = [(_unit(x) - _unit(y)).square().sum(1).mean((1, 2), dtype=torch.float64) for x, y in zip(a, b, strict=True)]
    return torch.stack(parts).sum(0)


@torch.no_grad()
def path_lengths(
    sampler: Walkable,
    perceived: Perceived,
    *,
    pairs: int,
    seed: int = 1,
    truncation: float = 1.0,
    label: int | None = None,
    epsilon: float = EPSILON,
    ends: bool = False,
    on_batch: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Squared distance over epsilon^2, a pair each, float64; a pure function of the arguments.

    Pair i lies between the latents of the seeds `seed` + 2 i and `seed` + 2 i + 1. Without a `label` every pair of a
    conditional generator draws a class. With `ends` every t is 0. Raises `InputError`.
    """
    if pairs < 1:
        raise InputError(f"a path length needs at least one pair of latents, not {pairs}")
    chance = torch.Generator().manual_seed(seed)
    places = torch.rand(pairs, generator=chance, dtype=torch.float64) * (0.0 if ends else 1.0)
    drawn = torch.randint(max(1, len(sampler.classes)), (pairs,), generator=chance)

    def latent(number: int, of: int) -> Tensor:
        given = int(drawn[of]) if label is None and sampler.classes else label
        return sampler.draw([number], truncation=truncation, label=given)

    found = list[Tensor]()
    for start in range(0, pairs, BATCH):
        part = range(start, min(start + BATCH, pairs))
        first, last = list[Tensor](), list[Tensor]()
        for i in part:
            a, b = latent(seed + 2 * i, i), latent(seed + 2 * i + 1, i)
            first.append(sampler.blend(a, b, float(places[i])))
            last.append(sampler.blend(a, b, float(places[i]) + epsilon))
        here, there = (perceived(_reduced(sampler.paint(torch.cat(x)))) for x in (first, last))
        found.append(perceptual_distance(here, there).cpu() / epsilon**2)
        if on_batch is not None:
            on_batch(part.stop, pairs)
    return torch.cat(found)


def trimmed(lengths: Tensor) -> PathLength:
    """Mean of the lengths from the first to the last hundredth, both included."""
    low = torch.quantile(lengths, TRIMMED, interpolation="lower")
    high = torch.quantile(lengths, 1 - TRIMMED, interpolation="higher")
    kept = lengths[(low <= lengths) & (lengths <= high)]
    return PathLength(float(kept.mean()), float(kept.std(correction=0)), len(lengths), len(kept))


def _unit(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / (length + 1e-10)


def _reduced(pictures: Tensor) -> Tensor:
    """Means of k x k pixels, k the short side over `LARGEST`, rounded down."""
    factor = min(pictures.shape[2:]) // LARGEST
    return F.avg_pool2d(pictures, factor) if factor > 1 else pictures
