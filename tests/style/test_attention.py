"""Attention against the plain formula and against PyTorch's, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.style import attention
from sfumato.style.attention import attended, correspondence, normalised, scores, transport


def maps(height: int, width: int, seed: int, channels: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    f = torch.randn(1, channels, height, width, generator=generator, dtype=torch.float64)
    return 2 * f + torch.arange(channels).view(1, -1, 1, 1)


def rows(f: Tensor) -> Tensor:
    return f[0].flatten(1).T


def soft(count: int, height: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, height, width, generator=generator, dtype=torch.float64).softmax(0)


@pytest.mark.parametrize("chunk", [1, 100, 1 << 23])
def test_attended_is_pytorchs_attention_and_the_formula(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "CHUNK", chunk)
    q, k, v = rows(maps(5, 7, 1)), rows(maps(6, 4, 2)), rows(maps(6, 4, 3, channels=9))
    weights = torch.rand(24, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    for w in (None, weights):
        bias = None if w is None else w.log().expand(35, 24)
        mean, spread = attended(q, k, v, w)
        torch.testing.assert_close(
            mean, F.scaled_dot_product_attention(q, k, v, attn_mask=bias), rtol=1e-12, atol=1e-12
        )
        for p in (0, 17, 34):
            a = torch.exp(k @ q[p] / math.sqrt(6)) * (1 if w is None else w)
            a = a / a.sum()
            m = (a[:, None] * v).sum(0)
            wanted = (a[:, None] * (v - m).square()).sum(0).sqrt()
            torch.testing.assert_close(mean[p], m, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(spread[p], wanted, rtol=1e-9, atol=1e-9)


def test_two_equal_keys_give_the_middle_and_half_the_way() -> None:
    q, k = torch.randn(3, 4, dtype=torch.float64), torch.ones(2, 4, dtype=torch.float64)
    mean, spread = attended(q, k, torch.tensor([[1.0, 10.0], [3.0, 4.0]], dtype=torch.float64))
    torch.testing.assert_close(mean, torch.tensor([[2.0, 7.0]]).double().expand(3, 2))
    torch.testing.assert_close(spread, torch.tensor([[1.0, 3.0]]).double().expand(3, 2))


def test_the_deviation_survives_a_large_offset_in_float32() -> None:
    q, k, v = (rows(maps(5, 5, s)).float() for s in (1, 2, 3))
    plain, moved = attended(q, k, v)[1], attended(q, k, v + 1000)[1]
    torch.testing.assert_close(moved, plain, rtol=1e-3, atol=1e-3)


def test_a_key_of_weight_zero_is_not_there() -> None:
    q, k, v = rows(maps(3, 3, 1)), rows(maps(4, 4, 2)), rows(maps(4, 4, 3))
    weights = torch.ones(16, dtype=torch.float64)
    weights[5:] = 0
    for found, wanted in zip(attended(q, k, v, weights), attended(q, k[:5], v[:5]), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("top", [1, 4, 23, 24, 99])
def test_sparse_attention_is_the_softmax_over_the_best(top: int) -> None:
    q, k = rows(maps(5, 7, 1)), rows(maps(6, 4, 2))
    found, logits = scores(q, k, top=top), q @ k.T / math.sqrt(6)
    assert found.sum(1).sub(1).abs().max() < 1e-12
    for p in range(35):
        best = logits[p].argsort(descending=True)[:top]
        assert set(torch.nonzero(found[p]).flatten().tolist()) == set(best.tolist())
        torch.testing.assert_close(found[p, best], logits[p, best].softmax(0), rtol=1e-12, atol=0)


def test_normalised_channels_by_weight() -> None:
    f, w = maps(5, 7, 1), soft(2, 5, 7, 3)[0]
    n = normalised(f, w, eps=0.0)[0].flatten(1)
    share = w.flatten() / w.sum()
    assert (n @ share).abs().max() < 1e-12
    assert (n.square() @ share - 1).abs().max() < 1e-12


def test_transport_is_the_papers_formula() -> None:
    c, s = maps(4, 5, 1), maps(6, 3, 2)
    q, k, v = rows(normalised(c)), rows(normalised(s)), rows(s)
    a = (q @ k.T / math.sqrt(6)).softmax(1)
    m = a @ v
    wanted = (a @ v.square() - m.square()).sqrt() * q + m
    torch.testing.assert_close(rows(transport(c, s)), wanted, rtol=1e-9, atol=1e-9)


def test_regions_see_their_own_region_only() -> None:
    """Hard regions: each half is what it would be were the other not there; a style's other half may be anything."""
    c, s = maps(4, 6, 1), maps(5, 8, 2)
    halves = [torch.zeros(2, *f.shape[2:], dtype=torch.float64) for f in (c, s)]
    for h in halves:
        middle = h.shape[2] // 2
        h[0, :, :middle], h[1, :, middle:] = 1, 1
    found = transport(c, s, *halves)
    for part, other in ((slice(0, 3), slice(0, 4)), (slice(3, 6), slice(4, 8))):
        torch.testing.assert_close(found[..., part], transport(c[..., part], s[..., other]), rtol=1e-9, atol=1e-9)
    changed = s.clone()
    changed[..., 4:] = 77
    assert torch.equal(transport(c, changed, *halves)[..., :3], found[..., :3])


