import torch
import torch.nn.functional as F

from sfumato.layers.modulated import Conv, ModulatedConv, double, spread


def layer(inputs: int = 3, outputs: int = 4) -> ModulatedConv:
    torch.manual_seed(0)
    return ModulatedConv(inputs, outputs, code=5)


def test_one_code_is_stylegan2_s_demodulated_weight() -> None:
    """Equations 1 and 3 of the paper on the weights themselves, then the shift."""
    net, x, code = layer(), torch.randn(2, 3, 6, 7), torch.randn(2, 1, 5)
    for n in range(2):
        s = net.scale(code[n, 0])
        w = net.weight * s[None, :, None, None]
        w = w / (w.square().sum((1, 2, 3), keepdim=True) + 1e-6).sqrt()
        wanted = F.conv2d(F.pad(x[n : n + 1], (1, 1, 1, 1), "replicate"), w) * 2**0.5
        wanted += net.shift(code[n, 0])[:, None, None]
        torch.testing.assert_close(net(x, code)[n : n + 1], wanted, atol=1e-5, rtol=1e-5)


def test_every_region_is_steered_by_its_own_code() -> None:
    net, x, codes = layer(), torch.randn(1, 3, 6, 8), torch.randn(1, 2, 5)
    regions = torch.zeros(1, 2, 6, 8)
    regions[:, 0, :, :4], regions[:, 1, :, 4:] = 1, 1
    both = net(x, codes, regions)
    # a 3 x 3 kernel looks one position across the border, where inputs are scaled otherwise
    torch.testing.assert_close(both[..., :3], net(x, codes[:, :1])[..., :3])
    torch.testing.assert_close(both[..., 5:], net(x, codes[:, 1:])[..., 5:])
    assert (both[..., :3] - net(x, codes[:, 1:])[..., :3]).abs().max() > 0.1


def test_noise_is_added_by_channel_strength() -> None:
    net, x, code, noise = layer(), torch.randn(1, 3, 4, 4), torch.randn(1, 1, 5), torch.randn(1, 1, 4, 4)
    with torch.no_grad():
        net.strength.copy_(torch.tensor([0.0, 0.5, 1.0, -1.0]))
    added = net(x, code, noise=noise) - net(x, code)
    torch.testing.assert_close(added, noise * net.strength[:, None, None], atol=1e-6, rtol=0)


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
