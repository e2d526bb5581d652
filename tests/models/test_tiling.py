"""Networks over tiles: tiled equals whole, any size."""

import pytest
import torch
from torch import Tensor

from sfumato.layers.hourglass import Hourglass
from sfumato.models.tiling import over_tiles, padded_to


@pytest.mark.parametrize("size", [(150, 203), (64, 64), (9, 130), (1, 1)])
def test_tiled_equals_whole(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = Hourglass(4, 2, (4, 6), 1).eval()
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.2)
    planes = torch.rand(1, 4, *size)
    with torch.no_grad():
        whole = net(padded_to(planes, 4))[:, :, : size[0], : size[1]]
    tiled = over_tiles(net, planes, align=net.stride, halo=net.reach, tile=32)
    assert tiled.shape == (1, 2, *size)
    assert torch.allclose(tiled, whole, atol=1e-5)


def test_crops_are_bounded_and_cover_everything_once() -> None:
    seen = list[tuple[int, int]]()

    def network(crop: Tensor) -> Tensor:
        seen.append((crop.shape[2], crop.shape[3]))
        return crop + 1

    planes = torch.rand(2, 3, 300, 210)
    assert torch.equal(over_tiles(network, planes, align=8, halo=16, tile=64), planes + 1)
    assert len(seen) == 5 * 4
    assert max(max(s) for s in seen) <= 64 + 2 * 16
    assert all(h % 8 == 0 and w % 8 == 0 for h, w in seen)
