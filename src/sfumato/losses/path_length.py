"""Path length: a step of fixed length in the codes should move the picture by a fixed amount.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 3.2 and appendix B. It is lazy:
applied every few steps, with a weight as many times larger.
"""

import math

import torch
from torch import Tensor

DECAY = 0.01
"""Share of the newest lengths in their running mean (their `pl_decay`)."""


def path_lengths(pictures: Tensor, codes: Tensor, noise: Tensor) -> Tensor:
    """|J^T y| of every picture, N, to be differentiated again: equation 4.

    Args:
        pictures: g(codes), N x C x H x W; nothing in g may mix the batch's samples.
        codes: N x D, or N x L x D with a code a layer, whose squared lengths are then averaged over the layers.
        noise: y, normal numbers of the pictures' shape; divided by sqrt(H W), so that the size does not matter.
    """
    height, width = pictures.shape[2:]
    seen = (pictures * noise).sum() / math.sqrt(height * width)
    (gradient,) = torch.autograd.grad(seen, codes, create_graph=True)
    wide = gradient.float() if gradient.dtype in (torch.bfloat16, torch.float16) else gradient
    return wide.square().sum(-1).reshape(len(codes), -1).mean(1).sqrt()


def path_length_penalty(lengths: Tensor, mean: Tensor) -> Tensor:
    """E (|J^T y| - a)^2, equation 4, with `mean` the constant a: the running mean of `DECAY`, newest lengths in it."""
    return (lengths - mean.detach()).square().mean()
