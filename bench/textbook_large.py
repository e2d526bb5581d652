"""StyleGAN2 and BigGAN as the well-known PyTorch versions write them, for bench/generators.py; see textbook.py."""

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from textbook import Deviation, PixelNorm, Scaled, adam, conv, update
from torch import Tensor, nn
from torch.nn.utils import spectral_norm


class Blur(nn.Module):
    """(1, 3, 3, 1) filter of a channel at a time; `up` sets the pixels apart by zeros first."""

    def __init__(self, pad: tuple[int, int], up: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("kernel", gain * torch.outer(line, line) / line.sum() ** 2)
        self.pad, self.up = pad, up

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if self.up > 1:
            x = F.pad(x.view(n, c, h, 1, w, 1), [0, self.up - 1, 0, 0, 0, self.up - 1])
            x = x.reshape(n, c, h * self.up, w * self.up)
        x = F.pad(x, [*self.pad, *self.pad])
        y = F.conv2d(x.reshape(n * c, 1, *x.shape[2:]), self.kernel[None, None])
        return y.view(n, c, *y.shape[2:])


class Modulated(nn.Module):
    """Section 2.2 as printed: every sample has weights of its own, in one convolution of N groups."""

    def __init__(self, inputs: int, outputs: int, code: int, kernel: int = 3, *, up: bool = False, norm: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.style = Scaled(nn.Linear(code, inputs), 1.0)
        nn.init.ones_(self.style.layer.bias)
        self.scale, self.up, self.norm = 1 / math.sqrt(inputs * kernel**2), up, norm
        self.blur = Blur((1, 1), gain=4.0) if up else None

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        n, c, height, width = x.shape
        weight = self.scale * self.weight * self.style(w).view(n, 1, c, 1, 1)
        if self.norm:
            weight = weight * torch.rsqrt(weight.pow(2).sum([2, 3, 4], keepdim=True) + 1e-8)
        outputs, kernel = weight.shape[1], weight.shape[-1]
        x = x.reshape(1, n * c, height, width)
        if self.blur is None:
            y = F.conv2d(x, weight.view(n * outputs, c, kernel, kernel), padding=kernel // 2, groups=n)
            return y.view(n, outputs, height, width)
        weight = weight.transpose(1, 2).reshape(n * c, outputs, kernel, kernel)
        y = F.conv_transpose2d(x, weight, stride=2, groups=n)
        return self.blur(y.view(n, outputs, *y.shape[2:]))


class Styled(nn.Module):
    def __init__(self, inputs: int, outputs: int, code: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = Modulated(inputs, outputs, code, up=up)
        self.strength, self.bias = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1, outputs, 1, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = self.conv(x, w)
        y = y + self.strength * torch.randn(len(y), 1, *y.shape[2:])
        return F.leaky_relu(y + self.bias, 0.2) * math.sqrt(2)


class Painter(nn.Module):
    """Mapping and synthesis; skips add up the pictures."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.c, top = c, c.doublings()
        w = [c.width(i) for i in range(top + 1)]
        layers: list[nn.Module] = [PixelNorm()]
        for _ in range(c.mapping_layers):
            layers += [Scaled(nn.Linear(c.code, c.code)), nn.LeakyReLU(0.2)]
        self.mapping, self.const = nn.Sequential(*layers), nn.Parameter(torch.randn(1, w[0], 4, 4))
        self.convs0 = nn.ModuleList([Styled(a, b, c.code, up=True) for a, b in pairwise(w)])
        self.convs1 = nn.ModuleList([Styled(x, x, c.code) for x in w])
        self.colors = nn.ModuleList([Modulated(x, 3, c.code, 1, norm=False) for x in w])
        self.offsets = nn.ParameterList([torch.zeros(1, 3, 1, 1) for _ in w])
        self.enlarge = Blur((2, 1), up=2, gain=4.0)

    def codes(self, count: int) -> Tensor:
        """N x layers x code, two styles mixed in most."""
        layers = self.c.codes()
        a, b = self.mapping(torch.randn(2 * count, self.c.code)).chunk(2)
        cut = int(torch.randint(1, layers, ())) if torch.rand(()) < self.c.mixing else layers
        return torch.cat([a[:, None].repeat(1, cut, 1), b[:, None].repeat(1, layers - cut, 1)], 1)

    def forward(self, ws: Tensor) -> Tensor:
        x = self.convs1[0](self.const.repeat(len(ws), 1, 1, 1), ws[:, 0])
        picture = self.colors[0](x, ws[:, 1]) + self.offsets[0]
        for i, (conv0, conv1) in enumerate(zip(self.convs0, list(self.convs1)[1:], strict=True), 1):
            x = conv1(conv0(x, ws[:, 2 * i - 1]), ws[:, 2 * i])
            picture = self.enlarge(picture) + self.colors[i](x, ws[:, 2 * i + 1]) + self.offsets[i]
        return picture


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = conv(inputs, inputs, 3, 1.0)
        self.conv1 = nn.Sequential(Blur((2, 2)), Scaled(nn.Conv2d(inputs, outputs, 3, 2), 1.0))
        self.skip = nn.Sequential(Blur((1, 1)), Scaled(nn.Conv2d(inputs, outputs, 1, 2, bias=False), 1.0))

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv0(x), 0.2) * math.sqrt(2)
        y = F.leaky_relu(self.conv1(y), 0.2) * math.sqrt(2)
        return (y + self.skip(x)) / math.sqrt(2)


class StyleGan2:
    """Karras et al. 2020: lazy R1 and path length, no augmentation."""

    def __init__(self, c: Any) -> None:
        self.c, self.turn, self.mean, top = c, 0, torch.zeros(()), c.doublings()
        w = [c.width(i) for i in range(top + 1)]
        self.generator = Painter(c)
        blocks: list[nn.Module] = [conv(3, w[top], 1, 1.0), nn.LeakyReLU(0.2)]
        blocks += [Residual(w[i], w[i - 1]) for i in range(top, 0, -1)]
        blocks += [Deviation(), conv(w[0] + 1, w[0], 3, 1.0), nn.LeakyReLU(0.2), nn.Flatten()]
        blocks += [Scaled(nn.Linear(16 * w[0], w[0])), nn.LeakyReLU(0.2), Scaled(nn.Linear(w[0], 1), 1.0)]
        self.discriminator = nn.Sequential(*blocks)
        self.of_generator, self.of_discriminator = (
            adam(n, c.learning_rate, 0.0, 0.99) for n in (self.generator, self.discriminator)
        )

    def step(self, real: Tensor, label: Tensor) -> None:  # noqa: ARG002
        c, draw = self.c, self.generator
        real, self.turn = real * 2 - 1, self.turn + 1
        with torch.no_grad():
            made = draw(draw.codes(len(real)))
        doubt = F.softplus(self.discriminator(made)).mean() + F.softplus(-self.discriminator(real)).mean()
        update(self.of_discriminator, doubt)
        if self.turn % c.r1_every == 0:
            real = real.requires_grad_()
            (slope,) = torch.autograd.grad(self.discriminator(real).sum(), real, create_graph=True)
            gamma = 0.0002 * real[0, 0].numel() / len(real)
            update(self.of_discriminator, gamma / 2 * c.r1_every * slope.pow(2).sum([1, 2, 3]).mean())
        update(self.of_generator, F.softplus(-self.discriminator(draw(draw.codes(len(real))))).mean())
        if self.turn % c.path_every == 0:
            ws = draw.codes(len(real) // 2)
            made = draw(ws)
            noise = torch.randn_like(made) / math.sqrt(made[0, 0].numel())
            (slope,) = torch.autograd.grad((made * noise).sum(), ws, create_graph=True)
            lengths = slope.pow(2).sum(2).mean(1).sqrt()
            self.mean = (self.mean + 0.01 * (lengths.mean() - self.mean)).detach()
            update(self.of_generator, c.path_weight * c.path_every * (lengths - self.mean).pow(2).mean())

    def sample(self, count: int) -> Tensor:
        w = self.generator.mapping(torch.randn(count, self.c.code))
        return (self.generator(w[:, None].repeat(1, self.c.codes(), 1)) + 1) / 2


def normed_conv(inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> nn.Module:
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=bias))


class ClassNorm(nn.Module):
    """Batch normalisation with gain and bias of a code."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.bias = (spectral_norm(nn.Linear(code, channels, bias=False)) for _ in range(2))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        gain, bias = (1 + self.gain(code))[:, :, None, None], self.bias(code)[:, :, None, None]
        return self.norm(x) * gain + bias


class Attention(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        narrow, half = max(1, c // 8), max(1, c // 2)
        shapes = ((c, narrow), (c, narrow), (c, half), (half, c))
        self.theta, self.phi, self.g, self.o = (normed_conv(a, b, 1, bias=False) for a, b in shapes)
        self.gamma = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        theta = self.theta(x).flatten(2)
        phi, g = (F.max_pool2d(f(x), 2).flatten(2) for f in (self.phi, self.g))
        beta = F.softmax(torch.bmm(theta.transpose(1, 2), phi), -1)
        return x + self.gamma * self.o(torch.bmm(g, beta.transpose(1, 2)).view(n, -1, h, w))


class UpBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, code: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ClassNorm(inputs, code), ClassNorm(outputs, code)
        self.conv1, self.conv2 = normed_conv(inputs, outputs, 3), normed_conv(outputs, outputs, 3)
        self.skip = normed_conv(inputs, outputs, 1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y = F.interpolate(F.relu(self.norm1(x, code)), scale_factor=2)
        y = self.conv2(F.relu(self.norm2(self.conv1(y), code)))
        return y + self.skip(F.interpolate(x, scale_factor=2))


class DownBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, first: bool = False, last: bool = False) -> None:
        super().__init__()
        self.first, self.last = first, last
        self.conv1, self.conv2 = normed_conv(inputs, outputs, 3), normed_conv(outputs, outputs, 3)
        self.skip = nn.Identity() if last and inputs == outputs else normed_conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        x = self.skip(x)
        return x + y if self.last else F.avg_pool2d(y, 2) + F.avg_pool2d(x, 2)


class ClassPainter(nn.Module):
    def __init__(self, c: Any) -> None:
        super().__init__()
        self.c, w = c, c.widths()
        self.shared = nn.Embedding(len(c.classes), c.embedding)
        self.first = spectral_norm(nn.Linear(c.chunk, 16 * w[0]))
        self.blocks = nn.ModuleList([UpBlock(a, b, c.chunk + c.embedding) for a, b in pairwise(w)])
        self.attention = Attention(w[c.attended()])
        self.last = nn.Sequential(nn.BatchNorm2d(w[-1]), nn.ReLU(), normed_conv(w[-1], 3, 3), nn.Tanh())

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        first, *parts = torch.split(z, self.c.chunk, 1)
        shared, x = self.shared(label), self.first(first).view(len(z), -1, 4, 4)
        for i, (block, part) in enumerate(zip(self.blocks, parts, strict=True), 1):
            x = block(x, torch.cat([shared, part], 1))
            x = self.attention(x) if i == self.c.attended() else x
        return self.last(x)


class ClassJudge(nn.Module):
    def __init__(self, c: Any) -> None:
        super().__init__()
        w, top = c.judge_widths(), c.width * 16
        blocks = [DownBlock(a, b, first=a == 3) for a, b in pairwise([3, *w])]
        self.blocks, self.at = nn.ModuleList([*blocks, DownBlock(w[-1], top, last=True)]), c.doublings() - c.attended()
        self.attention = Attention(w[self.at - 1])
        self.score, self.classes = spectral_norm(nn.Linear(top, 1)), spectral_norm(nn.Embedding(len(c.classes), top))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        for i, block in enumerate(self.blocks, 1):
            x = block(x)
            x = self.attention(x) if i == self.at else x
        x = F.relu(x).sum([2, 3])
        return self.score(x)[:, 0] + (self.classes(label) * x).sum(1)


class BigGan:
    """Brock et al. 2019: hinge, two discriminator steps that share the batch, orthogonal regularisation."""

    def __init__(self, c: Any) -> None:
        self.c, self.generator, self.discriminator = c, ClassPainter(c), ClassJudge(c)
        self.of_generator = adam(self.generator, c.learning_rate, 0.0, 0.999)
        self.of_discriminator = adam(self.discriminator, c.judge_rate, 0.0, 0.999)

    def step(self, real: Tensor, label: Tensor) -> None:
        size = self.c.latent()
        for x, y in zip((real * 2 - 1).chunk(self.c.judge_steps), label.chunk(self.c.judge_steps), strict=True):
            with torch.no_grad():
                made = self.generator(torch.randn(len(x), size), y)
            loss = F.relu(1 - self.discriminator(x, y)).mean() + F.relu(1 + self.discriminator(made, y)).mean()
            update(self.of_discriminator, loss)
        loss = -self.discriminator(self.generator(torch.randn(len(x), size), y), y).mean()
        for name, weight in self.generator.named_parameters():
            if weight.dim() > 1 and "shared" not in name:
                rows = weight.flatten(1)
                products = rows @ rows.T
                loss = loss + self.c.orthogonal * (products * (1 - torch.eye(len(rows)))).pow(2).sum()
        update(self.of_generator, loss)

    def sample(self, count: int) -> Tensor:
        return (self.generator(torch.randn(count, self.c.latent()), torch.arange(count) % len(self.c.classes)) + 1) / 2
