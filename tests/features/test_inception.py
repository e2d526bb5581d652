"""Inception-v3 by its published numbers: weights, names, TensorFlow 1's resizing, poolings without the border."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from sfumato.errors import InputError
from sfumato.features.inception import BlockE, Inception, averaged, enlarged, load_inception
from sfumato.metrics.embedding import InceptionEmbedding, load_embedding


@pytest.fixture(scope="module")
def network() -> Inception:
    torch.manual_seed(0)
    found = Inception().eval().requires_grad_(False)
    for module in found.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.8, 1.4)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    return found


def test_the_published_number_of_weights(network: Inception) -> None:
    """torchvision's 27,161,264 less 3,326,696 of the auxiliary head, and eight more classes of 2049 weights."""
    assert sum(p.numel() for p in network.parameters()) == 27_161_264 - 3_326_696 + 8 * 2049
    names = set(network.state_dict())
    for name in (
        "Conv2d_1a_3x3.conv.weight",
        "Mixed_6d.branch7x7dbl_5.bn.running_var",
        "Mixed_7c.branch3x3_2b.bn.bias",
    ):
        assert name in names
    assert network.state_dict()["Mixed_7b.branch3x3dbl_1.conv.weight"].shape == (448, 1280, 1, 1)


def test_resizing_is_tensorflow_1_s() -> None:
    """Pixel i is read at i H / side: 1 2 becomes 1 1.5 2 2, where centred pixels would give 1 1.25 1.75 2."""
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)
    wanted = torch.tensor([[1, 1.5, 2, 2], [2, 2.5, 3, 3], [3, 3.5, 4, 4], [3, 3.5, 4, 4]])
    assert torch.equal(enlarged(x, 4)[0, 0], wanted)
    assert torch.equal(
        enlarged(torch.arange(8.0).view(1, 1, 1, 8).expand(1, 1, 8, 8), 4)[0, 0, 0], torch.arange(0, 8.0, 2)
    )


def test_average_poolings_leave_the_border_out() -> None:
    torch.testing.assert_close(averaged(torch.ones(1, 2, 5, 5)), torch.ones(1, 2, 5, 5))
    torch.manual_seed(0)
    last = BlockE(2048, maximum=True).eval()
    x = torch.rand(1, 2048, 3, 3)
    pooled = F.relu(last.branch_pool.bn(last.branch_pool.conv(F.max_pool2d(x, 3, 1, 1))))
    torch.testing.assert_close(last(x)[:, -192:], pooled)


def test_a_file_in_the_published_layout_gives_features_and_the_unbiased_chances(
    network: Inception, tmp_path: Path
) -> None:
    state = network.state_dict() | {"AuxLogits.fc.weight": torch.zeros(1000, 768)}
    state = {k: v for k, v in state.items() if "num_batches" not in k}  # older files have none
    torch.save(state, tmp_path / "pt_inception.pth")
    embedding = load_embedding(tmp_path / "pt_inception.pth")
    assert isinstance(embedding, InceptionEmbedding)
    assert (embedding.title, embedding.name) == ("Inception-v3", "Inception-v3 (pt_inception.pth), pooled")
    pictures = torch.rand(2, 3, 20, 28)
    found = embedding(pictures)
    assert found.features.shape == (2, 2048)
    torch.testing.assert_close(found.features, network.features(pictures))
    assert found.chances is not None
    torch.testing.assert_close(found.chances, (found.features @ network.fc.weight.T).softmax(1))
    eight_bits = (pictures * 255).round() / 255
    torch.testing.assert_close(embedding(eight_bits).features, found.features)


def test_other_networks_are_refused(network: Inception, tmp_path: Path) -> None:
    state = network.state_dict()
    torch.save(state | {"fc.weight": torch.zeros(1000, 2048)}, tmp_path / "torchvision.pth")
    with pytest.raises(InputError, match=r"fc.weight should be \(1008, 2048\) and is \(1000, 2048\); torchvision's"):
        load_inception(tmp_path / "torchvision.pth")
    with pytest.raises(InputError, match="no feature network 'nothing'"):
        load_embedding("nothing")
