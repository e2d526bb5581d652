"""What families that translate share: two domains without pairs, earlier fakes, sheets and figures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.features.sources import load_features
from sfumato.layers.residual import CELL, Painted
from sfumato.losses.adversarial import least_squares_discriminator, least_squares_generator
from sfumato.losses.perceptual import content_distance
from sfumato.metrics.frechet import frechet_distance, gaussian
from sfumato.metrics.generated import names, rounded
from sfumato.metrics.kernel import kernel_distance
from sfumato.models.adversaries import told_apart
from sfumato.models.feature_judge import SeeingJudge, calibrated
from sfumato.models.translator import LEAST
from sfumato.train.augment import CHANCES, diff_augment
from sfumato.train.data import Pictures, crop
from sfumato.train.run import Run

CONTENT = "relu4_1"
"""Layer whose activations are a picture's content."""
LAST = ("relu5_4", "relu5_1")
"""Layers whose means over positions sets of pictures are compared by: the first that a network has."""
ROWS = 4
"""Pictures of each domain on a sheet."""

Way = Callable[[Tensor], Tensor]
"""Pictures N x 3 x H x W in [0, 1] to as many of another domain."""
Scores = Tensor | list[Tensor]
"""A discriminator's, at one scale or at several."""


class Pair(NamedTuple):
    """Something for either domain."""

    a: Tensor
    b: Tensor


def check_resolution(resolution: int) -> None:
    """Raises `InputError` where crops of that side are no whole number of cells."""
    if resolution % CELL or resolution < LEAST:
        near = max(LEAST, round(resolution / CELL) * CELL)
        raise InputError(f"translators need a resolution that is a multiple of {CELL}: {near}, not {resolution}")


def check_onto(simplify: float, *, onto: bool) -> None:
    """Raises `InputError` where texture is to be taken off a picture that is not painted onto."""
    if simplify and not onto:
        raise InputError(f"simplify {simplify:g} takes texture off a picture that is painted onto: add onto")


def drawn(
    data: Mapping[str, Pictures],
    rng: np.random.Generator,
    size: int,
    scale: tuple[float, float] = (1.0, 1.0),
    *,
    flip: bool = False,
) -> tuple[Tensor, Tensor]:
    """A crop of each domain, 3 x R x R, which have nothing to do with one another; by default the largest squares."""
    a, b = (data[role] for role in ("a", "b"))
    first, second = (crop(p[p.draw(rng, by_group=True)], rng, size=size, scale=scale, flip=flip) for p in (a, b))
    return first, second


def at_once(network: Callable[[Tensor], Tensor], *pictures: Tensor) -> list[Tensor]:
    """The network on several batches of one size as one; where no layer mixes samples it is the same, and faster."""
    return list(network(torch.cat(pictures)).chunk(len(pictures)))


def judged(run: Run, name: str, real: Tensor, made: Tensor) -> tuple[Scores, Scores]:
    """A discriminator's scores of real and made pictures of one size."""
    network = run.networks[name]
    if isinstance(network, SeeingJudge):
        calibrated(run, network, real)
    found = [scores.chunk(2) for scores in several(network(torch.cat([real, made])))]
    return [x for x, _ in found], [y for _, y in found]


def augmented(run: Run, purpose: str, pictures: Tensor, policy: Sequence[str]) -> Tensor:
    """What a discriminator sees of pictures, by the run's named chance: wherever it looks, or the painter learns it."""
    if not policy:
        return pictures
    return diff_augment(pictures, run.rand(f"augment {purpose}", len(pictures), CHANCES), policy=policy)


def way(network: nn.Module) -> Way:
    """What a generator makes, without its mask."""

    def paint(pictures: Tensor) -> Tensor:
        made: Painted = network(pictures)
        return made.picture

    return paint


def from_pool(run: Run, name: str, fresh: Tensor, size: int) -> Tensor:
    """Half of the time an earlier fake in place of the fresh one, which takes its place: Shrivastava et al. 2017, 2.3.

    Fakes N x 3 x H x W, as many out as in; the pool of up to `size` is `run.state`'s and survives a restart. Until it
    is full everything fresh is kept and shown. A size of 0 keeps nothing.
    """
    fresh = fresh.detach()
    if size < 1:
        return fresh
    pool, chance, shown = run.state.get(f"pool {name}", fresh[:0]), run.noise(f"pool {name}"), list[Tensor]()
    room = max(0, size - len(pool))
    pool = torch.cat([pool, fresh[:room]])
    for i in range(room, len(fresh)):
        picture = fresh[i : i + 1]
        k = int(torch.randint(size, (), generator=chance))
        if torch.rand((), generator=chance) < 0.5:
            shown.append(pool[k : k + 1].clone())
            pool[k : k + 1] = picture
        else:
            shown.append(picture)
    run.state[f"pool {name}"] = pool
    return torch.cat([fresh[:room], *shown])


