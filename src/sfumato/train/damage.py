"""What time, cameras and files do to pictures, made on purpose: grain, compression, blur, fading.

Pure functions of a picture and a generator of numbers. Pictures are float32 3 x H x W in [0, 1] on the CPU, here and in
`train/marks.py`, which lays scratches, spots and holes over them.
"""

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sfumato.picture.color import luminance

PRINTS = ((1.0, 0.93, 0.76), (1.0, 0.87, 0.66), (0.97, 1.0, 0.87), (1.0, 0.90, 0.93), (0.90, 0.96, 1.0))
"""Colours that white paper turns to: yellow, brown, green, pink, blue."""


def grain(
    picture: Tensor, rng: np.random.Generator, sigma: float, *, grey: bool = False, radius: float = 0.0
) -> Tensor:
    """Normal noise of deviation `sigma` added, then clipped.

    Args:
        picture: 3 x H x W in [0, 1].
        rng: draws the noise.
        sigma: in units of the range; 25 / 255 is strong.
        grey: the same noise in all channels, as film has it; else each channel's own.
        radius: of the Gaussian that the noise is blurred by, in pixels; its deviation stays `sigma`. 0 is white noise.
    """
    height, width = picture.shape[1:]
    reach = math.ceil(3 * radius)
    noise = torch.from_numpy(
        rng.standard_normal((1 if grey else 3, height + 2 * reach, width + 2 * reach), dtype=np.float32)
    )
    if reach:
        noise = blurred(noise, radius, pad=False)
    return (picture + sigma * noise).clamp(0, 1)


def shot_noise(picture: Tensor, rng: np.random.Generator, photons: float) -> Tensor:
    """Noise of counted light: a pixel of value v becomes a Poisson number of mean v `photons`, over `photons`."""
    counted = rng.poisson(picture.numpy().astype(np.float64) * photons) / photons
    return torch.from_numpy(counted.astype(np.float32)).clamp(0, 1)


def jpeg(picture: Tensor, quality: int, *, subsampling: int = 2) -> Tensor:
    """The picture as a JPEG keeps it; `subsampling` 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0. Blocks start at its corner."""
    file = io.BytesIO()
    Image.fromarray(_bytes(picture)).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return _picture(np.asarray(Image.open(file).convert("RGB")))


def blurred(planes: Tensor, sigma: float, *, pad: bool = True) -> Tensor:
    """C x H x W through a Gaussian; borders reflect.

    Without `pad` what lies within ceil(3 sigma) of the border is cut off, and the squares of the weights add up to 1,
    so that white noise keeps its deviation.
    """
    reach = math.ceil(3 * sigma)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / max(sigma, 1e-6)).square())
    line = line / (line.sum() if pad else line.square().sum().sqrt())
    x = planes[:, None]
    if pad:
        x = F.pad(x, (reach,) * 4, mode="reflect" if reach < min(planes.shape[1:]) else "replicate")
    return F.conv2d(F.conv2d(x, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))[:, 0]


def shrunk(picture: Tensor, factor: float) -> Tensor:
    """Made `factor` >= 1 times smaller and enlarged again: what a small scan has lost."""
    height, width = picture.shape[1:]
    small = (max(1, round(height / factor)), max(1, round(width / factor)))
    down = F.interpolate(picture[None], small, mode="bicubic", antialias=True, align_corners=False)
    return F.interpolate(down, (height, width), mode="bicubic", align_corners=False)[0].clamp(0, 1)


def monochrome(picture: Tensor) -> Tensor:
    """The luminance in all three channels."""
    return luminance(picture[None])[0].clamp(0, 1).expand(3, -1, -1).contiguous()


def faded(picture: Tensor, rng: np.random.Generator, strength: float = 1.0) -> Tensor:
    """Blacks lifted, whites dulled, the whole turned towards one of `PRINTS`, a little unevenly over the picture.

    `strength` 0 changes nothing. Every channel becomes low + (high - low) x^gamma with low <= 0.3, high >= 0.5.
    """
    paper = torch.tensor(PRINTS[int(rng.integers(len(PRINTS)))])
    turned = float(rng.uniform(0.2, 1.0))
    low = torch.from_numpy(rng.uniform(0.0, 0.25) + rng.uniform(0.0, 0.05, 3)).float()
    high = float(rng.uniform(0.7, 1.0)) * (1 + turned * (paper - 1))
    gamma = torch.from_numpy(np.exp(rng.uniform(-0.25, 0.25) + rng.uniform(-0.05, 0.05, 3))).float()
    low, gamma = strength * low, gamma**strength
    high = torch.maximum(1 + strength * (high - 1), low + 0.2)
    changed = low[:, None, None] + (high - low)[:, None, None] * picture.clamp(0, 1) ** gamma[:, None, None]
    return (changed * uneven(picture.shape[1], picture.shape[2], rng, 0.12 * strength)).clamp(0, 1)


def uneven(height: int, width: int, rng: np.random.Generator, strength: float) -> Tensor:
    """A smooth H x W field around 1, at most `strength` away: stains and uneven light."""
    coarse = torch.from_numpy(rng.uniform(-1, 1, (1, 1, 3, 3)).astype(np.float32))
    field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)[0, 0].clamp(-1, 1)
    return 1 + strength * field


def noisy(picture: Tensor, rng: np.random.Generator, strongest: float = 50 / 255) -> Tensor:
    """What a denoiser is to undo, drawn at random: often nothing, else grain of some kind, compression, or both.

    Deviations are between 2 / 255 and `strongest`, the small ones as likely as the large; JPEG qualities between 10
    and 95.
    """
    chance = rng.random(4)
    if chance[0] < 0.08:
        return picture
    only_compressed, compressed = chance[0] < 0.22, chance[1] < 0.45
    found = picture
    if not only_compressed:
        sigma = float(np.exp(rng.uniform(math.log(2 / 255), math.log(strongest))))
        if chance[2] < 0.25:  # the same deviation at middle grey
            found = shot_noise(found, rng, 0.5 / sigma**2)
        else:
            radius = float(rng.uniform(0.35, 1.4)) if chance[2] < 0.6 else 0.0
            found = grain(found, rng, sigma, grey=bool(rng.random() < 0.4), radius=radius)
            if chance[3] < 0.2:
                found = shot_noise(found, rng, 0.5 / (0.5 * sigma) ** 2)
    if only_compressed or compressed:
        found = jpeg(found, int(rng.integers(10, 96)), subsampling=int(rng.choice((0, 2, 2))))
    return found


def _bytes(picture: Tensor) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(pixels)


def _picture(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 255
