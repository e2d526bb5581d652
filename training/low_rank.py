#!/usr/bin/env python3
"""VGG-19 in two-part convolutions (sfumato.features.low_rank), fitted on pictures as optimisation meets them.

    python training/low_rank.py PHOTOS PAINTINGS --split splits.json --out vgg-lite.safetensors

Takes a minute. Prints every layer's rank and the relative error of its activations on other crops.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sfumato.features.low_rank import FACTORS, fit_factors, low_rank, multiplications
from sfumato.features.sources import wheel_weights
from sfumato.features.vgg import VGG19
from sfumato.models.distill import Config, Method, relative
from sfumato.train.data import Pictures
from sfumato.train.job import open_split
from sfumato.train.options import TrainOptions
from sfumato.weights.files import save_model


def drawn(data: Pictures, seed: int, count: int) -> Tensor:
    """Crops as `sfumato train distill` draws them (photographs, paintings, blends, noise), N x 3 x 128 x 128."""
    method, rng = Method(Config()), np.random.default_rng(seed)
    return torch.stack([method.sample({"data": data}, rng)[0] for _ in range(count)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="folders of pictures")
    parser.add_argument("--split", help="JSON of the names to fit on and to judge by")
    parser.add_argument("--share", type=float, default=0.03, help="variance that a layer may lose")
    parser.add_argument("--count", type=int, default=32, help="crops to fit on")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    train, held_out = open_split(args.data, TrainOptions(out="", resolution=128, split=args.split))
    exact = wheel_weights()
    factors = fit_factors(exact, drawn(train, 0, args.count), args.share)
    holder = nn.ModuleDict()
    for conv, parts in factors.items():
        holder[conv] = nn.Module()
        for name, part in zip(FACTORS, parts, strict=True):
            holder[conv].register_buffer(name, part)
    options = {"share": args.share, "crops": args.count}
    save_model(args.out, "low_rank", {}, {"factors": holder}, {"options": options})
    near = low_rank(exact, factors, "vgg-lite", "")
    layers = [f"relu{conv}" for conv in factors]
    other = drawn(held_out, 1, 8)
    with torch.no_grad():
        wanted, found = (VGG19(w)(other, layers) for w in (exact, near))
    for layer, (down, *_) in zip(layers, factors.values(), strict=True):
        print(f"{layer}: rank {len(down):4d}, relative error {float(relative(found[layer], wanted[layer])):.4f}")
    pixel = [multiplications(w) for w in (exact, near)]
    print(f"{pixel[0]:,.0f} multiply-adds a pixel become {pixel[1]:,.0f}: {pixel[0] / pixel[1]:.2f} times fewer")


if __name__ == "__main__":
    main()
