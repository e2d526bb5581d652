"""Adversarial objectives and penalties, on a discriminator's raw scores (no sigmoid): one a picture, or one a patch.

Every objective is two functions, both to be minimised, both means over all scores: what the discriminator pays for
its scores of real and made pictures, and what the generator pays for the discriminator's scores of its pictures.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Objective(NamedTuple):
    """The two sides of the game, each a scalar."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    """Of the scores of real pictures and of made ones."""
    generator: Callable[[Tensor], Tensor]
    """Of the scores of made pictures."""


def bce_discriminator(real: Tensor, made: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """-E log D(x) - E log(1 - D(G)), D = sigmoid(score): Goodfellow et al. 2014, equation 1.

    With `smoothing` s in [0, 1) real pictures are labelled 1 - s instead of 1, made ones still 0: one-sided label
    smoothing, Salimans et al. 2016, section 3.4.
    """
    return F.softplus(-real).mean() + smoothing * real.mean() + F.softplus(made).mean()


def minimax_generator(made: Tensor) -> Tensor:
    """E log(1 - D(G)), the other side of equation 1 as printed: flat where the discriminator is sure."""
    return -F.softplus(made).mean()


def bce_generator(made: Tensor) -> Tensor:
    """-E log D(G), the non-saturating form: Goodfellow et al. 2014, section 3."""
    return F.softplus(-made).mean()


def least_squares_discriminator(real: Tensor, made: Tensor) -> Tensor:
    """E (D(x) - 1)^2 / 2 + E D(G)^2 / 2: Mao et al. 2017, equation 9."""
    return 0.5 * (real - 1).square().mean() + 0.5 * made.square().mean()


def least_squares_generator(made: Tensor) -> Tensor:
    """E (D(G) - 1)^2 / 2: Mao et al. 2017, equation 9."""
    return 0.5 * (made - 1).square().mean()


def hinge_discriminator(real: Tensor, made: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G)): Lim & Ye 2017; Miyato et al. 2018, equation 16."""
    return F.relu(1 - real).mean() + F.relu(1 + made).mean()


def wasserstein_discriminator(real: Tensor, made: Tensor) -> Tensor:
    """E D(G) - E D(x): Arjovsky et al. 2017, equation 3; D must be kept Lipschitz, by a penalty or spectral norm."""
    return made.mean() - real.mean()


def wasserstein_generator(made: Tensor) -> Tensor:
    """-E D(G), also the hinge's: Arjovsky et al. 2017, equation 4; Miyato et al. 2018, equation 17."""
    return -made.mean()


def relativistic(better: Tensor, worse: Tensor) -> Tensor:
    """-E log sigmoid(C(better) - C(worse)) over pairs: RSGAN of Jolicoeur-Martineau 2018, section 4.1.

    The discriminator pays `relativistic(real, made)`, the generator `relativistic(made, real)`; both of one shape.
    """
    return F.softplus(worse - better).mean()


def relativistic_average(better: Tensor, worse: Tensor) -> Tensor:
    """-E log s(C(better) - E C(worse)) - E log(1 - s(C(worse) - E C(better))), s = sigmoid.

    RaSGAN of Jolicoeur-Martineau 2018, section 4.3; arguments as in `relativistic`. The means are those of the batch.
    """
    above, below = better - worse.mean(), worse - better.mean()
    return F.softplus(-above).mean() + F.softplus(below).mean()


OBJECTIVES: dict[str, Objective] = {
    "bce": Objective(bce_discriminator, bce_generator),
    "minimax": Objective(bce_discriminator, minimax_generator),
    "lsgan": Objective(least_squares_discriminator, least_squares_generator),
    "hinge": Objective(hinge_discriminator, wasserstein_generator),
    "wasserstein": Objective(wasserstein_discriminator, wasserstein_generator),
}
"""By the names that the families' options have. The relativistic ones want both scores on both sides."""


def r1_penalty(scores: Tensor, real: Tensor) -> Tensor:
    """E |grad_x D(x)|^2 / 2 at real pictures; gamma times this is Mescheder et al. 2018, equation 9.

    `scores` N x ... = D(`real`), where `real` (N x ...) had `requires_grad_()` before; a picture's scores are added
    up. Nothing in D may mix the batch's samples.
    """
    return 0.5 * _gradients(scores, real).square().sum(1).mean()


def r2_penalty(scores: Tensor, made: Tensor) -> Tensor:
    """`r1_penalty` at made pictures, detached from the generator: Mescheder et al. 2018, equation 10."""
    return r1_penalty(scores, made)


def gradient_penalty(
    judge: Callable[[Tensor], Tensor], real: Tensor, made: Tensor, chance: Tensor, *, centre: float = 1.0
) -> Tensor:
    """E (|grad_x D(x)| - centre)^2 at x = real + u (made - real), pictures mixed one by one.

    With `centre` 1 WGAN-GP: Gulrajani et al. 2017, equation 3. With 0 the zero-centred penalty, which lets the game
    converge: Thanh-Tung et al. 2019, equation 7. `chance` holds the N uniform numbers u; neither pictures nor the
    networks that made them get a gradient.
    """
    u = chance.view(-1, *(1,) * (real.dim() - 1)).to(real)
    mixed = torch.lerp(real.detach(), made.detach(), u).requires_grad_()
    gradients = _gradients(judge(mixed), mixed)
    if centre == 0:
        return gradients.square().sum(1).mean()
    norms: Tensor = torch.linalg.vector_norm(gradients, dim=1)
    return (norms - centre).square().mean()


def dragan_penalty(
    judge: Callable[[Tensor], Tensor], real: Tensor, noise: Tensor, chance: Tensor, *, reach: float = 0.5
) -> Tensor:
    """E (|grad_x D(x)| - 1)^2 around real pictures only: Kodali et al. 2017, algorithm 1, with their code's noise.

    x = real + u `reach` std(real) `noise`: `noise` is uniform in [0, 1) and of the pictures' shape, `chance` holds the
    N uniform numbers u, the deviation is that of the whole batch.
    """
    return gradient_penalty(judge, real, real + reach * real.std() * noise, chance)


def _gradients(scores: Tensor, pictures: Tensor) -> Tensor:
    """d scores / d pictures, N x pixels, float32 or wider, to be differentiated again."""
    (gradients,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
    flat = gradients.flatten(1)
    return flat.float() if flat.dtype in (torch.bfloat16, torch.float16) else flat
