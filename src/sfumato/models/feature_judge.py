"""A discriminator that stands on a trained network's features: it need not learn to see before it can teach.

Sauer et al. 2021, "Projected GANs Converge Faster" (NeurIPS), section 3: several layers of a frozen network, mixed by
frozen random 1 x 1 convolutions within a layer and from the deeper layer to the one before it (their figure 2), each
with a small trained head; the hinge objective. Beside a discriminator of the pictures themselves, as Kumari et al.
2022, "Ensembling Off-the-shelf Models for GAN Training" (CVPR), have it: colours are what features forget. Where the
pictures have classes every head says for each how well it fits, place by place, which is the projection of Miyato &
Koyama 2018 (ICLR) before places are summed; real pictures under a wrong name count as made ones (Reed et al. 2016,
"Generative Adversarial Text to Image Synthesis", ICML, algorithm 1), or the heads would have no cause to read the name.
Translators, which keep the composition, are judged at every place by itself.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sfumato.errors import InputError
from sfumato.features.sources import load_features
from sfumato.losses.adversarial import hinge_discriminator, wasserstein_generator
from sfumato.models.adversaries import told_apart
from sfumato.models.sampler import coloured
from sfumato.train.attributes import spans
from sfumato.train.run import Run

LAYERS = ("relu2_2", "relu3_2", "relu4_2")
"""Where the heads stand: strides 2, 4 and 8 of VGG-19, one convolution past those with maps to full width."""
WIDEST = 64
"""Channels that a layer is mixed into, at most, and of the heads."""
CELLS = 4
"""A head halves its sides as long as they are larger than this."""


class FeatureJudge(nn.Module):
    """Pictures N x 3 x H x W in [0, 1] to features, and these to scores N x (1 + classes) x S."""

    def __init__(
        self, source: str, size: tuple[int, int], groups: tuple[int, ...] = (), *, places: bool = False
    ) -> None:
        """`source` as in `load_features`; `groups` are the numbers of classes of which a picture has one each; with
        `places` a score at each of a layer's, which judges strokes and not the composition. Raises `InputError` for
        pictures too small for its layers."""
        super().__init__()
        self.groups, outputs = groups, 1 + sum(groups)
        self.network = load_features(source, pooling="max")
        if min(self.network.cells(side, LAYERS[-1]) for side in size) < CELLS:
            raise InputError(f"a judge of features needs pictures of 32 px or more, not {size[1]} x {size[0]}")
        with torch.no_grad():
            found = self.network(torch.zeros(1, 3, *size), LAYERS)
        self.heads = nn.ModuleDict()
        deeper = 0
        for layer in reversed(LAYERS):
            channels, sides = found[layer].shape[1], found[layer].shape[2:]
            width = min(WIDEST, channels)
            self.register_buffer(f"mix_{layer}", torch.randn(width, channels, 1, 1) / math.sqrt(channels))
            if deeper:
                self.register_buffer(f"down_{layer}", torch.randn(width, deeper, 1, 1) / math.sqrt(2 * deeper))
            self.register_buffer(f"scale_{layer}", torch.zeros(()))
            self.heads[layer] = local_head(width, outputs) if places else head(width, min(sides), outputs)
            deeper = width

    @property
    def calibrated(self) -> bool:
        return bool(self.get_buffer(f"scale_{LAYERS[0]}"))

    @torch.no_grad()
    def energies(self, pictures: Tensor) -> dict[str, Tensor]:
        """Mean square of every layer's features, for `calibrate`."""
        found = self.network.to(pictures.device)(pictures, LAYERS)
        return {layer: x.square().mean() for layer, x in found.items()}

    def calibrate(self, energies: Mapping[str, float]) -> None:
        """Bring every layer to one scale, once and for all processes: networks differ by orders of magnitude."""
        for layer, energy in energies.items():
            self.get_buffer(f"scale_{layer}").fill_(1 / math.sqrt(max(energy, 1e-12)))

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Mixed features, deepest first, mean square 1 once calibrated; gradients reach the pictures."""
        found, mixed = self.network.to(pictures.device)(pictures, LAYERS), list[Tensor]()
        for layer in reversed(LAYERS):
            x = F.conv2d(found[layer] * self.get_buffer(f"scale_{layer}"), self.get_buffer(f"mix_{layer}"))
            if mixed:
                below = F.conv2d(mixed[-1], self.get_buffer(f"down_{layer}"))
                x = x * math.sqrt(0.5) + F.interpolate(below, x.shape[2:], mode="bilinear")
            mixed.append(x)
        return mixed

    def forward(self, mixed: list[Tensor]) -> Tensor:
        """Of what `features` gave: N x (1 + classes) x S, how real it looks and how much more as each class."""
        return torch.cat([scores.flatten(2) for scores in self.maps(mixed)], 2)

    def maps(self, mixed: list[Tensor]) -> list[Tensor]:
        """The same for each layer, deepest first: N x (1 + classes) x h x w."""
        return [self.heads[layer](x) for layer, x in zip(reversed(LAYERS), mixed, strict=True)]


class SeeingJudge(nn.Module):
    """A discriminator of pictures and one of features side by side: the scores of both, the latter's layer by layer,
    as if at several scales."""

    def __init__(self, pictures: nn.Module, features: FeatureJudge) -> None:
        super().__init__()
        self.pictures, self.features = pictures, features

    def forward(self, x: Tensor, *given: Tensor) -> list[Tensor]:
        """`given` is what the judge of the pictures is told beside them."""
        scores: Tensor | list[Tensor] = self.pictures(x, *given)
        return [*(scores if isinstance(scores, list) else [scores]), *self.features.maps(self.features.features(x))]


def seeing(pictures: nn.Module, source: str, resolution: int, *, whole: bool = False) -> nn.Module:
    """A discriminator of pictures R x R, beside it one that stands on the features of the network so named, if any:
    a score at each place, or where `whole` one for all of them. Raises `InputError` for `whole` without a network."""
    if not source:
        if whole:
            raise InputError("judge_whole is about a judge of features, and there is none: add feature_judge")
        return pictures
    return SeeingJudge(pictures, FeatureJudge(source, (resolution, resolution), places=not whole))


def beside(source: str, size: tuple[int, int], groups: tuple[int, ...] = ()) -> dict[str, nn.Module]:
    """A feature judge as a family's network `feature_judge`; nothing without a source."""
    return {"feature_judge": FeatureJudge(source, size, groups)} if source else {}


