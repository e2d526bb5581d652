"""What families with a generator and a discriminator share: real pictures drawn, made ones shown and judged."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.metrics.embedding import Embedding, load_embedding
from sfumato.metrics.generated import judged
from sfumato.models.sampler import Prior, coloured, sheet
from sfumato.train.data import Pictures, crop
from sfumato.train.run import Run

SHOWN = 64
"""Pictures on a sheet of samples."""


def drawn(
    data: Mapping[str, Pictures], rng: np.random.Generator, *, resolution: int, channels: int, flip: bool
) -> tuple[Tensor, int]:
    """A real picture C x R x R in [0, 1], its largest square, and its index."""
    pictures = data["data"]
    index = pictures.draw(rng)
    picture = crop(pictures[index], rng, size=resolution, scale=(1.0, 1.0), flip=flip)
    return (picture.mean(0, keepdim=True) if channels == 1 else picture), index


def noise_of(run: Run, purpose: str, count: int, latent: int, prior: Prior) -> Tensor:
    """N x latent of a run's named chance, on its device."""
    if prior == "normal":
        return run.randn(purpose, count, latent)
    return 2 * run.rand(purpose, count, latent) - 1


def told_apart(real: Tensor, made: Tensor) -> Tensor:
    """Share of pictures that scores above and below 0 tell right: 1/2 for guessing, 1 for a discriminator that won."""
    return ((real > 0).float().mean() + (made < 0).float().mean()) / 2


def too_few(seen: int, enough: int, family: str) -> str | None:
    """Why a run that sees so few pictures will not do, in one sentence."""
    return None if seen >= enough else f"{seen:,} pictures are few for {family}: give it {enough:,} or more"


def shown(pictures: Tensor, columns: int | None = None) -> Tensor:
    """Pictures N x 1 or 3 x H x W as a sheet 3 x H' x W'."""
    return sheet(coloured(pictures.clamp(0, 1)), columns)


class Judge:
    """Compares made pictures with held-out ones on a named feature network, loaded when first needed."""

    def __init__(self, features: str) -> None:
        """Without a name nothing is judged."""
        self.features = features
        self.network: Embedding | None = None

    def __call__(
        self, device: torch.device, make: Callable[[int, int], Tensor], batches: Sequence[tuple[Tensor, ...]]
    ) -> dict[str, float]:
        """`make` gives the i-th batch's so many pictures; figures as `judged`, the score is the Frechet distance."""
        if not self.features:
            return {}
        self.network = self.network or load_embedding(self.features, device)
        made = (coloured(make(i, len(batch[0]))) for i, batch in enumerate(batches))
        return judged(self.network, made, (coloured(batch[0]) for batch in batches))


def sides_of(resolution: int) -> list[int]:
    """Sides of pictures halved down to 4, rounded up: 28, 14, 7, 4 or 64, 32, 16, 8, 4.

    Raises `InputError` where that does not end at 4.
    """
    sides = [resolution]
    while sides[-1] > 4:
        sides.append(-(-sides[-1] // 2))
    if sides[-1] != 4 or len(sides) < 2:
        raise InputError(f"pictures of {resolution} px cannot be made by doubling 4 px: take 28, 32, 64, 128 ...")
    return sides


def doubling(smaller: int, larger: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of a transposed convolution that leads from 4 to 8 or 7, and of the way back.

    A side of 7 has a middle: only an odd kernel keeps it there.
    """
    return (4 if larger == 2 * smaller else 3, 2, 1)


def halvings(resolution: int, smallest: int = 4) -> int:
    """How often a side can be halved to whole numbers of at least `smallest`: 28 twice, 64 four times.

    Raises `InputError` where that leaves more than 8 pixels, which no first layer should have to make.
    """
    side, count = resolution, 0
    while side % 2 == 0 and side // 2 >= smallest:
        side, count = side // 2, count + 1
    if not smallest <= side <= 8 or count < 1:
        raise InputError(
            f"pictures of {resolution} px cannot be made by doubling 4 to 8 px: take 28, or 16, 32, 64, 128 ..."
        )
    return count
