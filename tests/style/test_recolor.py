"""Colours kept and colours transferred."""

import pytest
import torch
from torch import Tensor

from sfumato.picture.color import rgb_to_yiq
from sfumato.style.recolor import keep_luminance, match_color


def picture(height: int, width: int, seed: int, spread: float = 0.05) -> Tensor:
    """Colours about a mid tone, correlated, inside [0, 1] with room; float64."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.rand(3, 3, generator=generator, dtype=torch.float64)
    mean = 0.4 + 0.2 * torch.rand(3, 1, 1, generator=generator, dtype=torch.float64)
    noise = 2 * torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64) - 1
    return mean + 2 * spread * torch.einsum("cd,ndhw->nchw", mix, noise)


def colours(x: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    flat = x[0].flatten(1)
    w = torch.ones(flat.shape[1], dtype=torch.int64) if weight is None else weight.flatten().long()
    return (flat.repeat_interleave(w, 1)).mean(1), torch.cov(flat, correction=0, fweights=w)


def test_keep_luminance_takes_y_from_one_and_chroma_from_the_other() -> None:
    stylized, content = picture(9, 13, 1), picture(9, 13, 2)
    kept = keep_luminance(stylized, content)
    assert 0 < kept.min() < kept.max() < 1  # nothing was clamped, so that it must be exact
    found = rgb_to_yiq(kept)
    assert torch.allclose(found[:, :1], rgb_to_yiq(stylized)[:, :1], atol=1e-12)
    assert torch.allclose(found[:, 1:], rgb_to_yiq(content)[:, 1:], atol=1e-12)
    assert torch.allclose(keep_luminance(content, content), content, atol=1e-12)


def test_keep_luminance_stays_in_range() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    kept = keep_luminance(torch.ones(1, 3, 1, 1), red)
    assert 0 <= kept.min() <= kept.max() <= 1


@pytest.mark.parametrize("seed", range(3))
def test_match_color_reaches_mean_and_covariance(seed: int) -> None:
    moved = match_color(picture(30, 41, seed), picture(21, 17, seed + 50))
    assert 0 < moved.min() < moved.max() < 1
    mean, covariance = colours(moved)
    wanted_mean, wanted = colours(picture(21, 17, seed + 50))
    assert torch.allclose(mean, wanted_mean, atol=1e-6)
    assert (covariance - wanted).norm() < 0.01 * wanted.norm()  # the half grey level that keeps flat pictures finite


def test_match_color_counts_only_what_the_weight_shows() -> None:
    reference = picture(20, 30, 4)
    weight = torch.zeros(1, 1, 20, 30)
    weight[..., :11] = 1
    other = reference.clone()
    other[..., 11:] = 0.99
    x = picture(10, 10, 5)
    assert torch.equal(match_color(x, reference, weight), match_color(x, other, weight))
    assert torch.allclose(match_color(x, reference, weight), match_color(x, reference[..., :11]), atol=1e-12)
    mean, _ = colours(match_color(x, reference, weight))
    assert torch.allclose(mean, colours(reference, weight)[0], atol=1e-6)


def test_match_color_to_itself_changes_nothing() -> None:
    x = picture(12, 19, 6)
    assert torch.allclose(match_color(x, x), x, atol=1e-7)


def test_match_color_does_not_swap_colours_that_agree() -> None:
    """Of the maps that reach a Gaussian, optimal transport is the symmetric one; a Cholesky map would turn colours."""
    x, reference = picture(30, 30, 7), picture(30, 30, 8)
    moved = match_color(x, reference)
    centred = (x - x.mean((2, 3), keepdim=True))[0].flatten(1)
    after = (moved - moved.mean((2, 3), keepdim=True))[0].flatten(1)
    a = after @ torch.linalg.pinv(centred)
    assert torch.allclose(a, a.T, atol=1e-6)
    assert torch.linalg.eigvalsh((a + a.T) / 2).min() > 0


@pytest.mark.parametrize("kind", ["flat", "grey", "one pixel", "black"])
@pytest.mark.parametrize("role", ["picture", "reference", "both"])
def test_match_color_of_singular_pictures_is_finite(kind: str, role: str) -> None:
    grey = picture(8, 8, 3)[:, :1].expand(1, 3, 8, 8)
    singular = {
        "flat": torch.full((1, 3, 8, 8), 0.3),
        "grey": grey,
        "one pixel": torch.rand(1, 3, 1, 1),
        "black": torch.zeros(1, 3, 8, 8),
    }[kind]
    x, reference = (singular if role in (name, "both") else picture(8, 8, 9) for name in ("picture", "reference"))
    moved = match_color(x.float(), reference.float())
    assert moved.shape == x.shape
    assert moved.dtype == torch.float32
    assert torch.isfinite(moved).all()
    assert 0 <= moved.min() <= moved.max() <= 1
    if role == "reference":  # all of a flat reference's colour is its mean
        assert (moved.mean((2, 3)) - reference.mean((2, 3))).abs().max() < 0.01
