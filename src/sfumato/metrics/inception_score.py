"""The Inception Score: pictures of which each is surely of one class, and all classes are there.

Salimans, Goodfellow, Zaremba, Cheung, Radford & Chen, "Improved Techniques for Training GANs" (NIPS 2016), section 4:
exp(E_x KL(p(y|x) || p(y))), mean over splits of the samples. It lies between 1 and the number of classes, sees no real
picture, and takes one picture a class, repeated, for perfect. With another classifier than Inception-v3 it is named.
"""

import torch
from torch import Tensor

from sfumato.errors import InputError

SPLITS = 10


def inception_score(chances: Tensor, splits: int = SPLITS) -> tuple[float, float]:
    """Mean and deviation over `splits` parts of N x classes chances, each row of which sums to 1.

    Raises `InputError` for fewer pictures than splits.
    """
    if len(chances) < splits:
        raise InputError(f"the Inception Score needs at least {splits} pictures, not {len(chances)}")
    scores = []
    for part in chances.double().tensor_split(splits):
        mean = part.mean(0, keepdim=True)
        divergence = torch.xlogy(part, part) - torch.xlogy(part, mean)
        scores.append(divergence.sum(1).mean().exp())
    found = torch.stack(scores)
    return float(found.mean()), float(found.std(correction=0))
