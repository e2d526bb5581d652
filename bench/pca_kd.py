"""PCA knowledge distillation, the rival of bench/photo.py.

Chiu & Gurari 2022, "PCA-Based Knowledge Distillation Towards Lightweight and Content-Style Balanced Photorealistic
Style Transfer Models" (CVPR): VGG-19 to relu4_1 distilled to 10, 20, 58 and 64 channels, a decoder of four steps, a
whitening and colouring transform before each. Written here after the paper and the published code; weights from the two
published networks of the VGG backbone as sencoder.npz and sdecoder.npz (names with `|` for `/`, kernels H x W x in x
out).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.picture.guided import guided_filter

Masks = Tensor
"""K x H x W of zeros and ones: region k of the content takes its statistics from region k of the style."""


def conv(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool = True) -> Tensor:
    pad = weight.shape[-1] // 2
    y = F.conv2d(F.pad(x, (pad,) * 4, "reflect") if pad else x, weight, bias)
    return F.relu_(y) if relu else y


class Network:
    """Encoder and decoder; sides of pictures are multiples of 16."""

    def __init__(self, folder: Path) -> None:
        self.encoder = self._blocks(np.load(folder / "sencoder.npz"))
        self.decoder = self._blocks(np.load(folder / "sdecoder.npz"))

    @staticmethod
    def _blocks(file: Any) -> list[list[tuple[Tensor, Tensor]]]:
        """For each block its convolutions, weight (out x in x H x W) and bias."""
        blocks = []
        for block in range(4):
            layers, index = [], 0
            while (key := f"btnecks|{block}|layer_with_weights-{index}") + "|kernel" in file:
                weight = torch.from_numpy(file[key + "|kernel"]).permute(3, 2, 0, 1).contiguous()
                layers.append((weight, torch.from_numpy(file[key + "|bias"])))
                index += 1
            blocks.append(layers)
        return blocks

    def encode(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The features relu1_1 .. relu4_1, and what each block's input has beyond its own 3 x 3 mean."""
        features, fine = [], []
        for block, layers in enumerate(self.encoder):
            fine.append(x - F.avg_pool2d(F.pad(x, (1, 1, 1, 1), "replicate"), 3, 1))
            if block == 0:
                x = conv(conv(x, *layers[0], relu=False), *layers[1])
            else:
                for layer in layers[:-1]:
                    x = conv(x, *layer)
                x = conv(F.max_pool2d(x, 2), *layers[-1])
            features.append(x)
        return features, fine

    def decode(self, block: int, x: Tensor, fine: Tensor) -> Tensor:
        """One step down: from the features of `block` to those of the block before, or to the picture."""
        layers = self.decoder[block]
        if block == 0:
            return conv(torch.cat([x, fine], 1), *layers[0], relu=False)
        x = F.interpolate(conv(x, *layers[0]), scale_factor=2, mode="bilinear", align_corners=False)
        for layer in layers[1:-1]:
            x = conv(x, *layer)
        return conv(x + fine, *layers[-1])


def root(covariance: Tensor, *, inverse: bool = False) -> Tensor:
    """(C + 1)^1/2 or (C + 1)^-1/2, as published: the added 1 keeps weak channels from being blown up."""
    values, vectors = torch.linalg.eigh(covariance + torch.eye(len(covariance)).to(covariance))
    found: Tensor = (vectors * values ** (-0.5 if inverse else 0.5)) @ vectors.T
    return found


def moved(content: Tensor, style: Tensor) -> Tensor:
    """C x n with mean and covariance of C x m (ZCA)."""
    mean, wanted = content.mean(1, keepdim=True), style.mean(1, keepdim=True)
    c, s = content - mean, style - wanted
    return root(s @ s.T / s.shape[1]) @ root(c @ c.T / c.shape[1], inverse=True) @ c + wanted


def by_region(content: Tensor, style: Tensor, masks: Masks, style_masks: Masks) -> Tensor:
    """Features 1 x C x h x w, every region moved to its own of the style; what no mask takes stays."""
    (x,), (s,) = content.clone(), style
    inside, outside = (
        F.interpolate(m[None].float(), f.shape[1:], mode="nearest")[0] > 0.5 for m, f in ((masks, x), (style_masks, s))
    )
    for mine, its in zip(inside, outside, strict=True):
        if mine.sum() > 1 and its.sum() > 1:
            x[:, mine] = moved(x[:, mine], s[:, its])
    return x[None]


def pca_kd(folder: Path) -> Callable[[Tensor, Tensor, Masks, Masks], Tensor]:
    """Content and style 1 x 3 x H x W in [0, 1] with their masks; the result, after the guided filter as published."""
    network = Network(folder)

    def fitted(x: Tensor) -> Tensor:
        return F.pad(x, (0, -x.shape[3] % 16, 0, -x.shape[2] % 16), "replicate")

    def fitted_masks(masks: Masks) -> Masks:
        return fitted(masks[None].float())[0]

    @torch.inference_mode()
    def run(content: Tensor, style: Tensor, masks: Masks, style_masks: Masks) -> Tensor:
        features, fine = network.encode(fitted(content))
        wanted = network.encode(fitted(style))[0]
        x = features[-1]
        for block in (3, 2, 1, 0):
            x = by_region(x, wanted[block], fitted_masks(masks), fitted_masks(style_masks))
            x = network.decode(block, x, fine[block])
        x = x[:, :, : content.shape[2], : content.shape[3]].clamp(0, 1)
        return guided_filter(content, x, 30, 0.02**2).clamp(0, 1)

    return run
