"""Codes of every family in one form: pictures as the family's own sampler makes them, styles moved by hand."""

from pathlib import Path

import pytest
import torch
from edit.made import MAKERS, space_of
from torch import Tensor

from sfumato.generate.sampling import load_sampler
from sfumato.models.encoder import open_space
from sfumato.models.latent import styled


@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_space_paints_what_the_sampler_paints(tmp_path: Path, kind: str) -> None:
    path = MAKERS[kind](tmp_path / "g.safetensors")
    sampler, _ = load_sampler(path)
    space, _ = open_space(path)
    codes = space.draw([1, 2, 3])
    assert codes.shape == (3, space.layers, space.width)
    with torch.no_grad():
        wanted = sampler.paint(sampler.draw([1, 2, 3]))
    torch.testing.assert_close(space.show(codes), wanted, atol=1e-6, rtol=0)
    assert float((wanted[0] - wanted[1]).abs().mean()) > 0.01  # the codes matter


@pytest.mark.parametrize("kind", list(MAKERS))
def test_every_layer_moves_the_picture_and_gets_a_gradient(tmp_path: Path, kind: str) -> None:
    space = space_of(tmp_path, kind)
    codes = space.draw([5]).requires_grad_()
    (gradient,) = torch.autograd.grad(space.paint(codes).square().sum(), codes)
    assert bool((gradient[0].abs().sum(1) > 0).all())
    assert not any(p.requires_grad for p in space.network.parameters())


@pytest.mark.parametrize("kind", ["stylegan2", "biggan"])
def test_a_reader_gives_its_matrix_times_the_code(tmp_path: Path, kind: str) -> None:
    """Moving a layer's code by v moves what its reader gives by A v."""
    space = space_of(tmp_path, kind)
    codes = space.draw([1])
    for reader in space.readers:
        step = torch.zeros_like(codes)
        step[:, reader.layer] = torch.randn(space.width, generator=torch.Generator().manual_seed(1))
        seen = list[Tensor]()
        hook = space.network.get_submodule(reader.name).register_forward_hook(lambda _m, _i, out, s=seen: s.append(out))
        with torch.no_grad():
            space.paint(codes)
            space.paint(codes + step)
        hook.remove()
        wanted = reader.matrix(space.network) @ step[0, reader.layer]
        torch.testing.assert_close((seen[1] - seen[0])[0].flatten(), wanted.detach(), atol=1e-5, rtol=1e-4)


def test_styles_are_moved_and_put_back(tmp_path: Path) -> None:
    space = space_of(tmp_path, "stylegan2")
    codes, name = space.draw([1]), "b8.conv1.affine"
    before = space.show(codes)
    with styled(space, {name: torch.full((8,), 2.0)}):
        inside = space.show(codes)
    assert not torch.equal(inside, before)
    assert torch.equal(space.show(codes), before)
    space.network.get_submodule(name).get_parameter("bias").add_(2.0)  # the same by hand
    torch.testing.assert_close(space.show(codes), inside, atol=1e-6, rtol=0)


def test_a_noise_generators_first_matrix(tmp_path: Path) -> None:
    space = space_of(tmp_path, "dcgan")
    (reader,) = space.readers
    found, codes = reader.matrix(space.network), space.draw([1, 2])
    layer = next(m for m in space.network.modules() if isinstance(m, torch.nn.ConvTranspose2d))
    with torch.no_grad():
        a, b = (layer(x.view(1, 5, 1, 1)).flatten() for x in codes[:, 0])
    torch.testing.assert_close(b - a, found.detach() @ (codes[1] - codes[0])[0], atol=1e-5, rtol=1e-4)
