"""Adaptive augmentation: no more of it than keeps the discriminator from learning a small set by heart.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data" (NeurIPS), section 3 and appendix B,
figure 8: pixel blits, general geometry and colour ("bgc", which they found best), each transformation with the same
probability p, in this order, with one p for all. Below p of about 0.8 the generator cannot learn the augmentations.
The chain is differentiable twice, so that R1 may look through it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import unknown
from sfumato.train.run import Run

CHANCES = 28
"""Uniform numbers that a picture's augmentation takes, whatever the categories."""
CATEGORIES = ("blit", "geometry", "color")
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
"""Low-pass filter of Daubechies' least asymmetric wavelet of six vanishing moments, orthonormal to its even shifts."""
OFF = (5.5 - sum(k * tap for k, tap in enumerate(SYM6)) / sum(SYM6)) / 2
"""Pixels by which the not quite symmetric filter moves the doubled picture; undone, as bringing back moves it back."""


def ada_augment(
    pictures: Tensor, chance: Tensor, probability: Tensor | float, categories: Sequence[str] = CATEGORIES
) -> Tensor:
    """Pictures augmented each in its own way, differentiable twice.

    Args:
        pictures: N x 3 x H x W in [0, 1], sides of 4 pixels or more; results may leave the range.
        chance: N x `CHANCES` uniform numbers in [0, 1), e.g. `run.rand("ada", N, CHANCES)`.
        probability: p in [0, 1]; 0 changes nothing, to the bit.
        categories: which of `CATEGORIES`.

    Raises:
        InputError: an unknown category.
    """
    for name in categories:
        if name not in CATEGORIES:
            raise unknown("augmentation", name, CATEGORIES)
    dice = Dice(chance.to(pictures), probability)
    height, width = pictures.shape[2:]
    flip, turns, shift = draw_blits(dice, height, width)
    inverse, hit = draw_geometry(dice, height, width)
    matrix, offset = draw_colors(dice)
    if "blit" in categories:
        pictures = blit(pictures, flip, turns, shift)
    if "geometry" in categories:
        pictures = torch.where(hit.view(-1, 1, 1, 1), warp(pictures, inverse), pictures)
    if "color" in categories:
        changed = torch.einsum("nij,njhw->nihw", matrix, 2 * pictures - 1) + offset[:, :, None, None]
        hit = (matrix != torch.eye(3).to(matrix)).any(2).any(1) | (offset != 0).any(1)
        pictures = torch.where(hit.view(-1, 1, 1, 1), (changed + 1) / 2, pictures)
    return pictures


class Dice:
    """Takes a picture's chances one column after the other, for the whole batch."""

    def __init__(self, chance: Tensor, probability: Tensor | float) -> None:
        self.columns: Iterator[Tensor] = iter(chance.unbind(1))
        self.probability = probability.to(chance) if isinstance(probability, Tensor) else probability

    def hit(self, probability: Tensor | float | None = None) -> Tensor:
        """N: whether it happens."""
        return next(self.columns) < torch.as_tensor(self.probability if probability is None else probability)

    def uniform(self, low: float, high: float) -> Tensor:
        return low + (high - low) * next(self.columns)

    def normal(self, deviation: float) -> Tensor:
        middle = next(self.columns).clamp(2**-24, 1 - 2**-24)  # 5.3 deviations
        quantile: Tensor = torch.special.ndtri(middle)
        return deviation * quantile


