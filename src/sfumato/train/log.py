"""What a run tells: JSON lines, TensorBoard, sheets of samples, and a bar with pictures/s and time left."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from sfumato.errors import InputError
from sfumato.progress import Reporter
from sfumato.train.files import write_atomic


class TrainReporter(Reporter):
    """The house's reporter, with what training shows."""

    def advance(self, step: int, steps: int, rate: float, left: float | None, losses: dict[str, float]) -> None:
        """`rate` in pictures a second, `left` in seconds."""
        if self.json and not self.quiet:
            line = {"name": self.name, "step": step, "total": steps, "rate": round(rate, 2), "losses": losses}
            print(json.dumps({**line, "left": None if left is None else round(left)}), file=sys.stderr, flush=True)
        if self.bar is not None:
            first = next(iter(losses.items()), None)
            told = [f"{rate:.1f} pictures/s", *([f"{first[0]} {first[1]:.3g}"] if first else [])]
            self.bar.update(self.task, completed=step, total=steps, info=", ".join(told))

    def tick(self, step: int, steps: int) -> None:
        """One step made; the bar moves, and knows the time left."""
        if self.bar is not None:
            self.bar.update(self.task, completed=step, total=steps)


def clock(seconds: float) -> str:
    """3725.0 as '1:02:05', 65.0 as '1:05'."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Log:
    """RUN/log.jsonl, RUN/events and RUN/samples; a full disk costs lines, not the run."""

    def __init__(self, folder: Path, step: int, reporter: TrainReporter) -> None:
        """Lines of steps after `step`, which will be made again, are removed."""
        self.folder, self.reporter, self.step = folder, reporter, step
        self.path = folder / "log.jsonl"
        self.failed = False
        self._board: Any = None
        self._board_tried = False
        self._try(lambda: folder.mkdir(parents=True, exist_ok=True))  # a run killed before its first file has none
        self._cut()

    def line(self, step: int, **entries: Any) -> None:
        """One line; anything JSON can hold."""
        self._try(lambda: self._append({"step": step, **entries}))

    def note(self, step: int, text: str, **entries: Any) -> None:
        """A sentence for people, kept in the log too."""
        self.reporter.note(text)
        self.line(step, note=text, **entries)

    def scalars(self, step: int, group: str, values: dict[str, float]) -> None:
        """Curves in TensorBoard, under `group`."""
        board = self._tensorboard()
        if board is not None:
            for name, value in values.items():
                self._try(lambda name=name, value=value: board.add_scalar(f"{group}/{name}", value, step))

    def picture(self, step: int, sheet: Tensor) -> None:
        """RUN/samples/STEP.png and TensorBoard; `sheet` 3 x H x W in [0, 1]."""
        from sfumato.picture.io import write_picture

        shown = sheet.detach().float().clamp(0, 1).cpu()
        try:
            write_picture(self.folder / "samples" / f"{step:09d}.png", shown)
        except InputError as error:
            self._failed(str(error))
        board = self._tensorboard()
        if board is not None:
            self._try(lambda: board.add_image("samples", shown, step))

    def close(self) -> None:
        if self._board is not None:
            self._try(self._board.close)

    def _append(self, entries: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entries, ensure_ascii=False) + "\n")

    def _cut(self) -> None:
        if not self.path.is_file():
            return
        kept = []
        for text in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                if json.loads(text)["step"] <= self.step:
                    kept.append(text + "\n")
            except (ValueError, KeyError, TypeError):  # half a line of a killed process
                continue
        self._try(lambda: write_atomic(self.path, "".join(kept).encode()))

    def _tensorboard(self) -> Any:
        """The writer, made when there is something to write: its import takes a while."""
        if not self._board_tried:
            self._board_tried = True
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                self.note(self.step, "no curves for TensorBoard: pip install tensorboard")
                return None
            self._try(self._open_board(SummaryWriter))
        return self._board

    def _open_board(self, writer: Any) -> Any:
        def opened() -> None:
            self._board = writer(str(self.folder / "events"), purge_step=self.step + 1, flush_secs=30)

        return opened

    def _try(self, write: Any) -> None:
        """Do it; go on when the disk is full."""
        try:
            write()
        except OSError as error:
            self._failed(error.strerror or str(error))

    def _failed(self, reason: str) -> None:
        """Say so once."""
        if not self.failed:
            self.failed = True
            self.reporter.note(f"the log in {self.folder} cannot be written ({reason}); training goes on")


class Meter:
    """Means of what steps return, and pictures a second, between two looks."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.pictures, self.since = 0, time.monotonic()

    def add(self, values: dict[str, Tensor], pictures: int) -> None:
        for name, value in values.items():
            scalar = value.detach().float().reshape(())
            self.sums[name] = self.sums[name] + scalar if name in self.sums else scalar
            self.counts[name] = self.counts.get(name, 0) + 1
        self.pictures += pictures

    def take(self) -> tuple[dict[str, Tensor], float]:
        """Means and pictures a second since the last look, which starts anew."""
        now = time.monotonic()
        rate = self.pictures / max(1e-9, now - self.since)
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts, self.pictures, self.since = {}, {}, 0, now
        return means, rate