def heads_optimizer(networks: Mapping[str, nn.Module], rate: float = 1e-3) -> dict[str, torch.optim.Optimizer]:
    """Adam for its heads, where there are any."""
    if "feature_judge" not in networks:
        return {}
    return {"feature_judge": torch.optim.Adam(networks["feature_judge"].parameters(), lr=rate, betas=(0.0, 0.99))}


def teach(
    run: Run,
    real: Tensor,
    made: Tensor,
    loss: Tensor,
    weight: float,
    label: Tensor | None = None,
    player: str = "generator",
) -> dict[str, Tensor]:
    """The generator's turn against its own discriminator, whose `loss` it is, and beside it the feature judge where the
    run has one; then the turn of that one's heads on the same pictures. What is to be logged of the latter.

    `real` and `made` are N x 1 or 3 x H x W in [0, 1], `label` N the classes of both, or N x groups; `player` is the
    optimizer of what made them.
    """
    if "feature_judge" not in run.networks:
        run.minimize(player, loss)
        return {}
    real, made = coloured(real), coloured(made)
    heads = calibrated(run, run.networks["feature_judge"], real)
    of_made = heads.features(made)
    logs = {"features": wasserstein_generator(matched(heads(of_made), label))}
    run.minimize(player, loss + weight * logs["features"])
    with torch.no_grad():
        both = [torch.cat(pair) for pair in zip(heads.features(real), of_made, strict=True)]
    of_real, again = heads(both).chunk(2)
    fits, fits_made = matched(of_real, label), matched(again, label)
    logs["feature judge"] = hinge_discriminator(fits, fits_made)
    logs["told apart by features"] = told_apart(fits, fits_made)
    if label is not None and of_real.shape[1] > 2:
        logs["feature judge"] = logs["feature judge"] + (1 + mismatched(of_real, label, heads.groups)).relu().mean()
        logs["classes told"] = named(of_real, label, heads.groups)
        logs["classes obeyed"] = named(again, label, heads.groups)
    run.minimize("feature_judge", logs["feature judge"])
    return logs


