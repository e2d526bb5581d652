"""One pass, then a few steps of optimisation of a small copy: the best picture for the time.

The steps are made at a short side of `refine_size`. What they change there is enlarged and added to what the pass
painted, whose fine detail stays; a picture of any size costs the same steps.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sfumato.picture.finish import Finish
from sfumato.picture.icc import bands
from sfumato.picture.resize import fit_short_side, resize
from sfumato.picture.result import floats
from sfumato.stylize.iterate import Iterate
from sfumato.stylize.onepass import OnePass
from sfumato.stylize.optimise import Optimisation
from sfumato.stylize.options import StylizeOptions

SMALLEST = 256
"""Short side at which it begins: below, photograph and strokes of the pass would both be lost."""


def refining(options: StylizeOptions) -> StylizeOptions:
    """The optimiser's options for what follows the pass."""
    return replace(options, steps=options.refine, min_size=SMALLEST, scale_factor=2.0, step_decay=0.5, detail=1.0)


def refined_size(height: int, width: int, options: StylizeOptions) -> tuple[int, int]:
    """Height and width at which a picture is refined: never larger than it is."""
    if options.refine_size == "original" or options.refine_size >= min(height, width):
        return height, width
    return fit_short_side(height, width, options.refine_size)


class Refined:
    """`first` paints the whole picture, unmasked and in its own colours; `second` starts from a small copy of that.

    `finish` is what the result needs, colours and masks with it.
    """

    def __init__(self, first: OnePass, second: Optimisation, finish: Finish) -> None:
        self.first, self.second, self.finish = first, second, finish

    def __iter__(self) -> Iterator[Iterate]:
        before, later = 0, sum(scale.steps for scale in self.second.scales)
        for moment in self.first:
            before = moment.total
            yield replace(moment, total=before + later)
        self.second.start = self._small().to(self.second.content)
        for moment in self.second:
            yield replace(moment, step=before + moment.step, total=before + moment.total)

    @property
    def steps(self) -> int:
        return self.first.steps + self.second.steps

    def picture(self) -> Tensor:
        """The photograph: while the pass is at work there is nothing else, and after it `finished` has it all."""
        return self.first.content

    def finished(self) -> NDArray[Any] | None:
        """The result as far as the steps went."""
        if not self.first.steps:
            return None
        start, change = self.second.start, None
        if self.second.steps and start is not None:
            change = (self.second.picture() - start).float().cpu()
        canvas = self.finish.canvas()
        for rows in bands(*self.finish.size):
            painted = _tensor(self.first.pixels[rows])
            if change is not None:
                painted = painted + enlarged(change, *self.finish.size, rows)
            self.finish.put(canvas, painted, rows, slice(None))
        return canvas

    def resolved(self) -> dict[str, object]:
        if not self.first.steps:
            return {}
        made = self.second.resolved()
        return {**made, "tile": self.first.tile} if made else {"refine": 0, "tile": self.first.tile}

    def weights(self) -> dict[str, str]:
        return self.first.weights() | (self.second.weights() if self.second.steps else {})

    def _small(self) -> Tensor:
        """What the pass painted, at the size of the steps; of a very large picture whole cells of it."""
        height, width = self.second.content.shape[2:]
        factor = max(1, min(self.finish.size) // (4 * min(height, width)))
        lines, pixels = -(-1024 // factor) * factor, self.first.pixels
        if factor == 1:
            return resize(_tensor(pixels), height, width)
        parts = (_tensor(pixels[top : top + lines]) for top in range(0, len(pixels), lines))
        cells = [F.avg_pool2d(part, factor) for part in parts if part.shape[2] >= factor]
        return resize(torch.cat(cells, 2), height, width)


def _tensor(pixels: NDArray[Any]) -> Tensor:
    """H x W x 3 of a canvas as 1 x 3 x H x W in [0, 1]."""
    return torch.from_numpy(floats(pixels)).permute(2, 0, 1)[None]


def enlarged(x: Tensor, height: int, width: int, rows: slice) -> Tensor:
    """Some rows of N x C x h x w enlarged to height x width, bicubic as `resize`, of any sign and not clamped."""
    h = x.shape[2]
    place = (torch.arange(rows.start, rows.stop, dtype=torch.float64) + 0.5) * h / height - 0.5
    low = place.floor()
    lines = x.new_zeros(*x.shape[:2], len(place), x.shape[3])
    total = torch.zeros_like(place)
    for tap in range(-1, 3):
        index = low + tap
        inside = (index >= 0) & (index < h)
        share = torch.where(inside, keys(place - index), 0.0)
        total += share
        lines += share.to(x)[:, None] * x[:, :, index.long().clamp(0, h - 1)]
    lines /= total.to(x)[:, None]
    return F.interpolate(lines, (len(place), width), mode="bicubic", antialias=True, align_corners=False)


def keys(x: Tensor, a: float = -0.5) -> Tensor:
    """The cubic convolution kernel: Keys 1981, equation 4, with the a that `resize` has."""
    x = x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))
