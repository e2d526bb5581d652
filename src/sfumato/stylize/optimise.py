"""Style transfer by optimisation of the picture, coarse to fine.

Gatys, Ecker & Bethge, "Image Style Transfer Using Convolutional Neural Networks" (CVPR 2016); the pyramid after
Gatys et al. 2017, "Controlling Perceptual Factors in Neural Style Transfer", section 6. What was added: distances
relative to the untouched photograph's own, L-BFGS whose memory is carried between sizes, exact tiling.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.memory import release
from sfumato.picture.resize import fit_short_side, resize, resize_signed
from sfumato.stylize.distances import LOCAL, Terms
from sfumato.stylize.iterate import DivergedError, Iterate, Style
from sfumato.stylize.memory import (
    BYTES_A_BAG,
    BYTES_A_PIXEL,
    BYTES_A_PIXEL_LOCAL,
    BYTES_OF_SCORES,
    tile_for,
)
from sfumato.stylize.minimisers import LBFGS, Adam
from sfumato.stylize.objective import Objective, picture_moments, picture_samples
from sfumato.stylize.options import StylizeOptions, parse_seconds

LIGHT_FROM = 384
"""Short side from which a light network takes over, where there is one."""
FEWEST = 5
"""Steps at any scale: fewer leave the detail it adds unpainted, but for where a pass has painted it already."""


@dataclass(frozen=True)
class Scale:
    """One level of the pyramid."""

    height: int
    width: int
    steps: int


def pyramid(height: int, width: int, options: StylizeOptions) -> list[Scale]:
    """Sizes from the smallest to height x width, and the steps at each.

    The smallest scales do not depend on the final size, so that a large result is the small one with detail.
    """
    short, sides = min(height, width), list[int]()
    side = float(options.min_size)
    while round(side) * math.sqrt(options.scale_factor) < short:
        sides.append(round(side))
        side *= options.scale_factor
    sides.append(short)
    fewest = 1 if options.method == "onepass" else FEWEST
    steps = options.schedule or tuple(
        max(min(fewest, options.steps), round(options.steps * options.step_decay**k)) for k in range(len(sides))
    )
    if len(steps) != len(sides):
        raise InputError(
            f"{len(steps)} numbers of steps for the {len(sides)} sizes {', '.join(map(str, sides))} of the pyramid"
        )
    sizes = [fit_short_side(height, width, s) for s in sides[:-1]] + [(height, width)]
    return [Scale(h, w, n) for (h, w), n in zip(sizes, steps, strict=True)]


def pairs_kept(options: StylizeOptions, pixels: int) -> int:
    """L-BFGS's memory at a size: all of it to 1.5 million pixels, three pairs to 6 million, then none."""
    if pixels <= 1_500_000:
        return options.history
    return min(3, options.history) if pixels <= 6_000_000 else 0