def calibrated(run: Run, judge: nn.Module, real: Tensor) -> FeatureJudge:
    """The feature judge, brought to scale by these pictures of all processes if it was not yet."""
    heads = judge.features if isinstance(judge, SeeingJudge) else judge
    assert isinstance(heads, FeatureJudge)
    if not heads.calibrated:
        heads.calibrate(run.mean(heads.energies(real)))
    return heads


def matched(scores: Tensor, label: Tensor | None) -> Tensor:
    """N x S, the larger the more real; with the classes' numbers (N, or N x groups) also the more of its classes."""
    return scores[:, 0] if label is None else scores[:, 0] + _own(scores, label).sum(1)


def mismatched(scores: Tensor, label: Tensor, groups: tuple[int, ...]) -> Tensor:
    """The same with one name wrong, under every wrong name: N x (classes - groups) x S."""
    own, count = _own(scores, label), scores.shape[1] - 1
    group = torch.arange(len(groups), device=scores.device).repeat_interleave(torch.tensor(groups).to(scores.device))
    swapped = matched(scores, label)[:, None] + scores[:, 1:] - own[:, group]
    wrong = torch.ones(len(scores), count, dtype=torch.bool, device=scores.device)
    wrong = wrong.scatter_(1, label.view(len(scores), -1), value=False)
    return swapped[wrong].view(len(scores), -1, scores.shape[2])


def named(scores: Tensor, label: Tensor, groups: tuple[int, ...]) -> Tensor:
    """Share of the classes that all places together name rightly."""
    right, means = list[Tensor](), scores[:, 1:].mean(2)
    for span, own in zip(spans(groups), label.view(len(scores), -1).unbind(1), strict=True):
        right.append((means[:, span.start : span.stop].argmax(1) == own - span.start).float().mean())
    return torch.stack(right).mean()


def _own(scores: Tensor, label: Tensor) -> Tensor:
    """The scores of the pictures' own classes: N x groups x S."""
    rows = label.view(len(scores), -1, 1)
    return scores[:, 1:].gather(1, rows.expand(-1, -1, scores.shape[2]))


def head(width: int, side: int, outputs: int) -> nn.Sequential:
    """Convolutions of stride 2 down to `CELLS` cells a side, then one place, or several of a larger picture."""
    parts = list[nn.Module]()
    while side // 2 >= CELLS:
        wider = min(WIDEST, 2 * width)
        parts += [spectral_norm(nn.Conv2d(width, wider, 4, 2, 1)), nn.LeakyReLU(0.2)]
        width, side = wider, side // 2
    return nn.Sequential(*parts, spectral_norm(nn.Conv2d(width, outputs, CELLS)))


def local_head(width: int, outputs: int) -> nn.Sequential:
    """A score at each place, by its neighbourhood alone: Isola et al. 2017, section 3.2.2, on features."""
    first, last = nn.Conv2d(width, WIDEST, 3, 1, 1), nn.Conv2d(WIDEST, outputs, 1)
    return nn.Sequential(spectral_norm(first), nn.LeakyReLU(0.2), spectral_norm(last))
