"""The pyramid gives the picture back, the sliced distance has its closed forms, and scales are told apart."""

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import wasserstein_distance

from sfumato.errors import InputError
from sfumato.metrics import sliced_wasserstein as module
from sfumato.metrics.sliced_wasserstein import (
    descriptors,
    enlarged,
    laplacian,
    normalised,
    sliced_distance,
    sliced_wasserstein,
)


def pictures(count: int, side: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.interpolate(torch.rand(count, 3, 8, 8, generator=generator), side, mode="bilinear")


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 47)])
def test_the_pyramid_adds_up_to_the_picture(height: int, width: int) -> None:
    x = torch.rand(2, 3, height, width, dtype=torch.float64)
    levels = laplacian(x)
    whole = levels[-1]
    for level in levels[-2::-1]:
        whole = level + enlarged(whole, *level.shape[2:])
    torch.testing.assert_close(whole, x)
    assert [min(level.shape[2:]) for level in levels] == ([64, 32, 16] if height == 64 else [33, 17])
    flat = laplacian(torch.full((1, 3, 64, 64), 0.7))
    assert flat[0][..., 4:-4, 4:-4].abs().max() < 1e-6  # nothing fine in a flat picture


def test_patches_are_the_picture_s_and_channels_stay_apart() -> None:
    level = torch.arange(2 * 3 * 20 * 20.0).view(2, 3, 20, 20)
    patches = descriptors(level, torch.Generator().manual_seed(0)).view(2, -1, 3, 7, 7)
    for picture, found in zip(level, patches, strict=True):
        first = found[5, 0, 0, 0]
        top, left = divmod(int(first - picture[0, 0, 0]), 20)
        torch.testing.assert_close(found[5], picture[:, top : top + 7, left : left + 7])
    flat = normalised(patches.flatten(0, 1).flatten(1), 3).view(-1, 3, 49)
    torch.testing.assert_close(flat.mean((0, 2)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.std((0, 2), correction=0), torch.ones(3))


def test_on_one_axis_it_is_scipy_s_and_a_shift_is_its_length() -> None:
    a, b = torch.randn(200, 1).double(), torch.randn(200, 1).double() * 2 + 1
    wanted = wasserstein_distance(a[:, 0].numpy(), b[:, 0].numpy())
    assert sliced_distance(a, b, torch.ones(1, 1).double()) == pytest.approx(wanted, rel=1e-9)
    directions = F.normalize(torch.randn(5, 4000), dim=0)
    shift = torch.tensor([3.0, 0, 4, 0, 0])
    x = torch.randn(100, 5)
    # mean |cos| in five dimensions is Gamma(5/2) / (sqrt(pi) Gamma(3)) = 3/8
    assert sliced_distance(x + shift, x, directions) == pytest.approx(5 * 3 / 8, rel=0.05)


def test_lost_detail_is_found_at_its_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATCHES", 32)
    monkeypatch.setattr(module, "DIRECTIONS", 64)
    noise = 0.1 * torch.randn(24, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    real, same = pictures(24, 64) + noise, pictures(24, 64, 1) + noise.flip(0)
    soft = F.interpolate(F.avg_pool2d(same, 2), 64, mode="bilinear")
    other_layout = F.interpolate(pictures(24, 8, 1)[..., :2, :2], 64, mode="bilinear") + noise.flip(0)
    floor, lost, layout = (sliced_wasserstein(x, real) for x in (same, soft, other_layout))
    assert list(floor) == ["64", "32", "16"]
    assert lost["64"] > 1.3 * floor["64"]
    assert lost["16"] < 1.2 * floor["16"]
    assert layout["16"] > 1.3 * floor["16"]
    assert sliced_wasserstein(same, real) == floor


def test_small_or_unequal_pictures() -> None:
    assert list(sliced_wasserstein(pictures(2, 28), pictures(2, 28, 1))) == ["28"]
    with pytest.raises(InputError, match="must be the same"):
        sliced_wasserstein(pictures(2, 28), pictures(3, 28))
    with pytest.raises(InputError, match="smaller than a patch"):
        sliced_wasserstein(torch.rand(2, 3, 6, 6), torch.rand(2, 3, 6, 6))
