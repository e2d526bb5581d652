"""The verb `export`: a trained one-pass network as ONNX, for programs without PyTorch.

Two graphs, of pictures of any size: the style encoder, run once a style, and the generator. What ONNX has no operator
for, the map from the photograph's colours to the style's, is a few lines of NumPy in `stylize.py`, which is written
beside the graphs and does the whole job with NumPy, Pillow and onnxruntime.
"""

import importlib.util
import json
import logging
import warnings
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato._version import __version__
from sfumato.errors import InputError

if TYPE_CHECKING:
    from torch import nn

NEEDED = ("onnx", "onnxscript")
OPSET = 18


def export_onnx(model: str | Path, folder: str | Path) -> list[Path]:
    """Write a one-pass network as ONNX into a folder.

    Args:
        model: the name of a bundled network, a file of weights, or the folder of a training run.
        folder: made if it is missing; older files of the same names are replaced, each when the new one is complete.

    Returns:
        Paths of style_encoder.onnx (picture 1 x 3 x H x W in [0, 1] -> code, mean, covariance), generator.onnx (picture
        with sides that are multiples of 8, mean, scale, matrix, offset, code, noise_1, noise_2, noise_4, noise_8 ->
        painted, about [0, 1]), model.json (what it is) and stylize.py (how it is used).

    Raises:
        InputError: the extra `onnx` is not installed; no such model; a folder that cannot be written.
    """
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise InputError("exporting needs two more packages: pip install 'sfumato[onnx]'")
    import torch

    from sfumato.export.graphs import generator_graph, style_graph
    from sfumato.stylize.painter import Painter
    from sfumato.weights.files import load_model

    trained = load_model(model, "onepass")
    painter = Painter(trained, torch.device("cpu"))
    example = resources.files("sfumato.export") / "example.py"
    what = {
        "name": painter.name,
        "sha256": painter.sha256,
        "code": painter.generator.trunk[0].first.scale.in_features,  # type: ignore[union-attr]
        "about": trained.about,
        "sfumato": __version__,
    }
    files = {
        "style_encoder.onnx": _bytes(*style_graph(painter.encoder)),
        "generator.onnx": _bytes(*generator_graph(painter.generator)),
        "model.json": json.dumps(what, indent=1).encode(),
        "stylize.py": example.read_bytes(),
    }
    return [_written(Path(folder) / name, data) for name, data in files.items()]


def _bytes(module: "nn.Module", inputs: dict[str, Any], outputs: list[str], shapes: dict[str, Any]) -> bytes:
    """One graph, with its weights inside."""
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which nothing here needs
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


def _written(path: Path, data: bytes) -> Path:
    from sfumato.train.files import write_atomic

    try:
        write_atomic(path, data)
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {(error.strerror or str(error)).lower()}") from error
    return path
