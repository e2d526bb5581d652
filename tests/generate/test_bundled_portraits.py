"""The bundled generator whose faces' mouths, glasses, hair, clothes and colours can be asked for one by one."""

from functools import cache

import pytest
import torch
from torch import Tensor

from sfumato.edit.editor import Editor
from sfumato.models.stylegan2 import Sampler


@cache
def sampler() -> Sampler:
    return Sampler.load("portraits")


@cache
def faces(name: str) -> Tensor:
    """32 seeds with one class; of all other groups every seed has its own."""
    return sampler().paint(sampler().draw(range(32), label=sampler().classes.index(name)))


def changed(one: str, other: str) -> Tensor:
    """64 x 64: where two classes differ, the mean of which is 1."""
    found = (faces(one) - faces(other)).abs().mean((0, 1))
    return found / found.mean()


def test_it_knows_seven_groups() -> None:
    s = sampler()
    assert s.size == (64, 64)
    assert s.groups == (8, 3, 8, 3, 13, 13, 3)
    assert {c.rpartition("-")[0] for c in s.classes} == set(s.config.label.split(","))


def test_many_faces_with_the_shares_of_the_data() -> None:
    s = sampler()
    made = s.paint(s.draw(range(48)))
    assert torch.cdist(made.flatten(1), made.flatten(1)).fill_diagonal_(99).min() > 12  # no face twice
    assert made[:, :, :4, :4].mean((2, 3)).std(0).min() > 0.15  # backgrounds of many colours
    free, none = s.draw(range(200)), s.draw(range(200), label=s.classes.index("glasses-none"))
    assert (free == none).flatten(1).all(1).float().mean() == pytest.approx(0.7, abs=0.1)


@pytest.mark.parametrize(
    ("one", "other", "rows", "columns", "most"),
    [
        ("mouth-laughing", "mouth-frown", (38, 50), (26, 44), 1.2),
        ("glasses-square", "glasses-none", (22, 36), (20, 44), 1.1),
        ("hair-full", "hair-mrClean", (8, 20), (10, 54), 1.15),
        ("clothes-collared", "clothes-crew", (54, 64), (0, 64), 1.3),
    ],
)
def test_a_class_changes_its_part(
    one: str, other: str, rows: tuple[int, int], columns: tuple[int, int], most: float
) -> None:
    where = changed(one, other)
    assert where[slice(*rows), slice(*columns)].mean() > most
    if not one.startswith("hair"):  # the place that changes most; hair is all around
        assert rows[0] - 2 <= int(where.argmax()) // 64 < rows[1]


def test_hair_leaves_the_mouth_alone() -> None:
    assert changed("hair-full", "hair-mrClean")[38:46, 28:40].mean() < 0.5


def test_colours_are_those_asked_for() -> None:
    light, dark = (faces(f"base colour-#{k}")[:, :, 30:40, 28:36].mean((0, 2, 3)) for k in ("f9c9b6", "77311d"))
    assert (light > dark + 0.3).all()
    for part, rows, columns, least in (("hair", (10, 16), (26, 38), 0.3), ("shirt", (60, 64), (24, 40), 0.15)):
        yellow, violet = (
            faces(f"{part} colour-#{k}")[:, :, slice(*rows), slice(*columns)].mean((0, 2, 3))
            for k in ("f4d150", "9287ff")
        )
        assert (yellow[0] - yellow[2]) - (violet[0] - violet[2]) > 2 * least


def test_its_encoder_is_bundled() -> None:
    editor = Editor("portraits", steps=0)
    assert set(editor.weights) == {"portraits", "portraits-encoder"}
    assert editor.encoder is not None
    codes = editor.space.draw(range(16))
    pictures = editor.space.show(codes)
    again = editor.space.show(editor.encoder.encode(pictures))
    mean = editor.space.show(editor.spread.mean[None])
    assert (again - pictures).square().mean() < 0.35 * (mean - pictures).square().mean()
