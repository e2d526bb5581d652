"""PatchNCE and the latents' KL against closed forms in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from sfumato.losses.contrast import patch_contrast, unit_kl


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
