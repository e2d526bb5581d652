"""The machine: devices and processes through Lightning Fabric, and requests to stop."""

import logging
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from sfumato.errors import InputError, unknown
from sfumato.train.options import TrainOptions

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; it was checkpointed."""


def make_fabric(options: TrainOptions) -> "Fabric":
    """Lightning's Fabric for the options. Raises `InputError` where the machine or the installation lacks something."""
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise InputError("training needs one more package: pip install 'sfumato[train]'") from None
    kind, _, index = options.device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps"):
        raise unknown("device", options.device, ("auto", "cpu", "cuda", "mps"))
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    there = {"cpu": 10**6, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if options.processes > there or (index and not (index.isdigit() and int(index) < there)):
        raise InputError(
            f"device {options.device!r} for {options.processes} processes is not to be had on this machine"
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    devices: Any = [int(index)] if index and kind == "cuda" else options.processes
    strategy = "ddp_spawn" if options.processes > 1 else "auto"
    precision: Any = "32-true" if options.precision == "32" else options.precision
    if kind == "cuda":
        torch.backends.cudnn.benchmark = True  # crops are all of one size
        if precision != "32-true":
            torch.set_float32_matmul_precision("high")
    fabric = Fabric(accelerator=kind, devices=devices, strategy=strategy, precision=precision)
    if options.processes == 1:
        fabric.launch()
    return fabric


class Stop:
    """Ctrl-C and SIGTERM ask to stop after the step; a second one stops at once. Only in a main thread."""

    def __init__(self) -> None:
        self.asked = False
        self.older: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.older[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.older.items():
            signal.signal(number, handler)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
