"""What belongs to what, on features made so that the answer is known."""

import pytest
import torch
from torch import Tensor

from sfumato.picture.regions import Regions
from sfumato.style.matching import (
    RELATED,
    cluster_jointly,
    likeness,
    match_classes,
    match_clusters,
    regions_by_attention,
)

NAMES = ("sky", "water", "vegetation", "ground", "building", "person", "animal", "vehicle", "object")


def stripes(*names: str, width: int = 4, height: int = 8) -> Regions:
    """Upright stripes of one width."""
    labels = torch.arange(len(names)).repeat_interleave(width).expand(height, -1)
    return Regions.of_labels(labels, names)


def features(regions: Regions, directions: dict[str, int], channels: int = 16, noise: float = 0.05) -> Tensor:
    """1 x C x h x w: a region's positions point along the axis of its name."""
    found = noise * torch.randn(1, channels, *regions.size, generator=torch.Generator().manual_seed(1))
    for name, axis in directions.items():
        if name in regions.names:
            found[0, axis] += regions.of(name)
    return found


def test_same_class_then_nearest_meaning_then_nothing() -> None:
    pairs = match_classes(stripes("sky", "water", "person", "building"), stripes("sky", "ground", "animal"))
    assert [tuple(p) for p in pairs] == [
        ("sky", "sky", "same class"),
        ("water", "sky", "nearest meaning"),
        ("person", "animal", "nearest meaning"),
        ("building", None, "not in the style"),
    ]


def test_what_has_no_meaning_in_common_takes_what_looks_nearest() -> None:
    content, style = stripes("building", "sky"), stripes("ground", "vegetation", "sky")
    axes = {"building": 3, "vegetation": 3, "ground": 5, "sky": 7}
    pairs = match_classes(content, style, features(content, axes), features(style, axes))
    assert pairs[0] == ("building", "vegetation", "nearest features")
    assert pairs[1].why == "same class"


def test_a_speck_of_a_class_does_not_count() -> None:
    labels = torch.ones(20, 20, dtype=torch.int64)
    labels[0, 0] = 0
    pairs = match_classes(stripes("sky"), Regions.of_labels(labels, ("sky", "water")))
    assert pairs[0] == ("sky", "water", "nearest meaning")


def test_relations_name_classes_of_painters() -> None:
    assert set(RELATED) == set(NAMES)
    for name, others in RELATED.items():
        assert name not in others
        assert set(others) <= set(NAMES)


def test_likeness_is_the_cosine_of_mean_features() -> None:
    content, style = stripes("a", "b"), stripes("a", "b", "c")
    axes = {"a": 0, "b": 1, "c": 2}
    first, second = features(content, axes, noise=0), features(style, axes, noise=0)
    found = likeness(first, content, second, style)
    centre = torch.zeros(16)
    centre[:3] = (torch.tensor([1 / 2, 1 / 2, 0]) + torch.full((3,), 1 / 3)) / 2
    for i in range(2):
        for j in range(3):
            a, b = torch.eye(16)[i] - centre, torch.eye(16)[j] - centre
            assert float(found[i, j]) == pytest.approx(float(a @ b / (a.norm() * b.norm())), abs=1e-5)


def test_clusters_are_common_to_the_pictures_and_counted_from_the_top() -> None:
    content = Regions.of_labels(torch.arange(3).repeat_interleave(6)[:, None].expand(18, 12), ("a", "b", "c"))
    style = Regions.of_labels(torch.arange(3).repeat_interleave(4)[:, None].expand(12, 20), ("b", "a", "c"))
    axes = {"a": 0, "b": 4, "c": 8}
    # another contrast and another mean of every channel: a painting's paint
    ours, theirs = features(content, axes), 3 * features(style, axes) + 5
    own, of_style = cluster_jointly([ours, theirs], 3)
    assert own.names == ("1", "2", "3")
    assert own.labels.equal(content.labels)
    for mine, true in (("1", "a"), ("2", "b"), ("3", "c")):
        assert of_style.of(mine).equal(style.of(true))
    again = cluster_jointly([ours, theirs], 3)
    assert again[1].weights.equal(of_style.weights)


def test_positions_belong_to_the_region_that_they_attend_to_most() -> None:
    content, style = stripes("sky", "person", width=6), stripes("person", "sky", width=5)
    axes = {"sky": 0, "person": 4}
    ours, theirs = features(content, axes), 3 * features(style, axes) + 5
    found = regions_by_attention(theirs, ours, content)
    assert set(found.names) == {"sky", "person"}
    assert found.of("person").equal(style.of("person"))


def test_clusters_that_the_style_lacks_take_what_looks_nearest() -> None:
    content = stripes("1", "2", "3", width=8)
    style = stripes("1", "3", width=30)
    axes = {"1": 0, "2": 1, "3": 2}
    mine = features(content, axes, noise=0)
    mine[0, 2] += 0.5 * content.of("2")  # more like 3 than like 1
    pairs = match_clusters(content, style, mine, features(style, axes, noise=0))
    assert [tuple(p) for p in pairs] == [
        ("1", "1", "same cluster"),
        ("2", "3", "nearest features"),
        ("3", "3", "same cluster"),
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("size", "kinds"), [((1, 1), 1), ((1, 7), 1), ((6, 5), 5)])
def test_pictures_of_one_colour_differ_by_height_alone(size: tuple[int, int], kinds: int) -> None:
    flat = torch.full((1, 8, *size), 0.3)
    found = cluster_jointly([flat, flat], 5)
    assert [len(r) for r in found] == [kinds, kinds]
    assert found[0].labels.equal(found[1].labels)
    assert all(len(row.unique()) == 1 for row in found[0].labels)
    assert all(torch.allclose(r.weights.sum(0), torch.ones(size)) for r in found)
