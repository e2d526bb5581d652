"""One pass, any style: a generator, a style encoder and a discriminator.

The family's own design. Where its parts come from: the style as statistics of features (AdaIN, Huang & Belongie 2017)
encoded into a code that steers every layer of the decoder (Dumoulin et al. 2017; Ghiasi et al. 2017), with noise at
every layer (Karras et al. 2019); statistics of a large picture taken from parts of it, once, so that it is painted tile
by tile; the style gap relative to the untouched content's (as our optimiser); patches judged against real paintings at
two scales, given the style (Miyato & Koyama 2018). No path from the encoder's full resolution to the decoder's: with
one the photograph shines through, tinted and embossed, and nothing is painted. The networks are in `onepass_networks`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.features.sources import load_features
from sfumato.features.vgg import VGG19
from sfumato.layers.patches import ProjectedJudge
from sfumato.losses.adversarial import OBJECTIVES
from sfumato.losses.perceptual import content_distance, distance_left, relative_gap
from sfumato.models.adversaries import told_apart
from sfumato.models.feature_judge import calibrated, seeing
from sfumato.models.onepass_networks import STRIDES, Colors, Generator, Style, StyleEncoder
from sfumato.style.recolor import color_moments
from sfumato.style.statistics import gram_matrix, mean_std, moments
from sfumato.train.augment import diff_augment
from sfumato.train.data import Pictures, crop
from sfumato.train.run import Run

DIVERSITY_LAYERS = ("relu2_1", "relu3_1")
EDGE = 12.0
"""Steepness of the edges between regions that are drawn in training."""
CONTENT_LAYER = "relu4_1"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


@dataclass(frozen=True)
class Config:
    """Sizes and weights."""

    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    """Channels at strides 1, 2, 4, 8."""
    blocks: int = 4
    """Residual blocks at stride 8, where strokes are laid out."""
    code: int = 256
    """Length of a style code."""
    style_widths: tuple[int, int, int, int, int] = (16, 32, 64, 128, 128)
    """Channels of the style encoder's five blocks, which are VGG-19's up to conv5_1."""
    style_start: str = ""
    """A narrow VGG-19 (a file, as `stylize --features` takes it) of which the style encoder's convolutions are a copy
    that is not trained; none: they start at random and are trained."""
    style_pooling: Literal["average", "max"] = "max"
    """Pooling of the style encoder."""
    features: str = "vgg19"
    """Network whose features define content and style: a name or a file, as in `stylize --features`."""
    pooling: Literal["average", "max"] = "average"
    """Pooling of the network of `features`."""
    content_weight: float = 0.1
    style_weight: float = 1.0
    """Weight of the Gram gap."""
    texture_weight: float = 1.0
    """Weight of the covariance gap: what of the Gram matrix is not colour and brightness."""
    statistics_weight: float = 0.3
    """Weight of the gap of mean and deviation."""
    identity_weight: float = 1.0
    """Weight of |G(x, x) - x|: a picture in its own style is itself."""
    diversity_weight: float = 0.2
    """Weight of the demand that two noises give two brushworks."""
    diversity: float = 0.1
    """How far apart these should be, relative to the stroke's distance from the photograph."""
    noise: tuple[float, float] = (1.0, 1.0)
    """Strength of the noise, drawn for every picture between these: with (0, 1) all that `stylize --noise` offers is
    trained."""
    region_weight: float = 0.0
    """Weight of the style gap of a further picture a step, painted in two styles, each in a region of its own."""
    range_weight: float = 10.0
    """Weight of colours outside [0, 1]."""
    adversarial_weight: float = 0.0
    adversarial_from: float = 0.3
    """Share of the run after which the discriminator joins in."""
    objective: Literal["bce", "lsgan", "hinge", "wasserstein"] = "hinge"
    judge_width: int = 32
    """Channels of the discriminator's first layer."""
    feature_judge: str = ""
    """Trained network (`onepass`, `vgg-lite`, `vgg19`, a file) on whose features a second discriminator stands, which
    is not told the style."""
    judge_whole: bool = False
    """That judge gives a crop one score a layer and not one a place: it sees the composition, and tells sooner."""
    crop_scale: tuple[float, float] = (0.5, 1.0)
    """Side of a crop relative to the picture's short side."""
    learning_rate: float = 3e-4
    judge_rate: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.99)


