"""Marks cover what they say, and pictures bear them only there."""

import numpy as np
import pytest
import torch

from sfumato.train import marks


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", [marks.scratches, marks.spots, marks.folds, marks.cracks])
def test_marks_are_soft_maps_of_any_size_and_repeatable(kind: object) -> None:
    assert callable(kind)
    for size in ((64, 64), (33, 90)):
        found = kind(*size, rng(5), count=4)
        assert found.shape == size
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
        assert torch.equal(found, kind(*size, rng(5), count=4))
    shares = [float((kind(64, 64, rng(k), count=4) > 0.5).float().mean()) for k in range(30)]
    assert 0.0005 < np.mean(shares) < 0.2


def test_a_line_covers_its_length_times_its_width() -> None:
    line = np.array([(8.0, 20.0), (56.0, 20.0)])
    for thick in (1.0, 3.0):
        area = float(marks.drawn(40, 64, [(line, thick)]).sum())
        assert abs(area - 48 * thick) < 0.15 * 48 * thick + 2
    square = np.array([(4.0, 4.0), (20.0, 4.0), (20.0, 12.0), (4.0, 12.0)])
    assert abs(float(marks.drawn(32, 32, [], [square]).sum()) - 16 * 8) < 8


def test_holes_are_hard_and_of_the_share_asked_for() -> None:
    shares = []
    for k in range(40):
        found = marks.holes(48, 72, rng(k), share=(0.1, 0.4))
        assert found.shape == (1, 48, 72)
        assert bool(((found == 0) | (found == 1)).all())
        shares.append(float(found.mean()))
    assert min(shares) > 0.03
    assert max(shares) <= 0.4
    assert float(marks.holes(24, 24, rng(), share=(0.0, 0.0)).sum()) > 0  # never nothing


def test_a_marred_picture_differs_only_where_it_is_hidden() -> None:
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)) * 0.4 + 0.3
    none = 0
    for k in range(40):
        found, hidden = marks.marred(picture, rng(k))
        assert hidden.shape == (1, 64, 64)
        assert torch.equal(found[:, hidden[0] == 0], picture[:, hidden[0] == 0])
        none += float(hidden.max()) == 0
    assert 1 <= none <= 12
