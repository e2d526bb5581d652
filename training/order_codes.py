#!/usr/bin/env python3
"""An InfoGAN's categories in the order of the classes that they stand for: category 3 makes threes.

    python training/order_codes.py runs/infogan --features digits --out ordered.safetensors

Training knows no classes, so its categories come in any order. What they stand for is counted with a classifier, as in
bench/codes_of_digits.py, and columns of the generator's first layer are exchanged: the pictures stay what they were.
The discriminator is left out.
"""

import argparse
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
from codes_of_digits import counted, named

from sfumato.models.infogan import Sampler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run, or one of its files of weights")
    parser.add_argument("--features", default="digits")
    parser.add_argument("--count", type=int, default=400, help="pictures a category")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    source = args.run if args.run.is_file() else args.run / "weights.safetensors"
    sampler = Sampler.load(source)
    seen, classes = counted(sampler, args.features, args.count)
    names = named(seen)
    (columns,) = [where for name, where in sampler.columns.items() if name.startswith("category")]
    order = [names.index(k) for k in range(len(classes))]
    weights = load_file(str(source))
    first = weights["generator.body.0.weight"]
    first[:, columns] = first[:, columns][:, order]
    weights = {k: w for k, w in weights.items() if k.startswith("generator.")}
    with safe_open(str(source), "pt") as file:
        save_file(weights, str(args.out), file.metadata())
    print(f"category now {', '.join(classes)}; was {order}")


if __name__ == "__main__":
    main()
