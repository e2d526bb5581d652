"""The verbs `train` and `resume`. Torch is imported when the work begins, not with this module.

from sfumato.train import train
train("onepass", content="photos/", style="paintings/", out="run", hours=2)
"""

import dataclasses
import json as jsonlib
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.errors import InputError, unknown
from sfumato.train.job import ROLES, Job, read_job
from sfumato.train.options import TrainOptions

if TYPE_CHECKING:
    from sfumato.train.engine import Trained

__all__ = ["ROLES", "TrainOptions", "plan", "resume", "train"]

Source = str | Path | Sequence[str | Path]


def train(family: str, *, quiet: bool = True, json: bool = False, command: str = "", **given: Any) -> "Trained":
    """Train a family's networks on folders of pictures.

    Args:
        family: its name, e.g. "onepass".
        quiet: no progress on stderr.
        json: progress as JSON lines.
        command: how this was called, for the record.
        given: data by role (`content`, `style`, `data`, `a`, `b`: a folder, zip or glob, or several folders), fields
            of `TrainOptions` and of the family's Config by name.

    Returns:
        `Trained`: the folder of the run, its losses and judgements. The model is in `weights.safetensors` there.

    Raises:
        InputError: whatever cannot be used, in one sentence.
        Interrupted: after Ctrl-C; the run can be resumed.
    """
    return plan(family, command=command, **given).run(quiet=quiet, json=json)


def plan(family: str, *, command: str = "", **given: Any) -> Job:
    """The run that `train` would make, checked as far as goes without torch."""
    from sfumato.models.registry import FAMILIES, summary

    about = summary(family)
    defaults = {f.name: f.default for f in fields(about.config)}
    config = set(defaults)
    general = {f.name for f in fields(TrainOptions)}
    sources = {role: _listed(given.pop(role)) for role in ROLES if given.get(role) is not None}
    for name in given:
        if name not in config | general:
            raise unknown("option", name, sorted(config | general | set(ROLES)))
    preset = read_preset(family, given.get("preset", "default"))
    for name in preset:
        if name not in config | general:
            raise unknown(f"option in the preset of {family}", name, sorted(config | general))
    if "steps" in given or "hours" in given:
        preset = {k: v for k, v in preset.items() if k not in ("steps", "hours")}
    chosen = {**preset, **{k: v for k, v in given.items() if v is not None}}
    chosen.setdefault("out", free_folder(family))
    for name in config & general:  # the resolution that a network is built for
        chosen.setdefault(name, defaults[name])
    options = TrainOptions(**{k: _plain(v) for k, v in chosen.items() if k in general})
    options.check()
    check_roles(family, sources, about.roles)
    if options.steps is None and options.hours is None:
        raise InputError("say how long to train: --hours 2 or --steps 10000")
    return Job(
        family=family,
        module=FAMILIES[family],
        config={k: v for k, v in chosen.items() if k in config},
        options=options,
        sources=sources,
        command=command,
    )


def resume(
    folder: str | Path,
    *,
    steps: int | None = None,
    hours: float | None = None,
    quiet: bool = True,
    json: bool = False,
) -> "Trained":
    """Go on with the run in `folder` from its newest checkpoint; with other `steps` or `hours`, to another end.

    A run counted in steps ends with the same weights, to the bit, as if it had not been interrupted. Raises as `train`.
    """
    path = Path(folder)
    job = read_job(path)
    if steps is not None or hours is not None:
        options = dataclasses.replace(job.options, steps=steps, hours=hours)
        options.check()
        job = dataclasses.replace(job, options=options)
        _rewrite(path / "config.json", options)
    return job.run(quiet=quiet, json=json)


def check_roles(family: str, sources: Collection[str], roles: Sequence[str]) -> None:
    """Raises `InputError` where data is missing or of no use."""
    for role in roles:
        if role not in sources:
            raise InputError(f"{family} needs --{role}: {ROLES[role][:1].lower()}{ROLES[role][1:]}")
    for role in sources:
        if role not in roles:
            raise InputError(f"{family} has no use for --{role}: it takes {' and '.join(f'--{r}' for r in roles)}")


def presets(family: str) -> list[str]:
    """Names of a family's presets."""
    folder = resources.files("sfumato") / "presets" / family
    found = (
        [f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")] if folder.is_dir() else []
    )
    return sorted({"default", *found})


def read_preset(family: str, name: str) -> dict[str, Any]:
    """Options that a family's preset sets. Raises `InputError` for an unknown one."""
    if name not in presets(family):
        raise unknown(f"preset of {family}", name, presets(family))
    file = resources.files("sfumato") / "presets" / family / f"{name}.toml"
    table = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}


def free_folder(family: str) -> str:
    """runs/FAMILY, or the first of runs/FAMILY-2, -3, ... that holds no run."""
    path, number = Path("runs") / family, 1
    while (path / "config.json").exists():
        number += 1
        path = Path("runs") / f"{family}-{number}"
    return str(path)


def _listed(source: Source) -> list[str]:
    several = [source] if isinstance(source, str | Path) else list(source)
    if not several:
        raise InputError("a list of sources is empty")
    return [str(s) for s in several]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _rewrite(path: Path, options: TrainOptions) -> None:
    """The run's new end, in its recipe."""
    from sfumato.train.files import write_atomic

    document = jsonlib.loads(path.read_text(encoding="utf-8"))
    document["options"] = {**dataclasses.asdict(options)}
    try:
        write_atomic(path, jsonlib.dumps(document, indent=1).encode())
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
