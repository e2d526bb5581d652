"""What a generator's directions do, to look at: a labelled sheet, a strip over strengths, an animation."""

import collections
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfumato.edit.directions import Direction, from_labels, learnt, write_directions
from sfumato.edit.editor import Editor
from sfumato.errors import InputError
from sfumato.features.classifier import load_classifier
from sfumato.generate.shown import SMALLEST_CELL, enlarged, labelled, pixels, write_gif
from sfumato.models.sampler import sheet
from sfumato.picture.io import check_output, write_picture
from sfumato.picture.record import new_record
from sfumato.train.data import Pictures, crop
from sfumato.train.labels import classes_of, indices

STRENGTHS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
FRAMES = 24
"""Of an animation, there and back."""
BATCH = 32
SHOWN = 5
"""Numbered directions of each kind on a sheet."""


def explore(editor: Editor, output: str | os.PathLike[str], *, seed: int = 1, names: Sequence[str] = ()) -> Path:
    """A row a direction, a column a strength, of one seed's picture; all of them moving where `output` is a GIF.

    Without `names` those that have names of their own, the first of SeFa and the first principal axes. Raises
    `InputError`.
    """
    target = Path(output)
    if target.suffix.lower() != ".gif":
        check_output(target)
    most = min(SHOWN, editor.space.width)
    chosen = list(names) or [*editor.own, *(f"{kind}{k}" for kind in ("sefa", "pca") for k in range(1, most + 1))]
    editor.check(dict.fromkeys(chosen, 0.0))
    codes = editor.space.draw([seed])
    scale = max(1, -(-SMALLEST_CELL // editor.space.size[1]))
    if target.suffix.lower() == ".gif":
        way = 3 * torch.sin(torch.arange(FRAMES) / FRAMES * 2 * torch.pi)
        moving = torch.stack(
            [torch.cat([editor.changed(editor.space, codes, {n: float(s)}) for s in way]) for n in chosen]
        )
        write_gif(target, torch.stack([sheet(frame) for frame in moving.unbind(1)]), scale)
        return target
    blocks = []
    for name in chosen:
        row = torch.cat([editor.changed(editor.space, codes, {name: s}) for s in STRENGTHS])
        blocks.append(_row(row, name, STRENGTHS, scale))
    record = new_record("edit", {"explore": chosen, "seed": seed, "model": editor.name}, [], editor.weights)
    write_picture(target, np.concatenate(blocks), record=record)
    return target


def write_strip(editor: Editor, picture: str, name: str, strengths: Sequence[float], output: Path) -> None:
    """A picture with a direction at several strengths, side by side, or moving in a GIF. Raises `InputError`."""
    gif = output.suffix.lower() == ".gif"
    if not gif:
        check_output(output, [Path(picture)])
    made = editor.strip(picture, name, strengths)
    scale = max(1, -(-SMALLEST_CELL // made.shape[3]))
    if gif:
        write_gif(output, torch.cat([made, made.flip(0)]), scale)
    else:
        record = new_record("edit", {"strip": name, "strengths": list(strengths)}, [], editor.weights)
        write_picture(output, _row(made, name, strengths, scale), record=record)


def learn(editor: Editor, classifiers: Sequence[str], output: Path, *, count: int = 1000) -> list[Direction]:
    """A direction a class of trained classifiers, written to `output`.

    Of two classes only the second has one: the first is the way back. Raises `InputError`.
    """
    found, codes = list[Direction](), editor.space.draw(range(count))
    for source in classifiers:
        trained = load_classifier(source)

        def scores(
            pictures: Tensor, network: torch.nn.Module = trained.network, names: tuple[str, ...] = trained.classes
        ) -> dict[str, Tensor]:
            """Logits of every class against all others."""
            logits = network(pictures).log_softmax(1)
            odds = logits - torch.log1p(-logits.exp().clamp(max=1 - 1e-6))
            return {name: odds[:, k] for k, name in enumerate(names) if len(names) > 2 or k == 1}

        with torch.no_grad():
            found += learnt(editor.space, scores, codes)
    if len({d.name for d in found}) < len(found):
        raise InputError("two classifiers have a class of the same name")
    write_directions(output, found, editor.sha256)
    return found


def learn_labels(
    editor: Editor, folders: Sequence[str], columns: Sequence[str], output: Path, *, count: int = 3000
) -> list[Direction]:
    """A direction a label of pictures that have some, by the codes that the editor's encoder finds; to `output`.

    `columns` are those of the folders' labels.csv; "" stands for their sub-folders. A label that two columns have gets
    the column's name before it, beard-none. Raises `InputError`.
    """
    if editor.encoder is None:
        raise InputError("labelled pictures need an encoder, which finds their codes: say which with --encoder")
    labelled_as = list[tuple[str, Direction]]()
    for folder in folders:
        pictures, rng = Pictures(folder, side=min(editor.space.size)), np.random.default_rng(0)
        chosen = rng.permutation(len(pictures))[:count].tolist()
        parts = [
            editor.encoder.encode(
                torch.stack([crop(pictures[i], rng, size=editor.space.size, scale=(1, 1), flip=False) for i in some])
            )
            for some in (chosen[k : k + BATCH] for k in range(0, len(chosen), BATCH))
        ]
        for column in columns:
            classes = classes_of(pictures, column)
            numbers = torch.tensor(indices(pictures, classes, column))[chosen]
            labelled_as += [(column, d) for d in from_labels(classes, torch.cat(parts), numbers)]
    times = collections.Counter(d.name for _, d in labelled_as)
    found = [replace(d, name=f"{c}-{d.name}") if c and times[d.name] > 1 else d for c, d in labelled_as]
    if not found:
        raise InputError("nothing to learn: all pictures looked at have the same labels")
    if len({d.name for d in found}) < len(found):
        raise InputError("two folders have a label of the same name")
    write_directions(output, found, editor.sha256)
    return found


def _row(
    pictures: Tensor, title: str, strengths: Sequence[float], scale: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    grid = enlarged(sheet(pictures, len(strengths)), scale)
    return labelled(pixels(grid), title, [f"{s:+g}" if s else "0" for s in strengths])
