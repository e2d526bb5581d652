"""The sliced Wasserstein distance of patches, one number a scale: is the fine detail right, is the layout?

Karras, Aila, Laine & Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability, and Variation" (ICLR
2018), section 5: 7 x 7 patches at every level of a Laplacian pyramid (Burt & Adelson 1983) down to 16 pixels, colours
normalised, and the mean over random directions of the distance between projections (Rabin et al. 2011), times 1000.
It needs no feature network.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import InputError

SIDE = 7
PATCHES = 128
"""A picture and level."""
SMALLEST = 16
DIRECTIONS = 512
KERNEL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def blurred(x: Tensor) -> Tensor:
    """N x C x H x W through the binomial filter, borders mirrored."""
    line = torch.tensor(KERNEL, dtype=x.dtype, device=x.device)
    channels = x.shape[1]
    x = F.pad(x, (2, 2, 2, 2), "reflect")
    x = F.conv2d(x, line.view(1, 1, 5, 1).expand(channels, 1, 5, 1), groups=channels)
    return F.conv2d(x, line.view(1, 1, 1, 5).expand(channels, 1, 1, 5), groups=channels)


def reduced(x: Tensor) -> Tensor:
    """Blurred, every second pixel."""
    return blurred(x)[:, :, ::2, ::2]


def enlarged(x: Tensor, height: int, width: int) -> Tensor:
    """Pixels apart with zeros between them, blurred to a smooth picture of height x width."""
    wide = x.new_zeros(*x.shape[:2], height, width)
    wide[:, :, ::2, ::2] = x
    return 4 * blurred(wide)


def laplacian(pictures: Tensor) -> list[Tensor]:
    """What every halving of the sides takes away, finest first, and at last the smallest picture.

    Their sum, each enlarged, is the picture again.
    """
    levels, x = list[Tensor](), pictures
    while min(x.shape[2:]) >= 2 * SMALLEST:
        small = reduced(x)
        levels.append(x - enlarged(small, *x.shape[2:]))
        x = small
    return [*levels, x]


def descriptors(level: Tensor, chance: torch.Generator) -> Tensor:
    """(N PATCHES) x (C 49): patches at random places of N x C x H x W."""
    count, channels, height, width = level.shape
    top = torch.randint(height - SIDE + 1, (count, PATCHES), generator=chance)
    left = torch.randint(width - SIDE + 1, (count, PATCHES), generator=chance)
    offset = torch.arange(SIDE)
    rows, columns = top[..., None, None] + offset[:, None], left[..., None, None] + offset
    which = torch.arange(count)[:, None, None, None]
    patches = level.permute(0, 2, 3, 1)[which, rows, columns]  # N x PATCHES x 7 x 7 x C
    return patches.flatten(0, 1).permute(0, 3, 1, 2).reshape(count * PATCHES, channels * SIDE**2)


def normalised(patches: Tensor, channels: int) -> Tensor:
    """Every channel at mean 0 and deviation 1 over all patches; a channel without any variation stays 0."""
    x = patches.view(len(patches), channels, -1)
    mean, deviation = x.mean((0, 2), keepdim=True), x.std((0, 2), keepdim=True, correction=0)
    return ((x - mean) / deviation.clamp_min(1e-8)).flatten(1)


def sliced_distance(a: Tensor, b: Tensor, directions: Tensor) -> float:
    """Mean |difference| of sorted projections of N x D and N x D on unit `directions` D x K."""
    total = 0.0
    for part in torch.split(directions, 32, dim=1):
        gaps = (a @ part).sort(0).values - (b @ part).sort(0).values
        total += float(gaps.abs().mean(0).sum())
    return total / directions.shape[1]


def sliced_wasserstein(made: Tensor, real: Tensor, *, seed: int = 0) -> dict[str, float]:
    """{side in pixels: distance times 1000} of as many made as real pictures N x C x H x W in [0, 1], finest first.

    Raises `InputError` for pictures of other sizes or numbers, or smaller than a patch.
    """
    if made.shape != real.shape:
        raise InputError(f"{tuple(made.shape)} and {tuple(real.shape)} pictures: numbers and sizes must be the same")
    if min(made.shape[2:]) < SIDE:
        raise InputError(f"pictures of {made.shape[3]} x {made.shape[2]} are smaller than a patch of {SIDE}")
    chance, channels, found = torch.Generator().manual_seed(seed), made.shape[1], dict[str, float]()
    for one, other in zip(laplacian(made.float()), laplacian(real.float()), strict=True):
        a, b = (normalised(descriptors(level, chance), channels) for level in (one, other))
        directions = F.normalize(torch.randn(a.shape[1], DIRECTIONS, generator=chance), dim=0)
        found[str(min(one.shape[2:]))] = 1000 * sliced_distance(a, b, directions)
    return found
