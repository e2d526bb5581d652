"""Foreign StyleGAN2 generators: written here in the original layouts, converted, and painting what the formulas say.

The reference is the published arithmetic in float64, sample by sample, on the numbers under their original names.
"""

import argparse
import functools
import math
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import cli
from sfumato.errors import InputError
from sfumato.models import stylegan2_foreign
from sfumato.models.sampler import normal
from sfumato.models.stylegan2 import Sampler
from sfumato.models.stylegan2_foreign import convert, rosinality_name
from sfumato.weights.files import load_model

CODE, SIZES, WIDTHS, LAYERS = 6, (4, 8, 16), (8, 8, 4), 3
MARK = "something was run"
Weights = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


def weights(classes: int = 0, rate: float = 0.01) -> Weights:
    """A generator of 16 pixels under the official names; nothing is zero."""
    made: Weights = {}

    def layer(path: str, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0) -> None:
        made[f"{path}.weight"] = torch.randn(outputs, inputs) / rate
        made[f"{path}.bias"] = (bias + 0.3 * torch.randn(outputs)) / rate

    if classes:
        layer("mapping.embed", classes, CODE)
    for i in range(LAYERS):
        layer(f"mapping.fc{i}", 2 * CODE if classes and not i else CODE, CODE, rate=rate)
    made["mapping.w_avg"] = torch.randn(CODE)
    made["synthesis.b4.const"] = torch.randn(WIDTHS[0], 4, 4)
    before = WIDTHS[0]
    for size, width in zip(SIZES, WIDTHS, strict=True):
        block = f"synthesis.b{size}"
        for name, inputs in {"conv0": before, "conv1": width}.items() if size > 4 else [("conv1", width)]:
            layer(f"{block}.{name}.affine", CODE, inputs, bias=1.0)
            made[f"{block}.{name}.weight"] = torch.randn(width, inputs, 3, 3)
            made[f"{block}.{name}.bias"] = 0.3 * torch.randn(width)
            made[f"{block}.{name}.noise_strength"] = torch.tensor(0.2) + 0.1 * torch.randn(())
            made[f"{block}.{name}.noise_const"] = torch.randn(size, size)
        layer(f"{block}.torgb.affine", CODE, width, bias=1.0)
        made[f"{block}.torgb.weight"] = torch.randn(3, width, 1, 1)
        made[f"{block}.torgb.bias"] = 0.3 * torch.randn(3)
        before = width
    return made


# The published arithmetic.


def dense(x: Tensor, w: Weights, path: str, rate: float = 1.0) -> Tensor:
    weight = w[f"{path}.weight"].double()
    return x @ (weight * rate / math.sqrt(weight.shape[1])).T + w[f"{path}.bias"].double() * rate


def active(x: Tensor, limit: float) -> Tensor:
    return (F.leaky_relu(x, 0.2) * math.sqrt(2)).clamp(-limit, limit)


def unit(x: Tensor) -> Tensor:
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def map_codes(w: Weights, z: Tensor, label: Tensor | None, psi: float, rate: float = 0.01) -> Tensor:
    x = unit(z.double())
    if label is not None:
        x = torch.cat([x, unit(dense(F.one_hot(label, 3).double(), w, "mapping.embed"))], 1)
    for i in range(LAYERS):
        x = active(dense(x, w, f"mapping.fc{i}", rate), math.inf)
    mean = w["mapping.w_avg"].double()
    return mean + psi * (x - mean)


def enlarged(x: Tensor, before: int, after: int) -> Tensor:
    """Every second pixel, zeros between, then (1, 3, 3, 1) with the gain 4."""
    wide = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    wide[:, :, ::2, ::2] = x
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 4
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(wide, (before, after, before, after)), kernel, groups=x.shape[1])


