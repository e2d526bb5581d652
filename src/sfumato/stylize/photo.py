"""Photorealistic transfer: the style's light and colours on a picture whose every line stays where it is.

The result is the picture seen through a field of affine colour maps (`picture.grid`), so structure cannot break. It is
found in three steps, all on a small copy:

1. whitening and colouring (Li et al. 2018, "A Closed-form Solution to Photorealistic Image Stylization", section 3.1)
   of each region's colours by optimal transport: its own network, the identity, inverts without loss;
2. the field around these maps is fitted to the style's statistics of deep features, region by region (the objective of
   `optimise`; Xia et al. 2020, "Joint Bilateral Learning for Real-time Universal Photorealistic Style Transfer", learn
   such a field, Luan et al. 2017, "Deep Photo Style Transfer", constrain pixels to nearly have one);
3. regions meet along the picture's own edges: borders are corrected (`picture.borders`), then smoothed by the guided
   filter, for the closed-form smoothing of step one's paper.

The field is then applied to the picture at its full size, some rows at a time.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sfumato.features import FeatureNetwork
from sfumato.picture.borders import at_edges
from sfumato.picture.color import luminance
from sfumato.picture.finish import Finish
from sfumato.picture.grid import COEFFICIENTS, applied, identity, roughness, sliced, summed
from sfumato.picture.guided import guided_filter
from sfumato.picture.icc import bands
from sfumato.picture.resize import fit_short_side, resize
from sfumato.style.recolor import color_moments, transport
from sfumato.stylize.iterate import DivergedError, Iterate, Style
from sfumato.stylize.memory import tile_for
from sfumato.stylize.minimisers import LBFGS
from sfumato.stylize.objective import Objective, picture_moments
from sfumato.stylize.optimise import terms_of
from sfumato.stylize.options import StylizeOptions

SIDE = 128
"""Short side of the copy on which the field is found."""
PIXELS = 1 << 17
"""Its pixels at most: of a panorama it is smaller."""
EDGES = 1 << 19
"""Pixels of the copy on which the guided filter finds the regions' edges, at most."""
LEVELS = ((1, 1), (8, 1), (8, 3))
"""Resolutions of the field, luminance levels x nodes along the short side: coarse ones move first and furthest."""
SPREAD = 0.03
"""Standard deviation added to both sides' colours: a flat or grey region's noise is not blown up to a style's range."""
OUT_OF_RANGE = 3.0
"""Weight of the mean squared distance to [0, 1]: what is clipped is lost."""
FAINT = 1e-6
"""Smallest weight of a mask: one too small to be seen on the copy counts everywhere."""
BAND, WINDOW = 0.015, 0.06
"""How far masks may be off, and how far a region's colours are looked for, in short sides (`picture.borders`)."""
RADIUS, EDGE = 0.01, 1e-4
"""Of the guided filter: window in short sides, variance of colours that counts as an edge."""


