"""The residual network that translates pictures: narrow to a quarter of the sides, residual blocks, back.

Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution" (ECCV), with instance norm
(Ulyanov et al. 2016), in the form of Zhu et al. 2017 (CycleGAN), section 7.2: c7s1-64, d128, d256, R256 x blocks, u128,
u64, c7s1-3. Instance norm has no weights and no running statistics: a picture is normalised by its own.
"""

from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.layers.modulated import double
from sfumato.layers.winograd import convolution3
from sfumato.picture.guided import guided_filter

Upsampling = Literal["transposed", "bilinear", "nearest"]
THIN = 8
"""Channels out below which a large kernel goes by its adjoint."""
INSIDE = 0.96
"""Of the range of a tanh that a picture takes where it is painted onto: at its ends nothing would be learnt."""
QUICK = 10.0
"""How much faster than the convolutions' weights, which are small, a tint's twelve numbers learn."""
AROUND = 3
"""Pixels that `simplified` looks around itself, twice."""
CELL = 4
"""Pixels a side of what becomes one position; sides must be multiples of it."""


class InstanceNorm(nn.InstanceNorm2d):
    """N x C x h x w, every channel of every picture at mean 0 and deviation 1: PyTorch's, but faster on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            return F.group_norm(x.contiguous(), self.num_features, eps=self.eps)  # groups of one channel
        y: Tensor = super().forward(x)
        return y


class Reflected(nn.Conv2d):
    """Odd `kernel`, borders reflected, sides kept: `nn.Conv2d`, by the way that is fastest on CPUs."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        reach = self.kernel_size[0] // 2
        x = F.pad(x, (reach, reach, reach, reach), "reflect")
        if reach == 1:
            return convolution3(x, self.weight, self.bias)
        if x.device.type == "cpu" and self.out_channels < THIN <= self.in_channels:
            adjoint = self.weight.flip(2, 3).transpose(0, 1)  # the same sums, which oneDNN splits up better
            return F.conv_transpose2d(x, adjoint, self.bias, padding=2 * reach)
        return F.conv2d(x, self.weight, self.bias)


