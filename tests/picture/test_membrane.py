"""Smooth fills against the linear system that they solve."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve

from sfumato.picture.membrane import membrane


def solved(values: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Laplace's equation by a direct solver, one channel; pixels beyond the border do not count."""
    height, width = hole.shape
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())
    entries, right = list[tuple[int, int, float]](), np.zeros(hole.sum())
    for y, x in zip(*np.nonzero(hole), strict=True):
        near = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        near = [(a, b) for a, b in near if 0 <= a < height and 0 <= b < width]
        i = number[y, x]
        entries.append((i, i, len(near)))
        for a, b in near:
            if hole[a, b]:
                entries.append((i, number[a, b], -1))
            else:
                right[i] += values[a, b]
    rows, columns, weights = zip(*entries, strict=True)
    system = coo_array((np.array(weights, float), (rows, columns)), shape=(hole.sum(), hole.sum())).tocsc()
    found = values.copy()
    found[hole] = spsolve(system, right)
    return found


@pytest.mark.parametrize("size", [(40, 57), (33, 32)])
def test_it_solves_laplace(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]] / 30
    values = 0.5 + 0.3 * np.sin(3 * y) * np.cos(2 * x) + rng.normal(0, 0.02, size)
    hole = np.zeros(size, bool)
    hole[10:25, 8:30] = True
    hole[0:9, 20:24] = True  # reaches the border
    wanted = torch.from_numpy(solved(values, hole))
    given = torch.from_numpy(values)[None, None]
    errors = [
        float((membrane(given, torch.from_numpy(hole)[None, None], sweeps)[0, 0] - wanted).abs().max())
        for sweeps in (12, 60, 1000)
    ]
    assert errors[0] < 0.06
    assert errors[1] < 0.01
    assert errors[2] < 1e-6


def test_a_plane_stays_a_plane_and_the_rest_as_it_was() -> None:
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    plane = torch.stack([0.01 * x + 0.005 * y, 1 - 0.01 * x])[None]
    hole = torch.zeros(1, 1, 48, 64)
    hole[..., 15:35, 20:45] = 1
    broken = torch.where(hole > 0, torch.tensor(7.0), plane)
    found = membrane(broken, hole, 60)
    assert torch.equal(found[(hole == 0).expand_as(found)], plane[(hole == 0).expand_as(plane)])
    assert float((found - plane).abs().max()) < 2e-3


def test_batches_are_their_pictures_and_everything_missing_is_nothing() -> None:
    torch.manual_seed(0)
    values, hole = torch.rand(3, 2, 19, 23), (torch.rand(3, 1, 19, 23) < 0.5).float()
    hole[2] = 1
    together = membrane(values, hole)
    for k in range(3):
        torch.testing.assert_close(together[k : k + 1], membrane(values[k : k + 1], hole[k : k + 1]))
    assert float(together[2].abs().max()) == 0
    assert membrane(torch.rand(1, 3, 1, 1), torch.zeros(1, 1, 1, 1)).shape == (1, 3, 1, 1)
