"""Colorizer: the colours of a grey photograph, guessed, and led by dots of colour where the user gives some.

Zhang, Isola & Efros, "Colorful Image Colorization" (ECCV 2016): a distribution over bins of Lab's ab plane, rare
colours weighing more, an annealed mean of it as the answer. Zhang et al., "Real-Time User-Guided Image Colorization
with Learned Deep Priors" (SIGGRAPH 2017): random dots of the true colours are shown in training. Differences: a
frozen VGG-19 looks at the picture, all of its depth counting (hypercolumns, Larsson et al. 2016, "Learning
Representations for Automatic Colorization"), and a small expanding path at strides 16, 8 and 4 answers (about a million
weights); a colour is shared among the four bins around it, whose mean is exactly that colour; the mean of everything
seen, dots included, reaches every position (as in Iizuka et al. 2016).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.layers.separable import ConvNorm
from sfumato.models.encoders import TUNED_RATE, enlarged, make_encoder, padded
from sfumato.models.sampler import config_from
from sfumato.picture.color import lab_to_rgb, rgb_to_lab
from sfumato.train.data import Pictures, crop
from sfumato.train.run import Run
from sfumato.weights.files import load_model

STEP = 10
"""Distance of two bins in a and in b."""
REACH = 110
"""Bins lie in [-110, 110]."""
CELL = 4
"""Pixels a side of what gets one colour."""
DOTS = 20
"""Dots shown in training at most."""
MEMORY = 0.99
"""How slowly the frequencies of the bins follow the batches."""

RANGES: dict[str, tuple[float, float]] = {
    "resolution": (32, 4096),
    "tuned": (0, 4),
    "dropout": (0, 0.9),
    "width": (4, 1024),
    "uniform": (0.01, 1),
    "rebalance": (0, 1),
    "no_hints": (0, 1),
    "gamma": (1, 4),
    "contrast": (1, 4),
    "noise": (0, 1),
    "temperature": (0.05, 2),
    "learning_rate": (1e-7, 1),
    "weight_decay": (0, 10),
}


@dataclass(frozen=True)
class Config:
    """Sizes and weights."""

    encoder: Literal["light", "vgg-lite", "vgg19"] = "vgg19"
    """What sees: a small network trained from nothing, or one with which few pictures go far, for it knows things
    already: the bundled vgg-lite, or the whole VGG-19."""
    tuned: int = 0
    """Blocks of vgg-lite that are trained too, from the deepest, at a tenth of the learning rate; 4 are all."""
    dropout: float = 0.2
    """Share of the encoder's channels that are hidden from the rest in training."""
    width: int = 48
    """Channels of the expanding path at stride 4; twice as many a level deeper."""
    resolution: int = 144
    """Side in pixels of the squares seen in training, a multiple of 16."""
    crop_scale: tuple[float, float] = (0.6, 1.0)
    """Side of a square relative to the picture's short side."""
    flip: bool = True
    """Mirror half of the pictures."""
    uniform: float = 0.5
    """Share of a uniform distribution in the bins' frequencies that rare colours are weighed by (2016, equation 4)."""
    rebalance: float = 0.5
    """Power of those weights: 1 is the paper's, 0 weighs all colours alike and gives duller pictures."""
    no_hints: float = 0.5
    """Share of the pictures shown without dots; the others have 1 to 20, few more often."""
    gamma: float = 1.4
    """Lightness is bent by a power of up to this, either way: old photographs are too dark or too light; 1 for not."""
    contrast: float = 1.0
    """Contrast is raised or lowered by up to this factor: prints are flat, and harsh once they are no longer faded."""
    noise: float = 0.03
    """Noise on the lightness, at most this standard deviation, likewise."""
    temperature: float = 0.7
    """Of the annealed mean (2016, equation 5): 1 the mean, which is dull, towards 0 the likeliest bin."""
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2


def bins() -> Tensor:
    """Q x 2: the points (a, b), multiples of 10, around the colours that sRGB has."""
    line = torch.linspace(0, 1, 33)
    cube = torch.stack(torch.meshgrid(line, line, line, indexing="ij")).flatten(1)[None, :, :, None]
    a, b = rgb_to_lab(cube)[0, 1:, :, 0] / STEP
    corners = [torch.stack([f(a), g(b)], 1) for f in (torch.floor, torch.ceil) for g in (torch.floor, torch.ceil)]
    found: Tensor = STEP * torch.unique(torch.cat(corners), dim=0)
    return found


class Shares(NamedTuple):
    """A colour as shares of the four bins around it."""

    numbers: Tensor
    """N x 4 x H x W: which bins."""
    weights: Tensor
    """N x 4 x H x W, a sum of 1; the mean of the bins with these weights is the colour."""


