"""RUN/card.md: how a model was made, for people."""

from collections.abc import Mapping
from typing import Any

from sfumato.train.log import clock


def card(family: str, about: Mapping[str, Any], best: Mapping[str, float], bad: Mapping[str, str]) -> str:
    """Markdown of what the exported weights say of themselves (`about`)."""
    lines = [f"# {family}", ""]
    if about.get("command"):
        lines += ["```", about["command"], "```", ""]
    options = about["options"]
    lines += [
        f"- made: {about['step']} steps, {about['samples']} samples of {options['resolution']} px, "
        f"{clock(about['seconds'])}, sfumato {about['version']}, seed {options['seed']}",
    ]
    if options.get("init"):
        lines.append(f"- started from: {options['init']}")
    for role, data in about.get("data", {}).items():
        lines.append(
            f"- {role}: {data['name']}, {data['train']} pictures, {data['held_out']} held out, {data['sha256'][:12]}"
        )
    lines.append(f"- losses at the end: {_numbers(about['losses'])}")
    lines.append(f"- judged at the end: {_numbers(about['metrics'])}")
    if best:
        lines.append(f"- best (best.safetensors): {_numbers(best)}")
    if bad:
        lines += ["", f"{len(bad)} pictures could not be read:", "", *(f"- {n}: {r}" for n, r in bad.items())]
    return "\n".join(lines) + "\n"


def _numbers(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items()) or "not"
