"""The networks of StyleGAN2, with the names and scales of the published ones, so that their weights fit.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN" (CVPR): modulated convolutions (section
2.2), a generator that adds up pictures and a residual discriminator (section 4.1); classes as in their ADA paper.
"""

import math
from typing import TYPE_CHECKING, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.layers.blur import blur, blur_double, blur_halve, conv_double
from sfumato.layers.progressive import EqualConv, EqualLinear, minibatch_deviation, pixel_norm

if TYPE_CHECKING:
    from sfumato.models.stylegan2 import Config

ROOT2 = math.sqrt(2)
JUDGE_LAYERS = 8
"""From a class to the discriminator's code for it."""
Noise = Literal["random", "fixed", "none"]


def leaky(x: Tensor) -> Tensor:
    """Without the factor sqrt 2 that keeps the variance: the layers have it in their weights."""
    return F.leaky_relu(x, 0.2)


def clamped(x: Tensor, most: float) -> Tensor:
    """Cut at +-`most`, as the ADA paper's authors do for half precision; 0 leaves all."""
    return x.clamp(-most, most) if most else x


def modulated_conv(x: Tensor, weight: Tensor, scale: Tensor, *, double: bool = False, gain: float = 1.0) -> Tensor:
    """Equations 1 and 3: every sample scales the weights' inputs, and their norm is divided out of the outputs.

    x N x I x h x w, weight O x I x 3 x 3, scale N x I. Scaling the activations before the convolution and its outputs
    after it is the same arithmetic as a convolution with weights of its own for every sample.
    """
    y = x * scale[:, :, None, None]
    y = conv_double(y, weight) if double else F.conv2d(y, weight, padding=1)
    with torch.autocast(x.device.type, enabled=False):
        energy = weight.square().sum((2, 3))
        norm = gain * (scale.to(weight.dtype).square() @ energy.T + 1e-8).rsqrt()
    return y * norm[:, :, None, None].to(y.dtype)


class Mapping(nn.Module):
    """z and class to w; in training it keeps the mean of w. All in float32."""

    def __init__(self, inputs: int, classes: int, outputs: int, layers: int) -> None:
        """Without `inputs`, classes alone."""
        super().__init__()
        self.classes, self.layers = classes, layers
        if classes:
            self.embed = EqualLinear(classes, outputs)
        for i in range(layers):
            width = outputs if i else inputs + (outputs if classes else 0)
            self.add_module(f"fc{i}", EqualLinear(width, outputs, rate=0.01))
        if inputs:
            self.register_buffer("w_avg", torch.zeros(outputs))

    def forward(self, z: Tensor | None, label: Tensor | None = None) -> Tensor:
        """N x code of z N x inputs and whole numbers N, or N x several that all hold."""
        parts = [] if z is None else [pixel_norm(z.float())]
        device = z.device if z is not None else cast(Tensor, label).device
        with torch.autocast(device.type, enabled=False):
            if self.classes:
                numbers = cast(Tensor, label)
                hot = F.one_hot(numbers.view(len(numbers), -1), self.classes).sum(1)
                parts.append(pixel_norm(self.embed(hot.float())))
            w = torch.cat(parts, 1)
            for i in range(self.layers):
                w = leaky(self.get_submodule(f"fc{i}")(w, ROOT2))
        if self.training and z is not None:
            cast(Tensor, self.w_avg).lerp_(w.detach().mean(0), 0.005)
        return w


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU; section 2.2."""

    def __init__(
        self, inputs: int, outputs: int, code: int, size: tuple[int, int], *, double: bool, clamp: float = 0.0
    ) -> None:
        super().__init__()
        self.doubles, self.clamp = double, clamp
        self.affine = EqualLinear(code, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(size))

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        y = modulated_conv(x, self.weight, self.affine(w), double=self.doubles, gain=ROOT2)
        added = (self.bias * ROOT2)[:, None, None]
        if noise != "none":
            fixed = cast(Tensor, self.noise_const)
            field = torch.randn(len(y), 1, *y.shape[2:], device=y.device) if noise == "random" else fixed
            added = added + field * (self.noise_strength * ROOT2)
        return clamped(leaky(y + added.to(y.dtype)), self.clamp)


class ToRGB(nn.Module):
    """Modulated without demodulation, 1 x 1."""

    def __init__(self, inputs: int, code: int, *, clamp: float = 0.0) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = EqualLinear(code, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        scale = self.affine(w) / math.sqrt(x.shape[1])
        weights = self.weight[:, :, 0, 0] * scale[:, None]
        colors: Tensor = (weights @ x.flatten(2)).view(len(x), 3, *x.shape[2:])
        return clamped(colors.float() + self.bias[:, None, None], self.clamp)


class SynthesisBlock(nn.Module):
    """One size of the generator: two convolutions (one on the constant at the first size), its part of the picture."""

    def __init__(self, c: "Config", level: int) -> None:
        super().__init__()
        size, width = (c.start[0] << level, c.start[1] << level), c.width(level)
        if level:
            self.conv0 = StyledConv(c.width(level - 1), width, c.code, size, double=True, clamp=c.clamp)
        else:
            self.const = nn.Parameter(torch.randn(width, *size))
        self.conv1 = StyledConv(width, width, c.code, size, double=False, clamp=c.clamp)
        self.torgb = ToRGB(width, c.code, clamp=c.clamp)

    def forward(
        self, x: Tensor | None, picture: Tensor | None, ws: list[Tensor], noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """`ws` are the block's own and the next one's first, which colours this one's picture."""
        *ws, last = ws
        x = self.const.expand(len(last), -1, -1, -1) if x is None else self.conv0(x, ws.pop(0), noise)
        x = self.conv1(x, ws[0], noise)
        colors = self.torgb(x, last)
        with torch.autocast(x.device.type, enabled=False):
            whole: Tensor = colors if picture is None else blur_double(picture) + colors
        return x, whole


