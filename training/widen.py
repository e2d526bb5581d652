#!/usr/bin/env python3
"""More channels for a StyleGAN2 that was trained: the same pictures at first, and room for what it could not draw.

    python training/widen.py runs/narrow --channel-base 1024 --out runs/wide.safetensors
    sfumato train stylegan2 --channel-base 1024 --init runs/wide.safetensors ...

Chen et al. 2016, "Net2Net" (ICLR), section 2, for networks whose layers divide by their inputs' number or norm: a new
channel is drawn as in a fresh network, and what reads it begins at nothing. Of a run the discriminators come too.
"""

import argparse
import dataclasses
import math
from pathlib import Path

import torch
from torch import nn

from sfumato.layers.progressive import EqualConv
from sfumato.models.sampler import config_from
from sfumato.models.stylegan2 import Config, Method
from sfumato.models.stylegan2_networks import ToRGB
from sfumato.train.checkpoint import Checkpoints
from sfumato.weights.files import load_model, save_model


@torch.no_grad()
def widen(narrow: nn.Module, wide: nn.Module) -> None:
    """Fill the wider network so that it gives what the narrower one gives."""
    old, modules = narrow.state_dict(), dict(wide.named_modules())
    for name, new in wide.state_dict().items():
        known, layer = old[name], modules[name.rpartition(".")[0]]
        if name.endswith("weight") and new.dim() == 4 and new.shape[1] > known.shape[1]:
            shared = isinstance(layer, EqualConv | ToRGB)  # divided by the root of their inputs' number when used
            known = known * math.sqrt(new.shape[1] / known.shape[1]) if shared else known
            new[: known.shape[0], known.shape[1] :] = 0
        new[tuple(slice(n) for n in known.shape)] = known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="bundled name, file or run")
    parser.add_argument("--channel-base", type=int, required=True)
    parser.add_argument("--channel-max", type=int)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = load_model(args.model)
    config = config_from(Config, model.config)
    most = args.channel_max or config.channel_max
    larger = dataclasses.replace(config, channel_base=args.channel_base, channel_max=most)
    if larger.channel_base < config.channel_base or most < config.channel_max:
        parser.error("this would make it narrower")
    narrow, wide = Method(config).networks(), Method(larger).networks()
    model.fill({name: narrow[name] for name in model.tensors})
    folder, had = Path(args.model) / "checkpoints", list(model.tensors)
    state = Checkpoints(folder, 1).load()[0] if folder.is_dir() else None
    for name in narrow.keys() - model.tensors.keys() if state else ():
        start = f"network/{name}/"
        narrow[name].load_state_dict(
            {k.removeprefix(start): v for k, v in state.tensors.items() if k.startswith(start)}
        )
        had.append(name)
    for name in had:
        widen(narrow[name], wide[name])

    codes = torch.randn(4, config.codes(), config.code)
    with torch.no_grad():
        before, after = (networks["synthesis"].eval()(codes, "fixed") for networks in (narrow, wide))
    print(f"{', '.join(sorted(had))}; pictures differ by {float((before - after).abs().max()):.1g} at most")
    about = model.about | {"widened": Path(args.model).name}
    networks = {name: wide[name] for name in had}
    save_model(args.out, "stylegan2", dataclasses.asdict(larger), networks, about)


if __name__ == "__main__":
    main()