def styled(x: Tensor, code: Tensor, w: Weights, path: str, limit: float, *, double: bool) -> Tensor:
    """x and code of one sample. Doubling filters first, then convolves: a convolution, its kernel turned."""
    style = dense(code, w, f"{path}.affine")
    weight = w[f"{path}.weight"].double() * style[:, :, None, None]
    weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    y = F.conv2d(enlarged(x, 3, 2), weight.flip(2, 3)) if double else F.conv2d(x, weight, padding=1)
    if f"{path}.noise_const" in w:
        y = y + w[f"{path}.noise_const"].double() * w[f"{path}.noise_strength"].double()
    return active(y + w[f"{path}.bias"].double()[:, None, None], limit)


def paint(w: Weights, codes: Tensor, limit: float = math.inf) -> Tensor:
    """N x 3 x 16 x 16 in [-1, 1] or so."""
    made = []
    for code in codes[:, None]:
        x, picture = w["synthesis.b4.const"].double()[None], torch.zeros(1, 3, 2, 2, dtype=torch.float64)
        for size in SIZES:
            block = f"synthesis.b{size}"
            if size > 4:
                x = styled(x, code, w, f"{block}.conv0", limit, double=True)
            x = styled(x, code, w, f"{block}.conv1", limit, double=False)
            style = dense(code, w, f"{block}.torgb.affine") / math.sqrt(x.shape[1])
            colors = F.conv2d(x, w[f"{block}.torgb.weight"].double() * style[:, :, None, None])
            colors = (colors + w[f"{block}.torgb.bias"].double()[:, None, None]).clamp(-limit, limit)
            picture = enlarged(picture, 2, 1) + colors
        made.append(picture)
    return torch.cat(made)


# The original layouts.


class Persistent(nn.Module):
    """Pickles itself as `torch_utils.persistence` has it: the source of its module goes with it."""

    def __reduce__(self) -> tuple[Any, ...]:
        source = f"import os\nos.mkdir({MARK!r})\nclass Generator: pass\n"
        kind, rebuild = type(self).__name__, sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": kind, "state": self.__dict__}
        return rebuild, (meta,), None


def persistent(kind: str, tensors: Weights, **members: Any) -> Persistent:
    """A module with parameters, or buffers where the originals have them, and other members."""
    module: Persistent = type(kind, (Persistent,), {})()
    for name, tensor in tensors.items():
        if name in ("noise_const", "w_avg", "resample_filter"):
            module.register_buffer(name, tensor)
        else:
            module.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
    module.__dict__.update({"_init_args": (), "_init_kwargs": sys.modules["dnnlib.util"].EasyDict(size=16)} | members)
    return module


