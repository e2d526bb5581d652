"""The finder of scratches: its labels, its figures, that it learns, that tiles meet."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from sfumato.models import blemishes
from sfumato.models.blemishes import HIDDEN, IGNORE, VISIBLE, Config, Finder, Method, Network, aged, figures, labelled
from sfumato.train import marks

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


def test_marks_that_nobody_can_see_count_for_nothing() -> None:
    white = torch.ones(3, 96, 96)
    black = torch.zeros(3, 96, 96)
    seen = {"white": 0.0, "black": 0.0}
    for k in range(40):
        for name, picture in (("white", white), ("black", black)):
            rng = np.random.default_rng(k)
            damaged, hidden = marks.marred(picture, rng, unit=1.5)
            labels = labelled(picture, damaged, hidden)
            change = (damaged - picture).abs().mean(0)
            assert not bool((labels[change < VISIBLE] == 1).any())
            assert not bool((labels[hidden[0] >= HIDDEN] == 0).any())
            seen[name] += float((labels == 1).sum())
    assert 0 < seen["white"] < seen["black"]  # most marks are pale


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


@pytest.mark.parametrize(("encoder", "size"), [("none", (117, 150)), ("vgg-lite", (85, 471))])
def test_tiled_equals_whole_at_odd_sizes(encoder: Literal["none", "vgg-lite"], size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = Network(replace(SMALL, encoder=encoder))
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.08)
    finder, picture = Finder(network), torch.rand(1, 3, *size)
    assert max(size) > 32 + 2 * network.reach  # or there would be one tile
    whole = finder.find(picture)
    assert whole.shape == (1, 1, *size)
    assert 0 <= float(whole.min()) < float(whole.max()) <= 1
    assert torch.allclose(finder.find(picture, tile=32), whole, atol=1e-5)
    assert blemishes.Method(SMALL).short(10, 8) is not None


def test_vgg_lite_helps_to_see_and_stays_as_it_is() -> None:
    network = Network(SMALL)
    assert not any(name.startswith("encoder") for name, _ in network.named_parameters())
    assert not any(name.startswith("encoder") for name in network.state_dict())
    torch.nn.init.normal_(network.leave.weight, std=0.1)
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before = network(picture)
    for layer in network.told:
        torch.nn.init.zeros_(layer.weight)
    assert float((network(picture) - before).abs().max().detach()) > 1e-3
