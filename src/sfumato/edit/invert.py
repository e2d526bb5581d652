"""Pictures into a generator's latent space, by descent; then the generator itself moved a little towards one picture.

Codes: Karras et al. 2020 ("Analyzing and Improving the Image Quality of StyleGAN", appendix D: W, noise and its
regularisation) and Abdal, Qin & Wonka 2019 ("Image2StyleGAN": W+). The generator: Roich et al. 2022, "Pivotal Tuning
for Latent-based Editing of Real Images" (PTI). Both minimise a distance of pixels plus one of features: LPIPS (Zhang
et al. 2018, equation 1) without its learnt weights. Code is moved in units of its own spread, so that one step length
serves every family.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.edit.options import Inverting
from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.metrics.perceptual_path_length import perceptual_distance
from sfumato.models.latent import Space

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
"""Of VGG-19, full or distilled."""
STARTS = 64
"""Codes by chance among which, with the mean, the descent looks for its beginning."""
RAMP = (0.05, 0.25)
"""Shares of the steps in which the step length rises, and at the end falls (Karras et al. 2020, appendix D)."""
SMALLEST_NOISE = 8
"""Side down to which the noise's regularisation looks (Karras et al. 2020, appendix D)."""
REACH = 0.5
"""How far from the pivot towards a random code the tuned generator is held to the old one; PTI, equation 4."""

OnStep = Callable[[int, int, float], None]


@dataclass(frozen=True, eq=False)
class Inversion:
    """Pictures as a generator makes them."""

    space: Space
    """The generator given; a tuned copy, or one with noise of its own."""
    codes: Tensor
    """N x layers x width."""
    pictures: Tensor
    """N x 3 x H x W in [0, 1]: what the generator makes of the codes."""
    psnr: Tensor
    """N, in dB."""
    perceptual: Tensor | None
    """N; None without a feature network."""
    seconds: float
    untuned: Tensor
    """N x 3 x H x W: what it made of them before it was tuned."""


@dataclass(frozen=True)
class Spread:
    """What codes look like: of 512 seeds."""

    mean: Tensor
    """layers x width."""
    deviation: Tensor
    """Root mean square distance of a number from its mean (scalar)."""


def spread(space: Space, count: int = 512) -> Spread:
    """Mean and deviation of a generator's codes."""
    codes = space.draw(range(count))
    mean = codes.mean(0)
    return Spread(mean, (codes - mean).square().mean().sqrt().clamp_min(1e-6))


class Distance:
    """What both descents minimise: the pixels' mean square and the features' distance, a number a picture."""

    def __init__(self, wanted: Tensor, features: FeatureNetwork | None, weight: float) -> None:
        """`wanted` N x 3 x H x W in [0, 1]."""
        self.wanted, self.weight = wanted, weight
        self.features = features if weight else None
        self.layers = [k for k in LAYERS if features is not None and k in features.layers]
        with torch.no_grad():
            self.seen = None if self.features is None else list(self.features(wanted, self.layers).values())

    def __call__(self, made: Tensor, index: slice = slice(None)) -> Tensor:
        """N, of pictures that may leave [0, 1]; `index` says which of `wanted` they are to equal."""
        made = made + (made.clamp(0, 1) - made).detach()  # as it is shown; a gradient also beyond the range
        found = (made - self.wanted[index]).square().mean((1, 2, 3))
        if self.features is None or self.seen is None:
            return found
        seen = list(self.features(made, self.layers).values())
        return found + self.weight * perceptual_distance(seen, [s[index] for s in self.seen]).to(found.dtype)


def invert(
    space: Space,
    pictures: Tensor,
    features: FeatureNetwork | None,
    options: Inverting | None = None,
    *,
    start: Tensor | None = None,
    on_step: OnStep = lambda _step, _steps, _loss: None,
) -> Inversion:
    """Codes whose pictures are as near as can be to `pictures`.

    Args:
        space: the generator.
        pictures: N x 3 x H x W in [0, 1] at the generator's size.
        features: what judges the likeness beside the pixels.
        options: how.
        start: codes N x layers x width to begin at, e.g. an encoder's; else the nearest of the mean and `STARTS`
            drawn ones.
        on_step: called with (steps made, steps to make, loss).

    Raises:
        InputError: options that cannot be, pictures of another size, several pictures with noise or tuning.
    """
    o = options or Inverting()
    o.check()
    if tuple(pictures.shape[2:]) != tuple(space.size):
        height, width = space.size
        raise InputError(
            f"pictures of {pictures.shape[3]} x {pictures.shape[2]} do not fit a model of {width} x {height}"
        )
    if len(pictures) > 1 and (o.noise or o.tune):
        raise InputError("noise and tuning belong to one picture: invert them one by one")
    begun = time.perf_counter()
    wanted = pictures.to(space.device)
    total, distance = o.steps + o.tune, Distance(wanted, features, o.perceptual)
    known = spread(space)
    codes = nearest(space, known, wanted) if start is None else start
    if o.noise and space.noises:
        space = space.tuned()
    codes = descend(space, codes, known, distance, o, lambda k, loss: on_step(k, total, loss))
    untuned = space.show(codes) if o.tune else None
    if o.tune:
        space = tune(space, codes, distance, o, lambda k, loss: on_step(o.steps + k, total, loss))
    return inversion(space, codes, wanted, features, time.perf_counter() - begun, untuned)


