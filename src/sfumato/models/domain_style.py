"""A style loss for whole domains: what of the gap between two sets of pictures' feature statistics is left.

Gram matrices as a loss beside an adversarial one, of pictures without pairs: Chen, Liu & Chen 2019, "AnimeGAN: A Novel
Lightweight GAN for Photo Animation" (ISICA), with one drawn picture's matrices as the aim of every step. Here the aim
is the mean over the domain, and what is to reach it the mean over the translations: one of them may stay as far from
the mean as a real picture does. The gap is relative to the untranslated pictures' own, layer by layer, as elsewhere in
this package; beside the Gram matrices stand covariances, which is what of them is not colour and brightness.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sfumato.features.sources import load_features
from sfumato.losses.perceptual import distance_left, relative_gap
from sfumato.style.statistics import gram_matrix, moments
from sfumato.train.run import Run

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
DOMAIN, MADE = 0.005, 0.05
"""Least weights of a fresh batch in the running means: of real pictures, and of translations, which change."""


class DomainStyle:
    """The loss."""

    def __init__(self, source: str) -> None:
        """`source` and errors as in `load_features`."""
        self.network = load_features(source, pooling="max", padding="replicate")
        self.layers = [layer for layer in LAYERS if layer in self.network.layers]

    def __call__(self, run: Run, real: Mapping[str, Tensor], made: Mapping[str, Tensor]) -> Tensor:
        """Mean over domains and layers (scalar), 1 for translations that are not changed.

        `real` are batches of both domains "a" and "b", N x 3 x H x W in [0, 1], `made` the translations into one or
        both of them. The running means are `run.state`'s and survive a restart; every process has those of its own
        pictures.
        """
        with torch.no_grad():
            seen = {name: self.statistics(run, pictures) for name, pictures in real.items()}
        domain = {name: self.known(run, f"real {name}", fresh, DOMAIN) for name, fresh in seen.items()}
        gaps = list[Tensor]()
        for name, pictures in made.items():
            source = domain["ab".replace(name, "")]
            found = self.statistics(run, pictures)
            means = self.known(run, f"made {name}", found, MADE)
            for key, fresh in found.items():
                # the mean over many is what is judged, the fresh ones are what can still change
                now = fresh + (means[key] - fresh).detach()
                gaps.append(distance_left(relative_gap(now, source[key], domain[name][key])))
        return torch.cat(gaps).mean()

    def statistics(self, run: Run, pictures: Tensor) -> dict[str, Tensor]:
        """Mean Gram matrices and covariances of a batch, 1 x C x C for every layer that the network has."""
        found = dict[str, Tensor]()
        for layer, features in self.network.to(run.device)(pictures, self.layers).items():
            sums = moments(features)
            found[f"gram {layer}"] = gram_matrix(sums).mean(0, keepdim=True)
            found[f"covariance {layer}"] = sums.covariance.mean(0, keepdim=True)
        return found

    @torch.no_grad()
    def known(self, run: Run, name: str, fresh: Mapping[str, Tensor], least: float) -> dict[str, Tensor]:
        """The running means with a batch's statistics taken in: of all so far while they are few."""
        counted = run.state.get(f"style {name} count", torch.zeros(())) + 1
        run.state[f"style {name} count"] = counted
        weight = max(1 / float(counted), least)
        means = dict[str, Tensor]()
        for key, value in fresh.items():
            means[key] = run.state.get(f"style {name} {key}", value).lerp(value, weight)
            run.state[f"style {name} {key}"] = means[key]
        return means