class Bins:
    """The bins, and colours as shares of them."""

    def __init__(self) -> None:
        self.colors = bins()
        line = torch.arange(-REACH, REACH + 1, STEP).float()
        grid = torch.cartesian_prod(line, line)
        self.table = torch.cdist(grid, self.colors).argmin(1).view(len(line), len(line))
        """The bin at a point of the grid, the nearest where there is none (means of colours may leave sRGB)."""

    def __len__(self) -> int:
        return len(self.colors)

    def shares(self, ab: Tensor) -> Shares:
        """Of N x 2 x H x W colours of sRGB: linear in a and in b."""
        at = ((ab + REACH) / STEP).clamp(0, len(self.table) - 1.001)
        low, part = at.floor().long(), at.frac()
        table = self.table.to(ab.device)
        numbers, weights = [], []
        for i in (0, 1):
            for j in (0, 1):
                numbers.append(table[low[:, 0] + i, low[:, 1] + j])
                weights.append((part[:, 0] if i else 1 - part[:, 0]) * (part[:, 1] if j else 1 - part[:, 1]))
        return Shares(torch.stack(numbers, 1), torch.stack(weights, 1))

    def annealed(self, scores: Tensor, temperature: float) -> Tensor:
        """N x 2 x H x W: the mean colour of N x Q x H x W scores, sharpened (2016, equation 5)."""
        chances = (scores.float() / temperature).softmax(1)
        return torch.einsum("nqhw,qc->nchw", chances, self.colors.to(scores.device))


class Colorizer(nn.Module):
    """N x Q x h x w scores of bins, h = ceil(H / 4), of N x 1 x H x W lightness in [0, 1] and hints N x 3 x h x w.

    Hints are a / 110, b / 110 and 1 in cells with a dot, 0 elsewhere.
    """

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.encoder = make_encoder(c.encoder, tuned=c.tuned)
        self.dropout = nn.Dropout2d(c.dropout)
        seen, (w4, w8, w16) = self.encoder.widths[1:], (c.width, 2 * c.width, 4 * c.width)
        self.skips = nn.ModuleList(ConvNorm(i, o, 1) for i, o in zip(seen, (w4, w8, w16), strict=True))
        self.deep = nn.ModuleList([ConvNorm(w16 + 3, w16), ConvNorm(w16, w16, dilation=2)])
        self.context = nn.Linear(w16 + 3, w16)
        self.up8 = nn.Sequential(ConvNorm(w16 + w8 + 3, w8), ConvNorm(w8, w8))
        self.up4 = nn.Sequential(ConvNorm(w8 + w4 + 3, w4), ConvNorm(w4, w4))
        self.head = nn.Conv2d(w4, len(bins()), 1)

    def forward(self, lightness: Tensor, hints: Tensor) -> Tensor:
        height, width = hints.shape[2:]
        grey = lab_to_rgb(torch.cat([100 * lightness, torch.zeros_like(lightness).expand(-1, 2, -1, -1)], 1))
        maps = self.encoder(padded(grey))[1:]
        seen4, seen8, seen16 = (skip(self.dropout(m)) for skip, m in zip(self.skips, maps, strict=True))
        hints4 = F.pad(hints, (0, seen4.shape[3] - width, 0, seen4.shape[2] - height))
        hints8 = gathered(hints4)
        hints16 = gathered(hints8)
        told = hints.mean((2, 3)) / hints[:, 2:].mean((2, 3)).clamp_min(1e-6)  # mean colour of the dots; 1 or 0
        context = self.context(torch.cat([seen16.mean((2, 3)), told], 1)).relu()[:, :, None, None]
        x = self.deep[1](self.deep[0](torch.cat([seen16, hints16], 1)) + context)
        x = self.up8(torch.cat([enlarged(x, *seen8.shape[2:]), seen8, hints8], 1))
        x = self.up4(torch.cat([enlarged(x, *seen4.shape[2:]), seen4, hints4], 1))
        scores: Tensor = self.head(x)
        return scores[:, :, :height, :width]


def gathered(hints: Tensor) -> Tensor:
    """Hints at half the size: the mean of the dots in four cells, 1 where there is one."""
    total = F.avg_pool2d(hints, 2)
    return total / total[:, 2:].clamp_min(1e-6)


def cells(x: Tensor) -> Tensor:
    """N x C x H x W to means over cells, sides rounded up."""
    return F.avg_pool2d(x, CELL, ceil_mode=True, count_include_pad=False)


