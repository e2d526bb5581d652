"""Path lengths in closed form, against exact derivatives, and the published way of leaving out the extremes."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.test_embedding import classifier
from sfumato.errors import InputError
from sfumato.features.sources import load_features
from sfumato.metrics.embedding import load_embedding
from sfumato.metrics.perceptual_path_length import (
    EPSILON,
    LAYERS,
    activations,
    path_lengths,
    perceptual_distance,
    trimmed,
)
from sfumato.models.sampler import normal, slerp, uniform


class Painter:
    """Float64 latents of the seeds, blended and painted as told; remembers what it was asked."""

    def __init__(
        self,
        paint: Callable[[Tensor], Tensor],
        blend: Callable[[Tensor, Tensor, float], Tensor] = torch.lerp,
        *,
        size: int = 2,
        classes: tuple[str, ...] = (),
    ) -> None:
        self.paint, self.blended, self.size, self.classes = paint, blend, size, classes
        self.asked = list[tuple[int, float, int | None]]()
        self.shares = list[float]()

    def draw(self, seeds: Sequence[int], *, truncation: float = 1.0, label: int | None = None) -> Tensor:
        self.asked += [(s, truncation, label) for s in seeds]
        return truncation * normal(seeds, self.size).double()

    def blend(self, first: Tensor, last: Tensor, share: float) -> Tensor:
        self.shares.append(share)
        return self.blended(first, last, share)


def as_it_is(pictures: Tensor) -> list[Tensor]:
    return [pictures]


def test_on_a_circle_it_is_the_squared_angle() -> None:
    """Identity features of a 2-D latent: the unit vector turns by epsilon times the angle between the two."""
    painter = Painter(lambda z: z[:, :, None, None], slerp)
    found = path_lengths(painter, as_it_is, pairs=40, seed=5)
    a, b = (normal(range(5 + k, 85, 2), 2).double() for k in (0, 1))
    angle = F.cosine_similarity(a, b).acos()
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, (2 * (angle * EPSILON / 2).sin() / EPSILON).square(), rtol=1e-6, atol=0)
    torch.testing.assert_close(found, angle.square(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("ends", [False, True])
def test_of_linear_pictures_it_is_the_part_across(ends: bool) -> None:
    """x(t) = A z_t: |x' - u (u . x')|^2 / |x|^2 at every position, u = x / |x|; the mean over positions."""
    matrix = torch.randn(3 * 2 * 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    painter = Painter(lambda z: (z @ matrix.mT).view(-1, 3, 2, 5), size=4)
    found = path_lengths(painter, as_it_is, pairs=11, epsilon=1e-6, ends=ends)
    share = torch.tensor(painter.shares[::2], dtype=torch.float64)[:, None]
    assert (share.max() > 0.5) != ends
    a, b = (normal(range(1 + k, 23, 2), 4).double() for k in (0, 1))
    x, slope = ((z @ matrix.mT).view(-1, 3, 2, 5) for z in (torch.lerp(a, b, share), b - a))
    unit = F.normalize(x, dim=1)
    across = slope - unit * (unit * slope).sum(1, keepdim=True)
    wanted = (across.square().sum(1) / x.square().sum(1)).mean((1, 2))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=0)


def test_the_step_is_the_derivative_of_a_curved_generator() -> None:
    """The limit by forward differentiation, layers added up; a step ten times as long is as near as its length."""
    weights = [torch.randn(12, 4, dtype=torch.float64), torch.randn(48, 12, dtype=torch.float64)]

    def made(z: Tensor) -> Tensor:
        return ((z @ weights[0].mT).tanh() @ weights[1].mT).sigmoid().view(-1, 3, 4, 4)

    def seen(x: Tensor) -> list[Tensor]:
        return [x, F.avg_pool2d(x.square(), 2)]

    painter = Painter(made, slerp, size=4)
    found = path_lengths(painter, seen, pairs=6, epsilon=1e-5)
    for i, (length, share) in enumerate(zip(found, painter.shares[::2], strict=True)):
        a, b = (normal([1 + 2 * i + k], 4).double() for k in (0, 1))

        def units(t: Tensor, a: Tensor = a, b: Tensor = b) -> tuple[Tensor, ...]:
            length = torch.lerp(a.norm(), b.norm(), t)
            angle = F.cosine_similarity(a, b).acos()
            way = ((1 - t) * angle).sin() * F.normalize(a) + (t * angle).sin() * F.normalize(b)
            return tuple(F.normalize(x, dim=1) for x in seen(made(length * F.normalize(way))))

        at = torch.tensor(share, dtype=torch.float64)
        _, slopes = torch.func.jvp(units, (at,), (torch.ones_like(at),))
        assert float(length) == pytest.approx(sum(float(s.square().sum(1).mean()) for s in slopes), rel=1e-3)


def test_extremes_are_left_out_as_published() -> None:
    """Percentiles 1 rounded down and 99 rounded up, both kept: numpy's `lower` and `higher`."""
    lengths = torch.randn(1000, dtype=torch.float64).square()
    lengths[7] = 1e9
    x = lengths.numpy()
    low, high = np.percentile(x, 1, method="lower"), np.percentile(x, 99, method="higher")
    wanted = x[(low <= x) & (x <= high)]
    found = trimmed(lengths)
    assert (found.pairs, found.kept) == (1000, len(wanted)) == (1000, 982)
    assert found.mean == pytest.approx(wanted.mean(), rel=1e-12)
    assert found.deviation == pytest.approx(wanted.std(), rel=1e-12)
    assert trimmed(torch.tensor([4.0])).mean == 4