@torch.no_grad()
def inversion(
    space: Space,
    codes: Tensor,
    wanted: Tensor,
    features: FeatureNetwork | None,
    seconds: float,
    untuned: Tensor | None = None,
) -> Inversion:
    """Codes with the pictures that they make, measured against those wanted."""
    made = space.show(codes)
    wanted = wanted.cpu()
    psnr = -10 * (made - wanted).square().mean((1, 2, 3)).clamp_min(1e-10).log10()
    seen = None
    if features is not None:
        layers = [k for k in LAYERS if k in features.layers]
        a, b = (list(features(x.to(space.device), layers).values()) for x in (made, wanted))
        seen = perceptual_distance(a, b).float().cpu()
    return Inversion(space, codes.detach().cpu(), made, psnr, seen, seconds, made if untuned is None else untuned)


@torch.no_grad()
def nearest(space: Space, known: Spread, wanted: Tensor) -> Tensor:
    """Codes N x layers x width: of the mean and some drawn ones those whose pixels are nearest to N pictures."""
    tried = torch.cat([known.mean[None], space.draw(range(STARTS))])
    far = torch.cdist(wanted.flatten(1).cpu(), space.show(tried).flatten(1))
    return tried[far.argmin(1)]


def descend(
    space: Space, start: Tensor, known: Spread, distance: Distance, o: Inverting, on_step: Callable[[int, float], None]
) -> Tensor:
    """Codes N x layers x width after `o.steps` steps of Adam; the best that were met."""
    mean, unit = known.mean.to(space.device), known.deviation.to(space.device)
    moved = ((start.to(space.device) - mean) / unit).detach()
    if o.where == "w" and space.tied:
        moved = moved.mean(1, keepdim=True)
    moved.requires_grad_()
    noises = _released(space) if o.noise else []
    optimizer = torch.optim.Adam([{"params": [moved], "unit": o.rate}, {"params": noises, "unit": 0.4 * o.rate}])
    best, lowest = moved.detach().clone(), torch.full((len(moved),), torch.inf, device=space.device)
    for step, factor in _ramp(o.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["unit"] * factor
        whole = moved.expand(-1, space.layers, -1)
        losses = distance(space.paint(mean + unit * whole))
        with torch.no_grad():
            better = losses < lowest
            lowest = torch.where(better, losses, lowest)
            best = torch.where(better[:, None, None], moved, best)
        kept = o.prior * whole.square().mean() + o.spread * (whole - whole.mean(1, keepdim=True)).square().mean()
        loss = losses.sum() + len(moved) * kept
        if noises:
            loss = loss + o.noise_weight * torch.stack([correlation(n) for n in noises]).sum()
        optimizer.zero_grad()
        loss.backward(inputs=[moved, *noises])  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            for n in noises:
                n.sub_(n.mean()).div_(n.std().clamp_min(1e-6))
        on_step(step, float(losses.detach().mean()))
    for n in noises:
        n.requires_grad_(False)
        best = moved.detach()  # the last noise belongs to the last codes
    return (mean + unit * best.expand(-1, space.layers, -1)).detach()


def tune(space: Space, pivot: Tensor, distance: Distance, o: Inverting, on_step: Callable[[int, float], None]) -> Space:
    """A copy of the generator that makes the picture of `pivot`, and near it what the old one made.

    Equations 3 to 6 of the paper: the distance of reconstruction, and the same distance between the old and the tuned
    generator's pictures of a code on the way from the pivot to a random one.
    """
    tuned = space.tuned()
    weights = [w.requires_grad_() for w in tuned.network.parameters()]
    optimizer = torch.optim.Adam(weights, lr=o.tune_rate)
    for step in range(1, o.tune + 1):
        losses = distance(tuned.paint(pivot))
        loss = losses.sum()
        if o.locality:
            drawn = space.draw([o.seed * 100_003 + step])
            near = torch.lerp(pivot.cpu(), drawn, REACH)
            with torch.no_grad():
                old = space.paint(near)
            loss = loss + o.locality * Distance(old, distance.features, distance.weight)(tuned.paint(near)).sum()
        optimizer.zero_grad()
        loss.backward(inputs=weights)  # type: ignore[no-untyped-call]
        optimizer.step()
        on_step(step, float(losses.detach().mean()))
    tuned.network.requires_grad_(False)
    return tuned


def correlation(noise: Tensor) -> Tensor:
    """Squared correlation of neighbours at every size, so that no picture is drawn in the noise; appendix D of 2020.

    H x W of deviation 1; the mean over 2 x 2 is doubled so that the deviation stays.
    """
    level, total = noise[None, None], noise.new_zeros(())
    while True:
        total = total + sum((level * level.roll(1, dim)).mean().square() for dim in (2, 3))
        if min(level.shape[2:]) <= SMALLEST_NOISE:
            return total
        level = 2 * F.avg_pool2d(level, 2)


def _released(space: Space) -> list[Tensor]:
    """The noises of the space's own network as leaves with gradients."""
    found = []
    for name in space.noises:
        path, _, leaf = name.rpartition(".")
        owner: nn.Module = space.network.get_submodule(path)
        noise = owner.get_buffer(leaf).detach().clone().requires_grad_()
        setattr(owner, leaf, noise)
        found.append(noise)
    return found


def _ramp(steps: int) -> Iterator[tuple[int, float]]:
    """Step numbers and the share of the step length: a line up, a plateau, half a cosine down."""
    rise, fall = RAMP
    for step in range(1, steps + 1):
        t = step / steps
        down = torch.tensor(min(1.0, (1 - t) / fall))
        yield step, float(min(1.0, t / rise) * (0.5 - 0.5 * torch.cos(down * torch.pi)))
