#!/usr/bin/env python3
"""Edited faces to look at: drawn faces that were not trained on, a pair of rows an edit, ours above the true one.

    python bench/edit_sheet.py portraits --to mouth=laughing@2 glasses=round@3 hair=full -o edits.png

The faces are the first of a seed, none left out. Each is inverted as `sfumato edit` does it and moved by the class's
direction. With `--only` the change is kept where the true edit changes something, a little more, as one would paint it.
"""

import argparse

import torch
import torch.nn.functional as F
from edit import direction_name, tensor
from torch import Tensor

from sfumato.data.drawing import face
from sfumato.edit.editor import Editor
from sfumato.edit.invert import invert
from sfumato.edit.region import put_back
from sfumato.models.sampler import sheet
from sfumato.picture.io import write_picture

SEED = 2
MARGIN = 7
"""Pixels, an odd number, over which a region is widened."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--style", default="micah")
    parser.add_argument("--to", nargs="+", required=True, metavar="ATTRIBUTE=VARIANT[@STRENGTH]")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--only", action="store_true", help="in the true edit's region")
    parser.add_argument("--whole", action="store_true", help="the generator's picture, not the change")
    parser.add_argument("--steps", type=int, default=0, help="of descent after the encoder's codes")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("-o", "--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    editor = Editor(args.model, steps=args.steps)
    side = editor.space.size[0]
    faces = [face(args.style, SEED, i) for i in range(args.count)]
    before = torch.cat([tensor(f.pixels(side)) for f in faces])
    start = None if editor.encoder is None else editor.encoder.encode(before)
    found = invert(editor.space, before, editor.features, editor.inverting, start=start)
    rows = [before, found.pictures]
    for text in args.to:
        what, _, strength = text.partition("@")
        attribute, _, wanted = what.partition("=")
        truth = torch.cat([tensor(f.changed(attribute, wanted).pixels(side)) for f in faces])
        made = editor.changed(
            found.space, found.codes, {direction_name(editor, attribute, wanted): float(strength or 1)}
        )
        region = region_of(before, truth) if args.only else torch.ones_like(before[:, :1])
        rows += [edited(before, found.pictures, made, region, side, whole=args.whole), truth]
    large = F.interpolate(torch.cat(rows), scale_factor=args.scale, mode="nearest")
    write_picture(args.out, sheet(large, args.count))


def region_of(before: Tensor, truth: Tensor) -> Tensor:
    """Where the true edit changes anything, and a little around it."""
    changed = ((truth - before).abs().amax(1, keepdim=True) > 1 / 255).float()
    return F.max_pool2d(changed, MARGIN, 1, MARGIN // 2)


def edited(before: Tensor, like: Tensor, made: Tensor, region: Tensor, side: int, *, whole: bool) -> Tensor:
    """The change put into the faces themselves."""
    box, one = (0, 0, side, side), slice
    parts = (one(i, i + 1) for i in range(len(before)))
    return torch.cat([put_back(before[k], box, like[k], made[k], region[k], whole=whole) for k in parts])


if __name__ == "__main__":
    main()