class Budget:
    """A time budget made into steps: the plan shrinks (or grows, at most fivefold) to what the clock allows."""

    def __init__(self, seconds: float | None) -> None:
        self.deadline = None if seconds is None else time.monotonic() + seconds

    def steps(self, scales: Sequence[Scale], current: int, made: int, seconds_a_step: float) -> int:
        """Steps for the current scale, after `made` of them took `seconds_a_step` each."""
        planned = scales[current].steps
        if self.deadline is None:
            return planned
        here = scales[current].height * scales[current].width
        costs = [s.steps * max(0.3, s.height * s.width / here) for s in scales[current:]]
        whole = sum(costs) * seconds_a_step
        left = self.deadline - time.monotonic() + made * seconds_a_step
        return max(1, math.floor(planned * min(5.0, left / max(whole, 1e-9))))

    def over(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline


class Optimisation:
    """One picture being fitted to styles: iterate over it; `best` and `made` are right at any moment.

    `content` 1 x 3 x H x W in [0, 1], `masks` 1 x K x H x W or None, all on the device of the network. With K > 1 every
    style has a mask of its own, in their order. A picture set as `start` takes the place of the options' `init`; its
    fine detail that of the content. `light` is a network of VGG-19's layers that takes its place where the short side
    is LIGHT_FROM pixels or more.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        content: Tensor,
        styles: Sequence[Style],
        masks: Tensor | None,
        options: StylizeOptions,
        limit: int,
        light: FeatureNetwork | None = None,
    ) -> None:
        self.network, self.light, self.options, self.limit = network, light, options, limit
        self.content, self.styles, self.masks = content, styles, masks
        self.scales = pyramid(content.shape[2], content.shape[3], options)
        self.made: list[int] = []
        self.best = content
        self.start: Tensor | None = None
        self.tile = options.tile or self._tile(self.scales[-1])  # before the work; one for all scales, to be repeatable

    def __iter__(self) -> Iterator[Iterate]:
        options = self.options
        budget = Budget(None if options.time_budget is None else parse_seconds(options.time_budget))
        minimiser, x, network = self._minimiser(), None, self.network
        for level, scale in enumerate(self.scales):
            if scale.steps == 0:  # a record of work that ended here
                return
            size = (scale.height, scale.width)
            content = resize(self.content, *size)
            keep = None if self.masks is None else resize(self.masks, *size)
            tidy = release if max(size) > self.tile else _nothing
            tidy()
            objective = self._objective(content, keep, scale)
            tidy()
            if x is None:
                x = self._start(content)
            elif self._network(scale) is not network:  # curvature of another objective
                x, minimiser = self._enlarged(x, content), self._minimiser()
            else:
                growth = scale.height * scale.width / (x.shape[2] * x.shape[3])
                x = self._enlarged(x, content)
                minimiser = minimiser.resized(
                    lambda t, size=size: resize_signed(t, *size),  # type: ignore[misc]
                    growth,
                    pairs_kept(options, scale.height * scale.width),
                )
            network, project = self._network(scale), _within(content, keep)
            start, x = [project(x)], None  # handed over: no second hold on a picture that is about to be replaced
            tidy()
            yield from self._descend(objective, minimiser, start, project, scale, level, budget, tidy)
            x = self.best
            if budget.over():
                return

    def picture(self) -> Tensor:
        """The best picture so far at full size, 1 x 3 x H x W in [0, 1]."""
        return _within(self.content, self.masks)(self._enlarged(self.best, self.content))

    @property
    def steps(self) -> int:
        """Evaluations made."""
        return sum(self.made)

    def finished(self) -> None:
        """Masks and kept colours are put in around this method."""

    def resolved(self) -> dict[str, object]:
        if not self.made:
            return {}
        schedule = self.made + [0] * (len(self.scales) - len(self.made))
        return {"tile": self.tile, "schedule": schedule, "time_budget": None}

    def weights(self) -> dict[str, str]:
        return {n.name: n.sha256 for n in dict.fromkeys(self._network(scale) for scale in self.scales)}

    def _network(self, scale: Scale) -> FeatureNetwork:
        return self.light if self.light and min(scale.height, scale.width) >= LIGHT_FROM else self.network

    def _enlarged(self, x: Tensor, content: Tensor) -> Tensor:
        """`x` at the content's size, with the content's (the start's) own fine detail: strokes grow around it."""
        height, width, h, w = *content.shape[2:], *x.shape[2:]
        if (height, width) == (h, w):
            return x
        fine = content if self.start is None else resize(self.start, height, width)
        lost = fine - resize(resize(fine, h, w), height, width)
        return resize(x, height, width) + self.options.detail * lost

    def _descend(
        self,
        objective: Objective,
        minimiser: LBFGS | Adam,
        start: list[Tensor],
        project: Callable[[Tensor], Tensor],
        scale: Scale,
        level: int,
        budget: Budget,
        tidy: Callable[[], None],
    ) -> Iterator[Iterate]:
        """From the one picture in `start`, which is taken, at one size."""
        x, lowest, mean, steps, started = start.pop(), math.inf, None, scale.steps, time.monotonic()
        self.made.append(0)
        before = sum(self.made)
        later = sum(s.steps for s in self.scales[level + 1 :])
        while self.made[level] < steps:
            result = objective.evaluate(x)
            tidy()
            if not math.isfinite(result.total) or not bool(torch.isfinite(result.gradient).all()):
                step = before + self.made[level] + 1
                raise DivergedError(
                    f"the loss became {result.total} at step {step}: try a smaller learning rate or weights"
                )
            self.made[level] += 1
            decay = self.options.average
            if decay:
                mean = (1 - decay) * x if mean is None else mean.lerp(x, 1 - decay)
                self.best = mean / (1 - decay ** self.made[level])
            elif result.total < lowest:
                lowest, self.best = result.total, x
            if self.made[level] == 1 or budget.deadline is not None:
                steps = budget.steps(
                    self.scales, level, self.made[level], (time.monotonic() - started) / self.made[level]
                )
            losses = {**result.losses, "total": result.total}
            yield Iterate(
                before + self.made[level], before + steps + later, (scale.height, scale.width), losses, self.best
            )
            if self.made[level] >= steps or budget.over():
                return
            x = minimiser.step(x, result.total, result.gradient, project)
            del result  # a picture's worth
            tidy()

    def _minimiser(self) -> LBFGS | Adam:
        return LBFGS(self.options.history) if self.options.optimizer == "lbfgs" else Adam(self.options.learning_rate)

    def _tile(self, largest: Scale) -> int:
        def pictures(pixels: int) -> float:
            pairs = pairs_kept(self.options, pixels)
            moments = 2 if self.options.optimizer == "adam" else 2 * pairs + (2 if pairs else 0)
            return 4 + moments + bool(self.options.average)  # 4: content, iterate, best, gradient

        halo = max(self.network.reach(layer) for layer in terms_of(self.options).layers)
        a_pixel, beside = BYTES_A_PIXEL, 0
        if self.options.statistics in LOCAL:
            a_pixel, beside = a_pixel + BYTES_A_PIXEL_LOCAL, BYTES_OF_SCORES + len(self.styles) * BYTES_A_BAG
        return tile_for(largest.height, largest.width, pictures, halo, self.limit, a_pixel=a_pixel, beside=beside)

    def _objective(self, content: Tensor, keep: Tensor | None, scale: Scale) -> Objective:
        terms, network = terms_of(self.options), self._network(scale)
        wanted = []
        for style in self.styles:
            side = max(16, round(min(scale.height, scale.width) * self.options.style_scale))
            size = fit_short_side(style.picture.shape[2], style.picture.shape[3], side)
            regions = None if style.mask is None else resize(style.mask, *size)[0]
            read = picture_samples if terms.statistics in LOCAL else picture_moments
            wanted.append(read(network, terms.style_layers, resize(style.picture, *size), regions, self.tile))
        shares = content.new_tensor([[s.share] for s in self.styles])
        regions = None if keep is None else keep[0]
        if regions is not None and len(regions) > 1:
            shares = torch.eye(len(regions)).to(content)
        return Objective(
            network,
            terms,
            content,
            wanted,
            shares=shares,
            regions=regions,
            strength=self.options.strength,
            tile=self.tile,
        )

    def _start(self, content: Tensor) -> Tensor:
        if self.start is not None:
            return resize(self.start, *content.shape[2:])
        noise = torch.randn(content.shape, generator=torch.Generator().manual_seed(self.options.seed)).to(content)
        if self.options.init == "noise":
            return (0.5 + 0.25 * noise).clamp(0, 1)
        start = content if self.options.init == "content" else resize(self.styles[0].picture, *content.shape[2:])
        return start + self.options.init_noise * noise


def _nothing() -> None:
    """In place of `release`, where all of the memory is used again at once."""


def terms_of(options: StylizeOptions) -> Terms:
    """The part of the options that the objective reads."""
    return Terms(
        options.style_layers,
        options.style_layer_weights,
        options.content_layers,
        options.statistics,
        options.gram_normalisation,
        options.relative,
        options.content_weight,
        options.style_weight,
        options.tv_weight,
    )


def _within(content: Tensor, keep: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Into [0, 1], and towards the content where the mask says so."""
    if keep is None:
        return lambda x: x.clamp(0, 1)
    inside = keep.sum(1, keepdim=True) > 0

    def project(x: Tensor) -> Tensor:
        return torch.where(inside, x.clamp(0, 1), content)

    return project