class Method:
    """Training."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    averaged: ClassVar[tuple[str, ...]] = ("colorizer",)

    def __init__(self, config: Config) -> None:
        self.config = config
        self.resolution = config.resolution
        self.bins = Bins()

    def networks(self) -> dict[str, nn.Module]:
        return {"colorizer": Colorizer(self.config)}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        """AdamW; pretrained weights go a tenth of the way."""
        c, network = self.config, networks["colorizer"]
        assert isinstance(network, Colorizer)
        slow = network.encoder.pretrained()
        known = {id(p) for p in slow}
        groups = [{"params": [p for p in network.parameters() if id(p) not in known], "lr": c.learning_rate}]
        if slow:
            groups.append({"params": slow, "lr": TUNED_RATE * c.learning_rate})
        return {"colorizer": torch.optim.AdamW(groups, weight_decay=c.weight_decay)}

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A random square of a picture."""
        c, pictures = self.config, data["data"]
        return (crop(pictures[pictures.draw(rng)], rng, size=self.resolution, scale=c.crop_scale, flip=c.flip),)

    def judged(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """The largest square, somewhere along the long side."""
        pictures = data["data"]
        return (crop(pictures[pictures.draw(rng)], rng, size=self.resolution, scale=(1.0, 1.0), flip=False),)

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Cross entropy of the bins, rare ones weighing more, dots shown with some of the pictures."""
        c, (pictures,) = self.config, batch
        lab = rgb_to_lab(pictures)
        ab = cells(lab[:, 1:])
        chance = run.rand("dots", len(pictures), 2 + 3 * DOTS)
        count = torch.where(chance[:, 0] < c.no_hints, 0, 1 + (DOTS * chance[:, 1] ** 2).long())
        scores = run.networks["colorizer"](self.aged(run, lab[:, :1] / 100), dots(ab, count, chance[:, 2:]))
        shares = self.bins.shares(ab)
        loss = self.cross_entropy(scores, shares, self.weights(run, shares))
        run.minimize("colorizer", loss)
        found = self.bins.annealed(scores.detach(), c.temperature)
        return {"loss": loss, "chroma": chroma(found) / chroma(ab).clamp_min(1e-3)}

    def aged(self, run: Run, lightness: Tensor) -> Tensor:
        """Lightness bent, flattened or stretched, and noisy, as in old photographs."""
        c, chance = self.config, run.rand("age", len(lightness), 3)[..., None, None, None]
        bent = lightness.clamp(1e-4, 1) ** (c.gamma ** (2 * chance[:, 0] - 1))
        bent = 0.5 + (bent - 0.5) * c.contrast ** (2 * chance[:, 2] - 1)
        noise = run.randn("grain", len(lightness), *lightness.shape[1:])
        return (bent + c.noise * chance[:, 1] * noise).clamp(0, 1)

    def weights(self, run: Run, shares: Shares) -> Tensor:
        """Q weights with a mean of 1 over the colours that occur (2016, equation 4); frequencies are remembered."""
        c, count = self.config, len(self.bins)
        now = torch.bincount(shares.numbers.flatten(), shares.weights.flatten(), count).float()
        now /= now.sum()
        seen = run.state.get("bins", now)
        run.state["bins"] = seen = MEMORY * seen + (1 - MEMORY) * now
        rare = ((1 - c.uniform) * seen + c.uniform / count) ** -c.rebalance
        return rare / (rare * seen).sum()

    def cross_entropy(self, scores: Tensor, shares: Shares, weights: Tensor) -> Tensor:
        """Mean over positions of -sum over bins of share log chance, times the weight of the position's colour."""
        each = -(scores.log_softmax(1).gather(1, shares.numbers) * shares.weights).sum(1)
        weight = (weights[shares.numbers] * shares.weights).sum(1)
        return (each * weight).mean()

    @torch.no_grad()
    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """Pictures; what is found without dots, with ten; and the dots."""
        (pictures,) = batch
        lab = rgb_to_lab(pictures)
        rows = [pictures]
        for hints in self.judging_dots(run, lab):
            ab = enlarged(self.found(run, lab, hints), *lab.shape[2:])
            rows.append(lab_to_rgb(torch.cat([lab[:, :1], ab], 1)))
        return torch.cat([torch.cat(list(row.cpu()), 2) for row in rows], 1)

    @torch.no_grad()
    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Errors of ab next to grey's, without dots and with ten; chroma next to the true one; the score is the loss.

        The score's weights are those of the bins' frequencies in training.
        """
        sums, judged = torch.zeros(5, dtype=torch.float64), list[Tensor]()
        weights = torch.ones(len(self.bins))
        if "bins" in run.state:
            c = self.config
            rare = ((1 - c.uniform) * run.state["bins"] + c.uniform / len(self.bins)) ** -c.rebalance
            weights = rare / (rare * run.state["bins"]).sum()
        for (pictures,) in batches:
            lab = rgb_to_lab(pictures)
            ab = cells(lab[:, 1:])
            blank, hints = self.judging_dots(run, lab)
            scores = run.ema["colorizer"](lab[:, :1] / 100, blank)
            judged.append(self.cross_entropy(scores, self.bins.shares(ab), weights.to(ab)).cpu())
            plain, led = self.bins.annealed(scores, self.config.temperature), self.found(run, lab, hints)
            parts = [(plain - ab).square().mean(), (led - ab).square().mean(), ab.square().mean()]
            sums += torch.stack([*parts, chroma(plain), chroma(ab)]).double().cpu()
        return {
            "score": float(torch.stack(judged).mean()),
            "ab error": float((sums[0] / sums[2]).sqrt()),
            "ab error, 10 dots": float((sums[1] / sums[2]).sqrt()),
            "chroma": float(sums[3] / sums[4]),
        }

    def judging_dots(self, run: Run, lab: Tensor) -> tuple[Tensor, Tensor]:
        """No dots, and ten a picture."""
        ab = cells(lab[:, 1:])
        chance = run.rand("judging dots", len(ab), 3 * DOTS)
        none, ten = (torch.full((len(ab),), k, device=ab.device) for k in (0, 10))
        return dots(ab, none, chance), dots(ab, ten, chance)

    def found(self, run: Run, lab: Tensor, hints: Tensor) -> Tensor:
        """The average network's colours, N x 2 x h x w."""
        return self.bins.annealed(run.ema["colorizer"](lab[:, :1] / 100, hints), self.config.temperature)

    def short(self, steps: int, batch: int) -> str | None:
        """Why so few steps will not do, in one sentence."""
        if steps * batch >= 10_000:
            return None
        return f"{steps * batch:,} samples are few for a colorizer: give it 10,000 or more"


def dots(ab: Tensor, count: Tensor, chance: Tensor) -> Tensor:
    """Hints N x 3 x h x w: the true colours N x 2 x h x w in `count` (N) squares of 1 to 3 cells, where `chance` says.

    `chance` N x 3 K holds uniform numbers in [0, 1); the first `count` of K squares are shown.
    """
    height, width = ab.shape[2:]
    y, x, size = chance.view(len(ab), 3, -1, 1, 1).unbind(1)
    rows = torch.arange(height, device=ab.device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=ab.device).view(1, 1, 1, -1)
    reach = 0.5 + 0.5 * (3 * size).floor()  # half of 1, 2 or 3 cells
    inside = ((rows + 0.5 - height * y).abs() < reach) & ((columns + 0.5 - width * x).abs() < reach)
    among = torch.arange(inside.shape[1], device=ab.device).view(1, -1, 1, 1) < count.view(-1, 1, 1, 1)
    shown = (inside & among).any(1, keepdim=True).to(ab)
    return torch.cat([ab / REACH * shown, shown], 1)


def chroma(ab: Tensor) -> Tensor:
    """Mean distance from grey."""
    mean: Tensor = torch.linalg.vector_norm(ab, dim=1).mean()
    return mean


class Colorist:
    """A trained colorizer at work."""

    def __init__(self, network: Colorizer, config: Config, device: torch.device | str = "cpu") -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.device, self.side, self.temperature = device, config.resolution, config.temperature
        """`side`: short side in pixels at which pictures look as they did in training."""
        self.bins = Bins()

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> tuple[Self, str]:
        """From a bundled model's name, a file of weights or the folder of a run; and the file's sha256.

        Raises as `load_model`.
        """
        model = load_model(source, "colorizer")
        config = config_from(Config, model.config)
        network = Colorizer(config)
        model.fill({"colorizer": network})
        return cls(network, config, device), model.sha256

    @torch.no_grad()
    def predict(self, lightness: Tensor, hints: Tensor | None = None, temperature: float | None = None) -> Tensor:
        """Colours N x 2 x h x w (Lab's ab), h = ceil(H / 4), on the CPU.

        Args:
            lightness: N x 1 x H x W, Lab's L / 100, any size from one cell.
            hints: N x 3 x h x w: a, b and 1 in cells with a dot, 0 elsewhere.
            temperature: of the annealed mean; the trained one if left out.
        """
        height, width = (-(-n // CELL) for n in lightness.shape[2:])
        told = lightness.new_zeros(len(lightness), 3, height, width) if hints is None else hints.clone()
        told[:, :2] /= REACH
        scores = self.network(lightness.to(self.device), told.to(self.device))
        return self.bins.annealed(scores, temperature or self.temperature).cpu()
