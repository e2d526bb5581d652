"""Path lengths against closed forms of linear and quadratic generators, and the lazy penalty's derivative."""

import pytest
import torch

from sfumato.losses.path_length import DECAY, path_length_penalty, path_lengths


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_lengths_of_a_linear_generator() -> None:
    """x = A w: J^T y = A^T y / sqrt(H W), whatever w."""
    matrix, codes, noise = normal(0, 3 * 2 * 8, 5), normal(1, 4, 5).requires_grad_(), normal(2, 4, 3, 2, 8)
    pictures = (codes @ matrix.T).view(4, 3, 2, 8)
    wanted = (noise.flatten(1) @ matrix / 4).norm(dim=1)
    torch.testing.assert_close(path_lengths(pictures, codes, noise), wanted)


def test_an_orthogonal_generator_has_one_length_at_any_size() -> None:
    """Equation 4's reason: for J with orthonormal columns times s, E |J^T y| sqrt(H W) is s times the mean chi."""
    for side in (4, 8):
        matrix = 3 * torch.linalg.qr(normal(3, 3 * side * side, 2))[0]
        codes, noise = normal(4, 4000, 2).requires_grad_(), normal(5, 4000, 3, side, side)
        found = path_lengths((codes @ matrix.T).view(4000, 3, side, side), codes, noise)
        assert found.mean().item() * side == pytest.approx(3 * 1.2533, rel=0.03)


def test_a_code_a_layer_is_averaged_in_squares() -> None:
    codes, noise = normal(6, 2, 3, 4).requires_grad_(), normal(7, 2, 1, 2, 2)
    matrix = normal(8, 3, 4, 4)
    pictures = torch.einsum("nld,lpd->np", codes, matrix).view(2, 1, 2, 2)
    by_layer = torch.einsum("np,lpd->nld", noise.flatten(1) / 2, matrix).square().sum(2)
    torch.testing.assert_close(path_lengths(pictures, codes, noise), by_layer.mean(1).sqrt())


def test_the_penalty_trains_towards_the_mean() -> None:
    """x = s w^2 / 2: J = diag(s w), one length a sample; the penalty's slope in s against the closed form."""
    codes, noise = normal(9, 5, 4).requires_grad_(), normal(10, 5, 1, 2, 2)
    scale = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    pictures = (scale * codes.square() / 2).view(5, 1, 2, 2)
    lengths, mean = path_lengths(pictures, codes, noise), torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    penalty = path_length_penalty(lengths, mean)
    unit = (codes.detach() * noise.flatten(1) / 2).norm(dim=1)
    torch.testing.assert_close(penalty, ((1.7 * unit - 0.4) ** 2).mean())
    penalty.backward()
    assert scale.grad is not None
    torch.testing.assert_close(scale.grad, (2 * (1.7 * unit - 0.4) * unit).mean())
    assert mean.grad is None  # a constant
    assert DECAY == 0.01
