"""A feature network with its convolutions in two: 3 x 3 into few channels, 1 x 1 back to all of them.

Zhang, Zou, He & Sun, "Accelerating Very Deep Convolutional Networks for Classification and Detection" (TPAMI 2016),
sections 3.1 and 3.3: a layer's responses lie near a low-dimensional subspace. It is found in closed form, one layer
after the other: the responses y of the exact network are fitted by those that the layer gives behind the layers
already approximated (reduced-rank regression), so that errors do not add up. Nothing is trained. (Their section 3.2
looks through the ReLU; left out here.)

What is kept is `down` (r x C), `up` (C x r) and the bias; with it the original weights W become down W and up.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import InputError
from sfumato.features.vgg import CONVS, Weights

POSITIONS = 40_000
"""Of the pictures, at most, that a layer is fitted on."""
MULTIPLE = 8
"""Ranks are multiples of it, which suit the processor."""
FACTORS = ("down", "up", "bias")
Factors = Mapping[str, tuple[Tensor, Tensor, Tensor]]
"""{convolution: (down r x C, up C x r, bias C)}; others stay as they are."""


def low_rank(weights: Weights, factors: Factors, name: str, sha256: str) -> Weights:
    """The network in two-part convolutions, as far as there are factors. Raises `InputError` for others' factors."""
    convs, ups = dict[str, tuple[Tensor, Tensor]](), dict[str, Tensor]()
    for conv, (weight, bias) in weights.convs.items():
        if conv in factors:
            down, up, offset = (t.float() for t in factors[conv])
            if down.shape[1] != len(weight) or up.shape != down.T.shape or len(offset) != len(up):
                raise InputError(f"{name}: its factors of conv{conv} are not for {weights.name}")
            convs[conv] = (torch.einsum("rc,cikl->rikl", down, weight), offset)
            ups[conv] = up[:, :, None, None]
        else:
            convs[conv] = (weight, bias)
    last = max(CONVS.index(conv) for conv in ups) if ups else len(CONVS)
    kept = {conv: pair for conv, pair in convs.items() if CONVS.index(conv) <= last}
    return Weights(kept, weights.mean, weights.scale, name, sha256, ups=ups)


@torch.no_grad()
def fit_factors(
    weights: Weights, pictures: Tensor, share: float, last: str = "5_1"
) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Factors of every convolution but the first, up to `last`, from pictures N x 3 x H x W in [0, 1].

    A layer's rank is the smallest, in eights, that leaves at most `share` of the variance of the responses that can be
    fitted. Pooling is by averages.
    """
    chance = torch.Generator().manual_seed(0)
    mean, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in (weights.mean, weights.scale))
    exact = near = (pictures - mean) * scale
    found = {}
    for conv in CONVS[: CONVS.index(last) + 1]:
        weight, bias = weights.convs[conv]
        if conv != "1_1" and conv.endswith("_1"):
            exact, near = F.avg_pool2d(exact, 2), F.avg_pool2d(near, 2)
        wanted, made = _each(exact, weight, bias), _each(near, weight, None)
        if conv == "1_1":
            exact = near = wanted.relu_()
            continue
        picked = torch.randperm(wanted.numel() // len(bias), generator=chance)[:POSITIONS]
        y, x = (t.transpose(0, 1).flatten(1)[:, picked].double() for t in (wanted, made))
        down, up, offset = reduced_rank(x, y, share)
        found[conv] = (down.float(), up.float(), offset.float())
        near = F.conv2d(
            _each(near, torch.einsum("rc,cikl->rikl", down.float(), weight), None), up.float()[..., None, None]
        )
        near = (near + offset.float()[:, None, None]).relu_()
        exact = wanted.relu_()
    return found


def reduced_rank(x: Tensor, y: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """`down`, `up`, `offset` of y ~ up (down x) + offset for columns of x and y, C x n: Izenman 1975.

    The rank leaves at most `share` of the fitted variance. The regression is damped by 1e-5 of the mean variance.
    """
    mean_x, mean_y = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    x, y = x - mean_x, y - mean_y
    own = x @ x.T
    own.diagonal().add_(1e-5 * own.diagonal().mean())
    whole = torch.linalg.solve(own, x @ y.T).T
    fitted = whole @ x
    values, axes = torch.linalg.eigh(fitted @ fitted.T)
    left = 1 - values.flip(0).clamp_min(0).cumsum(0) / values.clamp_min(0).sum().clamp_min(1e-30)
    rank = int((left > share).sum()) + 1
    rank = min(len(values), -(-rank // MULTIPLE) * MULTIPLE)
    up = axes[:, -rank:]
    down = up.T @ whole
    return down, up, (mean_y - up @ (down @ mean_x)).flatten()


def multiplications(weights: Weights, last: str = "5_1") -> float:
    """Multiply-adds a pixel of the picture, up to the convolution `last`."""
    total = 0.0
    for conv in CONVS[: CONVS.index(last) + 1]:
        total += (weights.convs[conv][0].numel() + weights.ups.get(conv, torch.empty(0)).numel()) / 4 ** (
            int(conv[0]) - 1
        )
    return total


def _each(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolved one by one: a batch of them takes much scratch memory."""
    return torch.cat([F.conv2d(one[None], weight, bias, padding=1) for one in x])
