"""Cross entropy and Dice in closed form."""

import math

import pytest
import torch

from sfumato.losses.segmentation import cross_entropy, dice_loss

IGNORE = 255


def certain(labels: torch.Tensor, classes: int, sure: float = 40.0) -> torch.Tensor:
    return sure * torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).float()


def test_even_chances_have_the_entropy_of_the_classes() -> None:
    labels = torch.randint(0, 5, (2, 7, 3), generator=torch.Generator().manual_seed(0))
    assert float(cross_entropy(torch.zeros(2, 5, 7, 3), labels, IGNORE)) == pytest.approx(math.log(5), abs=1e-6)


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_everything() -> None:
    labels = torch.tensor([[[0, 1], [2, 1]]])
    for loss in (cross_entropy, dice_loss):
        assert float(loss(certain(labels, 4), labels, IGNORE)) == pytest.approx(0, abs=1e-6)
    wrong = certain((labels + 1) % 4, 4)
    assert float(dice_loss(wrong, labels, IGNORE)) == pytest.approx(1, abs=1e-6)
    assert float(cross_entropy(wrong, labels, IGNORE)) == pytest.approx(40, abs=1e-3)


def test_dice_is_two_ratios_of_sums() -> None:
    """Three positions of class 0, one of class 1, chance 3/4 of class 0 everywhere."""
    labels = torch.tensor([[[0, 0], [0, 1]]])
    scores = torch.tensor([math.log(3.0), 0.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    first, second = 2 * (3 * 0.75) / (4 * 0.75 + 3), 2 * 0.25 / (4 * 0.25 + 1)
    assert float(dice_loss(scores, labels, IGNORE)) == pytest.approx(1 - (first + second) / 2, abs=1e-6)


def test_dice_is_one_ratio_over_the_batch_and_leaves_out_classes_that_do_not_occur() -> None:
    labels = torch.zeros(2, 4, 4, dtype=torch.long)
    labels[1, :2] = 1
    scores = torch.zeros(2, 6, 4, 4)
    chance = 1 / 6
    ratio = [2 * n * chance / (32 * chance + n) for n in (24, 8)]
    assert float(dice_loss(scores, labels, IGNORE)) == pytest.approx(1 - sum(ratio) / 2, abs=1e-6)


@pytest.mark.parametrize("loss", [cross_entropy, dice_loss])
def test_ignored_positions_change_nothing_and_get_no_gradient(loss: object) -> None:
    assert callable(loss)
    torch.manual_seed(0)
    scores = torch.randn(1, 3, 4, 6, requires_grad=True)
    labels = torch.randint(0, 3, (1, 4, 6))
    labels[:, :, 4:] = IGNORE
    found = loss(scores, labels, IGNORE)
    torch.testing.assert_close(found, loss(scores[..., :4], labels[..., :4], IGNORE))
    (gradient,) = torch.autograd.grad(found, scores)
    assert float(gradient[..., 4:].abs().max()) == 0
    assert float(gradient[..., :4].abs().min()) > 0


@pytest.mark.parametrize("loss", [cross_entropy, dice_loss])
def test_nothing_to_learn_from_is_zero_with_a_gradient_of_zero(loss: object) -> None:
    assert callable(loss)
    scores = torch.randn(1, 3, 2, 2, requires_grad=True)
    found = loss(scores, torch.full((1, 2, 2), IGNORE), IGNORE)
    assert found.item() == 0
    (gradient,) = torch.autograd.grad(found, scores)
    assert float(gradient.abs().max()) == 0
