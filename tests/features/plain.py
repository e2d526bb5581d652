"""What the tests of `features` share: a distance, noise, and a plain ResNet-50 that knows nothing of sfumato."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def off(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|."""
    assert a.shape == b.shape
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / b.norm())


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


class Bottleneck(nn.Module):
    """He et al. 2016, v1.5, with torchvision's names."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = None
        if inputs != 4 * width or stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class PlainResNet(nn.Module):
    """ResNet-50 as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for stage, (count, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 1):
            blocks = []
            for b in range(count):
                blocks.append(Bottleneck(inputs, width, 2 if b == 0 and stage > 1 else 1))
                inputs = 4 * width
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(2048, 2)  # a classifier's head, which the feature network must not mind

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        x = (picture - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
        found = {"stem": F.relu(self.bn1(self.conv1(x)))}
        x = F.max_pool2d(found["stem"], 3, 2, 1)
        for stage in range(1, 5):
            for b, block in enumerate(self.get_submodule(f"layer{stage}").children(), 1):
                found[f"stage{stage}.{b}"] = x = block(x)
            found[f"stage{stage}"] = x
        return found
