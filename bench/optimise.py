#!/usr/bin/env python3
"""Time to the same loss: PyPI's pastiche, the textbook loop and sfumato, interleaved in one run.

    python bench/optimise.py --sizes 256 512 1024 --out runs/optimise

Loss: what bench/judging.py's `Judge` says at the target size, style + 0.3 x content. Pictures are kept while a method
runs (its clock stands still) and scored afterwards in another process, so neither time nor memory of a method holds
any of it. `--score --pooling max` scores the pictures of an earlier run again.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from methods import METHODS, work
from pictures import bundled, prepared
from running import command_line, machine, measured, mib, settings, table

TEXTBOOK_STEPS = 60
"""At 512 pixels; fewer at larger sizes, more at smaller ones."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024], help="short sides in pixels")
    parser.add_argument("--content", type=Path, default=bundled("photos", "astronaut"))
    parser.add_argument("--style", type=Path, default=bundled("paintings", "starry_night"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rounds", type=int, default=1, help="medians are shown")
    parser.add_argument("--out", type=Path, default=Path("runs/optimise"))
    parser.add_argument("--limit", type=float, default=1800, help="seconds after which a method is stopped")
    parser.add_argument("--pastiche-steps", type=int, help="default: its own, 1000")
    parser.add_argument(
        "--textbook-steps", type=int, help=f"default: {TEXTBOOK_STEPS} at 512 px, as many pixels at others"
    )
    parser.add_argument("--pooling", choices=("average", "max"), default="average", help="of the common loss")
    parser.add_argument(
        "--points", type=int, default=16, help="pictures scored a curve, before the search between them"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--score", action="store_true", help="only score what lies in --out")
    parser.add_argument("--ours", nargs="*", default=[], metavar="KEY=VALUE", help="options of sfumato.stylize")
    hidden = {"help": argparse.SUPPRESS}
    parser.add_argument("--worker", choices=[*METHODS, "score"], **hidden)
    parser.add_argument("--folder", type=Path, **hidden)
    parser.add_argument("--size", type=int, **hidden)
    parser.add_argument("--steps", type=int, **hidden)
    args = parser.parse_args()
    args.options = settings(args.ours)
    return args


def steps_of(method: str, size: int, args: argparse.Namespace) -> int | None:
    if method == "pastiche":
        return args.pastiche_steps
    if method == "textbook":
        return args.textbook_steps or min(300, max(15, round(TEXTBOOK_STEPS * (512 / size) ** 2)))
    return None


def run_method(method: str, size: int, turn: int, args: argparse.Namespace) -> dict[str, Any]:
    """One run in a process of its own; its report, with the peak memory seen from outside."""
    folder = args.out / str(size)
    name, steps = f"{method}-{turn}", steps_of(method, size, args)
    command = [sys.executable, __file__, "--worker", method, "--folder", folder / name, "--size", size]
    command += ["--content", folder / "content.png", "--style", folder / "style.png", "--limit", args.limit]
    command += [
        "--device",
        args.device,
        *(["--steps", steps] if steps else []),
        *(["--ours", *args.ours] if args.ours else []),
    ]
    done = measured([str(c) for c in command])
    if done.code:
        sys.exit(f"{method} at {size} px ended with exit code {done.code}")
    report = {**json.loads(done.output.splitlines()[-1]), "folder": name, "peak": done.peak}
    print(f"{size} px, round {turn + 1}: {method} {report['steps']} steps, {report['seconds']:.1f} s", file=sys.stderr)
    return report


def score(size: int, args: argparse.Namespace) -> dict[str, Any]:
    """Scored in another process: this one must stay small (bench/running.py)."""
    command = [sys.executable, __file__, "--worker", "score", "--folder", args.out / str(size), "--size", size]
    done = measured([*map(str, command), "--pooling", args.pooling, "--points", str(args.points)])
    if done.code:
        sys.exit(f"scoring at {size} px ended with exit code {done.code}")
    return json.loads(done.output.splitlines()[-1])


def seconds(times: list[float | None]) -> float | None:
    """The median; None as soon as one round did not get there."""
    return None if None in times else statistics.median(t for t in times if t is not None)


def goals_of(methods: Iterable[str]) -> list[str]:
    """Losses to be reached. Near its end a method creeps: its loss + 5 % says how much of a ratio is that."""
    return [g for m in methods for g in ((m, f"{m} + 5 %") if m == "pastiche" else (m,))]


def rows(size: int, reports: dict[str, list[dict[str, Any]]], found: dict[str, Any]) -> list[list[Any]]:
    """The table's lines for one size; ratios are a method's seconds over ours."""
    lines = []
    goals = goals_of(reports)
    for method, rounds in reports.items():
        whole = statistics.median(r["seconds"] for r in rounds)
        first = statistics.median(r["first"] for r in rounds)
        each = statistics.median((r["seconds"] - r["first"]) / max(1, r["steps"] - 1) for r in rounds)
        final = found[method]["final"][-1]
        line = [size, method, f"{rounds[-1]['steps']}{' (limit)' if rounds[-1]['stopped'] else ''}", f"{whole:.1f}"]
        line += [f"{first:.1f}", f"{each:.2f}", mib(max(r["peak"] for r in rounds))]
        line += [f"{final['loss']:.4f}", f"{final['style']:.4f}", f"{final['content']:.4f}"]
        for goal in goals:
            here = seconds(found[method]["times"][goal])
            base = seconds(found["ours"]["times"][goal]) if "ours" in found else None
            if here is None:
                line.append(f"not in {whole:.1f}")
            else:
                line.append(f"{here:.1f}" + (f" ({here / base:.1f}x)" if base else ""))
        lines.append(line)
    return lines


def main() -> None:
    args = arguments()
    if args.worker == "score":
        from curves import judged  # PyTorch: not in the process that measures others

        reports = json.loads((args.folder / "reports.json").read_text())
        found = judged(args.folder, args.size, args.pooling, args.points, reports)
        (args.folder / f"curves-{args.pooling}.json").write_text(json.dumps(found, indent=1))
        print(json.dumps(found))
        return
    if args.worker:
        work(args)
        return
    lines: list[list[Any]] = []
    for size in args.sizes:
        folder = args.out / str(size)
        if args.score:
            reports = json.loads((folder / "reports.json").read_text())
        else:
            prepared(args.content, args.style, size, folder)
            reports = {m: [] for m in args.methods}
            for turn in range(args.rounds):
                for method in args.methods:
                    reports[method].append(run_method(method, size, turn, args))
            (folder / "reports.json").write_text(json.dumps(reports, indent=1))
        lines += rows(size, reports, score(size, args))
    header = ["px", "method", "steps", "s in all", "s to 1st step", "s a step", "peak MiB"]
    header += ["loss", "style left", "content lost", *(f"s to loss of {g}" for g in goals_of(reports))]
    setting = f"{machine()}; {args.device}; {args.content.stem} as {args.style.stem}; the loss pools by {args.pooling}"
    text = f"    {command_line()}\n\n{setting}\n\n{table(header, lines)}\n"
    (args.out / f"table-{args.pooling}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
