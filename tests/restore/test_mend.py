"""The verb restore: which steps are made, what stays, what is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sfumato import InputError, cli, read_picture, read_record
from sfumato.picture.io import write_picture
from sfumato.restore import Restorer, restore
from sfumato.restore.mend import thin
from sfumato.weights import registry

from .made import inpainter_file
from .models import denoiser_file, finder_file, lines


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {"finder": str(finder_file(folder)), "denoiser": str(denoiser_file(folder))}


@pytest.fixture(autouse=True)
def _nothing_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entries", dict)


def photo(seed: int = 500, side: int = 72) -> tuple[torch.Tensor, torch.Tensor]:
    pictures, marks = lines(seed, 1, side)
    return pictures, marks


def test_scratches_are_found_and_filled_and_the_rest_is_as_it_was(models: dict[str, str]) -> None:
    picture, marks = photo()
    done = restore(picture, finder=models["finder"], noise=0, fading=0)
    found = done.maps["marks"]
    assert float(found[marks[0, 0] > 0].mean()) > 0.95
    assert float(found.mean()) < 4 * float(marks.mean())
    background = float(picture[marks.expand(-1, 3, -1, -1) == 0].median())
    assert float((done.tensor - background).abs()[0, :, marks[0, 0] > 0].mean()) < 0.03
    assert torch.equal(done.tensor[..., found == 0], picture[..., found == 0])
    assert done.record["scratched"] == round(float(found.mean()), 4)


def test_what_is_thicker_than_a_scratch_is_left_alone() -> None:
    marks = torch.zeros(1, 1, 60, 80)
    marks[..., 10:13, 5:70] = 1  # a scratch: a disc of radius 2 at most
    marks[..., 30:50, 30:50] = 1  # a collar
    kept = thin(marks, 3.0)
    assert torch.equal(kept[..., :20, :], marks[..., :20, :])
    assert not bool(kept[..., 20:, :].any())
    assert not bool(thin(torch.zeros(1, 1, 8, 8), 3.0).any())


def test_a_crack_that_runs_into_a_torn_corner_stays() -> None:
    marks = torch.zeros(1, 1, 60, 80)
    marks[..., 0:10, 0:10] = 1  # the corner
    for k in range(8, 55):
        marks[..., k, k : k + 4] = 1
    kept = thin(marks, 3.0)
    assert not bool(kept[..., :7, :7].any())
    assert torch.equal(kept[..., 20:, :], marks[..., 20:, :])


def test_every_step_can_be_left_out(models: dict[str, str]) -> None:
    picture = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    none: dict[str, Any] = {"scratches": False, "noise": 0, "fading": 0}
    assert torch.equal(restore(picture, **none).tensor, picture)
    assert restore(picture, **none).record["weights"] == {}
    cleaned = restore(picture, **{**none, "noise": 1.0, "denoiser": models["denoiser"]})
    assert list(cleaned.record["weights"]) == [models["denoiser"]]
    assert not torch.equal(cleaned.tensor, picture)
    stretched = restore(picture, **{**none, "fading": 1.0}).tensor
    assert float(stretched.std()) > 1.8 * float(picture.std())


def test_without_bundled_models_it_says_what_it_leaves() -> None:
    picture, _ = photo()
    done = restore(picture, fading=0)
    assert torch.equal(done.tensor, picture)
    assert [note.split(":")[0] for note in done.notes] == [
        "this version bundles nothing that finds scratches",
        "this version bundles no denoiser",
    ]
    with pytest.raises(InputError, match="no colorizer"):
        restore(picture, color=True)


def test_a_mask_by_hand_is_filled_too_and_explained(models: dict[str, str], tmp_path: Path) -> None:
    picture, _ = photo()
    mask = np.zeros((72, 72), np.uint8)
    mask[50:54, 10:60] = 255
    why = tmp_path / "why.png"
    done = restore(picture, mask=mask, noise=0, fading=0, explain=why, **{"finder": models["finder"]})
    shown = read_picture(why).rgb[..., 0]
    assert np.array_equal(shown > 0.5, done.maps["marks"].numpy() > 0.5)
    assert (shown[51:53, 12:58] == 1).all()
    assert read_record(why)["map"] == "marks"


def test_a_mask_is_filled_by_the_inpainter_without_looking_for_scratches(tmp_path: Path) -> None:
    model = str(inpainter_file(tmp_path / "i.safetensors"))
    picture, mask = photo()[0], np.zeros((72, 72), np.uint8)
    mask[50:54, 10:60] = 255
    only_mask: dict[str, Any] = {"mask": mask, "scratches": False, "noise": 0, "fading": 0}
    done = restore(picture, inpainter=model, **only_mask)
    assert list(done.record["weights"]) == [model]
    assert not torch.equal(done.tensor, restore(picture, **only_mask).tensor)


def test_the_result_and_its_marks_are_two_files(models: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    write_picture(tmp_path / "in.png", photo()[0])
    with pytest.raises(InputError, match="cannot both become"):
        restore(tmp_path / "in.png", output=out, explain=tmp_path / "." / "out.png", finder=models["finder"])
    flags = ["-o", str(out), "--explain", str(out), "--finder", models["finder"], "-q"]
    assert cli.main(["restore", str(tmp_path / "in.png"), *flags]) == 2
    assert not out.exists()


def test_marks_of_two_folders_do_not_replace_one_another(models: dict[str, str], tmp_path: Path) -> None:
    names = [tmp_path / folder / "a.png" for folder in ("one", "two")]
    for name in names:
        write_picture(name, photo()[0])
    flags = ["--finder", models["finder"], "--noise", "0", "--explain", str(tmp_path / "why"), "-q"]
    assert cli.main(["restore", *map(str, names), *flags]) == 2
    assert not (tmp_path / "why").exists()


def test_bad_options_are_said_in_a_sentence(models: dict[str, str]) -> None:
    picture, _ = photo()
    for given, sentence in (
        ({"noise": 9}, "noise must be a number between 0 and 4"),
        ({"fading": float("nan")}, "fading must be"),
        ({"size": 3}, "size must be a whole number between 64"),
        ({"colour": True}, "unknown option 'colour'"),
        ({"finder": models["denoiser"]}, "blemishes"),
    ):
        options: dict[str, Any] = dict(given)
        with pytest.raises(InputError, match=sentence):
            Restorer(**options)
    with pytest.raises(InputError, match="one size"):
        restore(picture, mask=np.full((8, 8), 255, np.uint8))


def test_the_command(models: dict[str, str], tmp_path: Path) -> None:
    names = [tmp_path / "in" / f"{k}.png" for k in "ab"]
    for k, name in enumerate(names):
        write_picture(name, photo(600 + k)[0])
    out, why = tmp_path / "out", tmp_path / "why"
    flags = ["--finder", models["finder"], "--noise", "0", "--explain", str(why), "-q"]
    assert cli.main(["restore", *map(str, names), "-o", str(out), *flags]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["a-restored.png", "b-restored.png"]
    assert sorted(p.name for p in why.iterdir()) == ["a-marks.png", "b-marks.png"]
    assert read_record(out / "a-restored.png")["settings"]["noise"] == 0
    assert cli.main(["restore", str(names[0]), "-o", str(out), "--no-scratches", "--noise", "x", "-q"]) == 2
