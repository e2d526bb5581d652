#!/usr/bin/env python3
"""Generators of drawn faces next to faces nobody trained on: distances, and which attributes they drop.

    sfumato data faces -n 12000 --size 64 --seed 1 --out FACES
    sfumato data faces -n 2000 --size 64 --seed 2 --out HELD
    sfumato train classifier --data FACES --label mouth --no-flip --steps 1500 --out runs/mouth    (hair, ...)
    python bench/faces.py --data HELD --train FACES --judge mouth=runs/mouth hair=runs/hair runs/dcgan runs/stylegan2

Rows: training faces (what a perfect generator scores), one held-out face repeated, then every model. FID-VGG is by
VGG-19, FID by the first classifier a second opinion where VGG's kin helped to train, and sliced Wasserstein distances
(finest scale, mean of all) need no network. A column an attribute: total variation distance between what its
classifier answers for made and for held-out faces, 0 for the same shares, near 1 where one kind is all there is.
Below: the shares.
"""

import argparse
from pathlib import Path

import torch
from running import command_line, machine
from torch import Tensor

from sfumato.evaluate.sets import PictureSet, embedded, made_set, read_set
from sfumato.features.classifier import Trained, load_classifier
from sfumato.metrics.embedding import embed, load_embedding
from sfumato.metrics.generated import central, compare
from sfumato.metrics.sliced_wasserstein import sliced_wasserstein
from sfumato.models.sampler import sheet
from sfumato.picture.io import write_picture

SHOWN = 64


def shares(judge: Trained, pictures: PictureSet) -> Tensor:
    """How often the classifier names each of its classes."""
    answers = torch.cat([judge.chances(part).argmax(1) for part in pictures.batches()])
    return torch.bincount(answers, minlength=len(judge.classes)) / len(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="runs, files or names of generators")
    parser.add_argument("--data", type=Path, required=True, help="faces to compare with")
    parser.add_argument("--train", type=Path, required=True, help="the faces trained on")
    parser.add_argument("--judge", nargs="+", default=[], metavar="ATTRIBUTE=RUN", help="classifiers of attributes")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--sheets", type=Path, help="a folder for sheets of the first 64 seeds")
    given = parser.parse_args()
    judges = {name: load_classifier(run) for name, run in (part.split("=", 1) for part in given.judge)}
    size = (given.size, given.size)
    vgg = load_embedding("vgg19")
    second = load_embedding(given.judge[0].split("=", 1)[1]) if given.judge else None

    held = read_set(given.data, size=size, count=given.count)
    count = len(held.pixels)
    real = {e: embedded(held, e, cached=True) for e in (vgg, second) if e is not None}
    wanted = {name: shares(judge, held) for name, judge in judges.items()}
    print(f"{machine()}\n{command_line()}\n{count:,} faces a row, 8 bits\n")
    titles = ["FID-VGG", "precision", "recall", "diversity", "SWD finest", "SWD"]
    titles += [f"FID by {next(iter(judges))}"] if second is not None else []
    titles += judges
    print("| | " + " | ".join(titles) + " |\n| --- |" + " ---: |" * len(titles), flush=True)
    found: dict[str, dict[str, Tensor]] = {"held out": wanted}

    def tell(name: str, made: PictureSet) -> None:
        by_vgg = compare(embed(vgg, made.batches()), real[vgg], vgg.title)
        scales = list(sliced_wasserstein(made.pixels.float() / 255, held.pixels.float() / 255).values())
        cells = [
            f"{by_vgg[f'FID-{vgg.title}']:.1f}",
            *(f"{by_vgg[k]:.2f}" for k in ("precision", "recall", "diversity")),
        ]
        cells += [f"{scales[0]:.1f}", f"{sum(scales) / len(scales):.1f}"]
        if second is not None:
            by_second = compare(embed(second, made.batches()), real[second], second.title)
            cells.append(f"{by_second[f'FID-{second.title}']:.2f}")
        found[name] = {kind: shares(judge, made) for kind, judge in judges.items()}
        cells += [f"{float((found[name][kind] - wanted[kind]).abs().sum() / 2):.2f}" for kind in judges]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        if given.sheets is not None:
            given.sheets.mkdir(parents=True, exist_ok=True)
            write_picture(given.sheets / f"{name}.png", sheet(made.pixels[:SHOWN].float() / 255, 8))

    tell("training faces", read_set(given.train, size=size, count=count))
    middle = held.pixels[central(real[vgg])].expand_as(held.pixels)
    tell("one face, repeated", PictureSet(middle, "one", (), {}))
    for model in given.models:
        cpu = torch.device("cpu")
        tell(
            Path(model).name,
            made_set(model, count=count, seed=0, truncation=1.0, class_="", device=cpu, on_batch=None),
        )
    for kind, judge in judges.items():
        print(f"\n| {kind} | " + " | ".join(judge.classes) + " |\n| --- |" + " ---: |" * len(judge.classes))
        for name, row in found.items():
            print(f"| {name} | " + " | ".join(f"{x:.2f}" for x in row[kind].tolist()) + " |")


if __name__ == "__main__":
    main()
