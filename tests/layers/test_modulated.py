import torch
import torch.nn.functional as F

from sfumato.layers.modulated import FLOOR, AdaptiveConv, Conv, channel_statistics, double, spread


def layer(inputs: int = 3, outputs: int = 4) -> AdaptiveConv:
    torch.manual_seed(0)
    return AdaptiveConv(inputs, outputs, code=5)


def test_it_is_adaptive_instance_norm() -> None:
    """Equation 8 of the paper, picture by picture."""
    net, x, code = layer(), torch.randn(2, 3, 6, 7), torch.randn(2, 1, 5)
    for n in range(2):
        y = F.conv2d(F.pad(x[n : n + 1], (1, 1, 1, 1), "replicate"), net.weight)
        y = (y - y.mean((2, 3), keepdim=True)) / (y.var((2, 3), correction=0, keepdim=True) + FLOOR).sqrt()
        wanted = y * net.scale(code[n, 0])[:, None, None] + net.shift(code[n, 0])[:, None, None]
        torch.testing.assert_close(net(x, code)[n : n + 1], wanted, atol=1e-5, rtol=1e-5)


def test_given_statistics_take_the_place_of_its_own() -> None:
    net, x, code = layer(), torch.randn(1, 3, 8, 12), torch.randn(1, 1, 5)
    made = F.conv2d(F.pad(x, (1, 1, 1, 1), "replicate"), net.weight)
    mean, deviation = channel_statistics(made)
    own = {net: (mean[None, None], deviation[None, None])}
    torch.testing.assert_close(net(x, code, statistics=own), net(x, code), atol=1e-5, rtol=1e-5)
    other = {net: (mean[None, None] + 1, 2 * deviation[None, None])}
    wanted = (made - mean[:, None, None] - 1) / (2 * deviation[:, None, None])
    wanted = wanted * net.scale(code)[0, 0][:, None, None] + net.shift(code)[0, 0][:, None, None]
    torch.testing.assert_close(net(x, code, statistics=other), wanted, atol=1e-5, rtol=1e-5)


def test_statistics_are_those_of_all_parts_together() -> None:
    parts = 3 + torch.randn(3, 4, 5, 6)
    mean, deviation = channel_statistics(parts)
    flat = parts.transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean, flat.mean(1))
    torch.testing.assert_close(deviation, (flat.var(1, correction=0) + FLOOR).sqrt())


def test_one_position_is_no_number_divided_by_nothing() -> None:
    net = layer()
    x, code = torch.randn(1, 3, 1, 1), torch.randn(1, 1, 5)
    torch.testing.assert_close(net(x, code).flatten(), net.shift(code).flatten())


def test_every_region_is_steered_by_its_own_code() -> None:
    net, x, codes = layer(), torch.randn(1, 3, 6, 8), torch.randn(1, 2, 5)
    regions = torch.zeros(1, 2, 6, 8)
    regions[:, 0, :, :4], regions[:, 1, :, 4:] = 1, 1
    both = net(x, codes, regions)
    torch.testing.assert_close(both[..., :4], net(x, codes[:, :1])[..., :4])
    torch.testing.assert_close(both[..., 4:], net(x, codes[:, 1:])[..., 4:])
    assert (both[..., :4] - net(x, codes[:, 1:])[..., :4]).abs().max() > 0.1


def test_noise_is_added_by_channel_strength() -> None:
    net, x, code, noise = layer(), torch.randn(1, 3, 4, 4), torch.randn(1, 1, 5), torch.randn(1, 1, 4, 4)
    with torch.no_grad():
        net.strength.copy_(torch.tensor([0.0, 0.5, 1.0, -1.0]))
    added = net(x, code, noise=noise) - net(x, code)
    wanted = noise * (net.strength * net.scale(code)[0, 0])[:, None, None]
    torch.testing.assert_close(added, wanted, atol=1e-6, rtol=0)


def test_soft_regions_are_mixtures() -> None:
    values, regions = torch.tensor([[[1.0], [3.0]]]), torch.tensor([[[[0.25]], [[0.75]]]])
    assert spread(values, regions).item() == 2.5


def test_a_flat_picture_stays_flat_to_its_border() -> None:
    flat = torch.full((1, 3, 8, 8), 0.7)
    for net in (Conv(3, 4), Conv(3, 4, 5), Conv(3, 4, 4, stride=2)):
        y = net(flat)
        assert y.shape[2:] == ((4, 4) if net.stride == 2 else (8, 8))
        assert (y - y[:, :, :1, :1]).abs().max() < 1e-6


def test_doubling_keeps_the_mean_and_centres() -> None:
    x = torch.randn(1, 2, 5, 6)
    y = double(x)
    assert y.shape == (1, 2, 10, 12)
    ramp = double(torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4))
    torch.testing.assert_close(ramp[0, 0, 3, 1:-1], torch.arange(0.25, 3.0, 0.5))
