"""cells, stride and reach: what a tiled evaluation rests on."""

import copy

import pytest
import torch

from sfumato.features import FeatureNetwork
from sfumato.features.resnet import Conv, ResNet50
from sfumato.features.vgg import CONVS, VGG19, Weights

from .plain import PlainResNet, noise, off


@pytest.fixture(scope="module")
def resnet(plain_resnet: PlainResNet) -> ResNet50:
    return ResNet50(plain_resnet.state_dict(), name="random", sha256="0")


@pytest.mark.parametrize("side", [1, 2, 3, 15, 16, 31, 33, 70])
def test_cells_are_the_positions(vgg: VGG19, resnet: ResNet50, side: int) -> None:
    for network, layers in ((vgg, ("relu1_1", "relu2_1", "conv3_2", "relu4_1", "relu5_1")), (resnet, resnet.layers)):
        for layer, features in network(noise(1, 3, side, 19), layers).items():
            assert features.shape[2:] == (network.cells(side, layer), network.cells(19, layer)), layer


@pytest.mark.parametrize("shape", [(1, 1), (3, 70)])
def test_tiny_pictures_have_features_and_gradients(vgg: VGG19, resnet: ResNet50, shape: tuple[int, int]) -> None:
    for network, layer in ((vgg, "relu5_4"), (resnet, "stage4")):
        picture = noise(1, 3, *shape).requires_grad_()
        features = network(picture, [layer])[layer]
        features.sum().backward()
        assert features.isfinite().all()
        assert picture.grad is not None
        assert picture.grad.isfinite().all()


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("average", "relu2_2"),
        ("average", "relu5_1"),
        ("max", "relu4_4"),
        ("replicate", "relu5_1"),
        ("resnet", "stem"),
        ("resnet", "stage1.1"),
        ("resnet", "stage2"),
        ("resnet", "stage3.2"),
    ],
)
def test_a_crop_has_the_picture_s_features_outside_the_reach(
    weights: Weights, resnet: ResNet50, kind: str, layer: str
) -> None:
    network: FeatureNetwork = resnet
    if kind != "resnet":
        pooling, padding = "max" if kind == "max" else "average", "replicate" if kind == "replicate" else "zeros"
        network = VGG19(weights, pooling=pooling, padding=padding)  # type: ignore[arg-type]
    stride, reach, picture = network.stride(layer), network.reach(layer), noise(1, 3, 397, 21)
    whole = network(picture, [layer])[layer]
    for start, stop in ((96, 397), (0, 320), (32, 352)):
        part = network(picture[:, :, start:stop], [layer])[layer]
        first = start // stride
        last = first + part.shape[2]
        assert (last == whole.shape[2]) == (stop == 397)
        low = -(-(start + reach) // stride) if start else 0
        high = (stop - reach) // stride if stop < 397 else last
        assert first <= low < high <= last
        assert off(part[:, :, low - first : high - first], whole[:, :, low:high]) < 1e-5
        if start:
            assert off(part[:, :, :1], whole[:, :, first : first + 1]) > 1e-2
        if stop < 397:
            assert off(part[:, :, -1:], whole[:, :, last - 1 : last]) > 1e-2


@pytest.fixture(scope="module")
def positive(resnet: ResNet50) -> dict[str, FeatureNetwork]:
    """Two channels, all weights equal and positive: a brighter pixel brightens every position that sees it."""
    inputs = {conv: 3 if conv in ("1_1", "conv1") else 2 for conv in (*CONVS, *resnet.convs)}
    convs = {conv: (torch.full((2, inputs[conv], 3, 3), 1 / 18), torch.zeros(2)) for conv in CONVS}
    plain = Weights(convs, (0, 0, 0), (1, 1, 1), "positive", "0")
    thin = copy.copy(resnet)
    thin.convs = {
        k: Conv(torch.full((2, inputs[k], *c.weight.shape[2:]), 1 / c.weight[0, 0].numel()), torch.zeros(2), c.stride)
        for k, c in resnet.convs.items()
    }
    return {
        "average": VGG19(plain).to(dtype=torch.float64),
        "max": VGG19(plain, pooling="max").to(dtype=torch.float64),
        "resnet": thin.to(dtype=torch.float64),
    }


@pytest.mark.parametrize("kind", ["average", "max", "resnet"])
def test_the_reach_is_the_receptive_field_and_no_more(positive: dict[str, FeatureNetwork], kind: str) -> None:
    network = positive[kind]
    for layer in network.layers:
        stride, reach = network.stride(layer), network.reach(layer)
        at = -(-(reach + 1) // stride)  # a position whose field is wholly inside
        begin, end = at * stride - reach, (at + 1) * stride + reach
        # ResNet's positions are centred on the first pixel of their cell, so on the far side the cell is slack.
        last = end - 1 - (stride - 1 if kind == "resnet" else 0)
        rows = (slice(0, 0), slice(0, begin), slice(last + 1, None), slice(begin, begin + 1), slice(last, last + 1))
        pictures = torch.ones(len(rows), 3, end + stride, 1, dtype=torch.float64)
        for picture, brighter in zip(pictures, rows, strict=True):
            picture[:, brighter] = 9
        seen = network(pictures, [layer])[layer][:, 0, at, 0]
        assert (seen > seen[0]).tolist() == [False, False, False, True, True], layer
        assert torch.equal(seen[1:3], seen[:1].expand(2)), layer
