"""Colours carried along surfaces."""

import torch

from sfumato.picture.spread import FIRM, spread


def test_one_value_on_an_even_surface_is_everywhere() -> None:
    given = torch.zeros(1, 1, 9, 12)
    given[..., 4, 5] = 1
    values = torch.zeros(1, 2, 9, 12)
    values[..., 4, 5] = torch.tensor([30.0, -50.0])
    found = spread(values, given, torch.full((1, 1, 9, 12), 0.5))
    torch.testing.assert_close(found, values[..., 4:5, 5:6].expand_as(found), atol=1e-3, rtol=0)


def test_edges_hold_values_apart_and_they_keep_their_places() -> None:
    light = torch.full((1, 1, 12, 20), 0.2)
    light[..., 10:] = 0.9
    given, values = torch.zeros(1, 1, 12, 20), torch.zeros(1, 1, 12, 20)
    given[..., 6, 2] = given[..., 6, 17] = 1
    values[..., 6, 2], values[..., 6, 17] = 40.0, -40.0
    found = spread(values, given, light)
    assert float(found[..., 6, 2]) > 39.5
    assert float(found[..., :10].min()) > 30
    assert float(found[..., 10:].max()) < -30


def test_the_form_is_minimal() -> None:
    """The derivative of the quadratic form in the docstring vanishes."""
    torch.manual_seed(0)
    light, given = torch.rand(1, 1, 7, 6), (torch.rand(1, 1, 7, 6) < 0.2).float()
    values = torch.randn(1, 1, 7, 6)
    x = spread(values, given, light, pull=0.3).double().requires_grad_()
    total = FIRM * (given * (x - values).square()).sum() + 0.3 * x.square().sum()
    for y in range(7):
        for column in range(6):
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                a, b = y + down, column + right
                if a < 7 and 0 <= b < 6:
                    w = torch.exp(-((light[0, 0, y, column] - light[0, 0, a, b]).double() ** 2) / (2 * 0.05**2)) + 1e-5
                    total = total + w * (x[0, 0, y, column] - x[0, 0, a, b]) ** 2
    (gradient,) = torch.autograd.grad(total, x)
    assert float(gradient.abs().max()) < 1e-3


def test_nothing_given_is_nothing_and_a_pull_makes_values_fade() -> None:
    light = torch.full((1, 1, 15, 15), 0.5)
    none = torch.zeros(1, 1, 15, 15)
    assert torch.equal(spread(torch.ones(1, 2, 15, 15), none, light), torch.zeros(1, 2, 15, 15))
    given = none.clone()
    given[..., 7, 7] = 1
    line = spread(given, given, light, pull=0.1)[0, 0, 7, 7:]
    assert bool((line.diff() < 0).all())
    assert float(line[-1]) < 0.3 * float(line[0])
