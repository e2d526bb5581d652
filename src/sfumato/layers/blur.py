"""Changes of size without checkerboards or aliasing: the binomial filter (1, 3, 3, 1), zeros beyond the border.

Zhang 2019, "Making Convolutional Networks Shift-Invariant Again"; Karras et al. 2020, "Analyzing and Improving the
Image Quality of StyleGAN", appendix B, with the placement of their code.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = (1.0, 3.0, 3.0, 1.0)


def blur(x: Tensor, pad: int, *, gain: float = 1.0, stride: int = 1) -> Tensor:
    """N x C x H x W filtered, `pad` zeros at every side: a side S becomes S + 2 `pad` - 3, then every `stride`-th."""
    return F.conv2d(x, _kernel(x, gain), padding=pad, stride=stride, groups=x.shape[1])


def blur_double(x: Tensor) -> Tensor:
    """Twice the sides: linear interpolation, but towards zero at the border."""
    return F.conv_transpose2d(x, _kernel(x, 4.0), padding=1, stride=2, groups=x.shape[1])


def blur_halve(x: Tensor) -> Tensor:
    """Half the sides, which are even: filtered, every second pixel."""
    return blur(x, 1, stride=2)


def conv_double(x: Tensor, weight: Tensor) -> Tensor:
    """Twice the sides and a 3 x 3 convolution in one, then the filter; `weight` O x I x 3 x 3.

    As a convolution (its kernel mirrored) of the pixels set apart by zeros: a quarter of the work of doubling first.
    """
    return blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, gain=4.0)


def _kernel(x: Tensor, gain: float) -> Tensor:
    """C x 1 x 4 x 4 that sums to `gain`."""
    taps = torch.tensor(TAPS, device=x.device, dtype=x.dtype) / sum(TAPS)
    return (gain * torch.outer(taps, taps)).expand(x.shape[1], 1, 4, 4)
