"""Statistics against numpy and scipy in float64, and their gradients against finite differences."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from sfumato.style.statistics import Moments, bures_distance, gram_matrix, matrix_sqrt, mean_std, moments


def maps(channels: int = 5, height: int = 7, width: int = 9, seed: int = 0) -> Tensor:
    """1 x C x h x w in float64 whose channels differ in mean and spread and go together."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    f = torch.randn(1, channels, height, width, generator=generator, dtype=torch.float64)
    return torch.einsum("cd,ndhw->nchw", mix, f) + torch.arange(channels).view(1, -1, 1, 1)


def close(found: Tensor, wanted: np.ndarray, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(found.numpy(), wanted, rtol=tolerance, atol=tolerance * np.abs(wanted).max())


def test_every_statistic_is_numpys() -> None:
    f = maps()
    flat, m = f[0].flatten(1).numpy(), moments(f)
    close(m.weight, np.array([63.0]))
    close(m.mean, flat.mean(1)[None])
    close(m.variance, flat.var(1)[None])
    close(m.covariance, np.cov(flat, bias=True)[None])
    close(mean_std(m, eps=0.0), np.concatenate([flat.mean(1), flat.std(1)])[None])
    close(mean_std(m, eps=0.5), np.concatenate([flat.mean(1), np.sqrt(flat.var(1) + 0.5)])[None])


@pytest.mark.parametrize(("normalisation", "divisor"), [("hw", 63), ("chw", 5 * 63), ("hw2", 63**2)])
def test_gram_matrix_divided_as_each_paper_does(normalisation: str, divisor: int) -> None:
    f = maps()
    wanted = np.einsum("cp,dp->cd", *[f[0].flatten(1).numpy()] * 2) / divisor
    close(gram_matrix(moments(f), normalisation)[0], wanted)  # type: ignore[arg-type]


def test_only_hw_changes_neither_with_size_nor_with_width() -> None:
    f = maps()
    twice = f.repeat(1, 1, 2, 1)
    wide = torch.cat([f, f], 1)
    kept = {n: torch.allclose(gram_matrix(moments(f), n), gram_matrix(moments(twice), n)) for n in ("hw", "chw", "hw2")}
    assert kept == {"hw": True, "chw": True, "hw2": False}
    corner = {n: torch.allclose(gram_matrix(moments(f), n), gram_matrix(moments(wide), n)[:, :5, :5]) for n in kept}
    assert corner == {"hw": True, "chw": False, "hw2": True}


def test_integer_weights_equal_positions_repeated() -> None:
    f = maps()
    times = torch.randint(0, 4, (2, 7, 9), generator=torch.Generator().manual_seed(3))
    m = moments(f, times.double())
    for k in range(2):
        repeated = f[0].flatten(1).repeat_interleave(times[k].flatten(), 1)[None, :, None]
        wanted = moments(repeated)
        for found, right in zip((m.weight, m.first, m.second), wanted, strict=True):
            close(found[k], right[0].numpy())
        close(m.mean[k], wanted.mean[0].numpy())
        close(m.covariance[k], wanted.covariance[0].numpy(), 1e-11)
        close(gram_matrix(m)[k], gram_matrix(wanted)[0].numpy())


def test_positions_of_no_weight_do_not_matter() -> None:
    f, w = maps(), torch.ones(1, 7, 9, dtype=torch.float64)
    w[:, :, 4:] = 0
    other = f.clone()
    other[..., 4:] = 1e6
    for a, b in zip(moments(f, w), moments(other, w), strict=True):
        assert torch.equal(a, b)
    assert torch.allclose(gram_matrix(moments(f, w)), gram_matrix(moments(f[..., :4])))


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_of_tiles_add(weighted: bool) -> None:
    f = maps()
    w = torch.rand(2, 7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) if weighted else None
    whole, parts = moments(f, w), None
    for rows in (slice(0, 3), slice(3, 7)):
        for columns in (slice(0, 4), slice(4, 5), slice(5, 9)):
            m = moments(f[..., rows, columns], None if w is None else w[..., rows, columns])
            parts = m if parts is None else parts.plus(m)
    assert parts is not None
    for a, b in zip(parts, whole, strict=True):
        close(a, b.numpy())


def test_several_pictures_have_sums_of_their_own() -> None:
    f = torch.randn(3, 4, 5, 6)
    for together, one_by_one in zip(moments(f), zip(*(moments(x[None]) for x in f), strict=True), strict=True):
        torch.testing.assert_close(together, torch.cat(one_by_one))


def test_sums_of_bfloat16_are_float32() -> None:
    f = torch.ones(1, 2, 40, 50, dtype=torch.bfloat16)
    m = moments(f)
    assert {t.dtype for t in m} == {torch.float32}
    assert m.first.tolist() == [[2000.0, 2000.0]]  # bfloat16 counts by eights there


def test_variance_is_never_negative() -> None:
    f = torch.full((1, 3, 50, 50), 1000.1)
    assert (moments(f).variance >= 0).all()
    assert torch.isfinite(mean_std(moments(f))).all()


def spd(size: int, seed: int) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=(size, 2 * size))
    return a @ a.T / size


