import pytest
import torch

from sfumato.losses.orthogonal import orthogonal_penalty


def test_sum_of_squared_products_of_different_filters() -> None:
    noise = torch.Generator().manual_seed(0)
    conv = torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=noise)
    matrix = torch.randn(2, 5, dtype=torch.float64, generator=noise)
    wanted = 0.0
    for weight in (conv.flatten(1), matrix):
        wanted += sum(float(a @ b) ** 2 for i, a in enumerate(weight) for j, b in enumerate(weight) if i != j)
    assert orthogonal_penalty([conv, matrix]).item() == pytest.approx(wanted)


def test_orthogonal_filters_of_any_length_pay_nothing_and_descent_leads_there() -> None:
    rows = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    lengths = torch.tensor([0.1, 1, 3, 10], dtype=torch.float64)[:, None]
    assert orthogonal_penalty([rows[:4] * lengths]).item() == pytest.approx(0, abs=1e-20)
    weight = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    before = orthogonal_penalty([weight]).item()
    for _ in range(200):
        (gradient,) = torch.autograd.grad(orthogonal_penalty([weight]), weight)
        weight = (weight - 0.01 * gradient).detach().requires_grad_()
    assert orthogonal_penalty([weight]).item() < 1e-3 * before
    assert weight.norm(dim=1).min() > 1  # not by shrinking


def test_nothing_to_regularise() -> None:
    with pytest.raises(ValueError, match="no weights"):
        orthogonal_penalty([])