def test_soft_regions_mix_and_positions_of_none_stay() -> None:
    c, s = maps(4, 6, 1), maps(5, 8, 2)
    mine, theirs = soft(2, 4, 6, 3), soft(2, 5, 8, 4)
    mine[:, 0] = 0
    parts = [transport(c, s, mine[k : k + 1], theirs[k : k + 1]) for k in range(2)]
    wanted = (mine[0] * parts[0] + mine[1] * parts[1]) / mine.sum(0)
    found = transport(c, s, mine, theirs)
    torch.testing.assert_close(found[:, :, 1:], wanted[:, :, 1:], rtol=1e-9, atol=1e-9)
    assert torch.equal(found[:, :, 0], c[:, :, 0])


def test_correspondence_is_the_mean_attention_between_regions() -> None:
    c, s, mine, theirs = maps(4, 6, 1), maps(5, 8, 2), soft(3, 4, 6, 3), soft(2, 5, 8, 4)
    a = (rows(normalised(c)) @ rows(normalised(s)).T / math.sqrt(6)).softmax(1)
    wanted = torch.einsum("kp,pq,jq->kj", mine.flatten(1), a, theirs.flatten(1)) / mine.sum((1, 2))[:, None]
    found = correspondence(c, s, mine, theirs)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    assert found.sum(1).sub(1).abs().max() < 1e-12


def test_correspondence_finds_regions_that_changed_places() -> None:
    """Three kinds of features; the style has the same kinds in another order, one of them over more of its area."""
    generator = torch.Generator().manual_seed(6)
    kinds = 3 * torch.eye(3, dtype=torch.float64).repeat_interleave(8, 1)
    mine, theirs = torch.arange(12).reshape(2, 6) % 3, torch.tensor([[2, 2, 0, 1, 2, 2]])
    c, s = (
        (kinds[x] + 0.1 * torch.randn(*x.shape, 24, generator=generator)).permute(2, 0, 1)[None] for x in (mine, theirs)
    )
    found = correspondence(c, s, F.one_hot(mine).permute(2, 0, 1).double(), F.one_hot(theirs).permute(2, 0, 1).double())
    assert found.diagonal().min() > 0.8
    sparse = correspondence(c, s, F.one_hot(mine).permute(2, 0, 1), F.one_hot(theirs).permute(2, 0, 1), top=1)
    torch.testing.assert_close(sparse, torch.eye(3, dtype=torch.float64))


def test_correspondence_of_an_empty_region_is_zero() -> None:
    mine = torch.stack([torch.ones(4, 6), torch.zeros(4, 6)])
    found = correspondence(maps(4, 6, 1), maps(5, 8, 2), mine, torch.ones(1, 5, 8))
    assert found.tolist() == [[pytest.approx(1.0)], [0.0]]
