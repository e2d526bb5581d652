"""What the benches share: child processes measured from outside, the machine in one line, markdown tables.

No PyTorch here: on Linux a child inherits its parent's peak memory at birth, so the parent has to stay small.
"""

import ast
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """A child process that has ended."""

    code: int
    output: str
    seconds: float
    peak: int
    """Bytes: the largest resident set it ever had (wait4)."""


def measured(command: Sequence[str | Path]) -> Run:
    """Run `command` to its end; stdout is kept, stderr shown."""
    began = time.perf_counter()
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True)
    try:
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
    except KeyboardInterrupt:
        process.terminate()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(process.returncode, output, time.perf_counter() - began, usage.ru_maxrss * unit)


def command_line() -> str:
    """The command that is running, as one would type it."""
    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script.name
    return shlex.join(["python", str(name), *sys.argv[1:]])


def machine() -> str:
    """Processor, cores, versions: what a number is worth nothing without."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"{p} {importlib.metadata.version(p)}" for p in ("torch", "sfumato")]
    threads = os.environ.get("OMP_NUM_THREADS")
    limit = [f"OMP_NUM_THREADS={threads}"] if threads else []
    return ", ".join([model, f"{cores} cores", *limit, f"Python {platform.python_version()}", *versions])


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A markdown table; numbers are shown with three decimals, None as a dash."""

    def cell(value: Any) -> str:
        if value is None:
            return "-"
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell(c) for c in line) + " |" for line in lines)


def settings(pairs: Sequence[str]) -> dict[str, Any]:
    """{"steps": 80, ...} from ["steps=80", ...]; what Python cannot read as a value is a word. Exits on nonsense."""
    found = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign:
            sys.exit(f"{pair!r} is not an option of sfumato: write it like steps=80 or keep_color=luminance")
        try:
            found[key.strip().replace("-", "_")] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[key.strip().replace("-", "_")] = text
    return found


def mib(size: float) -> str:
    return f"{size / (1 << 20):.0f}"
