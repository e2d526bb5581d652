"""Small generators, not trained, whose pictures vary with their codes."""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from sfumato.models import biggan, dcgan, stylegan2
from sfumato.models.encoder import open_space
from sfumato.models.latent import Space
from sfumato.models.stylegan2_networks import Mapping
from sfumato.weights.files import save_model

STYLEGAN2 = stylegan2.Config(resolution=16, code=6, channel_base=64, channel_max=8, features="")


def style_generator(path: Path, classes: tuple[str, ...] = (), resolution: int = 16) -> Path:
    """A StyleGAN2 of 16 px and 6 layers of codes, or of another size."""
    torch.manual_seed(3)
    c = stylegan2.Config(**{**asdict(STYLEGAN2), "classes": classes, "resolution": resolution})
    networks = stylegan2.Method(c).networks()
    for name, p in networks["synthesis"].named_parameters():
        if "affine.weight" in name:
            torch.nn.init.normal_(p, std=1.5)
    mapping = networks["mapping"]
    assert isinstance(mapping, Mapping)
    noise = torch.randn(2000, 6)
    label = torch.arange(2000) % len(classes) if classes else None
    with torch.no_grad():
        mapping.get_buffer("w_avg").copy_(mapping(noise, label).mean(0))
    kept = {k: networks[k] for k in stylegan2.Method.averaged}
    save_model(path, "stylegan2", asdict(c), kept, {}, dtype=torch.float32)
    return path


def class_generator(path: Path) -> Path:
    """A BigGAN of 16 px, two classes and 3 layers of codes."""
    torch.manual_seed(4)
    c = biggan.Config(resolution=16, width=2, chunk=3, embedding=5, classes=("a", "b"), features="")
    generator = biggan.Generator(c)
    biggan.settle(generator, ((torch.randn(16, c.latent()), torch.arange(16) % 2) for _ in range(4)))
    save_model(path, "biggan", asdict(c), {"generator": generator}, {}, dtype=torch.float32)
    return path


def plain_generator(path: Path) -> Path:
    """A DCGAN of 16 px and 5 numbers of noise."""
    torch.manual_seed(0)
    c = dcgan.Config(resolution=16, width=4, latent=5)
    generator = dcgan.Method(c).networks()["generator"]
    for p in generator.parameters():
        torch.nn.init.normal_(p, std=0.4)
    save_model(path, "dcgan", asdict(c), {"generator": generator}, {}, dtype=torch.float32)
    return path


MAKERS = {"stylegan2": style_generator, "biggan": class_generator, "dcgan": plain_generator}


def space_of(folder: Path, kind: str) -> Space:
    return open_space(MAKERS[kind](folder / f"{kind}.safetensors"))[0]


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())
