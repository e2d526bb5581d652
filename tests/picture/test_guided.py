"""The guided filter against its definition, window by window in float64."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sfumato.picture.guided import box_mean, guided_filter

Array = NDArray[np.float64]


def defined(guide: Array, p: Array, radius: int, eps: float) -> Array:
    """Equations 5 and 8 word by word: a ridge regression a window, then the mean over the windows of a pixel."""
    channels, height, width = guide.shape
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            rows, columns = slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)
            seen = guide[:, rows, columns].reshape(channels, -1)
            n = seen.shape[1]
            # sum (a I + b - p)^2 + eps a^2 as one least-squares problem with C more equations
            ridge = np.hstack([np.sqrt(n * eps) * np.eye(channels), np.zeros((channels, 1))])
            matrix = np.vstack([np.vstack([seen, np.ones(n)]).T, ridge])
            target = np.concatenate([p[rows, columns].ravel(), np.zeros(channels)])
            solution = np.linalg.lstsq(matrix, target, rcond=None)[0]
            total[rows, columns] += np.tensordot(solution[:-1], guide[:, rows, columns], 1) + solution[-1]
            count[rows, columns] += 1
    return total / count


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("radius", "eps"), [(1, 1e-4), (3, 1e-2), (20, 1e-3)])
def test_guided_filter_is_ridge_regression_in_every_window(channels: int, radius: int, eps: float) -> None:
    rng = np.random.default_rng(radius)
    guide, maps = rng.random((channels, 9, 12)), rng.random((2, 9, 12))
    wanted = np.stack([defined(guide, p, radius, eps) for p in maps])
    exact = guided_filter(torch.from_numpy(guide)[None], torch.from_numpy(maps)[None], radius, eps)
    np.testing.assert_allclose(exact[0].numpy(), wanted, atol=1e-10)
    single = guided_filter(torch.from_numpy(guide)[None].float(), torch.from_numpy(maps)[None].float(), radius, eps)
    np.testing.assert_allclose(single[0].numpy(), wanted, atol=2e-4)


def test_sum_of_one_stays_and_one_guide_serves_many_maps() -> None:
    torch.manual_seed(0)
    guide, weights = torch.rand(1, 3, 31, 23), torch.rand(2, 4, 31, 23).softmax(1)
    out = guided_filter(guide, weights, 4, 1e-3)
    assert out.shape == weights.shape
    torch.testing.assert_close(out.sum(1), torch.ones(2, 31, 23), atol=2e-4, rtol=0)
    torch.testing.assert_close(out[1:], guided_filter(guide, weights[1:], 4, 1e-3))


def test_colours_of_one_luminance_are_told_apart_only_by_a_colour_guide() -> None:
    guide = torch.zeros(1, 3, 16, 32)
    guide[:, 0, :, :16], guide[:, 1, :, 16:] = 0.5, 0.5  # red, green: the same mean of channels
    truth = torch.zeros(1, 1, 16, 32)
    truth[..., 16:] = 1
    coarse = box_mean(truth, 4)  # an edge that is 9 pixels wide
    colour = guided_filter(guide, coarse, 6, 1e-4)
    grey = guided_filter(guide.mean(1, keepdim=True), coarse, 6, 1e-4)
    step = float((colour[..., 16] - colour[..., 15]).mean())
    assert step > 0.5  # 0.11 in the coarse map
    assert float((grey[..., 16] - grey[..., 15]).mean()) < 0.15


def test_small_maps_get_the_edges_of_a_large_guide() -> None:
    side, factor = 96, 8
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    disc = ((y - 47.5) ** 2 + (x - 47.5) ** 2 < 30**2).float()[None, None]
    guide = (0.2 + 0.6 * disc).expand(1, 3, side, side)
    small = torch.nn.functional.avg_pool2d(disc, factor)
    plain = torch.nn.functional.interpolate(small, (side, side), mode="bilinear")
    refined = guided_filter(guide, small, 2, 1e-4)
    assert refined.shape == disc.shape
    assert float((refined - disc).abs().mean()) < 0.25 * float((plain - disc).abs().mean())
    torch.testing.assert_close(guided_filter(guide, small, 0, 1e-4), plain)


def test_box_means_of_a_large_picture_keep_their_digits() -> None:
    x = torch.full((1, 1, 3000, 40), 0.1) + 1e-3 * torch.sin(torch.arange(3000).float()).view(1, 1, -1, 1)
    wanted = torch.nn.functional.avg_pool2d(x.double(), (11, 11), 1, (5, 5), count_include_pad=False)
    torch.testing.assert_close(box_mean(x, 5).double(), wanted, atol=2e-8, rtol=0)


def test_wrong_guides_are_refused() -> None:
    with pytest.raises(ValueError, match="guide"):
        guided_filter(torch.rand(1, 2, 4, 4), torch.rand(1, 1, 4, 4), 1, 0.1)
    with pytest.raises(ValueError, match="eps"):
        guided_filter(torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4), 1, 0.0)
