#!/usr/bin/env python3
"""DeepLabv3+ on frozen vgg-lite, for a CPU: the encoder looks at every sample once, then only the rest is trained.

    python training/scene_head.py PICTURES LABELS --split split.json --out runs/scene

Network, samples, losses and settings are those of `sfumato train deeplab --preset scene`, which goes on from the result
(`--init`); but no layer of the encoder is trained, there are only `--variants` crops a picture, drawn beforehand, and
losses are taken at a quarter of the resolution. The maps are kept in memory, a megabyte a sample. Run again, it goes on
where it was interrupted; held-out pictures are looked at once, at the end.
"""

import argparse
import dataclasses
import math
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfumato.cli_flags import prepare_memory
from sfumato.losses.segmentation import cross_entropy, dice_loss
from sfumato.metrics.segmentation import confusion
from sfumato.models.deeplab import Config, DeepLab, Method
from sfumato.models.encoders import enlarged
from sfumato.models.segmenting import figures
from sfumato.train.augment import color
from sfumato.train.data import Pictures, crop_box, cut
from sfumato.train.job import open_labels, open_split
from sfumato.train.options import TrainOptions
from sfumato.weights.files import save_model

PRESET = Path(__file__).parent.parent / "src/sfumato/presets/deeplab/scene.toml"
AVERAGING = 0.99
"""What stays of the averaged weights from one step to the next."""


def settings() -> Config:
    """The preset's."""
    table = tomllib.loads(PRESET.read_text(encoding="utf-8"))
    names = {f.name for f in dataclasses.fields(Config)}
    values = {k: tuple(tuple(v) if isinstance(v, list) else v for v in t) if isinstance(t, list) else t
              for k, t in table.items() if k in names}  # fmt: skip
    return Config(**values)


@torch.no_grad()
def looked_at(network: DeepLab, config: Config, data: Pictures, labels: Pictures, variants: int) -> list[Tensor]:
    """Shallow maps, deep maps (half precision) and labels of `variants` crops a picture."""
    parts: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    rng, size = np.random.default_rng(0), config.resolution
    for k in range(variants * len(data)):
        index = k % len(data)
        beside = labels.paired(data.names[index])
        assert beside is not None
        box = crop_box(*data[index].shape[1:], rng, size=size, scale=config.crop_scale, flip=config.flip)
        picture = cut(data[index], box, size)[None]
        jittered = color(picture, torch.from_numpy(rng.random((1, 3), np.float32)), config.jitter).clamp(0, 1)
        maps = network.encoder(jittered)
        found = maps[1][0].half(), maps[3][0].half(), cut(labels[beside], box, size, labels=True)[2::4, 2::4].byte()
        for part, one in zip(parts, found, strict=True):
            part.append(one)
        if k % 100 == 0:
            print(f"{k} of {variants * len(data)} crops looked at", flush=True)
    return [torch.stack(part) for part in parts]


def scores(network: DeepLab, shallow: Tensor, deep: Tensor) -> Tensor:
    """The network after its encoder, at a quarter of the resolution."""
    low = network.low(shallow)
    context = enlarged(network.pyramid(deep), low.shape[2], low.shape[3])
    found: Tensor = network.head(network.decoder(torch.cat([context, low], 1)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures")
    parser.add_argument("labels")
    parser.add_argument("--split", required=True)
    parser.add_argument("--variants", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    prepare_memory()
    torch.manual_seed(args.seed)
    config = settings()
    method, network = Method(config), DeepLab(config)
    options = TrainOptions(out="", resolution=config.resolution, split=args.split, side=320)
    data = open_split([args.pictures], options)
    labels = open_labels({"data": [args.pictures], "labels": [args.labels]}, data, method.class_list)
    args.out.mkdir(parents=True, exist_ok=True)
    kept = args.out / "maps.pt"
    if not kept.exists():
        torch.save(looked_at(network, config, data[0], labels[0], args.variants), kept.with_suffix(".part"))
        kept.with_suffix(".part").rename(kept)
    shallow, deep, wanted = torch.load(kept)
    rest = [p for n, p in network.named_parameters() if not n.startswith("encoder")]
    optimizer = torch.optim.AdamW(rest, lr=config.learning_rate, weight_decay=config.weight_decay)
    average = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state, first = args.out / "state.pt", 0
    if state.exists():
        saved = torch.load(state)
        first = saved["step"]
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        average = saved["average"]
    began = time.time()
    network.train()
    for step in range(first, args.steps):
        rng = np.random.default_rng((args.seed, step))
        rate = min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * max(0.0, step / args.steps - 0.3) / 0.7))
        optimizer.param_groups[0]["lr"] = config.learning_rate * rate
        at = torch.from_numpy(rng.choice(len(wanted), args.batch, replace=False))
        found = scores(network, shallow[at].float(), deep[at].float())
        target = wanted[at].long()
        entropy, dice = cross_entropy(found, target, config.ignore), dice_loss(found, target, config.ignore)
        optimizer.zero_grad()
        (entropy + config.dice_weight * dice).backward()
        optimizer.step()
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                average[name].lerp_(tensor, 1 - AVERAGING)
        if (step + 1) % 50 == 0 or step + 1 == args.steps:
            saved = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
            torch.save({"step": step + 1, **saved}, state.with_suffix(".part"))
            state.with_suffix(".part").rename(state)
            print(f"step {step + 1}: cross entropy {float(entropy):.3f}, dice {float(dice):.3f}, "
                  f"{time.time() - began:.0f} s", flush=True)  # fmt: skip
    network.load_state_dict(average)
    final = network.eval()
    about = {"options": {"steps": args.steps, "batch": args.batch, "variants": args.variants, "seed": args.seed}}
    save_model(args.out / "weights.safetensors", "deeplab", dataclasses.asdict(config), {"segmenter": final}, about)
    matrix = torch.zeros(len(config.classes), len(config.classes), dtype=torch.int64)
    with torch.no_grad():
        for index in range(len(data[1])):
            paired = labels[1].paired(data[1].names[index])
            assert paired is not None
            seen = final(data[1][index][None].float() / 255).argmax(1)
            matrix += confusion(seen, labels[1][paired].long(), len(config.classes), config.ignore)
    for name, value in figures(matrix, config.classes).items():
        print(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
