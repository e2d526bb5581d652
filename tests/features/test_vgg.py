"""VGG-19 against a plain one written in conftest.py from the wheel's raw file."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.features.vgg import CONVS, LAYERS, VGG19, Padding, Pooling, Weights

from .plain import noise, off

Plain = Callable[..., dict[str, Tensor]]


@pytest.mark.parametrize(("pooling", "padding"), [("average", "zeros"), ("max", "zeros"), ("average", "replicate")])
def test_every_layer_equals_the_plain_network(
    weights: Weights, plain_vgg: Plain, pooling: Pooling, padding: Padding
) -> None:
    picture = noise(1, 3, 75, 90) if pooling == "max" else noise(2, 3, 47, 35)
    network: FeatureNetwork = VGG19(weights, pooling=pooling, padding=padding)
    ours, plain = network(picture, LAYERS), plain_vgg(picture, pooling, padding)
    assert tuple(ours) == LAYERS == network.layers
    assert max(off(ours[layer], plain[layer]) for layer in LAYERS) < 1e-4


def test_conv_layers_are_before_the_relu_and_relu_layers_do_not_change_with_them(vgg: VGG19) -> None:
    picture = noise(1, 3, 32, 32)
    both = vgg(picture, ["relu3_1", "conv3_1"])
    assert list(both) == ["relu3_1", "conv3_1"]  # in the order asked
    assert (both["conv3_1"] < 0).any()
    assert torch.equal(both["relu3_1"], F.relu(both["conv3_1"]))
    assert torch.equal(both["relu3_1"], vgg(picture, ["relu3_1"])["relu3_1"])
    assert torch.equal(both["conv3_1"], vgg(picture, ["conv3_1"])["conv3_1"])


@pytest.mark.parametrize("last", ["conv1_1", "relu2_2", "conv3_1", "relu4_1"])
def test_nothing_past_the_last_layer_is_computed(weights: Weights, vgg: VGG19, last: str) -> None:
    network, picture = VGG19(weights), noise(1, 3, 32, 32)
    for conv in CONVS[CONVS.index(last[4:]) + 1 :]:
        network.convs[conv] = (torch.zeros(7, 7, 3, 3),) * 3  # does not fit: any use of it raises
    layers = ["relu1_1", last]
    got, whole = network(picture, layers), vgg(picture, [*layers, "relu5_4"])
    assert all(torch.equal(got[layer], whole[layer]) for layer in layers)
    with pytest.raises(RuntimeError, match="channels"):
        network(picture, ["relu5_4"])


def test_the_gradient_reaches_the_picture_as_autograd_has_it(weights: Weights, plain_vgg: Plain) -> None:
    network, layers = VGG19(weights).to(dtype=torch.float64), ("conv2_1", "relu3_2", "relu4_1")
    ours, plain = (noise(1, 3, 26, 21).double().requires_grad_() for _ in range(2))
    got, reference = network(ours, layers), plain_vgg_double(plain_vgg, plain)
    sum(got[k].square().mean() for k in layers).backward()  # type: ignore[union-attr]
    sum(reference[k].square().mean() for k in layers).backward()  # type: ignore[union-attr]
    assert ours.grad is not None
    assert plain.grad is not None
    assert off(ours.grad, plain.grad) < 1e-6


def plain_vgg_double(plain: Plain, picture: Tensor) -> dict[str, Tensor]:
    """The plain network with its convolutions in the picture's float64."""
    conv2d = F.conv2d
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "conv2d", lambda x, w, b: conv2d(x, w.double(), b.double()))
        return plain(picture)


def test_bfloat16_is_close(weights: Weights, vgg: VGG19) -> None:
    picture, layers = noise(1, 3, 32, 32), ("relu1_1", "relu2_1")  # small: emulated here, and slow
    rough, fine = VGG19(weights).to(dtype=torch.bfloat16)(picture, layers), vgg(picture, layers)
    for layer in layers:
        assert rough[layer].dtype == torch.bfloat16
        assert 0 < off(rough[layer], fine[layer]) < 0.02


def test_there_and_back_changes_nothing(weights: Weights, vgg: VGG19) -> None:
    network, picture = VGG19(weights), noise(1, 3, 64, 64)
    assert network.to("cpu") is network
    assert torch.equal(network(picture, ["relu3_1"])["relu3_1"], vgg(picture, ["relu3_1"])["relu3_1"])
    network.to(dtype=torch.float64).to(dtype=torch.float32)
    assert off(network(picture, ["relu3_1"])["relu3_1"], vgg(picture, ["relu3_1"])["relu3_1"]) < 1e-5


def test_an_unknown_layer_names_the_nearest(vgg: VGG19) -> None:
    for ask in (lambda n: vgg(noise(1, 3, 8, 8), ["relu1_1", n]), vgg.stride, vgg.reach, lambda n: vgg.cells(8, n)):
        with pytest.raises(InputError, match=r"unknown layer 'relu_4_1': did you mean 'relu4_1'\?"):
            ask("relu_4_1")


def test_no_layers_no_work(vgg: VGG19) -> None:
    assert vgg(noise(1, 3, 8, 8), []) == {}
