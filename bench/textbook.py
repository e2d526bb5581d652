"""The generators as tutorials write them: plain modules, plain loops, for bench/generators.py.

A class a family: `step` trains both players on a ready batch, `sample` makes pictures. Sizes, batch, objective and
lazy steps are those of the family's Config; a tutorial's habits stay: one noise for both turns, a sigmoid and binary
cross entropy, a convolution with weights of its own for every sample, filters as separate steps, no average.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ONE, NOTHING = 1.0, 0.0


class Textbook(Protocol):
    """What is measured."""

    generator: nn.Module
    discriminator: nn.Module

    def step(self, real: Tensor, label: Tensor) -> None: ...

    def sample(self, count: int) -> Tensor: ...


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def adam(network: nn.Module, rate: float, *betas: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=rate, betas=(betas[0], betas[1]))


def slope_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, made: Tensor) -> Tensor:
    mixed = torch.lerp(real, made.detach(), torch.rand(len(real), 1, 1, 1)).requires_grad_()
    scores = critic(mixed)
    (slope,) = torch.autograd.grad(scores, mixed, torch.ones_like(scores), create_graph=True, retain_graph=True)
    return ((slope.view(len(real), -1).norm(2, dim=1) - 1) ** 2).mean()


def doubling(c: Any, inputs: int, side: int, *, norm: bool) -> list[nn.Module]:
    """Transposed convolutions from `inputs` x side x side to the resolution; to an odd side by a kernel of 3."""
    sides = [c.resolution]
    while -(-sides[0] // 2) > side:
        sides.insert(0, -(-sides[0] // 2))
    layers: list[nn.Module] = []
    for wanted in sides[:-1]:
        layers += [nn.ConvTranspose2d(inputs, inputs // 2, 3 if wanted % 2 else 4, 2, 1, bias=not norm)]
        layers += [nn.BatchNorm2d(inputs // 2), nn.ReLU(True)] if norm else [nn.ReLU(True)]
        inputs //= 2
    return [*layers, nn.ConvTranspose2d(inputs, c.channels, 4, 2, 1, bias=not norm), nn.Tanh()]


def halving(c: Any, *, norm: bool, kernel: int, slope: float = 0.2, least: int = 4) -> tuple[list[nn.Module], int, int]:
    """Strided convolutions down to `least` pixels or fewer: layers, channels, side."""
    layers: list[nn.Module] = []
    inputs, side, width = c.channels, c.resolution, c.width
    while side > least:
        k = kernel - 1 if side % 2 and kernel % 2 == 0 else kernel
        layers.append(nn.Conv2d(inputs, width, k, 2, (k - 1) // 2, bias=not norm))
        layers += [nn.BatchNorm2d(width)] if norm and inputs != c.channels else []
        layers.append(nn.LeakyReLU(slope, True))
        inputs, side, width = width, -(-side // 2), width * 2
    return layers, inputs, side


class Gan:
    """The small convolutional GAN of the textbooks, 28 px."""

    def __init__(self, c: Any) -> None:
        first, second, third = c.widths
        quarter = c.resolution // 4
        self.latent = c.latent
        self.generator = nn.Sequential(
            nn.Linear(c.latent, first * quarter**2, bias=False),
            nn.BatchNorm1d(first * quarter**2),
            nn.LeakyReLU(0.3),
            nn.Unflatten(1, (first, quarter, quarter)),
            nn.ConvTranspose2d(first, second, 5, 1, 2, bias=False),
            nn.BatchNorm2d(second),
            nn.LeakyReLU(0.3),
            nn.ConvTranspose2d(second, third, 5, 2, 2, output_padding=1, bias=False),
            nn.BatchNorm2d(third),
            nn.LeakyReLU(0.3),
            nn.ConvTranspose2d(third, c.channels, 5, 2, 2, output_padding=1, bias=False),
            nn.Tanh(),
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(c.channels, third, 5, 2, 2),
            nn.LeakyReLU(0.3),
            nn.Dropout(c.dropout),
            nn.Conv2d(third, second, 5, 2, 2),
            nn.LeakyReLU(0.3),
            nn.Dropout(c.dropout),
            nn.Flatten(),
            nn.Linear(second * quarter**2, 1),
            nn.Sigmoid(),
        )
        self.of_generator, self.of_discriminator = (
            adam(n, c.learning_rate, c.momentum, 0.999) for n in (self.generator, self.discriminator)
        )

    def noise(self, count: int) -> Tensor:
        return torch.randn(count, self.latent)

    def step(self, real: Tensor, label: Tensor) -> None:  # noqa: ARG002
        ones, zeros = torch.full((len(real), 1), ONE), torch.full((len(real), 1), NOTHING)
        made = self.generator(self.noise(len(real)))
        doubt = F.binary_cross_entropy(self.discriminator(real * 2 - 1), ones)
        doubt = doubt + F.binary_cross_entropy(self.discriminator(made.detach()), zeros)
        update(self.of_discriminator, doubt)
        update(self.of_generator, F.binary_cross_entropy(self.discriminator(made), ones))

    def sample(self, count: int) -> Tensor:
        return (self.generator(self.noise(count)) + 1) / 2


class Dcgan(Gan):
    """Radford et al. 2016, as in PyTorch's tutorial."""

    def __init__(self, c: Any) -> None:
        layers, top, side = halving(c, norm=True, kernel=4)
        self.latent = c.latent
        first = [nn.ConvTranspose2d(c.latent, top, side, 1, 0, bias=False), nn.BatchNorm2d(top), nn.ReLU(True)]
        self.generator = nn.Sequential(*first, *doubling(c, top, side, norm=True))
        end = [nn.Conv2d(top, 1, side, 1, 0, bias=False), nn.Flatten(), nn.Sigmoid()]
        self.discriminator = nn.Sequential(*layers, *end)
        self.of_generator, self.of_discriminator = (
            adam(n, c.learning_rate, c.momentum, 0.999) for n in (self.generator, self.discriminator)
        )

    def noise(self, count: int) -> Tensor:
        return torch.randn(count, self.latent, 1, 1)


