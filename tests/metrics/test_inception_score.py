import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.inception import InceptionScore

from sfumato.errors import InputError
from sfumato.metrics.inception_score import inception_score


def test_closed_forms() -> None:
    sure = torch.eye(7).repeat(20, 1)
    assert inception_score(sure, splits=1) == (pytest.approx(7), 0)
    assert inception_score(torch.full((30, 5), 0.2), splits=3) == (pytest.approx(1), pytest.approx(0))
    assert inception_score(torch.eye(7)[:1].expand(40, 7))[0] == pytest.approx(1)  # sure, but always the same
    p = torch.tensor([[0.8, 0.2], [0.2, 0.8]]).double()
    wanted = (0.8 * torch.tensor(1.6).log() + 0.2 * torch.tensor(0.4).log()).exp()
    assert inception_score(p, splits=1)[0] == pytest.approx(wanted.item(), rel=1e-6)


def test_one_picture_a_class_repeated_is_taken_for_perfect() -> None:
    """The trap: the score sees no real picture and no variety within a class."""
    chances = torch.eye(10)[torch.arange(500) % 10]
    assert inception_score(chances)[0] == pytest.approx(10)


def test_as_torchmetrics_has_it() -> None:
    class Scores(nn.Module):
        def forward(self, pictures: Tensor) -> Tensor:
            return pictures.flatten(1)[:, :4].double() / 40

    pictures = torch.randint(0, 256, (60, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    peer = InceptionScore(feature=Scores(), splits=1)
    peer.update(pictures)
    found = inception_score(Scores()(pictures).softmax(1), splits=1)[0]
    assert found == pytest.approx(peer.compute()[0].item(), rel=1e-6)


def test_parts_are_consecutive_and_too_few_are_refused() -> None:
    chances = torch.cat([torch.eye(2)[:1].expand(5, 2), torch.eye(2).repeat(3, 1)[:5]])
    mean, deviation = inception_score(chances, splits=2)
    other = inception_score(torch.eye(2).repeat(3, 1)[:5], splits=1)[0]
    assert mean == pytest.approx((1 + other) / 2)
    assert deviation == pytest.approx((other - 1) / 2)
    with pytest.raises(InputError, match="at least 10"):
        inception_score(chances[:9])
