"""The presets of the larger generators: their options exist, their networks can be built and are as large as said."""

import pytest
import torch

from sfumato.models import biggan
from sfumato.models.registry import family, summary
from sfumato.models.sampler import config_from
from sfumato.train import TrainOptions, presets, read_preset
from sfumato.train.options import check_values

MOST = {("stylegan2", "cpu"): 1e6, ("stylegan2", "gpu"): 25e6, ("pggan", "64"): 2e6, ("biggan", "64"): 6e6}
"""Weights of the averaged networks."""


@pytest.mark.parametrize("name", ["stylegan2", "pggan", "biggan"])
def test_every_preset_fits_its_family(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biggan, "spectral_norm", lambda layer, **_: layer)
    monkeypatch.setattr(biggan, "orthogonal", lambda layer: layer)
    module, about = family(name), summary(name)
    known = set(vars(about.config())) | set(vars(TrainOptions()))
    for preset in presets(name):
        chosen = read_preset(name, preset)
        assert set(chosen) <= known
        c = config_from(module.Config, {**vars(about.config()), **chosen, "classes": ["a", "b"]})
        check_values(c, module.RANGES)
        method = module.Method(c)
        with torch.device("meta"):
            networks = method.networks()
        if (name, preset) in MOST:
            weights = sum(p.numel() for k in method.averaged for p in networks[k].parameters())
            assert 0.3 * MOST[name, preset] < weights < MOST[name, preset]


@pytest.mark.parametrize("name", ["stylegan2", "pggan", "biggan"])
def test_help_knows_every_option(name: str) -> None:
    about = summary(name)
    assert about.roles == ("data",)
    assert set(about.docs) == set(vars(about.config()))