class Photo:
    """One picture being transferred: iterate over it; `best` is right at any moment.

    `content` 1 x 3 x H x W in [0, 1] and `masks` 1 x K x H x W (None: everywhere) are on the CPU, the network on its
    device. With K > 1 every style has a mask of its own, in their order.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        device: torch.device,
        content: Tensor,
        styles: Sequence[Style],
        masks: Tensor | None,
        options: StylizeOptions,
        finish: Finish,
        limit: int,
    ) -> None:
        self.network, self.device, self.options, self.finish = network, device, options, finish
        self.content, self.styles = content, styles
        self.size = bounded(content.shape[2], content.shape[3], SIDE, PIXELS)
        self.regions = masks if masks is not None and masks.shape[1] > 1 else None
        self.mask = masks
        self.count = 1 if self.regions is None else self.regions.shape[1]
        halo = max(network.reach(layer) for layer in terms_of(options).layers)
        self.tile = options.tile or tile_for(*self.size, lambda _: 40, halo, limit)
        short = min(self.size)
        down, across = (side / short for side in self.size)
        self.shapes = [
            (self.count, COEFFICIENTS, depth, 1 if n == 1 else round(n * down), 1 if n == 1 else round(n * across))
            for depth, n in LEVELS
        ]
        self.best = torch.zeros(sum(map(math.prod, self.shapes)), device=device)
        self.base = torch.empty(0)
        self.made = 0

    def __iter__(self) -> Iterator[Iterate]:
        small = resize(self.content, *self.size)
        seen = None if self.mask is None else resize(self.mask, *self.size).clamp_min(FAINT)
        self.base = torch.stack(self._transports(small, seen)).to(self.device)
        weights = self._weights_of(small)
        small, seen = small.to(self.device), None if seen is None else seen.to(self.device)
        self.made = 1
        total = 1 + self.options.steps
        yield Iterate(1, total, self.size, {}, self._small(small, weights, seen, self.best).clamp(0, 1))
        if self.options.steps == 0:
            return
        objective = self._objective(small, seen)
        minimiser, x, lowest = LBFGS(self.options.history, first_step=0.02), self.best, math.inf
        for step in range(2, total + 1):
            leaf = x.clone().requires_grad_()
            picture = self._small(small, weights, seen, leaf)
            shown = picture.detach().clamp(0, 1)
            found = objective.evaluate(shown)
            smooth = self.options.smoothness * roughness(summed(self._grids(leaf)))
            outside = OUT_OF_RANGE * (picture - shown).square().mean()
            (gradient,) = torch.autograd.grad((picture * found.gradient).sum() + smooth + outside, leaf)
            loss = found.total + float(smooth.detach()) + float(outside.detach())
            if not math.isfinite(loss) or not bool(gradient.isfinite().all()):
                raise DivergedError(f"the loss became {loss} at step {step}: try other weights")
            if loss < lowest:
                lowest, self.best = loss, x
            self.made = step
            losses = {**found.losses, "roughness": float(smooth.detach()), "total": loss}
            yield Iterate(step, total, self.size, losses, shown)
            x = minimiser.step(x, loss, gradient, lambda t: t)

    @property
    def steps(self) -> int:
        """The transport, and evaluations made after it."""
        return self.made

    def finished(self) -> NDArray[Any] | None:
        """The result, a band of rows at a time: no second picture is held."""
        if not self.made:
            return None
        canvas = self.finish.canvas()
        for rows, band in self._bands():
            self.finish.put(canvas, band, rows, slice(None))
        return canvas

    def picture(self) -> Tensor:
        """The picture so far at full size, 1 x 3 x H x W in [0, 1], without masks and kept colours."""
        return torch.cat([band.cpu() for _, band in self._bands()], 2) if self.made else self.content

    def resolved(self) -> dict[str, object]:
        return {"steps": self.made - 1, "tile": self.tile} if self.made else {}

    def weights(self) -> dict[str, str]:
        return {self.network.name: self.network.sha256} if self.options.steps else {}

    def _grids(self, theta: Tensor) -> list[Tensor]:
        """The levels of the field, each K x 12 x D x h x w."""
        parts = torch.split(theta, [math.prod(shape) for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def _field(self, theta: Tensor) -> Tensor:
        """K x 12 x D x h x w at the options' strength: affine maps, so nothing but their mean with the identity."""
        base = self.base.flatten(1)[:, :, None, None, None]
        still = identity(theta).flatten()[None, :, None, None, None]
        return still + self.options.strength * (base + summed(self._grids(theta)) - still)

    def _small(self, small: Tensor, weights: Tensor, seen: Tensor | None, theta: Tensor) -> Tensor:
        """The small copy through the field at full strength, not clamped; outside the masks it stays."""
        field = self.base.flatten(1)[:, :, None, None, None] + summed(self._grids(theta))
        made = through(field, small, weights, slice(0, small.shape[2]), small.shape[2])
        return made if seen is None else small + seen.sum(1, keepdim=True).clamp(0, 1) * (made - small)

    def _bands(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows of the full picture through the field, clamped."""
        height, width = self.content.shape[2:]
        field = self._field(self.best)
        edges = bounded(height, width, min(height, width), EDGES)
        weights = self._weights_of(resize(self.content, *edges))
        for rows in bands(height, width * self.count):
            band = self.content[:, :, rows].to(self.device)
            yield rows, through(field, band, weights_at(weights, rows, height, width), rows, height).clamp(0, 1)

    def _weights_of(self, copy: Tensor) -> Tensor:
        """1 x K x h x w with a sum of 1: the regions of a copy of the picture, with edges at its own.

        The copy is on the CPU: sums are in float64, which Apple's GPUs lack. So are the transports'.
        """
        if self.regions is None:
            return torch.ones_like(copy[:, :1]).to(self.device)
        masks, short = resize(self.regions, copy.shape[2], copy.shape[3]), min(copy.shape[2:])
        masks = at_edges(copy, masks, max(1, round(BAND * short)), max(2, round(WINDOW * short)))
        found = guided_filter(copy, masks, max(1, round(RADIUS * short)), EDGE).clamp(0, 1)
        return ((found + 1e-6) / (found + 1e-6).sum(1, keepdim=True)).to(self.device)

    def _transports(self, small: Tensor, seen: Tensor | None) -> list[Tensor]:
        """Every region's 3 x 4 map: optimal transport of its colours' Gaussian to the style's."""
        read = [self._read(s) for s in self.styles]
        wanted = [color_moments(picture, mask) for picture, mask in read]
        if self.regions is None:
            share = torch.tensor([s.share for s in self.styles], dtype=torch.float64)
            share = share / share.sum()
            mean, spread = (sum(w * m for w, m in zip(share, ms, strict=True)) for ms in zip(*wanted, strict=True))
            wanted = [(torch.as_tensor(mean), torch.as_tensor(spread))]
        made = []
        for k, (mean, spread) in enumerate(wanted):
            mine = None if seen is None else seen[:, k : k + 1]
            own, own_spread = color_moments(small, mine)
            floor = SPREAD**2 * torch.eye(3).to(spread)
            a = transport(own_spread + floor, spread + floor)
            made.append(torch.cat([a, a @ (0.5 - own) + mean - 0.5], 2)[0].to(small))
        return made

    def _read(self, style: Style) -> tuple[Tensor, Tensor | None]:
        """A style's picture and mask, as small as the picture's copy."""
        side = max(16, round(min(self.size) * self.options.style_scale))
        size = bounded(style.picture.shape[2], style.picture.shape[3], side, 4 * PIXELS)
        mask = None if style.mask is None else resize(style.mask, *size).clamp_min(FAINT)
        return resize(style.picture, *size), mask

    def _objective(self, small: Tensor, seen: Tensor | None) -> Objective:
        terms = replace(terms_of(self.options), tv_weight=0.0)
        layers = terms.style_layers
        wanted = [
            picture_moments(self.network, layers, p.to(small), None if m is None else m[0].to(small), self.tile)
            for p, m in map(self._read, self.styles)
        ]
        shares = torch.tensor([[s.share] for s in self.styles]).to(small)
        if self.regions is not None:
            shares = torch.eye(self.count).to(small)
        regions = None if seen is None else seen[0]
        return Objective(self.network, terms, small, wanted, shares=shares, regions=regions, tile=self.tile)


def through(field: Tensor, colors: Tensor, weights: Tensor, rows: slice, height: int) -> Tensor:
    """Rows of a picture, 1 x 3 x n x W, through K fields, mixed by `weights` 1 x K x n x W; not clamped."""
    guide = luminance(colors)
    made = torch.zeros_like(colors)
    for k in range(len(field)):
        made = made + weights[:, k : k + 1] * applied(sliced(field[k : k + 1], guide, rows, height), colors)
    return made


def bounded(height: int, width: int, side: int, pixels: int) -> tuple[int, int]:
    """A copy's size: short side at most `side`, at most `pixels` pixels; never larger than the picture."""
    short, long = min(height, width), max(height, width)
    most = min(short, side, max(1, int(math.sqrt(pixels * short / long))))
    return fit_short_side(height, width, most)


def weights_at(weights: Tensor, rows: slice, height: int, width: int) -> Tensor:
    """Some rows of 1 x K x h x w enlarged to height x width: what enlarging the whole would give."""
    small = weights.shape[2]
    if (small, weights.shape[3]) == (height, width):
        return weights[:, :, rows]
    at = (torch.arange(rows.start, rows.stop, device=weights.device) + 0.5) * (small / height) - 0.5
    at = at.clamp(0, small - 1)
    low = at.long().clamp_max(max(0, small - 2))
    share = (at - low).to(weights)[:, None]
    high = (low + 1).clamp_max(small - 1)
    lines = weights[:, :, low] * (1 - share) + weights[:, :, high] * share
    return F.interpolate(lines, (rows.stop - rows.start, width), mode="bilinear", align_corners=False)
