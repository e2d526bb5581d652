"""Regions against sums and areas worked out by hand."""

import pytest
import torch

from sfumato.errors import InputError
from sfumato.picture.regions import Regions, of_masks


def halves(height: int = 8, width: int = 12, at: int = 4) -> Regions:
    labels = torch.zeros(height, width, dtype=torch.int64)
    labels[:, at:] = 2
    return Regions.of_labels(labels, ("sky", "water", "ground"))


def test_labels_become_hard_regions_of_those_that_occur() -> None:
    regions = halves()
    assert regions.names == ("sky", "ground")
    assert set(regions.weights.flatten().tolist()) == {0, 1}
    assert regions.shares.tolist() == pytest.approx([4 / 12, 8 / 12])
    assert regions.labels[0].tolist() == [0] * 4 + [1] * 8
    assert regions.of("sky").sum() == 8 * 4
    with pytest.raises(InputError, match="water"):
        regions.of("water")
    with pytest.raises(ValueError, match="labels from 0 to 7"):
        Regions.of_labels(torch.tensor([[0, 7]]), ("sky", "water"))


@pytest.mark.parametrize("size", [(4, 6), (3, 5), (16, 24), (4, 40)])
def test_another_size_keeps_the_sum_and_the_shares(size: tuple[int, int]) -> None:
    regions = halves().resized(*size)
    assert regions.size == size
    assert torch.allclose(regions.weights.sum(0), torch.ones(size))
    assert regions.shares.tolist() == pytest.approx([1 / 3, 2 / 3], abs=0.03)


def test_feathering_softens_the_edge_and_nothing_else() -> None:
    regions = halves(40, 60, 20).feathered(4)
    assert torch.allclose(regions.weights.sum(0), torch.ones(40, 60))
    sky = regions.of("sky")[20]
    assert sky[:13].tolist() == [1] * 13
    assert sky[27:].tolist() == [0] * 33
    assert 0.3 < sky[20] < 0.5 < sky[19] < 0.7
    assert halves().feathered(0).weights.equal(halves().weights)


def test_regions_of_one_name_are_joined() -> None:
    labels = torch.tensor([[0, 1, 2, 3]])
    regions = Regions.of_labels(labels, ("tree", "grass", "road", "path"))
    joined = regions.joined(lambda name: "vegetation" if name in ("tree", "grass") else "ground")
    assert joined.names == ("vegetation", "ground")
    assert joined.weights.tolist() == [[[1, 1, 0, 0]], [[0, 0, 1, 1]]]


def test_small_regions_go_to_the_nearest_large_one() -> None:
    labels = torch.zeros(10, 20, dtype=torch.int64)
    labels[:, 10:] = 1
    labels[4:6, 2:4] = 2  # inside region 0
    labels[4:6, 16:18] = 3  # inside region 1
    regions = Regions.of_labels(labels, ("a", "b", "c", "d")).without_small(0.05)
    assert regions.names == ("a", "b")
    assert regions.labels.equal((torch.arange(20) >= 10).long().expand(10, 20))
    assert torch.allclose(regions.weights.sum(0), torch.ones(10, 20))


def test_the_largest_region_stays_whatever_the_limit() -> None:
    assert halves().without_small(0.9).names == ("ground",)
    assert halves().without_small(0.1).names == ("sky", "ground")


def test_masks_share_where_they_overlap_and_leave_a_rest() -> None:
    left, middle = torch.tensor([[1.0, 1, 0, 0]]), torch.tensor([[0.0, 1, 0.5, 0]])
    regions = of_masks([left, middle], ["left", "middle"])
    assert regions.names == ("left", "middle", "rest")
    assert regions.weights.tolist() == [[[1, 0.5, 0, 0]], [[0, 0.5, 0.5, 0]], [[0, 0, 0.5, 1]]]
    whole = of_masks([left, 1 - left], ["left", "right"])
    assert whole.names == ("left", "right")
    with pytest.raises(InputError, match="one size"):
        of_masks([left, torch.ones(2, 2)], ["a", "b"])