def test_seeds_and_classes() -> None:
    painter = Painter(lambda z: z[:, :, None, None], slerp, classes=("a", "b", "c"))
    first = path_lengths(painter, as_it_is, pairs=20, seed=3, truncation=0.5)
    seeds, truncations, labels = zip(*painter.asked, strict=True)
    assert seeds == tuple(range(3, 43))
    assert set(truncations) == {0.5}
    assert labels[::2] == labels[1::2]  # a pair has one class
    assert set(labels) == {0, 1, 2}
    assert torch.equal(first, path_lengths(painter, as_it_is, pairs=20, seed=3, truncation=0.5))
    assert not torch.equal(first, path_lengths(painter, as_it_is, pairs=20, seed=4, truncation=0.5))
    painter.asked.clear()
    path_lengths(painter, as_it_is, pairs=2, label=1)
    assert {label for *_, label in painter.asked} == {1}
    with pytest.raises(InputError, match="at least one pair"):
        path_lengths(painter, as_it_is, pairs=0)


def test_one_picture_scores_nothing_and_large_ones_are_reduced() -> None:
    flat = Painter(lambda z: torch.full((len(z), 3, 8, 8), 0.25))
    assert path_lengths(flat, as_it_is, pairs=3).tolist() == [0, 0, 0]
    sizes = list[tuple[int, ...]]()

    def measured(x: Tensor) -> list[Tensor]:
        sizes.append(tuple(x.shape))
        return [x]

    for height, width in ((600, 1024), (511, 511)):
        large = Painter(lambda z, h=height, w=width: torch.ones(len(z), 3, h, w))
        path_lengths(large, measured, pairs=1)
    assert set(sizes) == {(1, 3, 300, 512), (1, 3, 511, 511)}


def test_the_name_says_which_network(tmp_path: Path) -> None:
    name, perceived = activations(load_embedding())
    assert name == "PPL-VGG19"
    pictures = uniform([1, 2], 3, 32, 40)
    wanted = load_features("vgg19", pooling="max")(pictures, LAYERS)
    assert [tuple(x.shape[1:]) for x in perceived(pictures)] == [
        (64, 32, 40),
        (128, 16, 20),
        (256, 8, 10),
        (512, 4, 5),
        (512, 2, 2),
    ]
    for layer, got in zip(LAYERS, perceived(pictures), strict=True):
        torch.testing.assert_close(got, wanted[layer])
    name, perceived = activations(load_embedding(classifier(tmp_path / "digits.safetensors")))
    assert name == "PPL-digits"
    assert [x.shape for x in perceived(pictures)] == [(2, 6, 1, 1)]


def test_distance_is_in_directions_only() -> None:
    a, b = torch.tensor([3.0, 0, 0]).view(1, 3, 1, 1), torch.tensor([0.0, 0.1, 0]).view(1, 3, 1, 1)
    assert perceptual_distance([a, a], [b, 5 * a]).item() == pytest.approx(2)
    half = torch.cat([a, b], 3)
    assert perceptual_distance([half], [torch.cat([a, a], 3)]).item() == pytest.approx(1)
    assert math.isfinite(perceptual_distance([0 * a], [b]).item())