def doubted(real: Scores, made: Scores) -> Tensor:
    """What a discriminator pays, half of E (D(x) - 1)^2 + E D(G)^2 as the official code has it, mean over scales."""
    pairs = zip(several(real), several(made), strict=True)
    return torch.stack([least_squares_discriminator(x, y) for x, y in pairs]).mean()


def fooled(made: Scores) -> Tensor:
    """What a generator pays, E (D(G) - 1)^2, the whole of it: Zhu et al. 2017, section 4; mean over scales."""
    return torch.stack([2 * least_squares_generator(x) for x in several(made)]).mean()


def right(real: Scores, made: Scores) -> Tensor:
    """Share of patches that a discriminator tells right, its border at 1/2."""
    pairs = zip(several(real), several(made), strict=True)
    return torch.stack([told_apart(x - 0.5, y - 0.5) for x, y in pairs]).mean()


def several(scores: Scores) -> list[Tensor]:
    return [scores] if isinstance(scores, Tensor) else scores


def sheet(columns: Sequence[Tensor]) -> Tensor:
    """Columns of some pictures N x 1 or 3 x H x W each, side by side: 3 x N H x columns W."""
    rows = torch.cat([c[:ROWS].float().cpu().expand(-1, 3, -1, -1) for c in columns], 3)
    return torch.cat(list(rows), 1).clamp(0, 1)


class Critic:
    """Figures of translations, on features that it loads when first needed.

    What of the gap between the domains is left, and what of the content is lost: the first is 1 for pictures that were
    not changed, the second 0; for pictures of the other domain that have nothing to do with the given ones it is the
    other way round. The score, to be as low as can be, is their sum, mean over the directions.
    """

    def __init__(self, features: str) -> None:
        """`vgg19`, `vgg-lite` or a file of either kind; without a name nothing is judged."""
        self.features = features
        self.network: FeatureNetwork | None = None
        self.layer = LAST[0]

    def __call__(self, run: Run, ways: Mapping[str, Way], batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """`ways` "a_to_b" and "b_to_a", or one of them, on batches of held-out pictures of both domains."""
        if not self.features:
            return {}
        seen = {"a": [self.look(run, batch[0]) for batch in batches], "b": [self.look(run, b[1]) for b in batches]}
        real = {domain: torch.cat([vectors for vectors, _ in found]) for domain, found in seen.items()}
        size = torch.cat(list(real.values())).square().mean().sqrt()  # the kernel is made for numbers about 1
        whole = max(kernel_distance(real["a"] / size, real["b"] / size)[0], 1e-6)
        name = names(self.title)
        scores, diversity, figures = list[float](), list[float](), dict[str, float]()
        for direction, way in ways.items():
            source, target = direction[0], direction[-1]
            made = [self.look(run, rounded(way(batch["ab".index(source)]))) for batch in batches]
            pairs = zip(made, seen[source], strict=True)
            lost = torch.cat([content_distance(now, before) for (_, now), (_, before) in pairs]).mean().item()
            vectors = torch.cat([v for v, _ in made])
            one, other = gaussian(vectors), gaussian(real[target])
            left = max(0.0, kernel_distance(vectors / size, real[target] / size)[0] / whole)
            kernel = kernel_distance(vectors, real[target])[0]
            figures |= {f"content_lost {direction}": lost, f"domain_left {direction}": left}
            figures |= {
                f"{name['KID']} {direction}": kernel,
                f"{name['FID']} {direction}": frechet_distance(one, other),
            }
            spread = other.covariance.trace().clamp_min(1e-12)
            diversity.append(float((one.covariance.trace() / spread).sqrt()))
            scores.append(left + lost)
        return {"score": sum(scores) / len(scores), **figures, "diversity": min(diversity)}

    @property
    def title(self) -> str:
        """What stands beside the figures; only the deepest layer of VGG-19 itself has the bare name."""
        return "VGG" if self.layer == LAST[0] else f"{Path(self.features).stem}-{self.layer}"

    @torch.no_grad()
    def look(self, run: Run, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors that sets are compared by, N x 512, and the content N x C x h x w."""
        if self.network is None:
            network = load_features(self.features, pooling="max")
            there = [layer for layer in LAST if layer in network.layers]
            if CONTENT not in network.layers or not there:
                raise InputError(f"{self.features}: no VGG-19 to relu5_1, so it cannot judge translations")
            self.network, self.layer = network.to(run.device), there[0]
        found = self.network(pictures, (CONTENT, self.layer))
        return found[self.layer].float().mean((2, 3)).cpu(), found[CONTENT].float()
