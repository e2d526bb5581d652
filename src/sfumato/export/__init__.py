"""The verb `export`: a trained one-pass network or translator as ONNX, for programs without PyTorch.

All take pictures of any size. A translator is one graph a direction. A one-pass network is two: the style encoder, run
once a style, and the generator; what ONNX has no operator for, the map from the photograph's colours to the style's, is
a few lines of NumPy. Beside the graphs a program is written that does the whole job with NumPy, Pillow and onnxruntime.
"""

import importlib.util
import json
import logging
import warnings
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sfumato._version import __version__
from sfumato.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from sfumato.export.graphs import Graph
    from sfumato.weights.files import Model

NEEDED = ("onnx", "onnxscript")
OPSET = 18


def export_onnx(model: str | Path, folder: str | Path) -> list[Path]:
    """Write a one-pass network or a translator as ONNX into a folder.

    Args:
        model: the name of a bundled network, a file of weights, or the folder of a training run.
        folder: made if it is missing; older files of the same names are replaced, each when the new one is complete.

    Returns:
        Paths, of a one-pass network: style_encoder.onnx (picture 1 x 3 x H x W in [0, 1] -> code, mean, covariance),
        generator.onnx (picture with sides that are multiples of 8, mean, scale, matrix, offset, code, noise_1, noise_2,
        noise_4, noise_8 -> painted, about [0, 1]), model.json (what it is) and stylize.py (how it is used). Of a
        translator: a_to_b.onnx and b_to_a.onnx, those that it has (picture with sides that are multiples of 4, from 8
        -> translated, in [0, 1]), model.json and translate.py.

    Raises:
        InputError: the extra `onnx` is not installed; no such model, or one of another kind; a folder that cannot be
            written.
    """
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise InputError("exporting needs two more packages: pip install 'sfumato[onnx]'")
    from sfumato.models.registry import FAMILIES, offers
    from sfumato.weights.files import load_model

    trained = load_model(model)
    translators = [name for name in FAMILIES if offers(name, "Translator")]
    if trained.family == "onepass":
        made = _onepass(trained)
    elif trained.family in translators:
        made = _translator(model)
    else:
        able = ", ".join(["onepass", *translators])
        raise InputError(f"{trained.name}: a {trained.family} model cannot be exported; these can: {able}")
    what = {"family": trained.family, "name": trained.name, "sha256": trained.sha256, "about": trained.about}
    files = {f"{name}.onnx": _bytes(*graph) for name, graph in made.graphs.items()}
    files["model.json"] = json.dumps({**what, **made.facts, "sfumato": __version__}, indent=1).encode()
    files[made.program] = (resources.files("sfumato.export") / made.source).read_bytes()
    return [_written(Path(folder) / name, data) for name, data in files.items()]


class Made(NamedTuple):
    """What is written of a model."""

    graphs: "dict[str, Graph]"
    facts: dict[str, Any]
    """What model.json says of it."""
    source: str
    """The program that uses the graphs, in this package."""
    program: str
    """Its name beside them."""


def _onepass(trained: "Model") -> Made:
    import torch

    from sfumato.export.graphs import generator_graph, style_graph
    from sfumato.stylize.painter import Painter

    painter = Painter(trained, torch.device("cpu"))
    graphs = {"style_encoder": style_graph(painter.encoder), "generator": generator_graph(painter.generator)}
    code = painter.generator.trunk[0].first.scale.in_features  # type: ignore[union-attr]
    return Made(graphs, {"code": code}, "example.py", "stylize.py")


def _translator(model: str | Path) -> Made:
    from sfumato.export.translators import translator_graph
    from sfumato.models.translator import load_translator

    translator, _ = load_translator(model)
    graphs: dict[str, Graph] = {d: translator_graph(translator.parts(d)) for d in translator.directions}
    facts = {"directions": list(translator.directions), "side": translator.side}
    return Made(graphs, facts, "translate_example.py", "translate.py")


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
