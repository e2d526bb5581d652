"""Several columns of a table at once: names, numbers, what cannot be."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfumato.errors import InputError
from sfumato.train.attributes import Attributes, attribute_classes, columns, sizes
from sfumato.train.data import Pictures

TABLE = "name,mouth,glasses\n0.png,smile,none\n1.png,sad,round\n2.png,smile,round\n3.png,agape,none\n"


@pytest.fixture
def faces(tmp_path: Path) -> Pictures:
    for i in range(4):
        Image.fromarray(np.full((8, 8, 3), 60 * i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "labels.csv").write_text(TABLE)
    return Pictures(tmp_path, side=8)


def test_classes_of_several_columns_are_one_list(faces: Pictures) -> None:
    assert columns("mouth, glasses") == ("mouth", "glasses")
    found = attribute_classes(faces, "mouth,glasses")
    assert found == ("mouth-agape", "mouth-sad", "mouth-smile", "glasses-none", "glasses-round")
    assert sizes(found, "mouth,glasses") == (3, 2)
    assert Attributes(found, "mouth,glasses").table(faces) == [(2, 3), (1, 4), (2, 4), (0, 3)]
    assert Attributes(found, "mouth,glasses")(faces, 1) == (1, 4)
    assert Attributes(found, "mouth,glasses").shares(faces) == (0.25, 0.25, 0.5, 0.5, 0.5)


def test_one_column_is_as_it_was(faces: Pictures) -> None:
    found = attribute_classes(faces, "mouth")
    assert found == ("agape", "sad", "smile")
    assert sizes(found, "mouth") == (3,)
    assert Attributes(found, "mouth").table(faces) == [(2,), (1,), (2,), (0,)]
    assert sizes((), "") == ()


def test_what_cannot_be_is_said(faces: Pictures) -> None:
    with pytest.raises(InputError, match="every column once"):
        attribute_classes(faces, "mouth,mouth")
    with pytest.raises(InputError, match="every column once"):
        attribute_classes(faces, "mouth,")
    with pytest.raises(InputError, match="could not be told apart"):
        attribute_classes(faces, "mouth,mouth-form")
    with pytest.raises(InputError, match="hair"):
        attribute_classes(faces, "mouth,hair")
    with pytest.raises(InputError, match="class of 0"):
        Attributes(("mouth-sad", "mouth-agape", "glasses-none", "glasses-round"), "mouth,glasses")(faces, 0)