def official_modules(w: Weights, rate: float = 0.01, clamp: float | None = 256, **block: Any) -> Persistent:
    """The tree of modules of stylegan2-ada-pytorch and of stylegan3's StyleGAN2."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    blur = {"resample_filter": torch.outer(taps, taps)}

    def under(path: str) -> Weights:
        return {k.removeprefix(path): v for k, v in w.items() if k.startswith(path) and "." not in k[len(path) :]}

    def full(path: str, activation: str = "linear", rate: float = 1.0) -> Persistent:
        gains = {"weight_gain": rate / np.sqrt(w[f"{path}.weight"].shape[1]), "bias_gain": rate}
        return persistent("FullyConnectedLayer", under(f"{path}."), activation=activation, **gains)

    mapping = persistent("MappingNetwork", under("mapping."), num_ws=6, w_avg_beta=0.995)
    if "mapping.embed.weight" in w:
        mapping.embed = full("mapping.embed")
    for i in range(LAYERS):
        setattr(mapping, f"fc{i}", full(f"mapping.fc{i}", "lrelu", rate))
    synthesis = persistent("SynthesisNetwork", {}, img_resolution=16, num_ws=6, block_resolutions=[4, 8, 16])
    for size in SIZES:
        path = f"synthesis.b{size}."
        made = persistent(
            "SynthesisBlock", under(path) | blur, **{"architecture": "skip", "use_fp16": size > 4} | block
        )
        for name in ("conv0", "conv1") if size > 4 else ("conv1",):
            facts = {"up": 2 if name == "conv0" else 1, "activation": "lrelu", "act_gain": np.sqrt(2)}
            tensors = under(f"{path}{name}.") | blur
            layer = persistent("SynthesisLayer", tensors, conv_clamp=clamp, use_noise=True, **facts)
            layer.affine = full(f"{path}{name}.affine")
            setattr(made, name, layer)
        gain = 1 / np.sqrt(w[f"{path}torgb.weight"].shape[1])
        made.torgb = persistent("ToRGBLayer", under(f"{path}torgb."), conv_clamp=clamp, weight_gain=gain)
        made.torgb.affine = full(f"{path}torgb.affine")
        setattr(synthesis, f"b{size}", made)
    generator = persistent("Generator", {}, z_dim=CODE, c_dim=0, w_dim=CODE)
    generator.synthesis, generator.mapping = synthesis, mapping
    return generator.eval()


class Originals:
    """The modules that the pickles name, for as long as they are written."""

    def __enter__(self) -> None:
        util, persistence = ModuleType("dnnlib.util"), ModuleType("torch_utils.persistence")
        easy = type("EasyDict", (dict,), {"__module__": "dnnlib.util", "__qualname__": "EasyDict"})

        def _reconstruct_persistent_obj(meta: Any) -> None: ...

        _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
        _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
        util.EasyDict, persistence._reconstruct_persistent_obj = easy, _reconstruct_persistent_obj  # type: ignore[attr-defined]
        self.modules = {"dnnlib": ModuleType("dnnlib"), "torch_utils": ModuleType("torch_utils")}
        self.modules |= {"dnnlib.util": util, "torch_utils.persistence": persistence}
        sys.modules.update(self.modules)

    def __exit__(self, *_: object) -> None:
        for name in self.modules:
            del sys.modules[name]


def official(w: Weights, protocol: int = 4, change: Any = None, **facts: Any) -> Path:
    """A snapshot as the training loop writes it."""
    with Originals():
        generator = official_modules(w, **facts)
        if change:
            change(generator)
        data = sys.modules["dnnlib.util"].EasyDict(class_name="training.dataset.ImageFolderDataset", use_labels=False)
        snapshot = {"training_set_kwargs": data, "augment_pipe": persistent("AugmentPipe", {}, p=np.float32(0.5))}
        other = persistent("Generator", {"weight": torch.zeros(2)})
        snapshot |= {"G": other, "D": other, "G_ema": generator}
        Path("g.pkl").write_bytes(pickle.dumps(snapshot, protocol))
    return Path("g.pkl")


THEIRS = {
    **{"mapping.fc0": "style.1", "mapping.fc1": "style.2", "mapping.fc2": "style.3"},
    **{"synthesis.b4.conv1": "conv1", "synthesis.b4.torgb": "to_rgb1"},
    **{"synthesis.b8.conv0": "convs.0", "synthesis.b8.conv1": "convs.1", "synthesis.b8.torgb": "to_rgbs.0"},
    **{"synthesis.b16.conv0": "convs.2", "synthesis.b16.conv1": "convs.3", "synthesis.b16.torgb": "to_rgbs.1"},
}
NOISES = ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"]


def rosinality_names(w: Weights) -> Weights:
    """The same numbers as `Generator.state_dict()` of rosinality's model has them."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    made: Weights = {"input.input": w["synthesis.b4.const"][None]}
    for ours, theirs in THEIRS.items():
        weight, bias = w[f"{ours}.weight"], w[f"{ours}.bias"]
        if theirs.startswith("style"):
            made |= {f"{theirs}.weight": weight, f"{theirs}.bias": bias}
            continue
        made |= {f"{theirs}.conv.weight": weight[None]}
        made |= {f"{theirs}.conv.modulation.{k}": w[f"{ours}.affine.{k}"] for k in ("weight", "bias")}
        if "torgb" in ours:
            made[f"{theirs}.bias"] = bias.view(1, 3, 1, 1)
        else:
            made |= {f"{theirs}.activate.bias": bias, f"{theirs}.noise.weight": w[f"{ours}.noise_strength"].view(1)}
    for i, name in enumerate(NOISES):
        made[f"noises.noise_{i}"] = w[f"synthesis.{name}.noise_const"][None, None]
    for name in ("convs.0.conv.blur", "convs.2.conv.blur", "to_rgbs.0.upsample", "to_rgbs.1.upsample"):
        made[f"{name}.kernel"] = 4 * torch.outer(taps, taps)
    return made