def test_matrix_sqrt_is_scipys_and_takes_singular_matrices() -> None:
    a = np.stack([spd(6, 0), spd(6, 1)])
    close(matrix_sqrt(torch.from_numpy(a)), np.stack([scipy.linalg.sqrtm(m) for m in a]), 1e-10)
    thin = np.random.default_rng(2).normal(size=(6, 2))
    root = matrix_sqrt(torch.from_numpy(thin @ thin.T))
    close(root @ root, thin @ thin.T, 1e-9)
    assert matrix_sqrt(torch.zeros(3, 3)).abs().max() == 0


def gaussian(mean: np.ndarray, covariance: np.ndarray, weight: float = 10.0) -> Moments:
    """Sums that have this mean and covariance."""
    second = (covariance + np.outer(mean, mean)) * weight
    return Moments(*(torch.from_numpy(np.asarray(v))[None] for v in (np.float64(weight), mean * weight, second)))


def closed_form(mean: np.ndarray, s: np.ndarray, other: np.ndarray, r: np.ndarray) -> float:
    root = scipy.linalg.sqrtm(r)
    cross = scipy.linalg.sqrtm(root @ s @ root).real
    return float(((mean - other) ** 2).sum() + np.trace(s + r - 2 * cross))


@pytest.mark.parametrize("seed", range(4))
def test_bures_distance_is_the_closed_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean, other, s, r = rng.normal(size=8), rng.normal(size=8), spd(8, seed + 10), spd(8, seed + 20)
    root = torch.from_numpy(scipy.linalg.sqrtm(r).real)[None]
    found = bures_distance(gaussian(mean, s), torch.from_numpy(other)[None], root)
    wanted = closed_form(mean, s, other, r)
    assert found.item() == pytest.approx(wanted, rel=1e-4)
    exact = bures_distance(gaussian(mean, s), torch.from_numpy(other)[None], root, eps=1e-12)
    assert exact.item() == pytest.approx(wanted, rel=1e-5)


def test_bures_distance_is_zero_at_equality_also_of_singular_covariances() -> None:
    thin = np.random.default_rng(0).normal(size=(8, 3))
    for s in (spd(8, 1), thin @ thin.T):
        m = gaussian(np.arange(8.0), s)
        left = bures_distance(m, m.mean, matrix_sqrt(m.covariance))
        assert 0 <= left.item() < 1e-4 * np.trace(s)


def test_bures_distance_knows_commuting_gaussians() -> None:
    """Of diagonal covariances it is the squared distance of means and of deviations."""
    d, e = np.array([1.0, 4.0, 9.0]), np.array([4.0, 0.25, 9.0])
    mean, other = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    found = bures_distance(
        gaussian(mean, np.diag(d)), torch.from_numpy(other)[None], torch.from_numpy(np.diag(e**0.5))[None]
    )
    assert found.item() == pytest.approx(5 + ((d**0.5 - e**0.5) ** 2).sum(), rel=1e-4)


@pytest.mark.parametrize("statistic", ["gram", "chw", "hw2", "mean_std", "w2"])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients(statistic: str, weighted: bool) -> None:
    w = torch.rand(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) if weighted else None
    other = moments(maps(3, 4, 6, seed=8))

    def value(f: Tensor) -> Tensor:
        m = moments(f, w)
        if statistic == "w2":
            return bures_distance(m, other.mean, matrix_sqrt(other.covariance))
        return mean_std(m) if statistic == "mean_std" else gram_matrix(m, "hw" if statistic == "gram" else statistic)  # type: ignore[arg-type]

    assert torch.autograd.gradcheck(value, maps(3, 3, 5, seed=7).requires_grad_())


def test_bures_gradient_is_finite_where_covariances_are_singular() -> None:
    f = torch.zeros(1, 4, 3, 3, dtype=torch.float64)
    f[:, 0] = torch.arange(9.0).view(3, 3)
    f.requires_grad_()
    other = moments(maps(4, 3, 3))
    for wanted in (other, moments(torch.zeros(1, 4, 3, 3, dtype=torch.float64))):
        distance = bures_distance(moments(f), wanted.mean, matrix_sqrt(wanted.covariance)).sum()
        (gradient,) = torch.autograd.grad(distance, f)
        assert torch.isfinite(gradient).all()
        assert torch.isfinite(distance)
