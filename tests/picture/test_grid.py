"""Fields of affine colour maps."""

import pytest
import torch
import torch.nn.functional as F

from sfumato.picture.grid import applied, hats, identity, roughness, sliced, summed


def fields(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_slicing_is_trilinear_interpolation() -> None:
    """Against PyTorch's, at positions where both are defined: the pixels' centres, the corners at -1 and 1."""
    grids, guide = fields(2, 12, 5, 3, 4), torch.rand(1, 1, 9, 13, dtype=torch.float64)
    y, x = ((2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1 for n in (9, 13))
    at = torch.stack([*torch.meshgrid(x, y, indexing="xy"), 2 * guide[0, 0] - 1], -1)
    wanted = F.grid_sample(grids, at[None, None].expand(2, -1, -1, -1, -1), align_corners=True)[:, :, 0]
    torch.testing.assert_close(sliced(grids, guide, slice(0, 9), 9), wanted)
    parts = [sliced(grids, guide[:, :, a:b], slice(a, b), 9) for a, b in ((0, 4), (4, 5), (5, 9))]
    torch.testing.assert_close(torch.cat(parts, 2), wanted)


def test_hats_are_a_partition() -> None:
    weights = hats(torch.linspace(-0.5, 1.5, 41, dtype=torch.float64), 6)
    torch.testing.assert_close(weights.sum(1), torch.ones(41, dtype=torch.float64))
    assert weights.min() == 0
    assert int((weights > 0).sum(1).max()) == 2


def test_maps_are_affine_and_the_identity_changes_nothing() -> None:
    colors = torch.rand(1, 3, 6, 7, dtype=torch.float64)
    still = identity(colors).flatten()[None, :, None, None].expand(1, 12, 6, 7)
    torch.testing.assert_close(applied(still, colors), colors, rtol=0, atol=1e-15)
    matrices = fields(1, 12, 6, 7)
    m = matrices[0, :, 2, 5].view(3, 4)
    wanted = m[:, :3] @ (colors[0, :, 2, 5] - 0.5) + m[:, 3] + 0.5
    torch.testing.assert_close(applied(matrices, colors)[0, :, 2, 5], wanted)


def test_levels_add_up_to_the_function_that_each_is() -> None:
    coarse, fine, guide = fields(1, 12, 1, 1, 1), fields(1, 12, 4, 2, 3), torch.rand(1, 1, 8, 8, dtype=torch.float64)
    middle = fields(1, 12, 4, 1, 1, seed=2)
    each = sum(sliced(g, guide, slice(0, 8), 8) for g in (coarse, middle, fine))
    torch.testing.assert_close(sliced(summed([coarse, middle, fine]), guide, slice(0, 8), 8), each)


@pytest.mark.parametrize("nodes", [3, 9])
def test_roughness_is_of_the_field_not_of_its_nodes(nodes: int) -> None:
    """A slope of 2 across the picture and of 3 along the luminance, in one of the 12 numbers."""
    grid = torch.zeros(1, 12, nodes, nodes, nodes, dtype=torch.float64)
    side = torch.linspace(0, 1, nodes, dtype=torch.float64)
    grid[0, 5] = 2 * side[None, None, :] + 3 * side[:, None, None]
    assert float(roughness(grid, 0.2)) == pytest.approx(2**2 + 0.2 * 3**2)
    assert float(roughness(torch.ones_like(grid))) == 0