class Antialiased(nn.Module):
    """3 x 3, borders reflected: 2 x 2 weights, and the mean of 2 x 2 after them.

    What alternates from one position to the next does not come through: residual blocks at stride 4 make lattices of it
    where a picture is flat, each block those of the one before twice as strong. Zhang 2019, "Making Convolutional
    Networks Shift-Invariant Again" (ICML), section 3, has blurs after convolutions; here it is one convolution.
    """

    def __init__(self, inputs: int, outputs: int, *, groups: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(0.04 * torch.randn(outputs, inputs // groups, 2, 2))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def kernel(self) -> Tensor:
        """outputs x inputs / groups x 3 x 3."""
        mean = self.weight.new_full((1, 1, 2, 2), 0.25)
        spread = F.conv2d(self.weight.flatten(0, 1)[:, None], mean, padding=1)
        return spread.view(*self.weight.shape[:2], 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), self.kernel(), self.bias, groups=self.groups)


def convolution(
    inputs: int, outputs: int, kernel: int = 3, *, separable: bool = False, antialias: bool = False
) -> nn.Module:
    """Odd `kernel`, borders reflected, sides kept; `separable`: every channel by itself, then all channels a pixel;
    `antialias`: 3 x 3 that no alternation passes."""
    reach = kernel // 2
    if not separable:
        return Antialiased(inputs, outputs) if antialias else Reflected(inputs, outputs, kernel)
    own: nn.Module
    if antialias:
        own = Antialiased(inputs, inputs, groups=inputs, bias=False)
    else:
        own = nn.Conv2d(inputs, inputs, kernel, padding=reach, padding_mode="reflect", groups=inputs, bias=False)
    return nn.Sequential(own, nn.Conv2d(inputs, outputs, 1))


def normed(layer: nn.Module, channels: int) -> nn.Sequential:
    """The layer, instance norm, ReLU."""
    return nn.Sequential(layer, InstanceNorm(channels), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """x + norm(conv(relu(norm(conv(x)))))."""

    def __init__(self, channels: int, *, separable: bool = False, antialias: bool = False) -> None:
        super().__init__()
        first, second = (convolution(channels, channels, separable=separable, antialias=antialias) for _ in range(2))
        self.body = nn.Sequential(*normed(first, channels), second, InstanceNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y


class Doubling(nn.Module):
    """Twice the sides: a transposed convolution, or enlarged and then convolved, which draws no checkerboard.

    Odena, Dumoulin & Olah 2016, "Deconvolution and Checkerboard Artifacts".
    """

    def __init__(self, inputs: int, outputs: int, upsampling: Upsampling) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.conv: nn.Module
        if upsampling == "transposed":
            self.conv = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)
        else:
            self.conv = convolution(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.upsampling == "bilinear":
            x = double(x)
        elif self.upsampling == "nearest":
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        y: Tensor = self.conv(x)
        return y


class Parts(NamedTuple):
    """A network of this kind, part after part, for whoever computes a picture piece by piece."""

    stem: tuple[nn.Module, ...]
    """`normed` layers that end at strides 1, 2 and 4."""
    inner: tuple[nn.Module, ...]
    """At stride 4: `Residual`, or a convolution that sees its neighbours."""
    rise: tuple[nn.Module, ...]
    """`normed` `Doubling`s that end at strides 2 and 1."""
    leave: nn.Module
    """7 x 7: three channels, or four with a mask."""
    onto: "Tint | None" = None
    """Painted onto the picture in these colours, see `painted`."""


class Tint(nn.Module):
    """Pictures N x 3 x H x W in [0, 1] to what a tanh makes them of, in other colours: a linear map, learnt.

    Instance norm hides a picture's own colours from the layers, which so cannot take off what they do not see.
    """

    def __init__(self, simplify: float = 0.0) -> None:
        """Begins with every colour as it is; texture that deviates by less than `simplify` is taken off."""
        super().__init__()
        self.simplify = simplify
        self.change, self.shift = nn.Parameter(torch.zeros(3, 3)), nn.Parameter(torch.zeros(3))

    def forward(self, pictures: Tensor) -> Tensor:
        pictures = pictures.to(self.change.dtype)
        x = bare(simplified(pictures, self.simplify) if self.simplify else pictures)
        weight = torch.eye(3, dtype=x.dtype, device=x.device) + QUICK * self.change
        return F.conv2d(x, weight[:, :, None, None], QUICK * self.shift)


class Through(nn.Module):
    """Within `Parts.inner`: the latents are joined by the picture's cells, and what they show is painted onto."""

    def __init__(self, look: nn.Module, show: nn.Module, simplify: float = 0.0) -> None:
        """1 x 1 convolutions, 48 numbers a cell to the latents' channels and these to 48 numbers; `simplify` as in
        `Tint`, of what the latents show."""
        super().__init__()
        self.look, self.show, self.simplify = look, show, simplify

    def join(self, latents: Tensor, pictures: Tensor) -> Tensor:
        """Latents N x C x H / 4 x W / 4 of pictures N x 3 x H x W in [0, 1]."""
        joined: Tensor = latents + self.look(F.pixel_unshuffle(bare(pictures), CELL))
        return joined

    def base(self, latents: Tensor) -> Tensor:
        """N x 3 x H x W, before the tanh: what is painted onto."""
        return self.simple(self.shown(latents))

    def shown(self, latents: Tensor) -> Tensor:
        """N x 3 x H x W, before the tanh, texture and the borders of cells with it."""
        return F.pixel_shuffle(self.show(latents), CELL)

    def simple(self, shown: Tensor) -> Tensor:
        """Without them; sees no more than 2 `AROUND` pixels around."""
        if not self.simplify:
            return shown
        return torch.atanh((2 * simplified((torch.tanh(shown) + 1) / 2, self.simplify) - 1).clamp(-INSIDE, INSIDE))


class Painted(NamedTuple):
    """What a generator makes."""

    picture: Tensor
    """N x 3 x H x W in [0, 1]."""
    mask: Tensor | None
    """N x 1 x H x W in [0, 1], 1 where the picture was repainted; None without a mask head."""


class Generator(nn.Module):
    """N x 3 x H x W in [0, 1] to `Painted`; sides are multiples of 4, at least 8.

    With `mask` a fourth channel says where: mask * painted + (1 - mask) * x, so that only an object changes (Chen et
    al. 2018, "Attention-GAN"; Mejjati et al. 2018, "Unsupervised Attention-guided Image-to-Image Translation"). With
    `onto` it begins as the picture itself, and what it learns is a change of colours and the difference.
    """

    def __init__(
        self,
        channels: int = 64,
        blocks: int = 9,
        *,
        upsampling: Upsampling = "transposed",
        separable: bool = False,
        mask: bool = False,
        onto: bool = False,
        simplify: float = 0.0,
        antialias: bool = False,
    ) -> None:
        super().__init__()
        n = channels
        self.enter = normed(convolution(3, n, 7), n)
        self.down = nn.ModuleList(normed(nn.Conv2d(k * n, 2 * k * n, 3, 2, 1), 2 * k * n) for k in (1, 2))
        self.blocks = nn.ModuleList(Residual(4 * n, separable=separable, antialias=antialias) for _ in range(blocks))
        self.up = nn.Sequential(*(normed(Doubling(2 * k * n, k * n, upsampling), k * n) for k in (2, 1)))
        self.leave = convolution(n, 4 if mask else 3, 7)
        self.onto = Tint(simplify) if onto else None
        small_start(self)

    def layers(self, pictures: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Names and activations inwards: "pixels", "down1", "down2" (not yet normalised), "block1" ..., "inner"."""
        x = 2 * pictures - 1
        yield "pixels", x
        x = self.enter(x)
        for k, layer in enumerate(self.down, 1):
            assert isinstance(layer, nn.Sequential)
            x = layer[0](x)
            yield f"down{k}", x
            x = layer[1:](x)
        for k, block in enumerate(self.blocks, 1):
            x = block(x)
            yield f"block{k}", x
        yield "inner", x

    def seen(self, pictures: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """{name: N x C x h x w} of some of `layers`; computes none past the last of them."""
        found = dict[str, Tensor]()
        for name, x in self.layers(pictures):
            if name in names:
                found[name] = x
            if len(found) == len(names):
                break
        return found

    def forward(self, pictures: Tensor) -> Painted:
        inner = pictures
        for _, x in self.layers(pictures):
            inner = x  # the last one stays
        return painted(self.leave(self.up(inner)), pictures, onto=self.onto)

    def parts(self) -> Parts:
        return Parts((self.enter, *self.down), tuple(self.blocks), tuple(self.up), self.leave, self.onto)


def painted(made: Tensor, pictures: Tensor, *, onto: Tint | None = None) -> Painted:
    """What the last layer made of pictures, N x 3 x H x W in [0, 1], as pictures.

    `onto`: added to what the tanh would make the picture of, which is brought a little off its ends for that.
    """
    color = made[:, :3]
    if onto is not None:
        color = color + onto(pictures)
    found = (torch.tanh(color) + 1) / 2
    if made.shape[1] == 3:
        return Painted(found, None)
    mask = torch.sigmoid(made[:, 3:])
    return Painted(torch.lerp(pictures.to(found.dtype), found, mask), mask)


def bare(pictures: Tensor) -> Tensor:
    """What a tanh makes pictures in [0, 1] of, brought a little off its ends."""
    return torch.atanh(INSIDE * (2 * pictures - 1))


def simplified(pictures: Tensor, deviation: float) -> Tensor:
    """Pictures N x 3 x H x W without the texture that deviates by less, their edges kept.

    The guided filter, every picture's luminance its guide: details are then painted and not kept.
    """
    return guided_filter(pictures.mean(1, keepdim=True), pictures, AROUND, deviation**2).clamp(0, 1)


def small_start(network: nn.Module) -> None:
    """Weights of deviation 0.02 and no bias, as DCGAN and CycleGAN begin."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
