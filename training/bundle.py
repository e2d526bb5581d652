#!/usr/bin/env python3
"""A run's exported weights, ready to be bundled: what they say of their making without the folders of this machine.

    python training/bundle.py runs/onepass onepass --command "sfumato train onepass ..." --set features=vgg19

Writes src/sfumato/weights/bundled/NAME.safetensors and prints the lines that registry.toml wants.
"""

import argparse
import hashlib
import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

BUNDLED = Path(__file__).parent.parent / "src/sfumato/weights/bundled"


def valued(text: str) -> object:
    """A number, true, false or a list where it is one."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run, or one of its files of weights")
    parser.add_argument("name")
    parser.add_argument("--command", required=True, help="as anyone would type it")
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE", help="fields of the configuration")
    args = parser.parse_args()
    source = args.run if args.run.is_file() else args.run / "weights.safetensors"
    with safe_open(str(source), "pt") as file:
        about = json.loads(file.metadata()["sfumato"])
    about["about"]["command"] = args.command
    about["config"].update((field, valued(text)) for field, text in (pair.split("=", 1) for pair in args.set))
    for key in ("split", "init", "out"):
        about["about"].get("options", {}).pop(key, None)
    text = json.dumps(about)
    found = [part for part in text.split('"') if part.startswith(("/", "~"))]
    if found:
        parser.error(f"the weights would tell of {found[0]}: --set or --command")
    target = BUNDLED / f"{args.name}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(load_file(str(source)), str(target), {"sfumato": text})
    data = target.read_bytes()
    print(f'[{args.name}]\nfamily = "{about["family"]}"\nfile = "{target.name}"')
    print(f'sha256 = "{hashlib.sha256(data).hexdigest()}"\nsize = {len(data)}')


if __name__ == "__main__":
    main()
