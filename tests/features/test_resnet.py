"""ResNet-50 against a plain one written in conftest.py, with random weights and random batch statistics."""

import pytest
import torch

from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.features.resnet import LAYERS, PLACES, ResNet50

from .plain import PlainResNet, noise, off


@pytest.fixture(scope="module")
def resnet(plain_resnet: PlainResNet) -> ResNet50:
    return ResNet50(plain_resnet.state_dict(), name="random", sha256="0")


@pytest.mark.parametrize("shape", [(2, 3, 65, 38), (1, 3, 64, 32), (1, 3, 1, 1), (1, 3, 3, 70)])
def test_every_layer_equals_the_plain_network(
    plain_resnet: PlainResNet, resnet: ResNet50, shape: tuple[int, ...]
) -> None:
    picture, network = noise(*shape), resnet
    conforms: FeatureNetwork = network
    ours, plain = conforms(picture, LAYERS), plain_resnet(picture)
    assert tuple(ours) == LAYERS
    assert max(off(ours[layer], plain[layer]) for layer in LAYERS) < 1e-4


def test_nothing_past_the_last_layer_is_computed(plain_resnet: PlainResNet, resnet: ResNet50) -> None:
    picture = noise(1, 3, 40, 40)
    whole = resnet(picture, LAYERS)
    for last in ("stem", "stage1.2", "stage3.1"):
        network = ResNet50(plain_resnet.state_dict(), name="random", sha256="0")
        for later in LAYERS[LAYERS.index(last) + 1 :]:
            network.convs = {k: c for k, c in network.convs.items() if not k.startswith(f"{PLACES[later]}.")}
        got = network(picture, [last, "stem"])
        assert list(got) == ([last, "stem"] if last != "stem" else ["stem"])
        assert all(torch.equal(got[layer], whole[layer]) for layer in got)
        with pytest.raises(KeyError):
            network(picture, ["stage4"])


def test_the_gradient_reaches_the_picture_as_autograd_has_it(plain_resnet: PlainResNet, resnet: ResNet50) -> None:
    ours, plain = (noise(1, 3, 48, 37).requires_grad_() for _ in range(2))
    sum(resnet(ours, ["stage1", "stage3"])[k].square().mean() for k in ("stage1", "stage3")).backward()  # type: ignore[union-attr]
    sum(plain_resnet(plain)[k].square().mean() for k in ("stage1", "stage3")).backward()
    assert ours.grad is not None
    assert plain.grad is not None
    assert off(ours.grad, plain.grad) < 1e-3


def test_moved_and_cast(plain_resnet: PlainResNet, resnet: ResNet50) -> None:
    picture, network = noise(1, 3, 32, 32), ResNet50(plain_resnet.state_dict(), name="random", sha256="0")
    assert network.to("cpu", torch.float64) is network
    fine = network(picture, ["stage2"])["stage2"]
    assert fine.dtype == torch.float64
    assert off(resnet(picture, ["stage2"])["stage2"], fine) < 1e-5


def test_what_is_not_a_resnet_50(plain_resnet: PlainResNet, resnet: ResNet50) -> None:
    state = plain_resnet.state_dict()
    bad = {
        r"no layer3\.4\.bn2\.running_var\)": {k: v for k, v in state.items() if k != "layer3.4.bn2.running_var"},
        r"layer1\.0\.conv1 has shape \(64, 64, 3, 3\), not \(64, 64, 1, 1\)": state  # ResNet-34
        | {"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)},
        r"it has layer3\.6 too": state | {"layer3.6.conv1.weight": torch.zeros(256, 1024, 1, 1)},  # ResNet-101
    }
    for message, table in bad.items():
        with pytest.raises(InputError, match=rf"^this\.pth: not a ResNet-50 .*{message}"):
            ResNet50(table, name="this.pth", sha256="0")
    with pytest.raises(InputError, match=r"did you mean 'stage3'\?"):
        resnet(noise(1, 3, 8, 8), ["stage_3"])
    assert resnet(noise(1, 3, 8, 8), []) == {}
