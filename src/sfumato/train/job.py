"""A run as a recipe that any process can follow: family, settings, sources. Torch comes with the work.

RUN/config.json is a recipe written down.
"""

import contextlib
import dataclasses
import glob
import hashlib
import json
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.errors import InputError
from sfumato.train.options import TrainOptions, check_values

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from sfumato.train.classes import ClassList
    from sfumato.train.data import Pictures
    from sfumato.train.engine import Trained

ROLES = {
    "data": "Pictures to train on: a folder, a zip, a glob; or several folders.",
    "content": "Photographs to be painted.",
    "style": "Pictures whose style is learnt.",
    "a": "Pictures of the first domain.",
    "b": "Pictures of the second domain.",
    "labels": "Label maps of the pictures of --data, named like them: a class a pixel.",
}
"""Kinds of data and what they are."""


@dataclass(frozen=True)
class Job:
    """What `fit` needs, as plain values."""

    family: str
    module: str
    """Where the family's Config and Method are."""
    config: dict[str, Any]
    options: TrainOptions
    sources: dict[str, list[str]]
    """Folders, zips, pictures or globs, by role."""
    command: str = ""
    resume: bool = False
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What the data were when the run began; empty in a new run."""

    def method(self) -> Any:
        """The family's Method. Raises `InputError` for a Config that cannot be."""
        module = import_module(self.module)
        names = {f.name for f in fields(module.Config)}
        values = {k: _tuples(v) for k, v in self.config.items() if k in names}
        config = module.Config(**values)
        check_values(config, getattr(module, "RANGES", {}))
        return module.Method(config)

    def open(self, method: Any) -> "tuple[dict[str, Pictures], dict[str, Pictures]]":
        """Pictures to train on and pictures held out, by role; with label maps where the method wants them."""
        pairs = {role: open_split(self.sources[role], self.options) for role in method.roles if role != "labels"}
        if "labels" in method.roles:
            pairs["labels"] = open_labels(self.sources, pairs["data"], method.class_list)
        return {r: p[0] for r, p in pairs.items()}, {r: p[1] for r, p in pairs.items()}

    def describe(self) -> dict[str, Any]:
        """The whole configuration with everything resolved, for --dry-run. Reads the folders, writes nothing."""
        method = self.method()
        train, held_out = self.open(method)
        method = method.fitted(train) if hasattr(method, "fitted") else method
        return {
            "family": self.family,
            "config": dataclasses.asdict(method.config),
            "options": dataclasses.asdict(self.options),
            "sources": self.sources,
            "data": about_data(train, held_out),
        }

    def run(self, *, quiet: bool = True, json: bool = False) -> "Trained":
        """Train, in as many processes as the options say. Raises as `engine.fit`."""
        from sfumato.train.engine import Trained
        from sfumato.train.machine import Interrupted, make_fabric

        fabric = make_fabric(self.options)
        if self.options.processes == 1:
            return self.work(fabric, quiet, json)
        try:
            with _deaf_to_interruption():
                found = fabric.launch(partial(_work, job=self, quiet=quiet, json=json))
        except Exception as error:
            raise _told_by_worker(error) from None
        if found is None:
            raise Interrupted
        return Trained(**{**found, "folder": Path(found["folder"])})

    def work(self, fabric: "Fabric", quiet: bool, json: bool) -> "Trained":
        """One process's share of the run."""
        from sfumato.train.engine import fit
        from sfumato.train.log import TrainReporter

        method = self.method()
        train, held_out = self.open(method)
        data = about_data(train, held_out)
        name = f"train {self.family}"
        record = {"module": self.module, "command": self.command, "sources": self.sources, "data": data}
        with TrainReporter(quiet=quiet or fabric.global_rank > 0, json=json, name=name) as reporter:
            if self.data and self.data != data:
                reporter.note("warning: the pictures are not those the run began with, so it goes on differently")
            return fit(
                method,
                train,
                self.options,
                held_out=held_out,
                family=self.family,
                resume=self.resume,
                fabric=fabric,
                record=record,
                reporter=reporter,
            )


def read_job(folder: Path) -> Job:
    """The recipe in RUN/config.json. Raises `InputError`."""
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{folder} is not a training run: it has no config.json")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != 1:
            raise InputError(f"{path} is of format {document['format']}; this sfumato reads 1")
        names = {f.name for f in fields(TrainOptions)}
        options = {k: _tuples(v) for k, v in document["options"].items() if k in names}
        return Job(
            family=document["family"],
            module=document["module"],
            config=document["config"],
            options=TrainOptions(**{**options, "out": str(folder)}),
            sources=document["sources"],
            command=document["command"],
            resume=True,
            data=document["data"],
        )
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error!r})") from None


