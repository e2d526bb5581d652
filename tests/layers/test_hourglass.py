"""The small U-Net: its reach is what it says, and without biases it is homogeneous."""

import torch

from sfumato.layers.hourglass import Hourglass


def awake(net: Hourglass) -> Hourglass:
    """With weights large enough that every layer matters."""
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.1)
    return net.eval()


def test_nothing_beyond_the_reach_is_seen() -> None:
    torch.manual_seed(0)
    net = awake(Hourglass(3, 2, (4, 6, 8), 1)).double()
    assert net.stride == 8
    side, at = 2 * net.reach + 32, net.reach + 16
    x = torch.rand(1, 3, side, side, dtype=torch.float64)
    changed = x.clone()
    changed[:, :, at, at] += 1
    with torch.no_grad():
        where = (net(changed) - net(x)).abs().amax((0, 1)).nonzero()
    furthest = int((where - at).abs().max())
    assert net.stride < furthest <= net.reach


def test_without_biases_twice_the_input_gives_twice_the_output() -> None:
    torch.manual_seed(1)
    net = awake(Hourglass(3, 3, (4, 8), 1, bias=False, beside=1))
    x, level = torch.rand(2, 3, 16, 24), torch.rand(2, 1, 8, 12)
    with torch.no_grad():
        assert torch.allclose(net(2 * x, 2 * level), 2 * net(x, level), atol=1e-5)
        assert not torch.allclose(net(x, level), net(x, 2 * level), atol=1e-4)


def test_a_fresh_network_learns() -> None:
    torch.manual_seed(2)
    net = Hourglass(1, 1, (8, 12), 1)
    x = torch.rand(4, 1, 16, 16)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(80):
        loss = (net(x) - x.flip(3)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.15
