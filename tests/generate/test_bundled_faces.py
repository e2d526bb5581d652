"""The bundled generator of drawn faces: offline, by name, many faces, drawn as its data are, with the mouth wanted."""

from pathlib import Path

import torch

from sfumato import generate
from sfumato.models.stylegan2 import Sampler


def test_seeds_make_many_faces_of_drawn_colours(tmp_path: Path) -> None:
    made = generate("faces", count=48, seed=1, output=tmp_path / "sheet.png").pictures
    assert made.shape == (48, 3, 64, 64)
    between = torch.cdist(made.flatten(1), made.flatten(1)).fill_diagonal_(99)
    assert between.min() > 3  # no face twice; the nearest of 48 drawn ones are 14 apart
    skin = made[:, :, 34:38, 28:36].mean((0, 2, 3))  # between the cheeks all have skin: red above green above blue
    assert skin[0] > skin[1] + 0.1 > skin[2] + 0.15
    corners = made[:, :, :4, :4].mean((2, 3))
    assert corners.std(0).min() > 0.1  # backgrounds of many colours


def test_it_names_the_mouths_it_was_shown() -> None:
    sampler = Sampler.load("faces")
    assert sampler.classes == ("agape", "angry", "laugh", "sad", "smile")
    assert sampler.size == (64, 64)


def test_the_class_moves_the_mouth_more_than_the_rest() -> None:
    sampler = Sampler.load("faces")
    one, agape, other = (
        sampler.paint(sampler.draw(range(32), label=sampler.classes.index(name))) for name in ("laugh", "agape", "sad")
    )
    changed = (one - other).abs().mean((0, 1))
    assert changed[41:47, 27:37].mean() > 1.4 * changed.mean()
    changed = (agape - other).abs().mean((0, 1))
    assert changed[41:47, 27:37].mean() > 1.55 * changed.mean()
    assert changed.argmax() // 64 in range(41, 49)  # the row that changes most
    red = one[:, 0] - one[:, 1:].mean(1) - other[:, 0] + other[:, 1:].mean(1)  # lips and tongue
    assert red[:, 41:49, 28:36].mean() > red.mean() + 0.02
