"""PatchNCE and the latents' KL against closed forms in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from sfumato.losses.contrast import patch_contrast, shared_information, unit_kl


def test_patch_contrast_is_the_formula() -> None:
    torch.manual_seed(0)
    queries, keys = (F.normalize(torch.randn(2, 5, 4, dtype=torch.float64), dim=2) for _ in range(2))
    total = 0.0
    for q, k in zip(queries.tolist(), keys.tolist(), strict=True):
        for i in range(5):
            chances = [math.exp(sum(a * b for a, b in zip(q[i], k[j], strict=True)) / 0.07) for j in range(5)]
            total -= math.log(chances[i] / sum(chances)) / 10
    assert patch_contrast(queries, keys).item() == pytest.approx(total, rel=1e-12)
    assert patch_contrast(queries.float(), keys.float()).item() == pytest.approx(total, rel=1e-5)


def test_patch_contrast_knows_its_ends() -> None:
    same = torch.ones(3, 8, 2, dtype=torch.float64) / math.sqrt(2)
    assert patch_contrast(same, same).item() == pytest.approx(math.log(8))  # nothing can be told
    apart = torch.eye(6, dtype=torch.float64)[None]
    assert patch_contrast(apart, apart).item() == pytest.approx(math.log(1 + 5 * math.exp(-1 / 0.07)))
    assert patch_contrast(apart, apart.roll(1, 1)).item() > 14


def test_kl_is_that_of_normal_distributions() -> None:
    mean = torch.randn(2, 3, 4, dtype=torch.float64)
    one = torch.ones_like(mean)
    wanted = kl_divergence(Normal(mean, one), Normal(torch.zeros_like(mean), one)).mean()
    torch.testing.assert_close(unit_kl(mean), wanted)


def test_shared_information_is_that_of_the_joint_table() -> None:
    """Written out in numbers, and its ends: independent answers, sure and agreeing ones, one category for all."""
    torch.manual_seed(0)
    one, other = (torch.randn(7, 3, dtype=torch.float64).softmax(1) for _ in range(2))
    joint = torch.stack([torch.outer(p, q) for p, q in zip(one, other, strict=True)]).mean(0)
    table = (joint + joint.T) / 2
    rows = table.sum(1)
    wanted = sum(float(table[i, j] * (table[i, j] / (rows[i] * rows[j])).log()) for i in range(3) for j in range(3))
    assert shared_information(one, other).item() == pytest.approx(wanted, rel=1e-9)
    sure = torch.eye(4, dtype=torch.float64).repeat(3, 1)
    assert shared_information(sure, sure).item() == pytest.approx(math.log(4), abs=1e-5)
    assert shared_information(sure, sure.roll(1, 1)).item() == pytest.approx(math.log(4) - math.log(2), abs=1e-5)
    assert shared_information(sure, torch.full_like(sure, 0.25)).item() == pytest.approx(0, abs=1e-9)
    assert shared_information(sure[:1].expand(12, 4), sure[:1].expand(12, 4)).item() == pytest.approx(0, abs=1e-5)
