"""The networks of the one-pass stylizer: a style's code, the colours that it brings, the generator that paints.

No path goes from the encoder's full resolution to the decoder's; what steers every layer is the code, and what lies
under it is the photograph in the style's colours. Training, with the discriminator, is in `onepass`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.features.sources import IMAGENET
from sfumato.features.vgg import BLOCKS, VGG19
from sfumato.layers.modulated import AdaptiveConv, Conv, Linear, Statistics, double, instance_norm, leaky
from sfumato.style.recolor import color_moments, transport

if TYPE_CHECKING:
    from sfumato.models.onepass import Config

STRIDES = (1, 2, 4, 8)
STRIDE = 8
"""Sides are padded to multiples of it."""
BAND = 1 << 17
"""Pixels that the style encoder convolves at a time where nothing is trained."""
PROJECTED = 10
"""Combinations of a layer's channels whose correlations the style encoder sees."""


class Style(NamedTuple):
    """What the generator needs of a style: `code` N x D, mean N x 3 x 1 and covariance N x 3 x 3 of its colours."""

    code: Tensor
    mean: Tensor
    covariance: Tensor

    def mixed(self, other: "Style", share: float) -> "Style":
        """`share` of the other style; codes and colours are linear."""
        return Style(*(torch.lerp(a, b, share) for a, b in zip(self, other, strict=True)))