class Synthesis(nn.Module):
    """Codes to pictures, each size adding to the enlarged picture of the one before (section 4.1)."""

    def __init__(self, c: "Config") -> None:
        super().__init__()
        for level in range(c.doublings() + 1):
            self.add_module(f"b{4 << level}", SynthesisBlock(c, level))

    def forward(self, ws: Tensor, noise: Noise = "random") -> Tensor:
        """N x 3 x H x W, about [0, 1], of N x layers x code."""
        codes, at = ws.unbind(1), 1
        x, picture = self.get_submodule("b4")(None, None, list(codes[:2]), noise)
        for block in list(self.children())[1:]:
            x, picture = block(x, picture, list(codes[at : at + 3]), noise)
            at += 2
        made: Tensor = (picture + 1) / 2
        return made


class DiscriminatorBlock(nn.Module):
    """Two convolutions and a skip, half the sides; section 4.1."""

    def __init__(self, inputs: int, outputs: int, *, first: bool) -> None:
        super().__init__()
        if first:
            self.fromrgb = EqualConv(3, inputs, 1, gain=1)
        self.conv0 = EqualConv(inputs, inputs, 3, gain=1)
        self.conv1 = EqualConv(inputs, outputs, 3, gain=1, stride=2, padding=0)
        self.skip = EqualConv(inputs, outputs, 1, gain=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "fromrgb"):
            x = leaky(self.fromrgb(x, ROOT2))
        beside = self.skip(blur_halve(x), 1 / ROOT2)
        y = leaky(self.conv1(blur(leaky(self.conv0(x, ROOT2)), 2)))  # sqrt 2 sqrt 1/2
        whole: Tensor = y + beside
        return whole


class DiscriminatorEnd(nn.Module):
    """Minibatch deviation, a convolution, two layers to a score or a code of it; in float32."""

    def __init__(self, width: int, cells: int, outputs: int) -> None:
        super().__init__()
        self.conv = EqualConv(width + 1, width, 3, gain=1)
        self.fc = EqualLinear(width * cells, width)
        self.out = EqualLinear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = leaky(self.conv(minibatch_deviation(x.float()), ROOT2))
            found: Tensor = self.out(leaky(self.fc(x.flatten(1), ROOT2)))
            return found


class Discriminator(nn.Module):
    """Pictures N x 3 x H x W in [0, 1], and their classes, to N scores.

    With classes the score is a product with the class's code (Miyato & Koyama 2018).
    """

    def __init__(self, c: "Config") -> None:
        super().__init__()
        top, width = c.doublings(), c.width(0)
        self.levels = range(top, 0, -1)
        for level in self.levels:
            block = DiscriminatorBlock(c.width(level), c.width(level - 1), first=level == top)
            self.add_module(f"b{4 << level}", block)
        self.b4 = DiscriminatorEnd(width, c.start[0] * c.start[1], width if c.classes else 1)
        if c.classes:
            self.mapping = Mapping(0, len(c.classes), width, JUDGE_LAYERS)

    def forward(self, pictures: Tensor, label: Tensor | None = None) -> Tensor:
        x = pictures * 2 - 1
        for level in self.levels:
            x = self.get_submodule(f"b{4 << level}")(x)
        found: Tensor = self.b4(x)
        if not hasattr(self, "mapping"):
            return found[:, 0]
        scores: Tensor = (found * self.mapping(None, label)).sum(1) / math.sqrt(found.shape[1])
        return scores
