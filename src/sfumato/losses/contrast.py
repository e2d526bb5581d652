"""What answers tell of one another: of a place and what it became, of a thing seen twice."""

import torch
import torch.nn.functional as F
from torch import Tensor


def patch_contrast(queries: Tensor, keys: Tensor, temperature: float = 0.07) -> Tensor:
    """PatchNCE, -log(exp(q_i . k_i / t) / sum_j exp(q_i . k_j / t)), mean over i: Park et al. 2020, equations 2 and 3.

    N x S x D each, rows of length 1: S places of each of N pictures. A place's negatives are the other places of its
    own picture. Scalar.
    """
    scores = queries @ keys.mT / temperature
    count, places = scores.shape[:2]
    right = torch.arange(places, device=scores.device).repeat(count)
    return F.cross_entropy(scores.flatten(0, 1), right)


def unit_kl(mean: Tensor) -> Tensor:
    """KL(N(mean, 1) || N(0, 1)) = mean^2 / 2, averaged over the numbers: Liu et al. 2017, equation 3."""
    return 0.5 * mean.square().mean()


def shared_information(one: Tensor, other: Tensor) -> Tensor:
    """I(c; c') of the categories found in two views of the same things: Ji et al. 2019, equation 3.

    N x K each, rows that sum to 1, row i of both of one thing. A scalar from 0, where one answer tells nothing of the
    other, to log K, where both are sure, agree and use every category alike.
    """
    joint = one.T @ other / len(one)
    joint = ((joint + joint.T) / 2).clamp(min=1e-8)
    apart = joint.sum(0, keepdim=True) * joint.sum(1, keepdim=True)
    return (joint * (joint.log() - apart.log())).sum()
