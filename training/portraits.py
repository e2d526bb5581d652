#!/usr/bin/env python3
"""Cut the faces out of photographs, hair and shoulders with them, so that a training sees more of skin.

    python training/portraits.py PHOTOS --split splits.json --out packed

Writes `packed/portraits/`, a square of three times the height of every face, and `packed/split.json`, the split with a
table for them: `sfumato train colorizer --data PHOTOS packed/portraits --split packed/split.json`. Faces are found by
`sfumato.edit.faces` (pip install 'sfumato[faces]'), in the parts `train` and `dev` alone.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sfumato.edit.faces import Finder
from sfumato.errors import InputError
from sfumato.picture.io import read_picture
from sfumato.picture.result import tensor_of

LEAST = 28
"""Height of a face in pixels from which it shows enough."""
CERTAIN = 0.6
"""Chance that it is one."""
WIDE = 3.0
"""Side of a square in heights of the face; more of it below than above."""
GREY = 6.0
"""Mean difference of a picture's channels, of 255, below which it has no colours to teach."""


def square(box: tuple[float, float, float, float], height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom around a face's X, Y, width, height, inside the picture."""
    x, y, wide, tall = box
    side = int(min(WIDE * tall, height, width))
    left = int(np.clip(x + wide / 2 - side / 2, 0, width - side))
    top = int(np.clip(y + 0.65 * tall - side / 2, 0, height - side))
    return left, top, left + side, top + side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    split = json.loads(given.split.read_text())[given.photos.name]
    folder, finder = given.out / "portraits", Finder()
    folder.mkdir(parents=True, exist_ok=True)
    cut: dict[str, list[str]] = {}
    for part in ("train", "dev"):
        cut[part] = []
        for name in split[part]:
            try:
                picture = tensor_of(read_picture(given.photos / name))
            except InputError as error:
                print(error)
                continue
            if 255 * float((picture.amax(1) - picture.amin(1)).mean()) < GREY:
                continue
            faces = [f for f in finder(picture) if f.chance >= CERTAIN and f.box[3] >= LEAST]
            for k, face in enumerate(faces):
                left, top, right, bottom = square(face.box, *picture.shape[2:])
                pixels = (255 * picture[0, :, top:bottom, left:right]).round().to(torch.uint8)
                kept = f"{Path(name).stem}-{k}.png"
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / kept)
                cut[part].append(kept)
    tables = {given.photos.name: split, "portraits": cut}
    (given.out / "split.json").write_text(json.dumps(tables, indent=1) + "\n")
    print(", ".join(f"{len(names)} {part}" for part, names in cut.items()))


if __name__ == "__main__":
    main()
