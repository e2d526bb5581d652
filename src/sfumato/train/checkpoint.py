"""Checkpoints: everything that the next step depends on, in safetensors and JSON, complete or not there.

RUN/checkpoints/STEP/{tensors.safetensors, state.json, rank-R.safetensors}. A checkpoint is written into a folder whose
name begins with a dot, brought to the disk, and renamed; what has its final name is complete.
"""

import contextlib
import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.optim import Optimizer

from sfumato.errors import InputError
from sfumato.train.files import sync_folder, write_synced
from sfumato.train.run import Run
from sfumato.weights.files import load_model

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint as read."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, of which the newest `keep` stay."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, in their order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(p.name) for p in self.folder.iterdir() if p.name.isdigit() and (p / "state.json").is_file())

    def path(self, step: int) -> Path:
        return self.folder / f"{step:09d}"

    def save(self, run: Run, state: Mapping[str, Any], agree: Callable[[bool], bool]) -> None:
        """Write the run as it stands after its step. Every process calls it.

        `agree` tells whether something went well in every process. Raises OSError (a full disk, say); the older
        checkpoints are still there then.
        """
        temporary = self.folder / f".{run.step:09d}"
        error: OSError | None = None
        try:
            if run.rank == 0:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._sweep()
                temporary.mkdir()
        except OSError as e:
            error = e
        if agree(error is None):
            try:
                if run.rank == 0:
                    tensors, scalars = pack(run)
                    write_synced(temporary / "tensors.safetensors", save(tensors))
                    whole = {"format": FORMAT, "step": run.step, **state, "optimizers": scalars, "factors": run.factors}
                    write_synced(temporary / "state.json", json.dumps(whole, indent=1).encode())
                else:
                    write_synced(temporary / f"rank-{run.rank}.safetensors", save(pack_rank(run)))
            except OSError as e:
                error = e
        if not agree(error is None):
            if run.rank == 0:
                shutil.rmtree(temporary, ignore_errors=True)
            raise error or OSError("another process could not write it")
        if run.rank == 0:
            final = self.path(run.step)
            if final.exists():  # left by a run that went on from an older one
                self._remove(final)
            temporary.rename(final)
            sync_folder(self.folder)
            for step in self.steps()[: -self.keep]:
                self._remove(self.path(step))

    def load(self, run_rank: int = 0) -> tuple[Checkpoint | None, list[str]]:
        """The newest checkpoint that can be read (None where there is none), and what was wrong with newer ones."""
        notes: list[str] = []
        for step in reversed(self.steps()):
            folder = self.path(step)
            try:
                state = json.loads((folder / "state.json").read_text())
                if state.get("format") != FORMAT:
                    raise InputError(f"{folder} is of format {state.get('format')}; this sfumato reads {FORMAT}")
                tensors = load_file(folder / "tensors.safetensors")
                own = folder / f"rank-{run_rank}.safetensors"
                if run_rank and own.is_file():
                    tensors = {k: v for k, v in tensors.items() if not k.startswith("state/")} | load_file(own)
                return Checkpoint(int(state["step"]), tensors, state), notes
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                if isinstance(error, InputError):
                    raise
                notes.append(f"checkpoint {folder} cannot be read ({error}); the one before it is used")
        return None, notes

    def forget_after(self, step: int) -> None:
        """Remove the checkpoints of later steps, which shall be made again otherwise."""
        for later in self.steps():
            if later > step:
                self._remove(self.path(later))

    def _sweep(self) -> None:
        """Remove what a process left that was killed while it wrote."""
        for path in self.folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        """First the name, then the files, so that no half of a checkpoint has a checkpoint's name."""
        doomed = self.folder / f".old-{secrets.token_hex(4)}"
        with contextlib.suppress(OSError):
            path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def pack(run: Run) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The run's tensors by path-like names, and its optimisers' numbers."""
    tensors = _modules("network", run.networks) | _modules("ema", run.ema)
    tensors |= {f"state/{k}": _plain(v) for k, v in run.state.items()}
    scalars: dict[str, Any] = {}
    for name, optimizer in run.optimizers.items():
        content = optimizer.state_dict()
        numbers: dict[str, dict[str, Any]] = {}
        for index, entries in content["state"].items():
            for key, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{name}/{index}/{key}"] = _plain(value)
                else:
                    numbers.setdefault(str(index), {})[key] = value
        scalars[name] = {"groups": content["param_groups"], "state": numbers}
    return tensors, scalars


def pack_rank(run: Run) -> dict[str, Tensor]:
    """What differs from process to process: the state, and buffers of networks (batch statistics)."""
    tensors = {f"state/{k}": _plain(v) for k, v in run.state.items()}
    for name, network in run.networks.items():
        kept = set(network.state_dict())
        tensors |= {f"network/{name}/{k}": _plain(b) for k, b in network.named_buffers() if k in kept}
    return tensors


def unpack(run: Run, checkpoint: Checkpoint) -> None:
    """Put the run back where the checkpoint was made. Raises `InputError` where it is of other networks."""
    tensors = checkpoint.tensors
    for kind, modules in (("network", run.networks), ("ema", run.ema)):
        for name, module in modules.items():
            prefix = f"{kind}/{name}/"
            found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            try:
                module.load_state_dict(found)
            except RuntimeError as error:
                reason = " ".join(str(error).split())
                raise InputError(f"the checkpoint of step {checkpoint.step} does not fit {name!r}: {reason}") from None
    run.state = {k.removeprefix("state/"): v.to(run.device) for k, v in tensors.items() if k.startswith("state/")}
    for name, optimizer in run.optimizers.items():
        _unpack_optimizer(optimizer, f"optimizer/{name}/", tensors, checkpoint.state["optimizers"][name])
    run.factors = dict(checkpoint.state.get("factors", {}))
    run.step = checkpoint.step


def warm_start(run: Run, source: str) -> str:
    """Weights of a model into the networks and averages of the same names; what was done, in a sentence.

    Raises `InputError` where it has none of them or they do not fit.
    """
    model = load_model(source)
    shared = [name for name in run.networks if name in model.tensors]
    if not shared:
        has = ", ".join(sorted(model.tensors))
        raise InputError(f"{source} has none of the networks {', '.join(run.networks)}, but {has}")
    model.fill({name: run.networks[name] for name in shared})
    model.fill({name: run.ema[name] for name in shared if name in run.ema})
    fresh = [name for name in run.networks if name not in shared]
    return f"started from {source}: {', '.join(shared)}" + (f"; new: {', '.join(fresh)}" if fresh else "")


def _unpack_optimizer(
    optimizer: Optimizer, prefix: str, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]
) -> None:
    state: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in scalars["state"].items()}
    for key, value in tensors.items():
        if key.startswith(prefix):
            index, entry = key.removeprefix(prefix).split("/")
            state.setdefault(int(index), {})[entry] = value
    groups = [{k: tuple(v) if k == "betas" else v for k, v in group.items()} for group in scalars["groups"]]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _modules(kind: str, modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {f"{kind}/{name}/{k}": _plain(v) for name, m in modules.items() for k, v in m.state_dict().items()}


def _plain(tensor: Tensor) -> Tensor:
    """A copy that shares nothing, as safetensors wants it."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
