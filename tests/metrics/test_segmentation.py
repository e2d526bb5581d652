"""Agreement of label maps, counted by hand."""

import pytest
import torch

from sfumato.metrics.segmentation import confusion, intersection_over_union, mean_iou, pixel_accuracy

WANTED = torch.tensor([[0, 0, 0, 1], [1, 1, 9, 9]])
FOUND = torch.tensor([[0, 0, 1, 1], [2, 0, 0, 2]])


def test_figures_by_hand() -> None:
    matrix = confusion(FOUND, WANTED, 4, ignore=9)
    assert matrix.tolist() == [[2, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    shares = intersection_over_union(matrix)
    assert shares[:2].tolist() == pytest.approx([2 / 4, 1 / 4])
    assert shares[2:].isnan().all()  # found once, but nowhere true
    assert mean_iou(matrix) == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert pixel_accuracy(matrix) == pytest.approx(3 / 6)


def test_matrices_of_pictures_add() -> None:
    torch.manual_seed(0)
    found, wanted = torch.randint(0, 3, (2, 5, 9, 7)), torch.randint(0, 3, (2, 5, 9, 7))
    parts = sum(confusion(f, w, 3) for f, w in zip(found, wanted, strict=True))
    assert torch.equal(confusion(found, wanted, 3), torch.as_tensor(parts))


def test_perfect_and_empty() -> None:
    labels = torch.tensor([0, 1, 1, 2])
    assert mean_iou(confusion(labels, labels, 3)) == 1
    assert pixel_accuracy(confusion(labels, labels, 3)) == 1
    nothing = confusion(labels, torch.full((4,), 255), 3, ignore=255)
    assert (mean_iou(nothing), pixel_accuracy(nothing)) == (0, 0)


def test_it_is_the_jaccard_index_of_every_class() -> None:
    torch.manual_seed(1)
    found, wanted = torch.randint(0, 4, (400,)), torch.randint(0, 4, (400,))
    shares = intersection_over_union(confusion(found, wanted, 4))
    for k in range(4):
        a, b = set((found == k).nonzero().flatten().tolist()), set((wanted == k).nonzero().flatten().tolist())
        assert float(shares[k]) == pytest.approx(len(a & b) / len(a | b))
