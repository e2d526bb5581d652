"""Precision, recall, density and coverage against their definitions in plain loops, and sets whose values are known."""

import pytest
import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.metrics import manifold as module
from sfumato.metrics.manifold import Manifold, manifold, radius


def cloud(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain(made: Tensor, real: Tensor) -> Manifold:
    """The papers' equations, one picture at a time."""

    def reach(x: Tensor, k: int) -> list[float]:
        return [sorted((x - row).norm(dim=1).tolist())[k] for row in x]  # the nearest is the row itself

    def inside(point: Tensor, x: Tensor, radii: list[float]) -> list[bool]:
        return [float((point - row).norm()) <= r for row, r in zip(x, radii, strict=True)]

    real3, real5, made3 = reach(real, 3), reach(real, 5), reach(made, 3)
    held = [inside(x, real, real5) for x in made]
    return Manifold(
        precision=sum(any(inside(x, real, real3)) for x in made) / len(made),
        recall=sum(any(inside(y, made, made3)) for y in real) / len(real),
        density=sum(map(sum, held)) / (5 * len(made)),
        coverage=sum(any(column) for column in zip(*held, strict=True)) / len(real),
    )


@pytest.mark.parametrize("chunk", [7, 1024])
def test_the_definitions_written_out(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    for seed in range(3):
        made, real = cloud(40, seed) * 1.3 + 0.4, cloud(30, seed + 10)
        found, wanted = manifold(made, real), plain(made, real)
        for name in ("precision", "recall", "density", "coverage"):
            assert getattr(found, name) == pytest.approx(getattr(wanted, name), abs=1e-12)


def test_the_set_itself_is_perfect_and_a_foreign_set_is_nothing() -> None:
    real = cloud(50)
    own = manifold(real, real)
    assert (own.precision, own.recall, own.coverage) == (1, 1, 1)
    assert manifold(real + 100, real) == Manifold(0, 0, 0, 0)


def test_one_good_picture_repeated_is_precise_and_recalls_nothing() -> None:
    real = cloud(200)
    centre = real[real.norm(dim=1).argmin()]
    found = manifold(centre.expand(200, 3), real)
    assert found.precision == 1
    assert found.recall <= 1 / 200  # its balls are points: they hold the one picture itself
    assert found.coverage < 0.1
    assert found.density > 1  # density alone is fooled


def test_half_the_modes_halve_recall_and_coverage() -> None:
    there, missing = cloud(100, 1), cloud(100, 2) + 50
    found = manifold(cloud(200, 3), torch.cat([there, missing]))
    assert found.precision > 0.85
    assert found.recall < 0.55
    assert found.coverage <= 0.5


def test_features_far_from_the_origin_keep_their_distances() -> None:
    made, real = cloud(40), cloud(40, 1)
    assert manifold(made + 1e5, real + 1e5) == manifold(made, real)


def test_copies_are_neighbours() -> None:
    x = torch.tensor([[0.0], [0.0], [3.0], [7.0]]).double()
    assert radius(x, 1).tolist() == [0, 0, 3, 4]
    assert radius(x, 2).tolist() == [3, 3, 3, 7]


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="at least 6"):
        manifold(cloud(5), cloud(50))