def rosinality(w: Weights, *, new: bool = True, training: bool = False, **change: Tensor | None) -> Path:
    """A converted checkpoint, or one of its training program."""
    state = {k: v for k, v in (rosinality_names(w) | change).items() if v is not None}
    whole: dict[str, Any] = {"g_ema": state, "latent_avg": w["mapping.w_avg"]}
    if training:
        optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(3))])
        args = argparse.Namespace(path="data", size=16, mixing=0.9, augment_p=0)
        whole = {"g": {}, "d": {}, "g_ema": state, "g_optim": optimizer.state_dict(), "args": args, "ada_aug_p": 0.1}
    torch.save(whole, "g.pt", _use_new_zipfile_serialization=new)
    return Path("g.pt")


def gap(source: Path, w: Weights, psi: float = 0.7, limit: float = math.inf, rate: float = 0.01) -> float:
    """Convert; the largest difference between our pictures and those of the formulas, in [-1, 1]."""
    made = convert(source, "out.safetensors")
    assert not Path(MARK).exists()
    sampler, seeds = Sampler.load("out.safetensors"), [3, 4, 5]
    label = 1 if sampler.classes else None
    latents = sampler.draw(seeds, truncation=psi, label=label)
    labels = None if label is None else torch.full((3,), label)
    codes = map_codes(w, normal(seeds, CODE), labels, psi, rate)
    torch.testing.assert_close(latents[:, 0].double(), codes, atol=1e-5, rtol=1e-5)
    ours, wanted = sampler.synthesis(latents, "fixed") * 2 - 1, paint(w, codes, limit)
    assert made.config.size() == (16, 16)
    assert wanted.std() > 0.3
    return float((ours - wanted).abs().max())


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("classes", [0, 3])
def test_an_official_pickle_paints_what_the_formulas_say(protocol: int, classes: int) -> None:
    w = weights(classes)
    assert gap(official(w, protocol), w) < 1e-4
    model = load_model("out.safetensors", "stylegan2")
    assert model.config["classes"] == [str(i) for i in range(classes)]
    assert (model.config["channel_base"], model.config["channel_max"], model.config["clamp"]) == (64, 8, 256)
    assert model.about["converted from"] == "official"


@pytest.mark.parametrize("new", [True, False])
def test_a_checkpoint_of_rosinality_paints_what_the_formulas_say(new: bool) -> None:
    w = weights()
    assert gap(rosinality(w, new=new), w) < 1e-4
    assert convert("g.pt", "out.safetensors").notes == ()


@pytest.mark.parametrize("new", [True, False])
def test_a_checkpoint_in_training_lacks_the_mean_code(new: bool) -> None:
    """It holds a Namespace, optimisers and no mean: that is measured, like their program does."""
    w = weights()
    made = convert(rosinality(w, new=new, training=True), "out.safetensors")
    assert len(made.notes) == 1
    assert "no mean code" in made.notes[0]
    mean = map_codes(w, torch.randn(20_000, CODE), None, 1.0).mean(0)
    found = load_model("out.safetensors").tensors["mapping"]["w_avg"]
    spread = map_codes(w, torch.randn(1000, CODE), None, 1.0).std(0)
    assert ((found - mean).abs() < 5 * spread * math.sqrt(1 / 10_000 + 1 / 20_000)).all()


def test_an_old_checkpoint_without_noise_gets_some() -> None:
    w = weights()
    made = convert(rosinality(w, **{f"noises.noise_{i}": None for i in range(5)}), "out.safetensors")
    assert made.notes == ("the file holds no fixed noise: it was drawn",)
    field = load_model("out.safetensors").tensors["synthesis"]["b16.conv0.noise_const"]
    assert field.std().item() == pytest.approx(1, abs=0.2)