def draw_blits(dice: Dice, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mirrored or not (N), quarter turns (N, 0 to 3), and shift in whole pixels down and right (N x 2), up to 1/8."""
    flip = dice.hit() & (dice.uniform(0, 2) >= 1)
    hit, turns = dice.hit(), dice.uniform(0, 4)
    turns = torch.where(hit, turns.long().clamp(max=3), 0)
    hit, shift = dice.hit(), torch.stack([dice.uniform(-0.125, 0.125) * height, dice.uniform(-0.125, 0.125) * width], 1)
    return flip, turns, torch.where(hit[:, None], shift.round().long(), 0)


def draw_geometry(dice: Dice, height: int, width: int) -> tuple[Tensor, Tensor]:
    """N x 2 x 3 from places in the result to places in the source, in pixels from the centre (x right, y down, 1).

    Undone in this order: shift, rotation, stretch, rotation, scale. And N: whether anything happens. A rotation's
    chance is 1 - sqrt(1 - p), so that any of the two happens with p.
    """
    p = dice.probability
    either = 1 - (1 - p) ** 0.5
    hit_scale, scale = dice.hit(), torch.exp2(dice.normal(0.2))
    hit_first, first = dice.hit(either), dice.uniform(-math.pi, math.pi)
    hit_stretch, stretch = dice.hit(), torch.exp2(dice.normal(0.2))
    hit_second, second = dice.hit(either), dice.uniform(-math.pi, math.pi)
    hit_shift, shift = dice.hit(), torch.stack([dice.normal(0.125) * width, dice.normal(0.125) * height], 1)

    scale, stretch = torch.where(hit_scale, scale, 1), torch.where(hit_stretch, stretch, 1)
    stretched = torch.diag_embed(torch.stack([1 / stretch, stretch], 1))
    turned = [_rotation(torch.where(hit, a, 0)) for hit, a in ((hit_first, first), (hit_second, second))]
    linear = turned[0] @ stretched @ turned[1] / scale[:, None, None]
    moved = torch.where(hit_shift[:, None], shift, 0)[:, :, None]
    anything = hit_scale | hit_first | hit_stretch | hit_second | hit_shift
    return torch.cat([linear, -linear @ moved], 2), anything


def draw_colors(dice: Dice) -> tuple[Tensor, Tensor]:
    """y = matrix x + offset, N x 3 x 3 and N x 3, of colours in [-1, 1].

    Brightness, contrast, luma flip, hue, saturation, done in this order; the last three about the axis of greys.
    """
    hit, moved = dice.hit(), dice.normal(0.2)
    brightness = torch.where(hit, moved, 0)
    hit, factor = dice.hit(), torch.exp2(dice.normal(0.5))
    contrast = torch.where(hit, factor, 1)
    flip = (dice.hit() & (dice.uniform(0, 2) >= 1)).to(contrast)
    hit, angle = dice.hit(), dice.uniform(-math.pi, math.pi)
    hue = torch.where(hit, angle, 0)
    hit, factor = dice.hit(), torch.exp2(dice.normal(1.0))
    saturation = torch.where(hit, factor, 1)

    grey = torch.full((3, 3), 1 / 3).to(contrast)  # v v^T, v = (1, 1, 1) / sqrt 3
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]).to(contrast) / math.sqrt(3)
    identity = torch.eye(3).to(contrast)
    cos, sin, sat, flip = (t.view(-1, 1, 1) for t in (hue.cos(), hue.sin(), saturation, flip))
    # on the greys' axis only the flip acts, across it only hue and saturation
    matrix = contrast.view(-1, 1, 1) * ((1 - 2 * flip) * grey + sat * (cos * (identity - grey) + sin * cross))
    untouched = (contrast == 1) & (flip.flatten() == 0) & (hue == 0) & (saturation == 1)
    matrix = torch.where(untouched.view(-1, 1, 1), identity, matrix)
    return matrix, (matrix @ brightness.view(-1, 1, 1).expand(-1, 3, 1))[:, :, 0]


def blit(pictures: Tensor, flip: Tensor, turns: Tensor, shift: Tensor) -> Tensor:
    """Mirror, then quarter turns as `torch.rot90`, then shift; pixels are copied, what is missing is reflected.

    Arguments as `draw_blits` gives them. A turned picture that is not square is cut and reflected about its centre;
    its sides should both be even or both odd.
    """
    count, channels, height, width = pictures.shape
    device = pictures.device
    down = 2 * torch.arange(height, device=device)[:, None] - (height - 1)  # half pixels from the centre
    right = 2 * torch.arange(width, device=device)[None] - (width - 1)
    down, right = (a - 2 * s.view(-1, 1, 1) for a, s in ((down, shift[:, 0]), (right, shift[:, 1])))
    cos = torch.tensor([1, 0, -1, 0], device=device)[turns].view(-1, 1, 1)
    sin = torch.tensor([0, 1, 0, -1], device=device)[turns].view(-1, 1, 1)
    down, right = cos * down + sin * right, cos * right - sin * down
    right = torch.where(flip.view(-1, 1, 1), -right, right)
    row, column = _reflected((down + height - 1) // 2, height), _reflected((right + width - 1) // 2, width)
    at = (row * width + column).view(count, 1, -1).expand(-1, channels, -1)
    return pictures.flatten(2).gather(2, at).view(pictures.shape)


def warp(pictures: Tensor, inverse: Tensor) -> Tensor:
    """Pictures N x C x H x W read at the places that `inverse` (N x 2 x 3, see `draw_geometry`) gives.

    Doubled with the wavelet's filter, read bilinearly there, brought back with the same filter, so that neither
    aliasing nor blur tells that something was done; beyond the border the picture is reflected.
    """
    height, width = pictures.shape[2:]
    fine = _doubled(pictures)
    reach = (len(SYM6) - 2) // 2  # the filter's, on the doubled grid
    x, y = (
        (torch.arange(-reach, 2 * side + reach, device=pictures.device, dtype=pictures.dtype) + 0.5 - side) / 2 + OFF
        for side in (width, height)
    )
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    source = torch.einsum("nij,jhw->nhwi", inverse, torch.stack([columns, rows, torch.ones_like(rows)]))
    grid = (source - OFF) / torch.tensor([width / 2, height / 2], device=x.device, dtype=x.dtype)
    read: Tensor = _Read.apply(fine, grid)  # type: ignore[no-untyped-call]
    return _halved(read)


def _doubled(pictures: Tensor) -> Tensor:
    """N x C x 2H x 2W, reflected at the border."""
    channels, taps = pictures.shape[1], torch.tensor(SYM6).to(pictures) * math.sqrt(2)
    padded = F.pad(pictures, (3, 3, 3, 3), "reflect")
    rows = taps.view(1, 1, -1, 1).expand(channels, -1, -1, -1)
    edge = len(SYM6) - 1
    up = F.conv_transpose2d(padded, rows, stride=(2, 1), padding=(edge, 0), groups=channels)
    return F.conv_transpose2d(up, rows.mT, stride=(1, 2), padding=(0, edge), groups=channels)


def _halved(fine: Tensor) -> Tensor:
    """The transpose of doubling, over 2; 10 lines and columns more are needed than twice the result's."""
    channels, taps = fine.shape[1], torch.tensor(SYM6).to(fine) / math.sqrt(2)
    rows = taps.view(1, 1, -1, 1).expand(channels, -1, -1, -1)
    return F.conv2d(F.conv2d(fine, rows, stride=(2, 1), groups=channels), rows.mT, stride=(1, 2), groups=channels)


class _Read(torch.autograd.Function):
    """Bilinear reading at fixed places: linear in the pictures, so its gradient is the transpose, and has one again.

    torch's own has no second derivative.
    """

    @staticmethod
    def forward(ctx: Any, pictures: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = pictures.shape
        return F.grid_sample(pictures, grid, "bilinear", "reflection", align_corners=False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Spread.apply(gradients[0], *ctx.saved_tensors, ctx.shape), None  # type: ignore[no-untyped-call]


class _Spread(torch.autograd.Function):
    """The transpose of `_Read`."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        bilinear, reflection = 0, 2
        found: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            gradient, gradient.new_empty(shape), grid, bilinear, reflection, False, [True, False]
        )[0]
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _Read.apply(gradients[0], *ctx.saved_tensors), None, None  # type: ignore[no-untyped-call]


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)


def _reflected(index: Tensor, size: int) -> Tensor:
    """Indices brought into 0 .. size - 1 by reflection about the outermost pixels."""
    period = max(1, 2 * (size - 1))
    index = index.remainder(period)
    return torch.minimum(index, period - index)


def ada_probability(run: Run) -> Tensor:
    """p of the run so far, a scalar on its device; 0 where it begins."""
    return run.state.setdefault("ada_p", torch.zeros((), device=run.device))


def adapt(run: Run, real: Tensor, *, target: float = 0.6, pictures: float = 500_000, every: int = 4) -> None:
    """The controller: look at the discriminator's scores of real (augmented) pictures, and move p every few steps.

    r_t = E sign(D(real)), equation 1, over the steps since the last move; above `target` the discriminator is too sure
    and p grows, below it shrinks, by so much that it could go from 0 to 1 in `pictures` real pictures (section 3.1;
    their code's figures). Call it once a step.
    """
    seen = torch.stack([real.detach().sign().sum(), torch.tensor(float(real.numel()), device=real.device)])
    seen = run.state.get("ada_seen", torch.zeros_like(seen)) + seen
    if run.step % every == 0:
        sure = seen[0] / seen[1]
        if run.world > 1:
            sure = torch.tensor(run.mean({"sure": sure})["sure"], device=real.device)
        move = (sure - target).sign() * seen[1] * run.world / pictures
        run.state["ada_p"] = (ada_probability(run) + move).clamp(0, 1)
        run.state["ada_r"] = sure
        seen = torch.zeros_like(seen)
    run.state["ada_seen"] = seen
