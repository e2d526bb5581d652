"""Masks: where a verb works and where it leaves the picture alone."""

import math

import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.picture.color import luminance
from sfumato.picture.io import Source, read_picture
from sfumato.picture.resize import resize

_BLOCK = 256  # lines blurred at a time


def read_mask(source: Source, size: tuple[int, int]) -> tuple[Tensor, bool]:
    """A mask at a picture's size.

    Args:
        source: whatever `read_picture` takes. Its alpha is the mask where it has one that varies, else its luminance:
            white is inside.
        size: height and width wanted.

    Returns:
        1 x 1 x H x W float32 in [0, 1] on the CPU, and whether it had another size.

    Raises:
        InputError: as `read_picture`; also for a mask that is black all over.
    """
    picture = read_picture(source)
    if picture.alpha is not None and picture.alpha.min() < picture.alpha.max():
        mask = torch.from_numpy(picture.alpha.copy())[None, None]
    else:
        mask = luminance(torch.from_numpy(picture.rgb).permute(2, 0, 1)[None]).clamp(0, 1)
    if not mask.any():
        raise InputError(f"the mask {picture.name!r} is empty: all of it is black, so it selects nothing")
    resized = (picture.height, picture.width) != size
    return resize(mask, *size), resized


def feather(mask: Tensor, radius: float) -> Tensor:
    """Soften a mask's edge to both sides.

    A Gaussian of standard deviation `radius` / 2, so that 95% of the change lies within `radius` pixels of the edge;
    the picture's border reflects. Beyond 1.5 `radius` nothing changes, exactly.

    Args:
        mask: N x 1 x H x W in [0, 1].
        radius: pixels, at least 0; it may exceed the picture.
    """
    if not (math.isfinite(radius) and radius >= 0):
        raise InputError(f"a mask's feather must be a radius of 0 pixels or more, not {radius}")
    if radius == 0:
        return mask
    blurred = _blur_lines(_blur_lines(mask.float(), radius / 2).mT, radius / 2).mT
    return blurred.clamp(0, 1).to(mask.dtype).contiguous()


def _blur_lines(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur along H by small dense matrices: exact zeros stay, and any sigma fits in memory."""
    n = x.shape[-2]
    if sigma >= 2 * n:  # flat to 1e-8
        return x.mean(-2, keepdim=True).expand_as(x)
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = (weights / weights.sum()).to(x)
    out = []
    for top in range(0, n, _BLOCK):
        lines = min(_BLOCK, n - top)
        matrix = x.new_zeros(lines, lines + 2 * reach)
        matrix.as_strided((lines, 2 * reach + 1), (lines + 2 * reach + 1, 1)).copy_(weights.expand(lines, -1))
        seen = _reflected(torch.arange(top - reach, top + lines + reach, device=x.device), n)
        if len(seen) > n:  # the Gaussian meets itself: add up what falls on one line
            matrix = x.new_zeros(lines, n).index_add_(1, seen, matrix)
            out.append(matrix @ x)
        else:
            out.append(matrix @ x[..., seen, :])
    return torch.cat(out, -2)


def _reflected(index: Tensor, n: int) -> Tensor:
    """... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...: no line counts twice at the border, and the mean is kept."""
    index = index.remainder(2 * n)
    return torch.minimum(index, 2 * n - 1 - index)
