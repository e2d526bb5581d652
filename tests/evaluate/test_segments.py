"""A segmenter judged: a perfect one, one that is wrong in a known place, classes by name, other sizes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sfumato import cli, cli_judge
from sfumato.errors import InputError
from sfumato.evaluate import segments
from sfumato.evaluate.segments import evaluate_segments
from sfumato.picture.label_maps import Color, painted

COLORS: tuple[Color, ...] = ((120, 180, 250), (20, 60, 120), (220, 40, 60))


class ByColor:
    """Names colours; what is red it takes for the first class."""

    classes, colors, ignore, side = ("sky", "sea", "roof"), COLORS, 255, 48

    def predict(self, pictures: Tensor) -> Tensor:
        table = torch.tensor(COLORS).float() / 255
        nearest = (pictures[:, None] - table[None, :, :, None, None]).norm(dim=2).argmin(1)
        nearest[nearest == 2] = 0
        return torch.nn.functional.one_hot(nearest, 3).movedim(-1, 1).float()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures 40 x 48: three quarters sky, then sea; in the last one half of the sea is a roof."""
    for kind in ("pictures", "labels"):
        (tmp_path / kind).mkdir()
    for i in range(4):
        labels = np.zeros((40, 48), np.uint8)
        labels[30:] = 1
        if i == 3:
            labels[35:] = 2
        Image.fromarray(painted(labels, COLORS)).save(tmp_path / "pictures" / f"{i}.png")
        labels[:, :2] = 255
        Image.fromarray(labels).save(tmp_path / "labels" / f"{i}.png")
    monkeypatch.setattr(segments, "load_predictor", lambda *_: (ByColor(), "0" * 64))
    monkeypatch.setattr(cli_judge, "prepare_memory", lambda: None)
    return tmp_path


def test_figures_are_the_counted_ones(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate_segments("m", places / "pictures", places / "labels")
    row = 46  # two columns count for nothing
    assert found.confusion == [[120 * row, 0, 0], [0, 35 * row, 0], [5 * row, 0, 0]]
    assert found.shares == pytest.approx({"sky": 120 / 125, "sea": 1.0, "roof": 0.0})
    assert found.mean_iou == pytest.approx((120 / 125 + 1) / 3)
    assert found.accuracy == pytest.approx(155 / 160)
    assert found.one_class == pytest.approx((120 / 160 / 3, 120 / 160))
    arguments = ["evaluate", "segments", "m", "--data", str(places / "pictures"), "--labels", str(places / "labels")]
    assert cli.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_iou"] == pytest.approx(found.mean_iou)
    assert cli.main(arguments) == 0
    assert f"mean              {found.mean_iou:.3f}   pixel accuracy 0.969" in capsys.readouterr().out


def test_classes_are_matched_by_name(places: Path) -> None:
    before = evaluate_segments("m", places / "pictures", places / "labels")
    (places / "classes.toml").write_text('classes = ["roof", "sky", "sea"]')
    for path in (places / "labels").iterdir():
        labels = np.asarray(Image.open(path)).copy()
        other = np.where(labels < 3, (labels + 1) % 3, labels).astype(np.uint8)
        Image.fromarray(other).resize((24, 20), Image.Resampling.NEAREST).save(path)  # and of another size
    found = evaluate_segments("m", places / "pictures", places / "labels", classes=places / "classes.toml")
    assert found.accuracy == pytest.approx(before.accuracy, abs=0.03)
    assert list(found.shares) == ["sky", "sea", "roof"]
    (places / "classes.toml").write_text('classes = ["rof", "sky", "sea"]')
    with pytest.raises(InputError, match=r"unknown class of .*'rof': did you mean 'roof'"):
        evaluate_segments("m", places / "pictures", places / "labels", classes=places / "classes.toml")
