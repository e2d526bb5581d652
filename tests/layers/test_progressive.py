"""Equalised layers, pixel norm and minibatch deviation against their formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.layers.progressive import EqualConv, EqualLinear, minibatch_deviation, pixel_norm


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_outputs_have_the_variance_of_the_inputs_times_the_gain() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for layer, x, wanted in (
            (EqualLinear(400, 500), torch.randn(60, 400), 1.0),
            (EqualLinear(400, 500, rate=0.01), torch.randn(60, 400), 1.0),
            (EqualLinear(400, 500, gain=3), torch.randn(60, 400), 3.0),
            (EqualConv(80, 90, gain=1), torch.randn(4, 80, 12, 12), 1.0),
        ):
            y = layer(x)
            inside = y[..., 1:-1, 1:-1] if y.dim() == 4 else y
            assert inside.std().item() == pytest.approx(wanted, rel=0.05)
        relu = F.relu(EqualConv(80, 90)(torch.randn(4, 80, 12, 12)))[..., 1:-1, 1:-1]
        assert relu.square().mean().item() == pytest.approx(1.0, rel=0.1)  # He et al. 2015


def test_weights_are_kept_at_deviation_one_and_scaled_in_use() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        conv, linear = EqualConv(6, 300, 5, gain=2), EqualLinear(200, 300, bias=1, rate=0.01)
    assert conv.weight.std().item() == pytest.approx(1, rel=0.02)
    assert linear.weight.std().item() == pytest.approx(100, rel=0.02)
    x, row = torch.rand(2, 6, 7, 8), torch.rand(2, 200)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight * 2 / math.sqrt(6 * 25), padding=2))
    torch.testing.assert_close(linear(row), row @ linear.weight.T * 0.01 / math.sqrt(200) + 0.01)


def test_a_gain_multiplies_the_output_bias_included() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(6)
        conv, linear = EqualConv(3, 4, 3, stride=2, padding=0), EqualLinear(5, 4, bias=2, rate=0.1)
        conv.bias = torch.nn.Parameter(torch.randn(4))
    x, row = torch.rand(2, 3, 7, 7), torch.rand(2, 5)
    torch.testing.assert_close(conv(x, 1.7), 1.7 * conv(x))
    assert conv(x).shape == (2, 4, 3, 3)
    torch.testing.assert_close(linear(row, 1.7), 1.7 * linear(row))
    assert EqualConv(3, 4, bias=False)(x, 2.0).shape == (2, 4, 7, 7)


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_adam_moves_wide_and_narrow_layers_alike(rate: float) -> None:
    """One step changes the effective weights, relative to their size, by learning rate times `rate`."""
    for inputs in (16, 1024):
        with torch.random.fork_rng():
            torch.manual_seed(2)
            layer = EqualLinear(inputs, 8, rate=rate)
        before = layer.weight.detach().clone()
        adam = torch.optim.Adam(layer.parameters(), lr=1e-3)
        layer(torch.ones(1, inputs)).square().sum().backward()
        adam.step()
        moved = (layer.weight - before).abs().mean() / before.std()
        assert moved.item() == pytest.approx(1e-3 * rate, rel=0.1)


def test_pixel_norm_gives_every_position_the_mean_square_one() -> None:
    x = 5 * normal(3, 2, 7, 3, 4)
    y = pixel_norm(x)
    torch.testing.assert_close(y.square().mean(1), torch.ones(2, 3, 4, dtype=torch.float64))
    torch.testing.assert_close(y / y[:, :1], x / x[:, :1])  # the direction stays
    assert pixel_norm(torch.zeros(1, 4)).isfinite().all()


@pytest.mark.parametrize(("count", "group", "used"), [(8, 4, 4), (6, 4, 3), (4, 8, 4), (1, 4, 1), (5, 4, 1)])
def test_minibatch_deviation_is_the_groups(count: int, group: int, used: int) -> None:
    x = normal(4, count, 3, 2, 5)
    y = minibatch_deviation(x, group).double()
    assert torch.equal(y[:, :3], x)
    groups = count // used
    for i in range(count):
        members = x[i % groups :: groups]
        assert len(members) == used
        wanted = (members.std(0, correction=0) ** 2 + 1e-8).sqrt().mean().item()
        assert y[i, 3].min().item() == pytest.approx(wanted, rel=1e-5)
        assert y[i, 3].max().item() == pytest.approx(wanted, rel=1e-5)


def test_a_batch_of_copies_is_noticed() -> None:
    x = normal(5, 4, 3, 2, 2)
    assert minibatch_deviation(x)[:, 3].min() > 0.5
    assert minibatch_deviation(x[:1].expand(4, -1, -1, -1).contiguous())[:, 3].max() < 1e-3
