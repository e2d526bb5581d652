#!/usr/bin/env python3
"""How far to go: edits of held-out drawn faces by a class at several strengths, as classifiers see them.

    python bench/edit_strengths.py portraits --judge mouth=runs/mouth hair=runs/hair glasses=runs/glasses clothes=runs/clothes
        --to glasses=square hair=full clothes=collared mouth=nervous

Faces that lack the variant are inverted, moved along the class's direction, and the difference is added to them. A cell:
share of them whose variant the classifier names, the share of the other classifiers' answers that changed; the former
with the generator's own picture in place of the difference (*whole*), and with that within the true edit's region alone,
where nothing else can change (`--whole --only`).
"""  # noqa: E501 (a command stays on its line)

import argparse

import torch
from edit import direction_name, drawn, named, tensor
from edit_sheet import edited, region_of
from running import command_line, machine
from torch import Tensor

from sfumato.edit.editor import Editor
from sfumato.edit.invert import invert
from sfumato.features.classifier import load_classifier

STRENGTHS = (1.0, 1.5, 2.0, 3.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--judge", nargs="+", required=True, help="ATTRIBUTE=CLASSIFIER")
    parser.add_argument("--to", nargs="+", required=True, help="ATTRIBUTE=VARIANT")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--steps", type=int, default=0, help="of descent after the encoder's codes")
    parser.add_argument("--style", default="micah")
    args = parser.parse_args()
    torch.set_num_threads(1)
    judges = {name: load_classifier(path) for name, _, path in (text.partition("=") for text in args.judge)}
    editor = Editor(args.model, steps=args.steps)
    side = editor.space.size[0]
    print(f"    {command_line()}\n\n{machine()}\n")
    print("| | before |", " | ".join(f"x {s:g}, others, whole, in region" for s in STRENGTHS), "|")
    print("| --- | ---: |", " | ".join("---:" for _ in STRENGTHS), "|")
    for text in args.to:
        attribute, _, wanted = text.partition("=")
        pairs = drawn(attribute, wanted, args.count, args.style)
        before, truth = (torch.cat([tensor(f.pixels(side)) for f in some]) for some in zip(*pairs, strict=True))
        region = region_of(before, truth)
        start = None if editor.encoder is None else editor.encoder.encode(before)
        found = invert(editor.space, before, editor.features, editor.inverting, start=start)
        way = editor.direction(direction_name(editor, attribute, wanted)).at(found.codes)

        def answers(pictures: Tensor, own: str = attribute) -> Tensor:
            return torch.stack([judge.chances(pictures).argmax(1) for name, judge in judges.items() if name != own])

        cells = []
        for strength in STRENGTHS:
            made = editor.space.show(found.codes + strength * way)
            after = (before + made - found.pictures).clamp(0, 1)
            within = edited(before, found.pictures, made, region, side, whole=True)
            success, whole, inside = (float(named(judges[attribute], x, wanted)) for x in (after, made, within))
            others = float((answers(after) != answers(before)).float().mean())
            cells.append(f"{success:.0%}, {others:.0%}, {whole:.0%}, {inside:.0%}")
        print(f"| {text} | {float(named(judges[attribute], before, wanted)):.0%} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