def test_a_generator_without_noise() -> None:
    w = {k: v for k, v in weights().items() if "noise" not in k}
    assert gap(official(w), w) < 1e-4


def test_values_are_cut_where_the_file_says_so() -> None:
    w = weights()
    assert gap(official(w, clamp=0.5), w, limit=0.5) < 1e-4
    code = torch.ones(1, CODE, dtype=torch.float64)
    assert float((paint(w, code) - paint(w, code, 0.5)).abs().max()) > 0.1
    assert gap(official(w, clamp=None), w) < 1e-4


def test_another_learning_rate_is_folded_into_the_weights() -> None:
    w = weights(rate=0.1)
    assert gap(official(w, rate=0.1), w, rate=0.1) < 1e-4


def test_frozen_layers_are_buffers() -> None:
    def freeze(generator: Any) -> None:
        layer = generator.mapping.fc0
        layer._buffers, layer._parameters = dict(layer._parameters), {}

    w = weights()
    assert gap(official(w, change=freeze), w) < 1e-4


def test_half_is_half_the_size_and_nearly_the_same() -> None:
    w = weights()
    convert(rosinality(w), "whole.safetensors")
    convert("g.pt", "half.safetensors", half=True)
    whole, half = (load_model(f"{name}.safetensors").tensors["synthesis"] for name in ("whole", "half"))
    assert torch.equal(whole["b8.conv0.weight"], w["synthesis.b8.conv0.weight"])
    assert torch.equal(half["b8.conv0.weight"], w["synthesis.b8.conv0.weight"].half().float())


def test_names_cover_every_number() -> None:
    """Every tensor of their state is one of ours, but for filters."""
    w = weights()
    state = {k for k in rosinality_names(w) if not k.endswith("kernel")}
    assert {rosinality_name(k) for k in w} == state | {"latent_avg"}


def architecture(name: str) -> Any:
    return functools.partial(official, architecture=name)


def stylegan3(w: Weights) -> Path:
    def change(generator: Any) -> None:
        generator.synthesis.L0_36_512 = persistent("SynthesisLayer", {})

    return official(w, change=change)


def turned(w: Weights) -> Path:
    """A tree of modules that holds itself."""

    def change(generator: Any) -> None:
        generator.synthesis._modules["b4"]._modules["x"] = generator.synthesis._modules["b4"]

    return official(w, change=change)


def sharp(w: Weights) -> Path:
    def change(generator: Any) -> None:
        generator.synthesis.b8.conv0.resample_filter = torch.ones(2, 2) / 4

    return official(w, change=change)


def mixed(w: Weights) -> Path:
    def change(generator: Any) -> None:
        generator.synthesis.b8.conv0.conv_clamp = 5

    return official(w, change=change)


def swish(w: Weights) -> Path:
    def change(generator: Any) -> None:
        generator.synthesis.b8.conv0.activation = "swish"

    return official(w, change=change)


def only(value: Any) -> Any:
    def write(_: Weights) -> Path:
        torch.save(value, "g.pt")
        return Path("g.pt")

    return write


