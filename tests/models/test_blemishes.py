"""The finder of scratches: its labels, its figures, that it learns, that tiles meet."""

import numpy as np
import torch

from sfumato.models import blemishes
from sfumato.models.blemishes import IGNORE, Config, Finder, Method, Network, aged, figures

from .steps import steps_of

SMALL = Config(widths=(8, 12), blocks=1, resolution=32, learning_rate=5e-3)


def samples(seed: int, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey squares with a bright line, which is marked."""
    rng = np.random.default_rng(seed)
    pictures, labels = torch.full((count, 3, 32, 32), 0.4), torch.zeros(count, 32, 32, dtype=torch.int64)
    for k in range(count):
        row = int(rng.integers(2, 28))
        pictures[k, :, row : row + 2] = 0.9
        labels[k, row : row + 2] = 1
    return pictures + 0.05 * torch.from_numpy(rng.standard_normal(pictures.shape)).float(), labels


def test_labels_are_where_marks_hide_the_picture() -> None:
    picture = torch.full((3, 64, 64), 0.5)
    kinds = set[int]()
    for k in range(30):
        found, labels = aged(picture, np.random.default_rng(k), 1.5)
        assert found.shape == (3, 64, 64)
        assert labels.shape == (64, 64)
        kinds |= set(labels.flatten().tolist())
        assert float((labels == 1).float().mean()) < 0.7
    assert kinds == {0, 1, IGNORE}


def test_figures_of_a_confusion_matrix() -> None:
    found = figures(torch.tensor([[90, 2], [4, 4]]))
    assert found["IoU"] == 4 / 10
    assert found["precision"] == 4 / 6
    assert found["recall"] == 4 / 8
    assert found["score"] == 1 - 0.4


def test_it_learns_to_find_lines() -> None:
    run = steps_of(Method(SMALL))
    for k in range(60):
        run.go(*samples(k))
    after = run.method.evaluate(run, [samples(1000)])
    assert after["IoU"] > 0.8


def test_tiled_equals_whole_at_odd_sizes() -> None:
    torch.manual_seed(0)
    network = Network(SMALL)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.08)
    finder, picture = Finder(network), torch.rand(1, 3, 117, 150)
    whole = finder.find(picture)
    assert whole.shape == (1, 1, 117, 150)
    assert 0 <= float(whole.min()) < float(whole.max()) <= 1
    assert torch.allclose(finder.find(picture, tile=32), whole, atol=1e-5)
    assert blemishes.Method(SMALL).short(10, 8) is not None