def open_split(sources: Sequence[str], options: TrainOptions) -> "tuple[Pictures, Pictures]":
    """Pictures to train on and pictures held out; the same where too few are there to hold one out."""
    from sfumato.train.data import Pictures

    side = options.side or round(1.5 * options.resolution)
    room = options.cache << 20
    parts: tuple[list[Any], list[Any]] = ([], [])
    for source in sources:
        names = Pictures(source, side=side).names
        if len(sources) > 1 and not Path(source).is_dir():
            raise InputError(f"{source}: several sources of one kind must all be folders")
        for part, chosen in zip(parts, divide(names, Path(source).stem, options), strict=True):
            part += chosen if len(sources) == 1 else [Path(source) / name for name in chosen]
    if len(sources) == 1:
        train, held_out = (Pictures(sources[0], side=side, limit_bytes=room, names=part) for part in parts)
    else:
        train, held_out = (Pictures(part, side=side, limit_bytes=room) for part in parts)
    return train, held_out


def open_labels(
    sources: Mapping[str, Sequence[str]], pictures: "tuple[Pictures, Pictures]", classes: "ClassList"
) -> "tuple[Pictures, Pictures]":
    """The label maps of pictures to train on and held out, every one looked at. Raises `InputError`."""
    from sfumato.train.classes import check_pairs
    from sfumato.train.data import Pictures

    data, labels = sources["data"], sources["labels"]
    if len(data) != len(labels):
        raise InputError(f"{len(data)} folders of --data need as many of --labels, in the same order: {len(labels)}")
    parts = []
    for part in pictures:
        source: Any = labels[0]
        if len(labels) > 1:
            beside = {name: _label_of(path, data, labels) for name, path in part.paths().items()}
            source = {name: path for name, path in beside.items() if path is not None}
        parts.append(Pictures(source, side=part.side, limit_bytes=part.limit_bytes, labels=classes))
        parts[-1].remarks += check_pairs(part, parts[-1], classes)
    return parts[0], parts[1]


def _label_of(picture: Path, data: Sequence[str], labels: Sequence[str]) -> Path | None:
    """The file named like `picture` but for its extension, in the folder of labels that belongs to its own."""
    for folder, beside in zip(data, labels, strict=True):
        root = Path(folder).absolute()
        if picture.is_relative_to(root):
            wanted = (Path(beside) / picture.relative_to(root)).with_suffix("")
            found = sorted(p for p in wanted.parent.glob(f"{glob.escape(wanted.name)}.*") if p.stem == wanted.name)
            if found:
                return found[0]
    return None


def divide(names: Sequence[str], folder: str, options: TrainOptions) -> tuple[list[str], list[str]]:
    """Names to train on and names held out.

    By the split file, where its tables are keyed by folders under `folder`'s key; else by a hash of each name, so that
    a picture stays on its side when others come or go. Raises `InputError` for a split file that cannot be used.
    """
    if options.split is not None:
        return _read_split(Path(options.split), folder)
    held = [n for n in names if _share(n) < options.val_fraction]
    kept = [n for n in names if _share(n) >= options.val_fraction]
    return (kept, held) if kept and held else (list(names), list(names))


def about_data(train: "Mapping[str, Pictures]", held_out: "Mapping[str, Pictures]") -> dict[str, Any]:
    """What the data are, without where they lie."""
    return {
        role: {"name": Path(p.title).name, "train": len(p), "held_out": len(held_out[role]), "sha256": p.sha256}
        for role, p in train.items()
    }


def _share(name: str) -> float:
    """A number in [0, 1) made of a name."""
    return float(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")) / 2.0**64


def _read_split(path: Path, folder: str) -> tuple[list[str], list[str]]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"--split {str(path)!r} cannot be read: {error}") from None
    if isinstance(table, dict) and "train" not in table:
        if folder not in table:
            raise InputError(f"--split {str(path)!r} has no table for {folder!r}, but {', '.join(table)}")
        table = table[folder]
    parts = [table.get(k) for k in ("train", "dev")] if isinstance(table, dict) else [None, None]
    if not parts[0] or not all(isinstance(p, list) and all(isinstance(n, str) for n in p) for p in parts):
        raise InputError(f"--split {str(path)!r} must hold lists of names under 'train' and 'dev'")
    return parts[0], parts[1] or parts[0]


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _work(fabric: "Fabric", job: Job, quiet: bool, json: bool) -> dict[str, Any] | None:
    """A worker process; plain values go back to the one that started it, None after Ctrl-C."""
    from torch import distributed

    from sfumato.train.machine import Interrupted

    try:
        trained = job.work(fabric, quiet, json)
        found = {**dataclasses.asdict(trained), "folder": str(trained.folder)}
    except Interrupted:
        found = None
    if distributed.is_initialized():  # its threads, met by the process's end, abort it now and then
        distributed.destroy_process_group()
    return found


@contextlib.contextmanager
def _deaf_to_interruption() -> Iterator[None]:
    """Ctrl-C reaches the workers too, which answer it and end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    older = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, older)


def _told_by_worker(error: Exception) -> Exception:
    """A worker's sentence for the user, which arrives as the last line of its traceback."""
    found = re.search(r"^(?:[\w.]*\.)?(?:InputError|DivergedError): (.+)\Z", str(error).strip(), re.M)
    return InputError(found[1]) if found else error


def shown_command() -> str:
    """The command line as typed."""
    import shlex

    return shlex.join(["sfumato", *sys.argv[1:]])
