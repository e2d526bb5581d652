"""Holes by masks and by classes, what is refused, and what stays."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sfumato.errors import InputError
from sfumato.restore.inpaint import Inpainter, grown, inpaint

from .made import inpainter_file, photo


def mask(rows: slice = slice(20, 30), columns: slice = slice(30, 45)) -> np.ndarray:
    found = np.zeros((60, 80), np.uint8)
    found[rows, columns] = 255
    return found


@pytest.mark.parametrize("method", ["network", "exemplar", "smooth"])
def test_outside_the_mask_every_pixel_is_the_same(method: str, tmp_path: Path) -> None:
    model = inpainter_file(tmp_path / "i.safetensors") if method == "network" else None
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    done = inpaint(pixels, mask=mask(), model=model, method=method, output=tmp_path / "out.png")
    inside = mask() > 0
    before = pixels.astype(np.float32) / 255
    assert np.array_equal(done.rgb[~inside], before[~inside])
    assert np.abs(done.rgb - before)[inside].max() > 0.01
    assert done.record["settings"]["method"] == method
    assert torch.equal(done.maps["hole"] > 0, torch.from_numpy(inside))
    from sfumato.picture.io import read_picture

    assert np.array_equal(read_picture(tmp_path / "out.png").rgb[~inside], before[~inside])


def test_a_smooth_picture_is_mended_by_a_membrane() -> None:
    y, x = np.mgrid[:60, :80]
    pixels = np.stack([100 + x, 80 + y, 200 - x], 2).astype(np.uint8)
    broken = pixels.copy()
    broken[mask() > 0] = 255
    done = inpaint(broken, mask=mask(), method="smooth")
    assert np.abs(done.rgb * 255 - pixels).max() < 1.5


def test_what_is_to_be_kept_is_kept_from_the_growth_too(tmp_path: Path) -> None:
    from PIL import Image

    for name, columns in (("all.png", slice(30, 45)), ("keep.png", slice(40, 60))):
        Image.fromarray(mask(columns=columns)).save(tmp_path / name)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    only, but = (str(tmp_path / "all.png"),), (str(tmp_path / "keep.png"),)
    done = inpaint(pixels, only=only, except_=but, grow=3, method="smooth")
    assert np.array_equal(done.rgb[20:30, 40:60], pixels[20:30, 40:60].astype(np.float32) / 255)
    assert bool((done.maps["hole"][17:33, 30:40] > 0).all())  # it grew elsewhere


def test_a_class_is_removed_with_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    from sfumato.picture.regions import Regions
    from sfumato.segment.work import Seen

    class Finds:
        def __init__(self, *_: Any) -> None:
            self.weights = {"found": "0" * 64}

        def __call__(self, picture: torch.Tensor) -> Seen:
            labels = torch.zeros(picture.shape[2:], dtype=torch.int64)
            labels[20:40, 30:40] = 1
            return Seen(Regions.of_labels(labels, ("meadow", "person")), 1.0)

    monkeypatch.setattr(import_module("sfumato.segment.lazy"), "Segmenter", Finds)
    done = inpaint(photo(200, 160), only=("person",), method="smooth")
    hole = done.maps["hole"] > 0
    assert done.record["settings"]["grow"] == 2  # 1.2 % of 160 px
    assert bool(hole[18:42, 30:40].all())
    assert not bool(hole[17].any())
    assert done.record["weights"] == {"found": "0" * 64}
    exact = inpaint(photo(200, 160), only=("person",), grow=0, method="smooth")
    assert int((exact.maps["hole"] > 0).sum()) == 200
    with pytest.raises(InputError, match="shows no car; it shows meadow, person"):
        inpaint(photo(200, 160), only=("car",), method="smooth")


def test_growing_is_by_distance() -> None:
    hole = torch.zeros(1, 1, 21, 21)
    hole[..., 10, 10] = 1
    y, x = torch.meshgrid(torch.arange(21) - 10, torch.arange(21) - 10, indexing="ij")
    assert torch.equal(grown(hole, 6)[0, 0] > 0, x**2 + y**2 <= 36)
    assert torch.equal(grown(hole, 0), hole)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "say what to fill"),
        ({"mask": mask(), "only": ("person",)}, "one of the two"),
        ({"mask": np.zeros((60, 80), np.uint8)}, "black"),
        ({"mask": np.full((60, 80), 90, np.uint8)}, "dark all over"),
        ({"mask": np.full((60, 80), 255, np.uint8)}, "white all over"),
        ({"mask": mask()[:50]}, "they must be of one size"),
        ({"mask": mask(), "grow": 4000}, "all of 'array' would be filled"),
        ({"mask": mask(), "grow": -1}, "grow must be a whole number"),
        ({"mask": mask(), "method": "magic"}, "magic"),
        ({"mask": mask(), "brush": 3}, "brush"),
        ({"mask": mask(), "model": "x.safetensors"}, "method smooth uses none"),
    ],
)
def test_bad_input_is_a_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        inpaint(photo(), **{"method": "smooth", **given})


def test_the_network_is_the_default_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("sfumato.restore.inpaint"), "DEFAULT", "no such model")
    assert Inpainter().options.method == "exemplar"
    assert Inpainter(inpainter_file(tmp_path / "i.safetensors")).options.method == "network"
    with pytest.raises(InputError, match="bundles no inpainter"):
        Inpainter(method="network")
