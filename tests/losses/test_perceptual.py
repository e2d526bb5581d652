"""Total variation against closed forms."""

import pytest
import torch

from sfumato.losses.perceptual import add_total_variation, content_distance, relative_gap, total_variation


def test_total_variation_of_a_ramp_is_the_sum_of_squared_slopes() -> None:
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(5.0), indexing="ij")
    ramp = (0.03 * y - 0.05 * x).expand(2, 3, 7, 5).double()
    assert total_variation(ramp).item() == pytest.approx(0.03**2 + 0.05**2, rel=1e-5)


def test_total_variation_of_an_edge_and_of_a_flat_picture() -> None:
    edge = torch.zeros(1, 3, 4, 6)
    edge[..., 2:] = 0.5
    assert total_variation(edge).item() == pytest.approx(0.25 / 5)  # one of five steps across, none down
    assert total_variation(edge.mT).item() == pytest.approx(0.25 / 5)
    assert total_variation(torch.full((1, 3, 4, 6), 0.7)) == 0


def test_total_variation_does_not_grow_with_the_picture() -> None:
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    board = (torch.arange(64).view(8, 8) // 8 + torch.arange(8)) % 2
    small, large = board.expand(1, 3, 8, 8).float(), board.repeat(4, 4).expand(1, 3, 32, 32).float()
    assert total_variation(small) == total_variation(large) == 2
    assert total_variation(x) > 0


@pytest.mark.parametrize(("shape", "wanted"), [((1, 1), 0.0), ((1, 5), 0.04), ((5, 1), 0.04)])
def test_sides_of_one_pixel_have_no_neighbours(shape: tuple[int, int], wanted: float) -> None:
    line = (0.2 * torch.arange(max(shape))).view(shape).expand(1, 3, *shape).clone().requires_grad_()
    found = total_variation(line)
    assert found.item() == pytest.approx(wanted)
    (gradient,) = torch.autograd.grad(found, line, allow_unused=True) if found.requires_grad else (torch.zeros(1),)
    assert torch.isfinite(gradient).all()


def test_total_variation_gradient() -> None:
    x = torch.rand(1, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(total_variation, x.requires_grad_())


@pytest.mark.parametrize(
    ("shape", "band"), [((1, 3, 7, 5), 3), ((1, 3, 6, 4), 2), ((2, 3, 1, 4), 1), ((1, 1, 5, 1), 256)]
)
def test_total_variation_in_bands_is_autograds(shape: tuple[int, ...], band: int) -> None:
    x = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    whole = total_variation(x)
    (wanted,) = torch.autograd.grad(1.7 * whole, x)
    gradient = torch.ones_like(x)
    value = add_total_variation(x.detach(), gradient, 1.7, band)
    assert value == pytest.approx(whole.item(), rel=1e-12)
    torch.testing.assert_close(gradient, 1 + wanted, rtol=0, atol=1e-12)


def test_content_distance_is_the_formula_in_float64() -> None:
    torch.manual_seed(1)
    f, g = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)
    for n, found in enumerate(content_distance(f, g)):
        a, b = (x[n].double().flatten(1).numpy() for x in (f, g))
        a, b = ((x - x.mean(1, keepdims=True)) / x.std(1, ddof=1, keepdims=True) for x in (a, b))
        wanted = ((a - b) ** 2).sum() / ((a**2).sum() + (b**2).sum())
        assert found.item() == pytest.approx(wanted, rel=1e-4)


def test_content_distance_ignores_contrast_and_brightness_of_a_channel() -> None:
    torch.manual_seed(1)
    f = torch.randn(1, 3, 8, 8)
    assert content_distance(f, 3 * f + 7).item() < 1e-6
    assert content_distance(f, -f).item() == pytest.approx(2.0, rel=1e-4)


def test_relative_gap_is_one_untouched_and_none_at_the_goal() -> None:
    a, b = torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([[3.0, 0.0], [3.0, 0.0]])
    assert relative_gap(a, a, b).tolist() == [1.0, 1.0]
    assert relative_gap(b, a, b).tolist() == [0.0, 0.0]
    assert relative_gap((a + b) / 2, a, b).tolist() == [0.25, 0.25]


def test_a_style_that_the_content_has_is_measured_against_its_own_size() -> None:
    wanted = torch.tensor([[2.0, 0.0]])
    found = relative_gap(wanted + 0.1, wanted + 0.001, wanted, floor=0.5)
    assert found.item() == pytest.approx(0.02 / (0.5 * 4), rel=1e-4)
