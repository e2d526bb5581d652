"""The commands `evaluate style` and `models`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfumato.cli import main
from sfumato.weights.registry import entries


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A content, a style, and as results the content untouched and the style itself."""
    rng = np.random.default_rng(0)
    content, style = ((rng.random((6, 8, 3)) * 255).astype(np.uint8) for _ in range(2))
    for name, pixels in {"content/a": content, "style/b": style, "kept/a__b": content, "copied/a__b": style}.items():
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).resize((64, 48), Image.Resampling.NEAREST).save(path)
    return tmp_path


def judged(folders: Path, results: str, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, float]]:
    command = ["evaluate", "style", str(folders / results), "--content", str(folders / "content")]
    assert main([*command, "--style", str(folders / "style"), "--size", "48", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["features"] == "vgg19"
    found: dict[str, dict[str, float]] = document["rows"]
    return found


def test_the_untouched_content_and_the_style_itself_score_as_defined(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = judged(folders, "kept", capsys)["a__b"]
    assert (kept["style"], kept["content"], kept["ssim"]) == pytest.approx((1, 0, 1), abs=1e-5)
    copied = judged(folders, "copied", capsys)["a__b"]
    assert copied["style"] < 1e-5
    assert copied["content"] > 0.5


def test_a_table_for_people(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "style", str(folders / "kept"), "--content", str(folders / "content")]
    assert main([*command, "--style", str(folders / "style"), "--size", "48", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "vgg19" in lines[0]
    assert lines[1].split() == ["kept", "(1)", "1.000", "0.000", "1.000"]
    assert [line.split()[0] for line in lines[2:]] == ["identity", "style"]


def test_a_folder_without_results(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "style", str(folders / "style"), "--content", str(folders / "content")]
    assert main([*command, "--style", str(folders / "style")]) == 2
    assert "no picture named CONTENT__STYLE" in capsys.readouterr().err


def test_models_lists_what_is_bundled(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(entries())
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert all(row["licence"] in text for row in rows)
