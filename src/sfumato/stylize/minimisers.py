"""L-BFGS with one evaluation a step and a memory that can be carried to another picture size."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Pair(NamedTuple):
    """A step, the change of gradient that it met (both of the picture's shape), and 1 / <y, s>."""

    s: Tensor
    y: Tensor
    rho: float


class LBFGS:
    """Limited-memory BFGS (Nocedal & Wright 2006, algorithm 7.4) on one tensor.

    `history` pairs are remembered; with 0 only the scale of the curvature is, which is gradient descent with a step
    of the right length and needs no memory. Steps have length one; a step that made the loss worse by more than a
    tenth is taken back and halved.
    """

    def __init__(self, history: int = 10, gamma: float | None = None, first_step: float = 0.05) -> None:
        self.history, self.gamma, self.first_step = history, gamma, first_step
        self.pairs: list[Pair] = []
        self.last: tuple[Tensor, Tensor, float] | None = None
        self.damping = 1.0

    def step(self, x: Tensor, loss: float, gradient: Tensor, project: Callable[[Tensor], Tensor]) -> Tensor:
        """The next point from point `x`, its `loss` and its `gradient`.

        `project` maps a point into the allowed range. The very first step, when nothing is known about curvature,
        changes no value by more than `first_step`.
        """
        if self.last is not None:
            x0, g0, loss0 = self.last
            if loss > 1.1 * loss0 and self.damping > 1e-3:
                self.damping *= 0.5
                return project(x0 + 0.5 * (x - x0))
            self._remember(x - x0, gradient - g0)
        if self.history:
            self.last = (x, gradient, loss)
        self.damping = min(1.0, 2 * self.damping)
        if self.gamma is None:
            return project(x - gradient * (self.first_step / float(gradient.abs().amax().clamp_min(1e-30))))
        return project(torch.add(x, self._direction(gradient), alpha=self.damping))

    def _remember(self, s: Tensor, y: Tensor) -> None:
        curvature, square = _dot(s, y), _dot(y, y)
        if curvature > 1e-10 * square:  # keeps the inverse Hessian positive
            self.gamma = curvature / square
            self.pairs.append(Pair(s, y, 1 / curvature))
            del self.pairs[: -self.history]

    def _direction(self, gradient: Tensor) -> Tensor:
        """The two-loop recursion: -H g."""
        q, alphas = gradient.clone(), []
        for s, y, rho in reversed(self.pairs):
            alphas.append(rho * _dot(s, q))
            q.sub_(y, alpha=alphas[-1])
        q.mul_(self.gamma or 1.0)
        for (s, y, rho), alpha in zip(self.pairs, reversed(alphas), strict=True):
            q.add_(s, alpha=alpha - rho * _dot(y, q))
        return q.neg_()

    def resized(self, resize: Callable[[Tensor], Tensor], growth: float, history: int) -> "LBFGS":
        """The memory at another size with `growth` times the pixels.

        Steps keep their values; of a loss that does not depend on size, each pixel's gradient shrinks as the pixels
        grow in number.
        """
        other = LBFGS(history, None if self.gamma is None else self.gamma * growth, self.first_step)
        for s, y, _ in self.pairs[-history:] if history else ():
            other._remember(resize(s), resize(y) / growth)
        return other


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) on one tensor, with the interface of `LBFGS`."""

    def __init__(self, learning_rate: float, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        self.learning_rate, self.betas = learning_rate, betas
        self.mean: Tensor | None = None
        self.square: Tensor | None = None
        self.count = 0

    def step(self, x: Tensor, loss: float, gradient: Tensor, project: Callable[[Tensor], Tensor]) -> Tensor:  # noqa: ARG002
        """The next point; `loss` is not looked at."""
        b1, b2 = self.betas
        if self.mean is None or self.square is None:
            self.mean, self.square = torch.zeros_like(x), torch.zeros_like(x)
        self.count += 1
        self.mean.lerp_(gradient, 1 - b1)
        self.square.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        scale = (self.square / (1 - b2**self.count)).sqrt_().add_(1e-12)
        return project(torch.addcdiv(x, self.mean, scale, value=-self.learning_rate / (1 - b1**self.count)))

    def resized(self, resize: Callable[[Tensor], Tensor], growth: float, history: int) -> "Adam":  # noqa: ARG002
        """The running moments at another size with `growth` times the pixels."""
        other = Adam(self.learning_rate, self.betas)
        if self.mean is not None and self.square is not None:
            other.mean, other.square = resize(self.mean) / growth, resize(self.square).clamp_min_(0) / growth**2
            other.count = self.count
        return other


def _dot(a: Tensor, b: Tensor) -> float:
    """Inner product; in float64 across rows, so that millions of small products do not drown."""
    return float((a * b).sum(-1).sum(dtype=torch.float64))
