"""Every option of `train`, declared once: Python keyword, command-line option and entry in RUN/config.json.

What belongs to one family (weights of losses, widths of networks) is in that family's `Config`; both make the command.
"""

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sfumato.errors import InputError, unknown


@dataclass(frozen=True)
class TrainOptions:
    """How long, on what, and how often something is written."""

    out: str = ""
    """Folder of the run: checkpoints, log, samples, weights; runs/FAMILY when left out."""
    preset: str = "default"
    """Named settings of the family."""
    steps: int | None = None
    """Updates to make; a run of so many steps is the same to the bit however often it is interrupted."""
    hours: float | None = None
    """Time to train in place of `steps`: fitted to it by the measured speed, so the run depends on the clock."""
    batch: int = 8
    """Samples a step of every process."""
    resolution: int = 256
    """Side in pixels of the crops that the networks see."""
    seed: int = 0
    """Chooses first weights, samples and noise."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    precision: Literal["32", "bf16-mixed"] = "32"
    """Arithmetic of the networks; weights and losses stay float32."""
    processes: int = 1
    """Processes that share the work, one a GPU; their gradients are averaged."""
    threads: int = 2
    """Threads that prepare samples; 0 prepares them between the steps."""
    cache: int = 1024
    """Memory in MiB for the decoded pictures of every kind of data."""
    side: int | None = None
    """Short side at which pictures are kept, in pixels; 1.5 x resolution when left out."""
    init: str | None = None
    """Weights to start from: a bundled model's name, a file, or the folder of a run."""
    split: str | None = None
    """JSON of the names to train on and to judge by: {"train": [...], "dev": [...]}, or one such table a folder."""
    val_fraction: float = 0.05
    """Share of the pictures held out to judge by, chosen by their names; 0 judges by the pictures trained on."""
    rate: float = 1.0
    """Factor on the family's learning rates."""
    warmup: int = 0
    """Steps in which the learning rate rises from 0."""
    decay: float = 0.3
    """Share of the run, its last, in which the learning rate falls to 0."""
    decay_shape: Literal["cosine", "linear"] = "cosine"
    """How it falls there: along half a cosine, or along a line."""
    ema: float = 10_000
    """Half-life in samples of the averaged networks, which are those exported."""
    clip: float | None = None
    """Largest norm of an optimiser's gradient."""
    on_collapse: Literal["continue", "stop", "rollback"] = "continue"
    """After an alarm (mode collapse, discriminator victory, divergence, dead gradients): say so and go on, stop, or go
    back to the last healthy state with a lower learning rate of whoever is to blame, three times at most."""
    checkpoint_every: int = 1000
    """Steps between checkpoints."""
    checkpoint_seconds: float = 300
    """Seconds between checkpoints at most."""
    keep: int = 2
    """Checkpoints kept."""
    sample_every: int = 500
    """Steps between sheets of samples."""
    evaluate_every: int = 1000
    """Steps between judgements on pictures held out."""
    evaluate_samples: int = 64
    """Samples to judge by."""
    log_every: int = 50
    """Steps between lines of the log."""

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""
        check_values(self, RANGES)
        if self.steps is not None and self.hours is not None:
            raise InputError("give --steps or --hours, not both")


RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, 10**9),
    "hours": (0.0001, 10_000),
    "batch": (1, 4096),
    "resolution": (8, 4096),
    "seed": (0, 2**31 - 1),
    "processes": (1, 256),
    "threads": (0, 256),
    "cache": (1, 10**7),
    "side": (8, 16384),
    "val_fraction": (0, 0.5),
    "rate": (1e-6, 1e6),
    "warmup": (0, 10**9),
    "decay": (0, 1),
    "ema": (0, 10**12),
    "clip": (1e-9, 1e9),
    "checkpoint_every": (1, 10**9),
    "checkpoint_seconds": (0, 10**9),
    "keep": (1, 10**6),
    "sample_every": (1, 10**9),
    "evaluate_every": (1, 10**9),
    "evaluate_samples": (1, 10**6),
    "log_every": (1, 10**9),
}
"""Smallest and largest value of an option."""


def check_values(options: Any, ranges: dict[str, tuple[float, float]]) -> None:
    """Types and ranges of a dataclass's numbers and choices. Raises `InputError`."""
    hints = get_type_hints(type(options))
    for f in fields(options):
        value, hint = getattr(options, f.name), hints[f.name]
        kinds = get_args(hint) or (hint,)
        if get_origin(hint) is Literal:
            if value not in kinds:
                raise unknown(f.name, value, map(str, kinds))
            continue
        if get_origin(hint) is tuple or (value is None and type(None) in kinds):
            continue
        if not {int, float}.intersection(kinds):
            continue
        whole = float not in kinds
        low, high = ranges.get(f.name, (-math.inf, math.inf))
        wrong = isinstance(value, bool) or not isinstance(value, int if whole else int | float)
        if wrong or not math.isfinite(value) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            limits = f" between {low:g} and {high:g}" if math.isfinite(low) else ""
            raise InputError(f"{f.name} must be {kind}{limits}, not {value!r}")