def rosinality_with(**change: Tensor | None) -> Any:
    return lambda w: rosinality(w, **change)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (architecture("resnet"), r"architecture is 'resnet'; .* 'skip'"),
        (architecture("orig"), r"architecture is 'orig'"),
        (stylegan3, "another architecture .*not StyleGAN3"),
        (turned, "its modules are no tree"),
        (sharp, r"its filter synthesis\.b8\.conv0\.resample_filter is not \(1, 3, 3, 1\)"),
        (mixed, "its layers have different limits"),
        (swish, r"b8\.conv0\.activation is 'swish'; .* 'lrelu'"),
        (only({"g_ema": {"a": torch.zeros(2)}}), "holds no StyleGAN2 generator that sfumato knows"),
        (only(torch.zeros(3)), "holds no StyleGAN2 generator that sfumato knows"),
        (only({"input.input": 3}), r"input\.input is missing"),
        (rosinality_with(**{"style.2.weight": None}), r"holds 'style\.2\.bias', which"),
        (rosinality_with(**{"convs.2.noise.weight": None}), r"convs\.2\.noise\.weight is missing"),
        (rosinality_with(**{"to_rgbs.1.conv.modulation.bias": None}), r"to_rgbs\.1\.conv\.modulation\.bias is missing"),
        (rosinality_with(**{"to_rgb1.bias": torch.zeros(1, 1, 1, 1)}), r"to_rgb1\.bias is 1 x 1 x 1 x 1, .* be 3"),
        (rosinality_with(**{"style.1.bias": torch.zeros(CODE).long()}), r"style\.1\.bias is of int64"),
        (rosinality_with(**{"style.1.bias": torch.full((CODE,), math.nan)}), "NaN or infinite"),
        (rosinality_with(**{"attention.weight": torch.zeros(2)}), "holds 'attention.weight', which a StyleGAN2"),
        (rosinality_with(**{"convs.0.conv.blur.kernel": torch.ones(4, 4)}), "is not \\(1, 3, 3, 1\\)"),
        (rosinality_with(**{"convs.3.conv.weight": torch.zeros(1, 7, 7, 3, 3)}), r"convs\.2.* should be 7 x 8 x 3 x 3"),
        (rosinality_with(**{"convs.3.conv.weight": torch.zeros(1, 9, 9, 3, 3)}), r"channels \(8, 8, 9\) do not halve"),
        (rosinality_with(**{"style.3.weight": torch.zeros(9, CODE)}), "its z has 6 numbers and its w 9"),
    ],
)
def test_other_generators_are_refused(write: Any, message: str) -> None:
    source = write(weights())
    with pytest.raises(InputError, match=message) as caught:
        convert(source, "out.safetensors")
    assert "\n" not in str(caught.value)
    assert not Path("out.safetensors").exists()


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Converts and generates; what is refused has the exit code 2, one sentence and no file."""
    official(weights(3))
    assert cli.main(["convert", "g.pkl", "-o", "new/g.safetensors"]) == 0
    assert capsys.readouterr().err == "wrote new/g.safetensors: stylegan2, 16 x 16 pixels, 3 classes\n"
    monkeypatch.setattr("sfumato.cli_generate.prepare_memory", lambda: None)
    assert cli.main(["generate", "new/g.safetensors", "-n", "2", "--class", "2", "-o", "sheet.png"]) == 0
    assert Path("sheet.png").is_file()
    capsys.readouterr()
    trap = b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c" + bytes([len(MARK)]) + MARK.encode() + b"\x85R."
    Path("bad.pkl").write_bytes(trap)
    for words, says in (
        (["convert", "bad.pkl", "-o", "bad.safetensors"], "asks for 'os.mkdir'"),
        (["convert", "g.pkl", "-o", "bad.pkl"], "sfumato's models are files .safetensors"),
        (["convert", "new/g.safetensors", "-o", "bad.safetensors"], "not a pickle"),
        (["generate", "g.pkl", "-o", "bad.png"], "sfumato convert"),
    ):
        assert cli.main(words) == 2
        text = capsys.readouterr().err
        assert says in text
        assert text.startswith("sfumato: ")
        assert text.count("\n") == 1
    assert not Path(MARK).exists()
    assert Path("bad.pkl").read_bytes() == trap
    assert not Path("bad.safetensors").exists()


def test_no_memory_before_the_shapes_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks are laid out without numbers, so that a file cannot ask for a large one."""
    devices = list[str]()
    own = stylegan2_foreign.Synthesis

    def seen(config: Any) -> nn.Module:
        made = own(config)
        devices.extend(str(p.device) for p in made.parameters())
        return made

    monkeypatch.setattr(stylegan2_foreign, "Synthesis", seen)
    convert(rosinality(weights()), "out.safetensors")
    assert set(devices) == {"meta"}
