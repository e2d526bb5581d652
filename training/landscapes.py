#!/usr/bin/env python3
"""Choose the pictures of two domains: photographs of landscapes, by sfumato's own segmenter, and paintings by name.

    python training/landscapes.py photos/ --split splits.json --paintings paintings/ --prefix song_ ming_ \\
        --without training/not_landscapes.txt --out ink.json

A photograph is taken where sky, water, vegetation and ground cover at least `--nature` of it, at least two of these
`--kind` each, people, animals, vehicles and objects at most `--things`. Names are read from `--split` ({folder: {part:
[names]}}); the file written has the same form, for `sfumato train cyclegan --split ink.json`, and its `test` part is
for figures alone.
"""

import argparse
import json
from pathlib import Path

from sfumato.errors import InputError
from sfumato.segment import Segmenter

NATURE = ("sky", "water", "vegetation", "ground")
THINGS = ("person", "animal", "vehicle", "object")


def is_landscape(shares: dict[str, float], given: argparse.Namespace) -> bool:
    nature = [shares.get(name, 0.0) for name in NATURE]
    things = sum(shares.get(name, 0.0) for name in THINGS)
    kinds = sum(share >= given.kind for share in nature)
    return sum(nature) >= given.nature and kinds >= 2 and things <= given.things


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--prefix", nargs="+", required=True, help="what names of wanted paintings begin with")
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--without", type=Path, help="a file of paintings' names, a line each, that are left out")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", help="a segmenter; the bundled one when left out")
    parser.add_argument("--size", type=int, default=128, help="short side at which the segmenter looks")
    parser.add_argument("--nature", type=float, default=0.82)
    parser.add_argument("--kind", type=float, default=0.1)
    parser.add_argument("--things", type=float, default=0.05)
    given = parser.parse_args()
    split, segmenter = json.loads(given.split.read_text()), Segmenter(given.model, size=given.size, radius=0)
    chosen: dict[str, dict[str, list[str]]] = {given.photos.name: {}, given.paintings.name: {}}
    for part, names in split[given.photos.name].items():
        found = list[str]()
        for name in names:
            try:
                regions = segmenter(given.photos / name).regions
            except InputError as error:
                print(error)
                continue
            if is_landscape(dict(zip(regions.names, regions.shares.tolist(), strict=True)), given):
                found.append(name)
        chosen[given.photos.name][part] = found
    without = set(given.without.read_text().split()) if given.without else set[str]()
    for part, names in split[given.paintings.name].items():
        wanted = [n for n in names if n.startswith(tuple(given.prefix)) and n not in without]
        chosen[given.paintings.name][part] = wanted
    given.out.write_text(json.dumps(chosen, indent=1) + "\n")
    for folder, parts in chosen.items():
        print(f"{folder}: " + ", ".join(f"{len(names)} {part}" for part, names in parts.items()))


if __name__ == "__main__":
    main()
