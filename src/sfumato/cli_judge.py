"""The commands `evaluate style | generated | classifier` and `models`; torch is imported when they begin their work."""

import json as jsonlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from sfumato.cli_flags import Json, Quiet, prepare_memory

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


@evaluate.command
def generated(
    made: Annotated[str, Parameter(help="A generator (bundled name, file, run), or a folder, zip or npz of pictures.")],
    /,
    *,
    data: Annotated[str, Parameter(help="Real pictures: a folder, a zip, an npz.")],
    features: Annotated[
        str | None, Parameter(help="Feature network: vgg19, a classifier, or a file of VGG-19 or Inception-v3.")
    ] = None,
    count: Annotated[
        int, Parameter(name=["--count", "-n"], help="Pictures on either side, where there are so many.")
    ] = 2048,
    seed: Annotated[int, Parameter(help="Seed of the first picture made.")] = 1,
    truncation: Annotated[float, Parameter(help="Below 1 gives up variety for quality.")] = 1.0,
    class_: Annotated[str, Parameter(name="--class", help="Only this class of a conditional generator.")] = "",
    path_length: Annotated[
        int, Parameter(help="Pairs of latents for the perceptual path length, 1000 say; 0 leaves it out.")
    ] = 0,
    device: Annotated[str, Parameter(help="`auto`, `cpu`, `cuda`, `mps`.")] = "auto",
    no_cache: Annotated[bool, Parameter(negative=(), help="Do not keep what the network sees in the data.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Distances of made pictures to real ones, and what no work at all scores.

    sfumato evaluate generated runs/dcgan --data digits.npz --features digits
    """
    from sfumato.evaluate.generated import evaluate_generated
    from sfumato.progress import Reporter

    prepare_memory()
    with Reporter(quiet=quiet, json=json, name=made) as progress:
        found = evaluate_generated(
            made,
            data,
            features=features,
            count=count,
            seed=seed,
            truncation=truncation,
            class_=class_,
            path_length=path_length,
            device=device,
            cache=not no_cache,
            on_batch=lambda done, total: progress.show(done, total, (0, 0), {}),
        )
    print(jsonlib.dumps(found.to_json()) if json else found.table())
    return 0


@evaluate.command
def classifier(
    model: Annotated[str, Parameter(help="A classifier: a bundled name, a file of weights, a run.")],
    /,
    *,
    data: Annotated[str, Parameter(help="Labelled pictures: a folder a class, an npz, or labels.csv as in training.")],
    device: Annotated[str, Parameter(help="`auto`, `cpu`, `cuda`, `mps`.")] = "auto",
    json: Json = False,
) -> int:
    """Accuracy and confusion matrix of a classifier.

    sfumato evaluate classifier digits --data t10k-images-idx3-ubyte.gz
    """
    from sfumato.evaluate.classes import evaluate_classifier

    found = evaluate_classifier(model, data, device=device)
    print(jsonlib.dumps(asdict(found)) if json else found.table())
    return 0


@evaluate.command
def segments(
    model: Annotated[str, Parameter(help="A segmenter: a bundled name, a file of weights, a run.")],
    /,
    *,
    data: Annotated[str, Parameter(help="Pictures: a folder or zip.")],
    labels: Annotated[str, Parameter(help="Their label maps, named like them.")],
    classes: Annotated[
        str | None, Parameter(help="The label maps' class list (TOML), where it is not the model's.")
    ] = None,
    size: Annotated[int | None, Parameter(help="Short side in pixels at which the network looks.")] = None,
    radius: Annotated[int, Parameter(help="Reach of the guided filter; 0 judges the network alone.")] = 0,
    device: Annotated[str, Parameter(help="`auto`, `cpu`, `cuda`, `mps`.")] = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Intersection over union and pixel accuracy of a segmenter.

    sfumato evaluate segments runs/unet --data camvid/test --labels camvid/testannot
    """
    from sfumato.evaluate.segments import evaluate_segments
    from sfumato.progress import Reporter

    prepare_memory()
    with Reporter(quiet=quiet, json=json, name=model) as progress:
        found = evaluate_segments(
            model,
            data,
            labels,
            classes=classes,
            size=size,
            radius=radius,
            device=device,
            on_picture=lambda done, total: progress.show(done, total, (0, 0), {}),
        )
    print(jsonlib.dumps(asdict(found)) if json else found.table())
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