class WganGp:
    """Gulrajani et al. 2017."""

    def __init__(self, c: Any) -> None:
        layers, top, side = halving(c, norm=False, kernel=5)
        self.c, self.turn = c, 0
        first = [nn.Linear(c.latent, top * side**2), nn.Unflatten(1, (top, side, side)), nn.ReLU(True)]
        self.generator = nn.Sequential(*first, *doubling(c, top, side, norm=c.normalised))
        self.discriminator = nn.Sequential(*layers, nn.Flatten(), nn.Linear(top * side**2, 1))
        self.of_generator, self.of_discriminator = (
            adam(n, c.learning_rate, *c.betas) for n in (self.generator, self.discriminator)
        )

    def step(self, real: Tensor, label: Tensor) -> None:  # noqa: ARG002
        real, self.turn = real * 2 - 1, self.turn + 1
        made = self.generator(torch.randn(len(real), self.c.latent)).detach()
        loss = self.discriminator(made).mean() - self.discriminator(real).mean()
        update(self.of_discriminator, loss + self.c.penalty * slope_penalty(self.discriminator, real, made))
        if self.turn % self.c.critic_steps == 0:
            made = self.generator(torch.randn(len(real), self.c.latent))
            update(self.of_generator, -self.discriminator(made).mean())

    def sample(self, count: int) -> Tensor:
        return (self.generator(torch.randn(count, self.c.latent)) + 1) / 2