class Target(NamedTuple):
    """What a batch of outputs is measured against: activations and statistics of contents and styles."""

    content: Tensor
    grams: list[tuple[Tensor, Tensor]]
    covariances: list[tuple[Tensor, Tensor]]
    means: list[tuple[Tensor, Tensor]]


class Method:
    """Training: equations in the order of `step`."""

    roles: ClassVar[tuple[str, ...]] = ("content", "style")
    averaged: ClassVar[tuple[str, ...]] = ("generator", "style_encoder")
    resolution: int = 160

    def __init__(self, config: Config) -> None:
        if config.feature_judge and not config.adversarial_weight:
            raise InputError("a feature judge has no say without an adversarial weight: --adversarial-weight 0.1")
        self.config = config
        self.teacher = load_features(config.features, pooling=config.pooling)
        self.placed: torch.device | None = None

    def networks(self) -> dict[str, nn.Module]:
        c = self.config
        encoder = StyleEncoder(c)
        if c.style_start:
            encoder.start(narrow(c.style_start))
        found: dict[str, nn.Module] = {"generator": Generator(c), "style_encoder": encoder}
        if c.adversarial_weight > 0:
            found["discriminator"] = seeing(
                ProjectedJudge(c.judge_width, c.code), c.feature_judge, self.resolution, whole=c.judge_whole
            )
        return found

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        c = self.config
        painters = [*networks["generator"].parameters(), *networks["style_encoder"].parameters()]
        found: dict[str, torch.optim.Optimizer] = {
            "painters": torch.optim.Adam(painters, lr=c.learning_rate, betas=c.betas)
        }
        if "discriminator" in networks:
            found["judge"] = torch.optim.Adam(
                networks["discriminator"].parameters(), lr=c.judge_rate, betas=(0.0, 0.99)
            )
        return found

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A photograph's crop and two crops of one painting."""
        size, scale = self.resolution, self.config.crop_scale
        photo = data["content"][data["content"].draw(rng, by_group=True)]
        painting = data["style"][data["style"].draw(rng, by_group=True)]
        first, second = (crop(painting, rng, size=size, scale=scale) for _ in range(2))
        return crop(photo, rng, size=size, scale=scale), first, second

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        c, net = self.config, run.networks
        content, style, other = batch
        twins, own = c.diversity_weight > 0 and len(content) >= 4, max(1, len(content) // 8)
        if twins:  # the second picture is the first one again, with another noise
            content, style = (torch.cat([x[:1], x[:1], x[2:]]) for x in (content, style))
        style = torch.cat([style[:-own], content[-own:]])  # the last ones get their own style
        code = net["style_encoder"](style)
        noise = self.noise(run, "noise", content, twins)
        out = net["generator"](content, self.colors(content, code), code.code, noise)

        target = self.target(run, content, style)
        found = self.features(run, out)
        near = content_distance(found[CONTENT_LAYER], target.content)
        losses = {
            "content": near[:-own].mean(),
            **{name: distance_left(gap[:, :-own]).mean() for name, gap in self.gaps(found, target).items()},
            "identity": (out - content)[-own:].abs().mean(),
            "range": (F.relu((out - 0.5).abs() - 0.5)).square().mean(),
        }
        total = (
            c.content_weight * losses["content"]
            + c.style_weight * losses["style"]
            + c.texture_weight * losses["texture"]
            + c.statistics_weight * losses["statistics"]
            + c.identity_weight * losses["identity"]
            + c.range_weight * losses["range"]
        )
        if twins:
            apart = torch.stack([diversity(found[layer][0], found[layer][1]) for layer in DIVERSITY_LAYERS]).mean()
            losses["apart"] = apart
            total = total + c.diversity_weight * F.relu(1 - (apart / c.diversity + 1e-6).sqrt())
        if c.region_weight > 0 and len(style) > 1:
            losses["regions"] = self.by_regions(run, content[:1], style[-2:], Style(*(part[-2:] for part in code)))
            total = total + c.region_weight * losses["regions"]
        judging = "discriminator" in net and run.progress >= c.adversarial_from
        if judging:
            _, for_generator = OBJECTIVES[c.objective]
            if c.feature_judge:
                calibrated(run, net["discriminator"], other)
            shown = diff_augment(out[:-own], run.noise("augment"))
            scores = net["discriminator"](shown, code.code[:-own].detach())
            losses["adversarial"] = torch.stack([for_generator(s) for s in scores]).mean()
            total = total + c.adversarial_weight * losses["adversarial"]
        run.minimize("painters", total)
        if judging:
            losses |= self.judge(run, other[:-own], out[:-own].detach(), code.code[:-own].detach())
        return losses

    def noise(self, run: Run, purpose: str, content: Tensor, twins: bool = False) -> list[Tensor]:
        """A map N x 1 x H/s x W/s for every stride s, of one strength a picture; twins have the same."""
        least, most = self.config.noise
        strength = least + (most - least) * run.rand(f"{purpose} strength", len(content), 1, 1, 1)
        if twins:
            strength = torch.cat([strength[:1], strength[:1], strength[2:]])
        sides = [[side // s for side in content.shape[2:]] for s in STRIDES]
        return [
            strength * run.randn(f"{purpose}{s}", len(content), 1, *hw) for s, hw in zip(STRIDES, sides, strict=True)
        ]

    def by_regions(self, run: Run, content: Tensor, style: Tensor, code: Style) -> Tensor:
        """One picture in two styles: mean style gap of its regions, each against its own style (a scalar).

        `content` 1 x 3 x S x S, `style` 2 x 3 x S x S and its codes; where which style goes is drawn.
        """
        labels = halves(run.randn("regions", 1, 1, 4, 4), content.shape[2:])
        noise = self.noise(run, "region noise", content)
        parts = [color_moments(content, labels[:, k : k + 1]) for k in range(2)]
        inside = (torch.cat([mean for mean, _ in parts]), torch.cat([covariance for _, covariance in parts]))
        colors = Colors.per_region(color_moments(content), inside, code)
        out = run.networks["generator"](content, colors, code.code[None], noise, labels)
        found = self.features(run, out)
        with torch.no_grad():
            untouched, wanted = self.features(run, content), self.features(run, style)
        gaps = []
        for layer in STYLE_LAYERS:
            here = F.adaptive_avg_pool2d(labels, found[layer].shape[-1])[0]
            mine, own = (gram_matrix(moments(f[layer], here)) for f in (found, untouched))
            gaps.append(distance_left(relative_gap(mine, own, gram_matrix(moments(wanted[layer])))))
        return torch.stack(gaps).mean()

    def judge(self, run: Run, real: Tensor, fake: Tensor, code: Tensor) -> dict[str, Tensor]:
        """The discriminator's step: other crops of the same paintings against the results, both augmented alike."""
        for_discriminator, _ = OBJECTIVES[self.config.objective]
        d = run.networks["discriminator"]
        judged_real = d(diff_augment(real, run.noise("augment real")), code)
        judged_fake = d(diff_augment(fake, run.noise("augment fake")), code)
        scores = list(zip(judged_real, judged_fake, strict=True))
        loss = torch.stack([for_discriminator(r, f) for r, f in scores]).mean()
        run.minimize("judge", loss)
        return {"judge": loss, "told apart": torch.stack([told_apart(r, f) for r, f in scores]).mean()}

    def colors(self, content: Tensor, style: Style) -> Colors:
        with torch.no_grad():
            mean, covariance = (m.to(content) for m in color_moments(content))
        return Colors.between(mean, covariance, style)

    def features(self, run: Run, pictures: Tensor) -> dict[str, Tensor]:
        if self.placed != run.device:
            dtype = torch.bfloat16 if run.options.precision == "bf16-mixed" and run.device.type == "cuda" else None
            self.teacher, self.placed = self.teacher.to(run.device, dtype), run.device
        return self.teacher(pictures, STYLE_LAYERS)

    @torch.no_grad()
    def target(self, run: Run, content: Tensor, style: Tensor) -> Target:
        untouched, wanted = self.features(run, content), self.features(run, style)
        pairs = [(moments(untouched[layer]), moments(wanted[layer])) for layer in STYLE_LAYERS]
        return Target(
            untouched[CONTENT_LAYER],
            [(gram_matrix(a), gram_matrix(b)) for a, b in pairs],
            [(a.covariance, b.covariance) for a, b in pairs],
            [(mean_std(a), mean_std(b)) for a, b in pairs],
        )

    def gaps(self, found: Mapping[str, Tensor], target: Target) -> dict[str, Tensor]:
        """Shares of the style gap left, layers x N each: of Gram matrices, covariances, means with deviations."""
        sums = [moments(found[layer]) for layer in STYLE_LAYERS]
        made = {
            "style": ([gram_matrix(m) for m in sums], target.grams),
            "texture": ([m.covariance for m in sums], target.covariances),
            "statistics": ([mean_std(m) for m in sums], target.means),
        }
        return {
            name: torch.stack([relative_gap(x, a, b) for x, (a, b) in zip(xs, pairs, strict=True)])
            for name, (xs, pairs) in made.items()
        }

    @torch.no_grad()
    def paint(self, run: Run, content: Tensor, style: Tensor, noisy: bool = True) -> Tensor:
        code = run.ema["style_encoder"](style)
        sides = [[side // s for side in content.shape[2:]] for s in STRIDES]
        noise = [
            run.randn(f"preview{s}", len(content), 1, *hw) if noisy else None
            for s, hw in zip(STRIDES, sides, strict=True)
        ]
        painted: Tensor = run.ema["generator"](content, self.colors(content, code), code.code, noise)
        return painted.clamp(0, 1)

    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """Rows of contents, columns of styles; the styles above, the contents at the left."""
        content, style = batch[0][:5], batch[1][:6]
        rows = [torch.cat([torch.ones_like(style[0]), *style], 2)]
        for photo in content:
            rows.append(torch.cat([photo, *self.paint(run, photo.expand(len(style), -1, -1, -1), style)], 2))
        return torch.cat(rows, 1)

    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Style gap left and content lost on held-out pairs; `swapped` is the style gap when codes are exchanged."""
        rows = []
        for content, style, _ in batches:
            target = self.target(run, content, style)
            found = self.features(run, self.paint(run, content, style))
            swapped = self.gaps(self.features(run, self.paint(run, content, style.roll(1, 0))), target)["style"]
            near = content_distance(found[CONTENT_LAYER], target.content)
            gaps = {name: gap.mean(0) for name, gap in self.gaps(found, target).items()}
            rows.append({**gaps, "content": near, "swapped": swapped.mean(0)})
        means = {name: float(torch.cat([row[name] for row in rows]).double().mean()) for name in rows[0]}
        return {"score": means["style"] + means["content"], **means}

    def short(self, steps: int, batch: int) -> str | None:
        """Fewer than 20,000 samples from scratch give a tint, not brushwork."""
        return (
            f"{steps} steps of {batch} pictures are too few from scratch: strokes appear after some 20,000 pictures "
            "(--init onepass starts from the bundled network)"
            if steps * batch < 20_000
            else None
        )


def halves(seeds: Tensor, size: Sequence[int]) -> Tensor:
    """Two soft regions with a sum of 1, N x 2 x H x W, by the sign of noise N x 1 x h x w seen from afar.

    Its median is taken off: both have about half of the picture.
    """
    hills = F.interpolate(seeds, tuple(size), mode="bicubic", align_corners=False)
    share = torch.sigmoid(EDGE * (hills - hills.flatten(1).median(1).values[:, None, None, None]))
    return torch.cat([share, 1 - share], 1)


def narrow(source: str) -> VGG19:
    """A VGG-19 of any widths. Raises `InputError` for another network."""
    network = load_features(source)
    if not isinstance(network, VGG19):
        raise InputError(f"{network.name} is no VGG-19, of which a style encoder's convolutions could be a copy")
    return network


def diversity(a: Tensor, b: Tensor) -> Tensor:
    """Relative distance of two activations C x h x w: |a - b|^2 / (|a|^2 + |b|^2)."""
    return (a - b).square().sum() / (a.square() + b.square()).sum()
