"""Two-part convolutions against the ones they come from."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.features import sources
from sfumato.features.low_rank import fit_factors, low_rank, multiplications, reduced_rank
from sfumato.features.sources import load_features
from sfumato.features.vgg import VGG19, Weights
from sfumato.weights.files import save_model

LAYERS = ("relu1_2", "relu2_1", "relu3_1")


def small(width: int = 16) -> Weights:
    """A VGG-19 of equal widths whose responses lie near few directions."""
    chance, convs, inputs = torch.Generator().manual_seed(0), dict[str, tuple[Tensor, Tensor]](), 3
    for conv in ("1_1", "1_2", "2_1", "2_2", "3_1"):
        weight = torch.randn(width, inputs, 3, 3, generator=chance) / (9 * inputs) ** 0.5
        if conv != "1_1":  # most of what it says is in four directions
            axes = torch.linalg.qr(torch.randn(width, width, generator=chance)).Q * 0.5 ** torch.arange(width)
            weight = torch.einsum("oc,cikl->oikl", axes * width**0.5, weight)
        convs[conv], inputs = (weight, 0.3 * torch.randn(width, generator=chance)), width
    return Weights(convs, (0.5, 0.5, 0.5), (2.0, 2.0, 2.0), "small", "")


def pictures(seed: int) -> Tensor:
    noise = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, 48, mode="bicubic").clamp(0, 1)


def error(weights: Weights, exact: Weights) -> float:
    with torch.no_grad():
        found, wanted = (VGG19(w)(pictures(1), ["relu3_1"])["relu3_1"] for w in (weights, exact))
    return float((found - wanted).square().sum() / wanted.square().sum())


def test_all_directions_are_the_network_itself() -> None:
    exact = small()
    same = low_rank(exact, fit_factors(exact, pictures(0), 0.0, "3_1"), "same", "")
    assert [len(up.squeeze().T) for up in same.ups.values()] == [16] * 4
    with torch.no_grad():
        found, wanted = (VGG19(w, pooling="max")(pictures(1), LAYERS) for w in (same, exact))
    for layer in LAYERS:
        torch.testing.assert_close(found[layer], wanted[layer], atol=2e-3, rtol=2e-3)  # the regression is damped


def test_half_the_directions_lose_little_and_less_than_the_kernels_own_best_half() -> None:
    """Against each layer's truncated singular value decomposition of the same ranks, which looks at no picture."""
    exact = small()
    factors = fit_factors(exact, pictures(0), 0.02, "3_1")
    blind = dict[str, tuple[Tensor, Tensor, Tensor]]()
    for conv, (down, _, _) in factors.items():
        assert len(down) == 8
        weight, bias = exact.convs[conv]
        axes = torch.linalg.svd(weight.flatten(1))[0][:, : len(down)]
        blind[conv] = (axes.T.contiguous(), axes, bias)
    fitted = error(low_rank(exact, factors, "fitted", ""), exact)
    assert fitted < 0.01
    assert fitted < 0.5 * error(low_rank(exact, blind, "blind", ""), exact)


def test_reduced_rank_regression_has_the_least_error_of_its_rank() -> None:
    """Equation of Eckart & Young on the fitted values: what is left is the discarded eigenvalues plus the noise."""
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(24, 4000, generator=chance, dtype=torch.float64)
    y = torch.randn(24, 24, generator=chance, dtype=torch.float64) @ x + 3
    down, up, offset = reduced_rank(x, y, 0.25)
    assert len(down) in (8, 16)
    left = (up @ (down @ x) + offset[:, None] - y).square().sum()
    centred = y - y.mean(1, keepdim=True)
    values = torch.linalg.svdvals(centred).square()
    assert float(left) == pytest.approx(float(values[len(down) :].sum()), rel=1e-3)
    assert float(values[len(down) :].sum() / values.sum()) <= 0.25


def test_its_gradient_is_the_composition_s() -> None:
    exact = small()
    near = low_rank(exact, fit_factors(exact, pictures(0), 0.05, "3_1"), "near", "")
    x = pictures(2).requires_grad_()
    (found,) = torch.autograd.grad(VGG19(near)(x, ["relu3_1"])["relu3_1"].square().sum(), x)

    h = (x - 0.5) * 2
    for conv, (weight, bias) in near.convs.items():
        if conv.endswith("_1") and conv != "1_1":
            h = F.avg_pool2d(h, 2)
        h = F.conv2d(h, weight, padding=1)
        h = F.relu((F.conv2d(h, near.ups[conv]) if conv in near.ups else h) + bias[:, None, None])
    (wanted,) = torch.autograd.grad(h.square().sum(), x)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


def test_fewer_multiplications_are_counted() -> None:
    exact = small()
    near = low_rank(exact, fit_factors(exact, pictures(0), 0.02, "3_1"), "near", "")
    whole, eight = 9 * 16 * 16, 9 * 16 * 8 + 8 * 16
    assert multiplications(exact, "3_1") == 9 * 3 * 16 + whole + 2 * whole / 4 + whole / 16
    assert multiplications(near, "3_1") == 9 * 3 * 16 + eight + 2 * eight / 4 + eight / 16


def held(factors: Mapping[str, tuple[Tensor, Tensor, Tensor]]) -> nn.Module:
    holder = nn.ModuleDict()
    for conv, (down, up, bias) in factors.items():
        holder[conv] = nn.Module()
        for name, part in (("down", down), ("up", up), ("bias", bias)):
            holder[conv].register_buffer(name, part)
    return holder


def test_a_file_of_factors_is_a_feature_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = small()
    monkeypatch.setattr(sources, "wheel_weights", lambda: exact)
    factors = fit_factors(exact, pictures(0), 0.02, "3_1")
    save_model(tmp_path / "lite.safetensors", "low_rank", {}, {"factors": held(factors)}, {}, torch.float32)
    network = load_features(tmp_path / "lite.safetensors")
    wanted = VGG19(low_rank(exact, factors, "", ""))(pictures(1), LAYERS)
    for layer, f in network(pictures(1), LAYERS).items():
        torch.testing.assert_close(f, wanted[layer])
    with pytest.raises(InputError, match="unknown layer"):
        network(pictures(1), ["relu3_2"])  # as far as there are factors

    monkeypatch.setattr(sources, "wheel_weights", lambda: small(24))
    with pytest.raises(InputError, match="conv1_2 are not for small"):
        load_features(tmp_path / "lite.safetensors")
    holder = held(factors)
    del holder["2_1"].up
    save_model(tmp_path / "less.safetensors", "low_rank", {}, {"factors": holder}, {}, torch.float32)
    with pytest.raises(InputError, match="lack one of down, up and bias"):
        load_features(tmp_path / "less.safetensors")
