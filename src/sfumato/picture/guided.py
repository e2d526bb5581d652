"""The guided filter: maps whose edges follow a picture's.

He, Sun & Tang, "Guided Image Filtering" (TPAMI 2013); He & Sun, "Fast Guided Filter" (2015) for maps smaller than the
picture. Within every window the result is an affine function of the guide, fitted to the map by ridge regression
(equation 5); every pixel takes the mean of the functions of the windows that hold it (equation 8). Time does not grow
with the radius.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.picture.regions import Regions


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Means of N x C x H x W over windows of 2 `radius` + 1 pixels a side, clipped at the border.

    Differences of cumulative sums, in float64, so that large pictures lose nothing; returned in the type of `x`.
    """
    if radius < 0:
        raise ValueError(f"a window of radius {radius}")
    for axis in (2, 3):
        size = x.shape[axis]
        at = torch.arange(size, device=x.device)
        low, high = (at - radius).clamp(min=0), (at + radius + 1).clamp(max=size)
        sums = F.pad(x.double().cumsum(axis), (0, 0, 1, 0) if axis == 2 else (1, 0))
        count = (high - low).double().view(-1, 1) if axis == 2 else (high - low).double()
        x = ((sums.index_select(axis, high) - sums.index_select(axis, low)) / count).to(x.dtype)
    return x


def guided_filter(guide: Tensor, weights: Tensor, radius: int, eps: float) -> Tensor:
    """`weights` smoothed along the guide's edges.

    Args:
        guide: 1 x C x H x W (or N x C x H x W) in [0, 1]; C 1 (grey) or 3 (tells colours of one luminance apart).
        weights: N x K x h x w, maps of any range. Where h and w are smaller than the guide's, the functions are fitted
            at that size to the reduced guide, enlarged and applied to the whole one.
        radius: of the windows, in pixels of `weights`; 0 changes nothing.
        eps: equation 5's regulariser, a variance of the guide: edges with less are smoothed over, with more kept.

    Returns:
        N x K x H x W in the type of `weights`. A sum of 1 over K stays; single values may leave the range of `weights`
        by the ridge's overshoot.
    """
    if guide.shape[1] not in (1, 3) or guide.shape[0] not in (1, weights.shape[0]):
        raise ValueError(f"a guide of shape {tuple(guide.shape)} for maps of shape {tuple(weights.shape)}")
    if not eps > 0:
        raise ValueError(f"eps is {eps}, and must be above 0")
    guide = guide.to(weights) - 0.5  # centred: variances lose fewer digits
    size = guide.shape[2:]
    small = guide if weights.shape[2:] == size else F.adaptive_avg_pool2d(guide, (weights.shape[2], weights.shape[3]))
    if radius == 0:
        return _enlarged(weights, size)
    mean = box_mean(small, radius)
    inverse = _inverse_covariance(small, mean, radius, eps)
    found = weights.new_empty(*weights.shape[:2], *size)
    for k in range(weights.shape[1]):  # one map at a time: its functions have C + 1 channels
        p = weights[:, k : k + 1]
        mean_p = box_mean(p, radius)
        covariance = box_mean(small * p, radius) - mean * mean_p
        a = (inverse * covariance[:, None]).sum(2)
        b = mean_p - (a * mean).sum(1, keepdim=True)
        a, b = _enlarged(box_mean(a, radius), size), _enlarged(box_mean(b, radius), size)
        found[:, k : k + 1] = (a * guide).sum(1, keepdim=True) + b
    return found


def _inverse_covariance(guide: Tensor, mean: Tensor, radius: int, eps: float) -> Tensor:
    """N x C x C x H x W: (Sigma + eps U)^-1 of every window, equation 14."""
    channels = guide.shape[1]

    def covariance(i: int, j: int) -> Tensor:
        product = box_mean((guide[:, i] * guide[:, j])[:, None], radius)[:, 0]
        return product - mean[:, i] * mean[:, j] + (eps if i == j else 0.0)

    if channels == 1:
        return 1 / covariance(0, 0)[:, None, None]
    a, b, c, d, e, f = (covariance(i, j) for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)))
    # the adjugate of [[a, b, c], [b, d, e], [c, e, f]]
    top = d * f - e * e, c * e - b * f, b * e - c * d
    middle = a * f - c * c, b * c - a * e
    bottom = a * d - b * b
    rows = [torch.stack(top, 1), torch.stack((top[1], *middle), 1), torch.stack((top[2], middle[1], bottom), 1)]
    determinant = a * top[0] + b * top[1] + c * top[2]
    return torch.stack(rows, 1) / determinant[:, None, None]


def _enlarged(x: Tensor, size: torch.Size) -> Tensor:
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def along_edges(regions: Regions, picture: Tensor, radius: int, eps: float) -> Regions:
    """Regions, seen coarsely, at the size of a picture 1 x 3 x H x W, their edges on the picture's; see above."""
    weights = guided_filter(picture, regions.weights[None], radius, eps)[0].clamp_(0, 1)
    weights /= weights.sum(0, keepdim=True).clamp_min(1e-6)
    return Regions(regions.names, weights)