class InfoGan:
    """Chen et al. 2016: one category, continuous codes with a Gaussian Q."""

    def __init__(self, c: Any) -> None:
        layers, top, side = halving(c, norm=True, kernel=4, slope=0.1, least=7)
        self.c, flat = c, top * side**2
        first: list[nn.Module] = []
        for a, b in ((c.inputs, c.hidden), (c.hidden, flat)):
            first += [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU(True)]
        self.generator = nn.Sequential(*first, nn.Unflatten(1, (top, side, side)), *doubling(c, top, side, norm=True))
        layers += [nn.Flatten(), nn.Linear(flat, c.hidden, bias=False), nn.BatchNorm1d(c.hidden), nn.LeakyReLU(0.1)]
        outputs = sum(c.categorical) + 2 * c.continuous
        self.discriminator = nn.ModuleDict(
            {
                "body": nn.Sequential(*layers),
                "score": nn.Sequential(nn.Linear(c.hidden, 1), nn.Sigmoid()),
                "read": nn.Sequential(
                    nn.Linear(c.hidden, 128, bias=False),
                    nn.BatchNorm1d(128),
                    nn.LeakyReLU(0.1),
                    nn.Linear(128, outputs),
                ),
            }
        )
        self.of_generator = adam(self.generator, c.learning_rate, c.momentum, 0.999)
        self.of_discriminator = adam(self.discriminator, c.judge_rate, c.momentum, 0.999)

    def latents(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        kind = torch.randint(self.c.categorical[0], (count,))
        values = torch.rand(count, self.c.continuous) * 2 - 1
        hot = F.one_hot(kind, self.c.categorical[0]).float()
        return torch.cat([torch.randn(count, self.c.latent), hot, values], 1), kind, values

    def read(self, pictures: Tensor, kind: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        x = self.discriminator["body"](pictures)
        k = self.c.categorical[0]
        found = self.discriminator["read"](x)
        mean, deviation = found[:, k : k + self.c.continuous], found[:, k + self.c.continuous :].exp()
        loss = F.cross_entropy(found[:, :k], kind)
        likely = -torch.distributions.Normal(mean, deviation).log_prob(values).sum(1).mean()
        return self.discriminator["score"](x), loss + self.c.continuous_weight * likely

    def step(self, real: Tensor, label: Tensor) -> None:  # noqa: ARG002
        ones, zeros = torch.full((len(real), 1), ONE), torch.full((len(real), 1), NOTHING)
        z, kind, values = self.latents(len(real))
        made = self.generator(z)
        of_real = self.discriminator["score"](self.discriminator["body"](real * 2 - 1))
        of_made, read = self.read(made.detach(), kind, values)
        doubt = F.binary_cross_entropy(of_real, ones) + F.binary_cross_entropy(of_made, zeros)
        update(self.of_discriminator, doubt + read)
        of_made, read = self.read(made, kind, values)
        update(self.of_generator, F.binary_cross_entropy(of_made, ones) + read)

    def sample(self, count: int) -> Tensor:
        return (self.generator(self.latents(count)[0]) + 1) / 2


class Scaled(nn.Module):
    """Equalised learning rate: the inputs are multiplied by the layer's constant, then the plain layer."""

    def __init__(self, layer: nn.Conv2d | nn.Linear, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        nn.init.normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        self.layer, self.scale = layer, gain / math.sqrt(layer.weight[0].numel())

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d if isinstance(self.layer, nn.Conv2d) else F.linear
        more = {"stride": self.layer.stride, "padding": self.layer.padding} if y is F.conv2d else {}
        return y(x, self.layer.weight * self.scale, self.layer.bias, **more)


def conv(inputs: int, outputs: int, kernel: int = 3, gain: float = math.sqrt(2)) -> nn.Module:
    return Scaled(nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2), gain)


class PixelNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)


class Deviation(nn.Module):
    """Minibatch standard deviation, groups of 4."""

    def forward(self, x: Tensor) -> Tensor:
        _, c, h, w = x.shape
        y = x.view(4, -1, 1, c, h, w)
        y = torch.sqrt(y.var(0, unbiased=False) + 1e-8).mean([2, 3, 4], keepdim=True).squeeze(2)
        return torch.cat([x, y.repeat(4, 1, h, w)], 1)


class PgGan:
    """Karras et al. 2018 at its full size."""

    def __init__(self, c: Any) -> None:
        self.c, top = c, c.doublings()
        w = [c.width(i) for i in range(top + 1)]
        made: list[nn.Module] = [PixelNorm(), nn.Unflatten(1, (c.latent, 1, 1)), nn.ZeroPad2d(3), conv4(c.latent, w[0])]
        made += [nn.LeakyReLU(0.2), PixelNorm(), conv(w[0], w[0]), nn.LeakyReLU(0.2), PixelNorm()]
        seen: list[nn.Module] = [conv(3, w[top], 1), nn.LeakyReLU(0.2)]
        for i in range(1, top + 1):
            made += [nn.Upsample(scale_factor=2), conv(w[i - 1], w[i]), nn.LeakyReLU(0.2), PixelNorm()]
            made += [conv(w[i], w[i]), nn.LeakyReLU(0.2), PixelNorm()]
        for i in range(top, 0, -1):
            seen += [conv(w[i], w[i]), nn.LeakyReLU(0.2), conv(w[i], w[i - 1]), nn.LeakyReLU(0.2), nn.AvgPool2d(2)]
        self.generator = nn.Sequential(*made, conv(w[top], 3, 1, 1.0))
        seen += [Deviation(), conv(w[0] + 1, w[0]), nn.LeakyReLU(0.2), nn.Flatten()]
        seen += [Scaled(nn.Linear(16 * w[0], w[0])), nn.LeakyReLU(0.2), Scaled(nn.Linear(w[0], 1), 1.0)]
        self.discriminator = nn.Sequential(*seen)
        self.of_generator, self.of_discriminator = (
            adam(n, c.learning_rate, 0.0, 0.99) for n in (self.generator, self.discriminator)
        )

    def step(self, real: Tensor, label: Tensor) -> None:  # noqa: ARG002
        real = real * 2 - 1
        made = self.generator(torch.randn(len(real), self.c.latent)).detach()
        of_real = self.discriminator(real)
        loss = self.discriminator(made).mean() - of_real.mean() + self.c.drift * (of_real**2).mean()
        update(self.of_discriminator, loss + self.c.penalty * slope_penalty(self.discriminator, real, made))
        update(self.of_generator, -self.discriminator(self.generator(torch.randn(len(real), self.c.latent))).mean())

    def sample(self, count: int) -> Tensor:
        return (self.generator(torch.randn(count, self.c.latent)) + 1) / 2


def conv4(inputs: int, outputs: int) -> nn.Module:
    """4 x 4 pixels of one that has three zeros around it."""
    return Scaled(nn.Conv2d(inputs, outputs, 4), math.sqrt(2) / 4)
