"""Progress on stderr: a bar for people, JSON lines for programs, nothing when quiet."""

import json as jsonlib
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Reporter:
    """Shows one piece of work; a context manager."""

    def __init__(self, *, quiet: bool, json: bool, name: str) -> None:
        self.quiet, self.json, self.name = quiet, json, name
        self.bar: Progress | None = None
        self.started = time.monotonic()

    def __enter__(self) -> Self:
        if not self.quiet and not self.json and sys.stderr.isatty():  # a file gets the notes only
            console = Console(stderr=True)
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[info]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self.bar = Progress(*columns, console=console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task(self.name, total=None, info="preparing")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def show(self, step: int, total: int, size: tuple[int, int], losses: dict[str, float]) -> None:
        """One step made, of so many planned."""
        if self.json and not self.quiet:
            seconds = round(time.monotonic() - self.started, 2)
            line = {
                "name": self.name,
                "step": step,
                "total": total,
                "size": list(size),
                "seconds": seconds,
                "losses": losses,
            }
            print(jsonlib.dumps(line), file=sys.stderr, flush=True)
        if self.bar is not None:
            left = f", style left {losses['style']:.2f}" if "style" in losses else ""
            info = f"{size[1]} x {size[0]}{left}"
            self.bar.update(self.task, completed=step, total=total, info=info)

    def note(self, text: str) -> None:
        """A line to keep."""
        if self.quiet:
            return
        if self.bar is not None:
            self.bar.console.print(text, highlight=False, soft_wrap=True)
        else:
            print(jsonlib.dumps({"note": text}) if self.json else text, file=sys.stderr, flush=True)
