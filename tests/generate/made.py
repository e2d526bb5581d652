"""Small generators, not trained: what they make is the same for everyone who asks alike."""

from dataclasses import asdict
from pathlib import Path

import torch

from sfumato.models import dcgan, infogan
from sfumato.weights.files import save_model


def plain(path: Path, resolution: int = 16) -> Path:
    """A DCGAN whose pictures differ from one another."""
    torch.manual_seed(0)
    c = dcgan.Config(resolution=resolution, width=4, latent=5)
    networks = dcgan.Method(c).networks()
    for p in networks["generator"].parameters():
        torch.nn.init.normal_(p, std=0.4)
    save_model(path, "dcgan", asdict(c), {"generator": networks["generator"]}, {}, dtype=torch.float32)
    return path


def with_codes(path: Path) -> Path:
    """An InfoGAN with a code of three categories and two values."""
    torch.manual_seed(0)
    c = infogan.Config(resolution=8, channels=3, width=4, latent=5, hidden=8, categorical=(3,), continuous=2)
    networks = infogan.Method(c).networks()
    for p in networks["generator"].parameters():
        torch.nn.init.normal_(p, std=0.4)
    save_model(path, "infogan", asdict(c), networks, {}, dtype=torch.float32)
    return path
