"""Thin gaps: polynomials that a plate must run through, scikit-image's solution, tiles."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sfumato.picture import plate as module
from sfumato.picture.membrane import membrane
from sfumato.picture.plate import plate


def gap(height: int = 40, width: int = 48) -> Tensor:
    """A slanted line, three pixels wide, and a dot."""
    hole = torch.zeros(1, 1, height, width)
    for k in range(6, 34):
        hole[..., k, k : k + 3] = 1
    hole[..., 10:12, 36:38] = 1
    return hole


def polynomial(height: int = 40, width: int = 48) -> Tensor:
    """Of the third degree: the Laplacian of its Laplacian is zero, in differences too; its Laplacian is not."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return torch.stack([0.5 + 0.3 * x * x + 0.2 * y * y, 0.4 + 0.3 * x**3 - 0.2 * x * y, 0.5 + 0.4 * x * y * y])[None]


def test_a_plate_runs_on_where_a_membrane_sags() -> None:
    whole, hole = polynomial(), gap()
    broken = torch.where(hole > 0, 7.0, whole)
    found = plate(broken, hole)
    assert torch.equal(found[hole.expand_as(found) == 0], whole[hole.expand_as(whole) == 0])
    torch.testing.assert_close(found, whole, atol=5e-4, rtol=0)
    assert float((membrane(broken, hole, 200) - whole).abs().max()) > 2e-3


def test_it_is_scikit_images() -> None:
    restoration = pytest.importorskip("skimage.restoration")
    picture, hole = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0)), gap()
    picture = torch.nn.functional.avg_pool2d(picture, 3, 1, 1)
    theirs = restoration.inpaint_biharmonic(
        picture[0].permute(1, 2, 0).double().numpy(), hole[0, 0].numpy() > 0, channel_axis=-1
    )
    ours = plate(picture, hole)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - theirs).max() < 0.01
    assert np.sqrt(np.square(ours - theirs).mean()) < 5e-4


def test_tiles_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, hole = torch.rand(1, 3, 90, 150, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 1, 90, 150)
    hole[..., 44:47, 5:140] = hole[..., 5:85, 62:65] = 1
    whole = plate(picture, hole)
    monkeypatch.setattr(module, "TILE", 64)
    torch.testing.assert_close(plate(picture, hole), whole, atol=2e-3, rtol=0)


def test_only_the_part_that_is_wanted_is_filled() -> None:
    picture, hole = polynomial(), gap()
    wanted = hole.clone()
    wanted[..., 20:, :] = 0
    found = plate(torch.where(hole > 0, 7.0, picture), hole, wanted)
    assert float((found - picture).abs()[wanted.expand_as(picture) > 0].max()) < 1e-3
    assert bool((found[(hole - wanted).expand_as(picture) > 0] == 7).all())
