"""Losses of a label map: the cross entropy of every position, and Dice, which gives small classes the same weight.

Milletari, Navab & Ahmadi, "V-Net" (3DV 2016), section 3, with plain sums in the denominator (Sudre et al., "Generalised
Dice overlap as a deep learning loss function", 2017). Positions labelled `ignore` count for nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(scores: Tensor, labels: Tensor, ignore: int) -> Tensor:
    """Mean of -log p of the true class over the positions that count; 0 where none does.

    Args:
        scores: N x K x H x W, before the softmax.
        labels: N x H x W whole numbers below K, or `ignore`.
        ignore: the label that counts for nothing.
    """
    counted = (labels != ignore).sum().clamp_min(1)
    total = F.cross_entropy(scores, labels, ignore_index=ignore, reduction="sum")
    return total / counted


def dice_loss(scores: Tensor, labels: Tensor, ignore: int) -> Tensor:
    """1 - mean of 2 sum(p y) / (sum p + sum y) over the classes that occur in the batch; 0 where nothing counts.

    p are the softmax's chances and y the true classes as ones and zeros, summed over the batch's positions that count.
    Arguments as `cross_entropy`.
    """
    classes = scores.shape[1]
    counts = (labels != ignore).flatten()
    chances = scores.softmax(1).movedim(1, -1).reshape(-1, classes)[counts]
    wanted = labels.flatten()[counts]
    sizes = torch.bincount(wanted, minlength=classes).to(chances.dtype)
    met = torch.zeros_like(sizes).index_add(0, wanted, chances.gather(1, wanted[:, None])[:, 0])
    occurs = sizes > 0
    if not bool(occurs.any()):
        return scores.sum() * 0
    dice = 2 * met / (chances.sum(0) + sizes).clamp_min(1e-12)
    return 1 - dice[occurs].mean()
