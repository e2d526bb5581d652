#!/usr/bin/env python3
"""Peak memory of the command on a large picture, against the limit that it was given.

    python bench/memory.py --side 4096 --max-memory 2GiB

The peak is the process's largest resident set, as the system counted it (wait4). Few steps are made: memory does not
grow with their number once L-BFGS has its pairs. Exits with 1 when the limit was broken. The second line asks for what
cannot be done and expects a refusal in one sentence, before any work.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pictures import bundled, opened
from PIL import Image, ImageOps
from running import command_line, machine, measured

FEW = Path(__file__).parent / "few_tiles.py"
UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def in_bytes(text: str) -> int:
    """'2GiB' in bytes."""
    number = text.lower().removesuffix("ib").removesuffix("b")
    return int(float(number.rstrip("kmg")) * UNITS.get(number[-1], 1))


def steps_by_scale(side: int) -> list[int]:
    """Few steps for sfumato's pyramid (128, 256, ... side); four where L-BFGS still has pairs, two at the end."""
    scales, at = 1, 128
    while at * 2**0.5 < side:
        scales, at = scales + 1, at * 2
    return [4] * (scales - 1) + [2]


def command() -> list[str]:
    installed = shutil.which("sfumato", path=str(Path(sys.executable).parent)) or shutil.which("sfumato")
    return [installed] if installed else [sys.executable, "-m", "sfumato.cli"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096, help="of the square content picture")
    parser.add_argument("--max-memory", default="2GiB")
    parser.add_argument("--schedule", type=int, nargs="+", help="steps of every scale, smallest first")
    parser.add_argument(
        "--tiles", type=int, help="visit so many tiles alone (few_tiles.py): the same memory in less time"
    )
    parser.add_argument("--content", type=Path, default=bundled("photos", "astronaut"))
    parser.add_argument("--style", type=Path, default=bundled("paintings", "starry_night"))
    parser.add_argument("--refused", default="500MiB", help="a limit that is too small for the picture")
    parser.add_argument("--out", type=Path, help="keep the result here")
    args = parser.parse_args()
    schedule = args.schedule or steps_by_scale(args.side)
    print(f"    {command_line()}\n\n{machine()}\n", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        photo, target = Path(scratch) / "content.png", folder / f"memory-{args.side}.png"
        ImageOps.fit(opened(args.content), (args.side, args.side), Image.Resampling.BICUBIC).save(photo)
        program = command() if args.tiles is None else [sys.executable, str(FEW), str(args.tiles)]
        call = [*program, "stylize", str(photo), str(args.style), "--size", "original", "-o", str(target), "--quiet"]
        run = measured([*call, "--max-memory", args.max_memory, "--schedule", *map(str, schedule)])
        limit = in_bytes(args.max_memory)
        if run.code:
            sys.exit(f"sfumato ended with exit code {run.code}")
        with Image.open(target) as made:
            size = f"{made.width} x {made.height}"
        verdict = "within" if run.peak <= limit else "BEYOND"
        print(
            f"{size}: peak {run.peak / (1 << 30):.3f} GiB, {verdict} {args.max_memory} "
            f"({100 * run.peak / limit:.0f} %), {run.seconds:.0f} s, steps {' '.join(map(str, schedule))}",
            flush=True,
        )
        call[call.index("-o") + 1] = str(Path(scratch) / "refused.png")
        no = subprocess.run([*call, "--max-memory", args.refused], capture_output=True, text=True, check=False)
        print(f"{size} in {args.refused}: exit code {no.returncode}: {no.stderr.strip()}")
        if run.peak > limit or no.returncode != 2:
            sys.exit(1)


if __name__ == "__main__":
    main()
