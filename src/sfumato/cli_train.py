"""The commands `train FAMILY` and `resume RUN`, made from TrainOptions and the families' Configs; no torch yet."""

import json as jsonlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter

from sfumato.cli_flags import Json, Quiet, flags, given, prepare_memory
from sfumato.models.registry import FAMILIES, summary, title
from sfumato.train import ROLES, TrainOptions

if TYPE_CHECKING:
    from sfumato.train.engine import Trained

train = App(
    name="train",
    help="Train networks on your own pictures.\n\nsfumato train onepass --content photos/ --style paintings/ --hours 2",
    version_flags=[],
    help_flags=["--help", "-h"],
    help_format="plaintext",
)

DryRun = Annotated[bool, Parameter(negative=(), help="Print the whole configuration as JSON and do nothing.")]
DATA = Group("Data")


def source(role: str, roles: tuple[str, ...]) -> Any:
    """The type of a data option, shown where the family needs it."""
    parameter = Parameter(help=ROLES[role], negative=(), consume_multiple=True, group=DATA, show=role in roles)
    return Annotated[list[str] | None, parameter]


def command(family: str) -> Callable[..., int]:
    """The command that trains `family`."""
    config, docs, roles = summary(family)
    general_flags: Any = flags(TrainOptions, without=[f.name for f in fields(config)])
    family_flags: Any = flags(config, docs)
    general_type = Annotated[general_flags, Parameter(name="*", show_default=False, group=Group("Run"))]
    family_type = Annotated[family_flags, Parameter(name="*", show_default=False, group=Group(family))]

    def run(
        *,
        content: source("content", roles) = None,  # type: ignore[valid-type]
        style: source("style", roles) = None,  # type: ignore[valid-type]
        data: source("data", roles) = None,  # type: ignore[valid-type]
        a: source("a", roles) = None,  # type: ignore[valid-type]
        b: source("b", roles) = None,  # type: ignore[valid-type]
        labels: source("labels", roles) = None,  # type: ignore[valid-type]
        general: general_type = general_flags(),  # noqa: B008
        special: family_type = family_flags(),  # noqa: B008
        dry_run: DryRun = False,
        quiet: Quiet = False,
        json: Json = False,
    ) -> int:
        from sfumato.train import plan
        from sfumato.train.job import shown_command

        sources = {"content": content, "style": style, "data": data, "a": a, "b": b, "labels": labels}
        chosen = {**sources, **given(general), **given(special)}
        job = plan(family, command=shown_command(), **{k: v for k, v in chosen.items() if v is not None})
        if dry_run:
            print(jsonlib.dumps(job.describe(), indent=2, ensure_ascii=False))
            return 0
        prepare_memory()
        tell(job.run(quiet=quiet, json=json), as_json=json, quiet=quiet)
        return 0

    run.__doc__ = title(family)
    return run


def __getattr__(name: str) -> Callable[..., int]:
    """The command of a family, under its name."""
    if name in FAMILIES:
        return command(name)
    raise AttributeError(name)


def resume(
    run: Annotated[Path, Parameter(help="The folder of a training run.")],
    /,
    *,
    steps: Annotated[int | None, Parameter(help="Another number of steps to end at.")] = None,
    hours: Annotated[float | None, Parameter(help="Another time to end at, counted from the run's begin.")] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Go on with a training run that was interrupted, from its newest checkpoint.

    sfumato resume runs/onepass
    """
    from sfumato.train import resume as go_on

    prepare_memory()
    tell(go_on(run, steps=steps, hours=hours, quiet=quiet, json=json), as_json=json, quiet=quiet)
    return 0


def tell(trained: "Trained", *, as_json: bool, quiet: bool) -> None:
    """What came of it: a line of JSON on stdout, or a few on stderr."""
    import sys

    from sfumato.train.log import clock

    if as_json:
        figures = {"losses": trained.losses, "metrics": trained.metrics, "best": trained.best, "bad": trained.bad}
        whole = {"run": str(trained.folder), "steps": trained.step, "seconds": round(trained.seconds, 2), **figures}
        print(jsonlib.dumps(whole, ensure_ascii=False))
    elif not quiet:
        best = f", best score {trained.best['score']:.4g} at step {trained.best['step']}" if trained.best else ""
        lines = [
            f"{trained.step} steps in {clock(trained.seconds)}{best}; the model is {trained.folder}/weights.safetensors"
        ]
        if trained.bad:
            lines.append(f"{len(trained.bad)} pictures could not be read: {', '.join(sorted(trained.bad))}")
        print("\n".join(lines), file=sys.stderr)


def register(app: App) -> None:
    """Add the verbs to the command line; a family's options are read when it is called."""
    for family in FAMILIES:
        train.command(f"{__name__}:{family}", name=family, help=title(family))
    app.command(train)
    app.command(resume)
