#!/usr/bin/env python3
"""The weighted mean of two files of weights of one family, one of which was trained on from the other.

    python training/average.py onepass runs/onepass-c --share 0.5 --out runs/mean.safetensors

Wortsman et al. 2022, "Model soups", section 2, with a share for the second one. Configuration and history are the
second one's, with a note.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sfumato.weights.files import locate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", help="bundled name, file or run")
    parser.add_argument("second", help="likewise")
    parser.add_argument("--share", type=float, default=0.5, help="of the second one")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    (one, _), (two, _) = locate(args.first), locate(args.second)
    a, b = load_file(str(one)), load_file(str(two))
    if {k: v.shape for k, v in a.items()} != {k: v.shape for k, v in b.items()}:
        parser.error("these are not the same networks")
    mean = {k: torch.lerp(a[k].float(), b[k].float(), args.share).to(b[k].dtype) for k in b}
    with safe_open(str(two), "pt") as file:
        about = json.loads(file.metadata()["sfumato"])
    about["about"]["mean"] = {"of": [Path(args.first).name, Path(args.second).name], "share": args.share}
    save_file(mean, str(args.out), {"sfumato": json.dumps(about)})


if __name__ == "__main__":
    main()
