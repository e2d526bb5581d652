"""The commands `evaluate style` and `models`; torch is imported when the first begins its work."""

import json as jsonlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from sfumato.cli_flags import Json, Quiet

evaluate = App(
    name="evaluate",
    help="Judge results by numbers.",
    version_flags=[],
    help_flags=["--help", "-h"],
    help_format="plaintext",
)


@evaluate.command
def style(
    results: Annotated[Path, Parameter(help="Folder of results named CONTENT__STYLE after the pictures' stems.")],
    /,
    *,
    content: Annotated[Path, Parameter(help="Folder of the content pictures.")],
    style: Annotated[Path, Parameter(help="Folder of the style pictures.")],
    features: Annotated[str | None, Parameter(help="Feature network: a name or a file; figures name it.")] = None,
    size: Annotated[int, Parameter(help="Short side in pixels at which pictures are compared.")] = 512,
    limit: Annotated[int | None, Parameter(help="So many results at most, evenly spread.")] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Share of the style gap that is left, of the content that is lost, and structural similarity.

    sfumato evaluate style results/ --content photos/ --style paintings/
    """
    from sfumato.metrics.style_transfer import evaluate_style
    from sfumato.progress import Reporter

    with Reporter(quiet=quiet, json=json, name=str(results)) as progress:
        found = evaluate_style(
            results,
            content,
            style,
            features=features,
            size=size,
            limit=limit,
            on_row=lambda number, count, row: progress.show(number, count, (size, size), asdict(row.score)),
        )
    if json:
        rows = {f"{row.content}__{row.style}": asdict(row.score) for row in found.rows}
        table = {name: asdict(score) for name, score in found.table().items()}
        print(jsonlib.dumps({"features": found.features, "size": found.size, "mean": table, "rows": rows}))
        return 0
    print(f"{'':<32} style  content  ssim    (features {found.features}, short side {found.size} px)")
    for name, score in found.table().items():
        print(f"{name:<32} {score.style:5.3f}  {score.content:5.3f}    {score.ssim:5.3f}")
    return 0


def models(*, json: Json = False) -> int:
    """List the bundled models with their terms."""
    from sfumato.weights.registry import models_table

    rows = models_table()
    if json:
        print(jsonlib.dumps(rows, ensure_ascii=False))
        return 0
    if not rows:
        print("no model is bundled with this version")
    for row in rows:
        print(f"{row['name']} {row['version']}: {row['family']}, {row['size']}, {row['licence']}\n  {row['data']}")
    return 0


def register(app: App) -> None:
    """Add the verbs to the command line."""
    app.command(evaluate)
    app.command(models)