class StyleEncoder(nn.Module):
    """Mean, deviation and correlations of a narrow VGG-19's features at five strides, of any size of picture, to one
    code."""

    def __init__(self, c: "Config") -> None:
        super().__init__()
        counts = (*BLOCKS[:4], 1)
        widths = [w for w, count in zip(c.style_widths, counts, strict=True) for _ in range(count)]
        self.convs = nn.ModuleList([Conv(a, b, gain=1.4) for a, b in zip([3, *widths], widths, strict=False)])
        self.ends = [sum(counts[:block]) for block in range(5)]
        """Indices of each block's first convolution, whose activations are measured."""
        self.pool = F.avg_pool2d if c.style_pooling == "average" else F.max_pool2d
        self.projections = nn.ModuleList([Conv(w, PROJECTED, 1) for w in c.style_widths])
        inputs = 12 + 2 * sum(c.style_widths) + 5 * PROJECTED * (PROJECTED + 1) // 2
        self.standard = Standardise(inputs)
        self.first = Linear(inputs, 2 * c.code, gain=1.4)
        self.second = Linear(2 * c.code, 2 * c.code, gain=1.4)
        self.code = Linear(2 * c.code, c.code)

    def start(self, network: VGG19) -> None:
        """Take the convolutions of a network of the same widths, and keep them. Raises `InputError` for others."""
        taken = list(network.convs.values())[: len(self.convs)]
        for own, (weight, bias, _) in zip(self.convs, taken, strict=True):
            assert isinstance(own, Conv)
            if own.weight.shape != weight.shape:
                raise InputError(
                    f"{network.name}: its layers have {len(weight)} x {weight.shape[1]} channels where the style "
                    f"encoder's have {len(own.weight)} x {own.weight.shape[1]} (--style-widths)"
                )
            own.weight.data.copy_(weight)
            own.bias.data.copy_(bias)
        self.convs.requires_grad_(False)

    def forward(self, pictures: Tensor, weight: Tensor | None = None) -> Style:
        """`pictures` N x 3 x H x W in [0, 1]; `weight` N x 1 x H x W says which pixels count."""
        mean, covariance = (m.to(pictures) for m in color_moments(pictures, weight))
        deviation = covariance.diagonal(dim1=1, dim2=2).sqrt()
        found = [mean[:, :, 0], deviation.log(), covariance.flatten(1)[:, [1, 2, 5]] * 10, deviation]
        upper = torch.triu_indices(PROJECTED, PROJECTED, device=pictures.device)
        x = (pictures - pictures.new_tensor(IMAGENET[0])[:, None, None]) * pictures.new_tensor(IMAGENET[1])[
            :, None, None
        ]
        for index, conv in enumerate(self.convs):
            if index in self.ends[1:]:
                x = self.pool(x, [min(2, side) for side in x.shape[2:]])
            assert isinstance(conv, Conv)
            whole = torch.is_grad_enabled() or torch.compiler.is_compiling()  # an exported network takes any size
            x = F.relu_(conv(x) if whole else in_bands(conv, x))
            if index in self.ends:
                m, variance = mean_variance(x, weight)
                found += [(m + 0.01).log(), (variance + 1e-3).log()]
                products = second_moment(self._projected(self.ends.index(index), x, m, variance), weight)
                found.append(products[:, upper[0], upper[1]])
        h = leaky(self.first(self.standard(torch.cat(found, 1))))
        h = h + 0.5 * leaky(self.second(h))
        return Style(self.code(h), mean, covariance)

    def _projected(self, block: int, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """The projections of (x - mean) / root of the channels' mean variance, which itself is never held."""
        conv = self.projections[block]
        assert isinstance(conv, Conv)
        scale = (variance + 1e-3).mean(1, keepdim=True).rsqrt()
        offset = conv.bias - scale * F.linear(mean, conv.weight[:, :, 0, 0])
        return torch.addcmul(offset[..., None, None], F.conv2d(x, conv.weight), scale[..., None, None])


def in_bands(conv: Conv, x: Tensor) -> Tensor:
    """`conv(x)` of a kernel of 3, a band of rows at a time: a large picture's copies for it are never held at once."""
    height, width = x.shape[2:]
    step = max(1, BAND // width)
    out = x.new_empty(len(x), len(conv.bias), height, width)
    for top in range(0, height, step):
        end = min(top + step, height)
        low, high = max(0, top - 1), min(height, end + 1)
        out[:, :, top:end] = conv(x[:, :, low:high])[:, :, top - low : end - low]
    return out


class Standardise(nn.Module):
    """Every input at mean 0 and deviation 1 by the averages that training has seen (no gradient goes through these)."""

    def __init__(self, count: int, momentum: float = 0.01) -> None:
        super().__init__()
        self.momentum = momentum
        self.seen: Tensor
        self.mean: Tensor
        self.variance: Tensor
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("variance", torch.ones(count))

    def forward(self, x: Tensor) -> Tensor:
        """`x` N x count."""
        if self.training:
            with torch.no_grad():
                batch = x.detach().float()
                share = torch.clamp(1 / (self.seen + 1), min=self.momentum)
                mean = torch.lerp(self.mean, batch.mean(0), share)
                self.variance.lerp_((batch - mean).square().mean(0), share)
                self.mean.copy_(mean)
                self.seen += 1
        return (x - self.mean) * (self.variance + 1e-3).rsqrt()


def second_moment(z: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of z z^T over all positions, N x C x C, weighted as in `mean_variance`."""
    flat = z.flatten(2)
    if weight is None:
        return flat @ flat.mT / flat.shape[2]
    w = share_of(weight, z).flatten(2)
    return (flat * w) @ flat.mT


def mean_variance(x: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Per picture and channel over all positions, N x C each; a weight map of any size is averaged to theirs."""
    if weight is None:
        variance, mean = torch.var_mean(x, dim=(2, 3), correction=0)
        return mean, variance
    w = share_of(weight, x)
    mean = (x * w).sum((2, 3))
    return mean, ((x - mean[:, :, None, None]).square() * w).sum((2, 3))


def share_of(weight: Tensor, x: Tensor) -> Tensor:
    """A weight map at the size of `x`, with a sum of one."""
    w = F.adaptive_avg_pool2d(weight, (x.shape[2], x.shape[3]))
    return w / w.sum((2, 3), keepdim=True).clamp_min(1e-12)


class Colors(NamedTuple):
    """Affine maps of the content's colours, N x 3 x 3 and N x 3 x 1: what the encoder sees, what the canvas begins as.

    seen = (x - mean) * scale; canvas = matrix (x - mean) + offset. With a map for each of K regions matrix
    and offset are N x K x 3 x 3 and N x K x 3 x 1.
    """

    mean: Tensor
    scale: Tensor
    matrix: Tensor
    offset: Tensor

    @classmethod
    def between(cls, mean: Tensor, covariance: Tensor, style: Style, limit: float = 4.0) -> "Colors":
        """From the content's colour moments to the style's; contrast grows `limit` times at most."""
        double_covariance = covariance.double()
        deviation = double_covariance.diagonal(dim1=1, dim2=2).mean(1).sqrt()
        values, vectors = torch.linalg.eigh(transport(double_covariance, style.covariance.double()))
        matrix = (vectors * values.clamp(0, limit)[:, None, :]) @ vectors.mT
        scale = (1 / (deviation + 0.05)).view(-1, 1, 1)
        return cls(mean.to(style.mean), scale.to(style.mean), matrix.to(style.mean), style.mean)

    @classmethod
    def per_region(cls, everywhere: tuple[Tensor, Tensor], inside: tuple[Tensor, Tensor], styles: Style) -> "Colors":
        """Of one picture: each of K regions' own colours to its style's.

        `everywhere` and `inside` are mean and covariance of the picture's colours and of each region's (N is K).
        """
        middle = Style(*(part.mean(0, keepdim=True) for part in styles))
        seen, maps = cls.between(*everywhere, middle), cls.between(*inside, styles)
        # matrix (x - own mean) + offset = matrix (x - seen mean) + (offset + matrix (seen mean - own mean))
        offset = maps.offset + maps.matrix @ (seen.mean - maps.mean)
        return cls(seen.mean, seen.scale, maps.matrix[None], offset[None])


class Residual(nn.Module):
    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.first = AdaptiveConv(channels, channels, code)
        self.second = AdaptiveConv(channels, channels, code, gain=0.3)

    def forward(
        self, x: Tensor, code: Tensor, regions: Tensor | None, noise: Tensor | None, statistics: Statistics | None
    ) -> Tensor:
        y = leaky(self.first(x, code, regions, noise, statistics))
        painted: Tensor = x + self.second(y, code, regions, None, statistics)
        return painted


class Generator(nn.Module):
    """Content encoder without a code, decoder steered by it; a picture of any size is painted tile by tile."""

    def __init__(self, c: "Config") -> None:
        super().__init__()
        w1, w2, w4, w8 = c.widths
        self.encoder = nn.ModuleList(
            [Conv(3, w1), *(Conv(a, b, 4, stride=2) for a, b in ((w1, w2), (w2, w4), (w4, w8)))]
        )
        self.trunk = nn.ModuleList([Residual(w8, c.code) for _ in range(c.blocks)])
        steps = ((w8, w4), (w4, w2), (w2, w1))
        self.up = nn.ModuleList([AdaptiveConv(a, b, c.code, kernel=1) for a, b in steps])
        self.skip = nn.ModuleList([AdaptiveConv(b, b, c.code, kernel=1) for _, b in steps[:2]])
        self.block = nn.ModuleList([Residual(w4, c.code), AdaptiveConv(w2, w2, c.code), AdaptiveConv(w1, w1, c.code)])
        self.paint = Conv(w1, 3, gain=0.1)

    def encode(self, x: Tensor, colors: Colors) -> list[Tensor]:
        """Features at strides 1, 2, 4, 8 of pictures N x 3 x H x W in [0, 1], sides multiples of 8."""
        x = (x - colors.mean[..., None]) * colors.scale[..., None]
        found = []
        for conv in self.encoder:
            x = leaky(conv(x)) * 1.4
            found.append(x)
        return found

    def decode(
        self,
        x: Tensor,
        features: Sequence[Tensor],
        colors: Colors,
        code: Tensor,
        noise: Sequence[Tensor | None],
        regions: Sequence[Tensor | None] = (None, None, None, None),
        statistics: Statistics | None = None,
    ) -> Tensor:
        """The painted pictures, about [0, 1].

        `code` N x K x D; `noise` maps of deviation one and `regions` soft labels N x K x h x w at strides 1, 2, 4, 8;
        `statistics` by which every layer is normalised, and the deepest features (None: by their own).
        """
        if statistics is None:
            h = instance_norm(features[3])
        else:
            mean, deviation = statistics[self.encoder]
            h = (features[3] - mean[:, 0, :, None, None]) / deviation[:, 0, :, None, None]
        for block in self.trunk:
            h = block(h, code, regions[3], noise[3], statistics)
        for i, level in enumerate((2, 1, 0)):
            where = regions[level]
            h = double(leaky(self.up[i](h, code, regions[level + 1], None, statistics)))
            if level > 0:
                h = h + self.skip[i](features[level], code, where, None, statistics)
            h = self.block[i](h, code, where, noise[level], statistics)
        painted: Tensor = self.canvas(x, colors, regions[3]) + self.paint(leaky(h))
        return painted

    @staticmethod
    def canvas(x: Tensor, colors: Colors, regions: Tensor | None) -> Tensor:
        """What is painted on: the picture's cells in the style's colours, soft; `regions` at stride 8."""
        small = F.avg_pool2d(x, STRIDE)
        seen = small.flatten(2) - colors.mean
        if regions is None or colors.matrix.ndim == 3:
            moved = colors.matrix @ seen + colors.offset
        else:
            per_region = colors.matrix @ seen[:, None] + colors.offset  # N x K x 3 x hw
            moved = (per_region * regions.flatten(2)[:, :, None]).sum(1)
        soft: Tensor = double(double(double(moved.reshape(small.shape))))
        return soft

    def forward(
        self,
        x: Tensor,
        colors: Colors,
        code: Tensor,
        noise: Sequence[Tensor | None],
        regions: Tensor | None = None,
    ) -> Tensor:
        """Whole pictures with a code each, N x D; sides are padded to multiples of 8.

        With `regions`, soft labels N x K x H x W of pictures whose sides are such multiples, `code` is N x K x D.
        """
        if regions is not None:
            labels = [F.avg_pool2d(regions, s) for s in STRIDES]
            return self.decode(x, self.encode(x, colors), colors, code, noise, labels)
        height, width = x.shape[2:]
        x = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), "replicate")
        return self.decode(x, self.encode(x, colors), colors, code[:, None], noise)[:, :, :height, :width]
