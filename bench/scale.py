#!/usr/bin/env python3
"""Whether the look stays the same with the size.

    python bench/scale.py --small 256 --large 2048 --out runs/scale

The large result reduced to the small size should be as near to the small result as two seeds at the small size are to
each other. Content and style are enlarged to the large size once, and every run reads these files.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

from pictures import LANCZOS, at_short_side, bundled, opened, sheet
from running import command_line, machine, settings, table

EXPLAINED = """\
In levels of 255. Blurred: means of 8 x 8 pixels. Colour, contrast: differences of mean and deviation.
Grain: difference of mean |x - its 3 x 3 median|."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=256)
    parser.add_argument("--large", type=int, default=2048)
    parser.add_argument("--seeds", type=int, default=3, help="results at the small size, of seeds 0, 1, ...")
    parser.add_argument("--content", type=Path, default=bundled("photos", "astronaut"))
    parser.add_argument("--style", type=Path, default=bundled("paintings", "starry_night"))
    parser.add_argument("--out", type=Path, default=Path("runs/scale"))
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE", help="options of sfumato.stylize, after --")
    args = parser.parse_args()
    if args.seeds < 2:
        parser.error("two seeds at least")
    args.out.mkdir(parents=True, exist_ok=True)
    photo, painting = args.out / "content.png", args.out / "style.png"
    at_short_side(opened(args.content), args.large).save(photo)
    at_short_side(opened(args.style), args.large).save(painting)

    from sfumato.cli import prepare_memory

    prepare_memory()
    from sfumato.stylize import stylize

    made: dict[str, Path] = {}
    spent: dict[str, float] = {}
    options = {"method": "optimise", **settings(args.options)}
    runs = [(f"{args.small} px, seed {seed}", args.small, seed) for seed in range(args.seeds)]
    for name, size, seed in [*runs, (f"{args.large} px, seed 0", args.large, 0)]:
        began = time.perf_counter()
        made[name] = args.out / f"{size}-seed{seed}.png"
        stylize(photo, painting, output=made[name], **{**options, "size": size, "seed": seed})
        spent[name] = time.perf_counter() - began
        print(f"{name}: {spent[name]:.1f} s", file=sys.stderr, flush=True)

    large, small = f"{args.large} px, seed 0", f"{args.small} px, seed 0"
    reduced = args.out / f"{args.large}-reduced.png"
    like = opened(made[small]).size
    opened(made[large]).resize(like, LANCZOS).save(reduced)
    names = {**{n: made[n] for n, _, _ in runs}, f"{large}, reduced": reduced}
    between = [compared(names[a], names[b]) for a, b in itertools.combinations([n for n, _, _ in runs], 2)]
    seeds = {k: sum(b[k] for b in between) / len(between) for k in between[0]}
    sizes = compared(names[small], reduced)
    photograph = args.out / "content-reduced.png"
    opened(photo).resize(like, LANCZOS).save(photograph)
    unchanged = compared(names[small], photograph)
    rows = [
        [f"{args.large} px reduced to {args.small}, and {args.small} px", *sizes.values()],
        [f"two seeds at {args.small} px (mean of {len(between)})", *seeds.values()],
        ["ratio", *(sizes[k] / max(1e-9, seeds[k]) if k != "ssim" else None for k in sizes)],
        ["the photograph, and its stylized picture", *unchanged.values()],
    ]
    header = ["between", "RMSE", "RMSE, blurred", "colour", "contrast", "grain", "SSIM"]
    spent_line = ", ".join(f"{n}: {s:.0f} s" for n, s in spent.items())
    text = f"    {command_line()}\n\n{machine()}; {spent_line}\n\n{table(header, rows)}\n\n{EXPLAINED}\n"
    (args.out / "table.md").write_text(text)
    sheet(list(names), [list(names.values())], args.out / "sheet.png", side=max(256, args.small))
    print(text)


def compared(first: Path, second: Path) -> dict[str, float]:
    """Differences of two pictures of one size, of pixels and of plain statistics: no network judges here."""
    import torch.nn.functional as F
    from judging import as_tensor, speckle, ssim

    a, b = as_tensor(opened(first)), as_tensor(opened(second))
    gap = 255 * (a - b)
    return {
        "rmse": gap.square().mean().sqrt().item(),
        "blurred": F.avg_pool2d(gap, 8).square().mean().sqrt().item(),
        "colour": gap.mean((0, 2, 3)).abs().mean().item(),
        "contrast": 255 * (a.std((2, 3)) - b.std((2, 3))).abs().mean().item(),
        "grain": abs(speckle(a)["specks"] - speckle(b)["specks"]),
        "ssim": ssim(a, b),
    }


if __name__ == "__main__":
    main()
