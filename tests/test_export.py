"""ONNX: the graphs in onnxruntime against PyTorch, at sizes that were not in the example."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from stylize.made import array
from stylize.trained import weights
from translate.made import landscape, write_model

from sfumato import cli
from sfumato.errors import InputError
from sfumato.export import example, export_onnx
from sfumato.picture.io import read_picture, write_picture
from sfumato.stylize import stylize
from sfumato.stylize.onepass import noise_of
from sfumato.stylize.options import StylizeOptions

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.slow  # PyTorch's exporter alone takes longer


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    weights(folder / "w.safetensors")
    assert cli.main(["export", str(folder / "w.safetensors"), "-o", str(folder / "onnx")]) == 0
    return folder


def test_what_is_written(exported: Path) -> None:
    names = ["generator.onnx", "model.json", "style_encoder.onnx", "stylize.py"]
    assert sorted(p.name for p in (exported / "onnx").iterdir()) == names
    what = json.loads((exported / "onnx" / "model.json").read_text())
    assert what["code"] == 8
    assert len(what["sha256"]) == 64


@pytest.mark.parametrize("size", [(40, 56), (57, 131), (24, 16)])
def test_onnxruntime_paints_what_pytorch_paints(exported: Path, size: tuple[int, int]) -> None:
    content, style, seed = array(*size, 1), array(min(size), 3 * min(size) // 2, 2), 5
    wanted = stylize(
        content,
        style,
        refine=0,
        model=str(exported / "w.safetensors"),
        seed=seed,
        size="original",
        device="cpu",
    )
    maps = iter(noise_of(seed, StylizeOptions.noise))
    photo, painting = (np.ascontiguousarray(x.transpose(2, 0, 1)[None]) for x in (content, style))
    found = example.paint(exported / "onnx", photo, painting, lambda h, w: next(maps)[:h, :w].numpy())
    assert wanted.rgb.std() > 0.1
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), wanted.rgb, atol=1e-3)


def test_the_program_beside_the_graphs_works_alone(exported: Path, tmp_path: Path) -> None:
    """With NumPy, Pillow and onnxruntime only: neither torch nor sfumato is imported."""
    write_picture(tmp_path / "a.jpg", array(50, 70, 1))
    write_picture(tmp_path / "b.png", array(44, 36, 2))
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['sfumato'] = None; "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    program = exported / "onnx" / "stylize.py"
    command = [sys.executable, "-c", code, program, "a.jpg", "b.png", "out.png", "40", "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = read_picture(tmp_path / "out.png")
    assert (out.height, out.width) == (40, 56)
    done = subprocess.run(command[:4], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "python stylize.py photo.jpg" in done.stderr


def test_the_colour_map_is_the_network_s() -> None:
    from sfumato.models.onepass_networks import Colors, Style
    from sfumato.style.recolor import color_moments

    photo, painting = (np.ascontiguousarray(array(30, 40, k).transpose(2, 0, 1)[None]) for k in (1, 2))
    mean, covariance = (m.float() for m in color_moments(torch.from_numpy(painting)))
    wanted = Colors.between(*color_moments(torch.from_numpy(photo)), Style(torch.zeros(1, 8), mean, covariance))
    found = example.color_map(photo, mean.numpy(), covariance.numpy())
    for name, value in wanted._asdict().items():
        np.testing.assert_allclose(found[name], value, atol=1e-4)


@pytest.mark.parametrize("kind", ["light", "antialias", "mask", "onto", "simplify", "unit", "through", "simple", "cut"])
def test_onnxruntime_translates_what_pytorch_translates(kind: str, tmp_path: Path) -> None:
    from sfumato.export import translate_example
    from sfumato.models.translator import load_translator

    model, out = write_model(tmp_path, kind), tmp_path / "onnx"
    translator, sha256 = load_translator(model)
    names = [*(f"{d}.onnx" for d in translator.directions), "model.json", "translate.py"]
    assert [p.name for p in export_onnx(model, out)] == names
    what = json.loads((out / "model.json").read_text())
    assert (what["family"], what["sha256"], what["directions"]) == (
        {"unit": "unit", "through": "unit", "simple": "unit", "cut": "cut"}.get(kind, "cyclegan"),
        sha256,
        list(translator.directions),
    )
    for direction in translator.directions:
        for size in ((40, 56), (57, 131), (5, 18)):
            picture = landscape(*size)
            wanted = translator.translate(picture, direction).numpy()
            found = translate_example.translate(out / f"{direction}.onnx", picture.numpy())
            assert wanted.std() > 0.05
            np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_program_beside_a_translator_works_alone(tmp_path: Path) -> None:
    export_onnx(write_model(tmp_path, "cut"), tmp_path / "onnx")
    write_picture(tmp_path / "a.jpg", array(50, 70, 1))
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['sfumato'] = None; "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, tmp_path / "onnx" / "translate.py", "onnx/a_to_b.onnx", "a.jpg", "out.png"]
    for more, size in (([], (50, 70)), (["30"], (30, 42))):
        done = subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        out = read_picture(tmp_path / "out.png")
        assert (out.height, out.width) == size


def test_what_cannot_be_exported(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such file"):
        export_onnx("nowhere.safetensors", tmp_path)
    with pytest.raises(InputError, match="a deeplab model cannot be exported; these can: onepass, cyclegan"):
        export_onnx("scene", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        export_onnx(str(exported / "w.safetensors"), tmp_path / "file")
    monkeypatch.setattr("sfumato.export.NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(InputError, match=r"pip install 'sfumato\[onnx\]'"):
        export_onnx(str(exported / "w.safetensors"), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
