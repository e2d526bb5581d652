"""Inception-v3 as the FID knows it, from a local file in its published layout.

Szegedy, Vanhoucke, Ioffe, Shlens & Wojna, "Rethinking the Inception Architecture for Computer Vision" (CVPR 2016), in
the TensorFlow graph of 2015-12-05, on whose 2048 pooled features the FID is defined (Heusel et al. 2017). The file is
that of the usual PyTorch ports (`pt_inception-2015-12-05-6726825d.pth`): torchvision's names, 1008 classes. The graph
differs from torchvision's network: average poolings leave the border out of the count, the last block pools by maximum,
and pictures are enlarged to 299 x 299 without centring pixels, as TensorFlow 1 did.
"""

import hashlib
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.features.sources import read_state

SIDE = 299
CLASSES, FEATURES = 1008, 2048


class Conv(nn.Module):
    """Convolution, batch normalisation, rectifier."""

    def __init__(self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, pad: bool = True):
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if pad else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def averaged(x: Tensor) -> Tensor:
    """3 x 3 means at the same size, of the positions inside the picture."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class BlockA(nn.Module):
    """Figure 5: 35 x 35."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(inputs, 48, 1), Conv(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(inputs, 64, 1), Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3)
        self.branch_pool = Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        five = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(averaged(x))], 1)


class BlockB(nn.Module):
    """Figure 10: 35 x 35 to 17 x 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(inputs, 384, 3, 2, pad=False)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(inputs, 64, 1), Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3, 2, pad=False)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class BlockC(nn.Module):
    """Figure 6: 17 x 17, convolutions of 1 x 7 and 7 x 1."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        across, down = (1, 7), (7, 1)
        self.branch1x1 = Conv(inputs, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Conv(inputs, width, 1), Conv(width, width, across)
        self.branch7x7_3 = Conv(width, 192, down)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Conv(inputs, width, 1), Conv(width, width, down)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Conv(width, width, across), Conv(width, width, down)
        self.branch7x7dbl_5 = Conv(width, 192, across)
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(averaged(x))], 1)


class BlockD(nn.Module):
    """17 x 17 to 8 x 8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(inputs, 192, 1), Conv(192, 320, 3, 2, pad=False)
        self.branch7x7x3_1, self.branch7x7x3_2 = Conv(inputs, 192, 1), Conv(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = Conv(192, 192, (7, 1)), Conv(192, 192, 3, 2, pad=False)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_2(self.branch7x7x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(seven))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, 2)], 1)


class BlockE(nn.Module):
    """Figure 7: 8 x 8; in the graph the last of its two blocks pools by maximum."""

    def __init__(self, inputs: int, *, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        across, down = (1, 3), (3, 1)
        self.branch1x1, self.branch3x3_1 = Conv(inputs, 320, 1), Conv(inputs, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, across), Conv(384, 384, down)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(inputs, 448, 1), Conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(384, 384, across), Conv(384, 384, down)
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, 1, 1) if self.maximum else averaged(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(parts, 1)


class Inception(nn.Module):
    """Pictures N x 3 x H x W in [0, 1] to 2048 features, and from them 1008 scores."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Conv(3, 32, 3, 2, pad=False), Conv(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3, self.Conv2d_3b_1x1 = Conv(32, 64, 3), Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, pad=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a, self.Mixed_6b, self.Mixed_6c = BlockB(288), BlockC(768, 128), BlockC(768, 160)
        self.Mixed_6d, self.Mixed_6e, self.Mixed_7a = BlockC(768, 160), BlockC(768, 192), BlockD(768)
        self.Mixed_7b, self.Mixed_7c = BlockE(1280, maximum=False), BlockE(2048, maximum=True)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def features(self, pictures: Tensor) -> Tensor:
        """N x 2048; pictures are taken at the 8 bits that a file holds."""
        x = (enlarged((pictures * 255).round().clamp(0, 255), SIDE) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        found: Tensor = x.mean((2, 3))
        return found

    def chances(self, features: Tensor) -> Tensor:
        """N x 1008, without the layer's bias, as the Inception Score's own code has it."""
        return F.linear(features, self.fc.weight).softmax(1)


def enlarged(x: Tensor, side: int) -> Tensor:
    """N x C x H x W at side x side as TensorFlow 1's bilinear resizing: pixel i is read at i H / side, no smoothing."""
    rows, columns = (_lines(size, side).to(x) for size in x.shape[2:])
    return rows @ x @ columns.mT


def _lines(size: int, side: int) -> Tensor:
    """side x size weights of one axis."""
    at = torch.arange(side, dtype=torch.float64) * (size / side)
    low = at.floor().long().clamp(max=size - 1)
    high, share = (low + 1).clamp(max=size - 1), at - low
    weights = torch.zeros(side, size, dtype=torch.float64)
    line = torch.arange(side)
    weights[line, low] += 1 - share
    weights[line, high] += share
    return weights


def load_inception(path: Path) -> tuple[Inception, str]:
    """The network in eval mode and the file's sha256; heads for training are left out. Raises `InputError`."""
    state = {k: v for k, v in read_state(path).items() if not k.startswith("AuxLogits.")}
    network = Inception()
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, tensor)
            continue
        if name not in state or state[name].shape != tensor.shape:
            found = tuple(state[name].shape) if name in state else "nothing"
            raise InputError(
                f"{path}: not the Inception-v3 of the FID ({name} should be {tuple(tensor.shape)} and is {found}; "
                "torchvision's own has 1000 classes and other poolings)"
            )
    network.load_state_dict({name: state[name] for name in wanted})
    return network.eval().requires_grad_(False), hashlib.sha256(path.read_bytes()).hexdigest()
