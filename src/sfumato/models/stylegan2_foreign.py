"""StyleGAN2 generators of other programs, made files of ours; what they compute stays the same.

Read are the pickles of the authors' PyTorch programs (stylegan2-ada-pytorch, and StyleGAN2 from stylegan3), and the
checkpoints that rosinality's stylegan2-pytorch made known. Both keep weights at deviation 1, as `stylegan2_networks`
does; the names differ, and what is written in code or members rather than in tensors is checked here. Karras et al.
2020, section 2.2: with demodulation a common factor of a layer's weights changes nothing.
"""

import math
import os
from collections.abc import Mapping as Table
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.models.stylegan2 import RANGES, Config
from sfumato.models.stylegan2_networks import Mapping, Synthesis
from sfumato.train.options import check_values
from sfumato.weights.files import save_model
from sfumato.weights.foreign import Foreign, Saved, Stored, read_foreign

MOST_MODULES = 1000
"""At 1024 pixels there are 90."""
MEAN_OF = 10_000
"""Codes that the mean of w is measured with where the file does not hold it."""
RATE = 0.01
"""Of the mapping's layers: weights and biases are this many times larger than what is used."""


@dataclass(frozen=True)
class Converted:
    """What was made of a foreign file."""

    config: Config
    layout: Literal["official", "rosinality"]
    notes: tuple[str, ...]
    """What the file did not say and how that was answered, a sentence each."""


@dataclass(eq=False)
class Found:
    """A generator in a foreign file."""

    title: str
    layout: Literal["official", "rosinality"]
    tensors: dict[str, Stored]
    """Under the names of their program."""
    modules: dict[str, dict[str, Any]] = field(default_factory=dict)
    """{path: members} of saved objects, with a dot at the end of the path."""
    clamp: float = 0.0

    def key(self, ours: str) -> str:
        """Their name of our parameter, e.g. "synthesis.b8.conv0.weight"."""
        return ours if self.layout == "official" else rosinality_name(ours)

    def shape(self, ours: str) -> tuple[int, ...]:
        """Raises `InputError` where it is not there."""
        if self.key(ours) not in self.tensors:
            raise InputError(f"{self.title}: no StyleGAN2 generator that sfumato knows ({self.key(ours)} is missing)")
        return self.tensors[self.key(ours)].shape

    def has(self, ours: str) -> bool:
        return self.key(ours) in self.tensors


def convert(
    source: str | os.PathLike[str] | Foreign, output: str | os.PathLike[str], *, half: bool = False
) -> Converted:
    """Write the averaged generator of a foreign file as a model of the family stylegan2.

    Args:
        source: a .pkl of stylegan2-ada-pytorch or stylegan3 (StyleGAN2 only), or a .pt in rosinality's layout; or what
            was read of one. Nothing in it is run.
        output: the .safetensors to write.
        half: 16 bits a number and half the size; else the numbers stay as they are.

    Raises:
        InputError: a file that is refused, damaged, of another architecture; a path that cannot be written.
    """
    target = Path(output)
    if target.suffix != ".safetensors":
        raise InputError(f"cannot write {os.fspath(output)!r}: sfumato's models are files .safetensors")
    foreign = source if isinstance(source, Foreign) else read_foreign(source)
    found = generator_in(foreign)
    config = config_of(found)
    check_filters(found)
    if found.layout == "official":
        check_members(found)
    networks, notes = filled(found, config)
    about = {
        "converted from": found.layout,
        "file": Path(foreign.name).name,
        "sha256": foreign.sha256,
        "terms": "those of the file that it was converted from",
    }
    save_model(target, "stylegan2", asdict(config), networks, about, dtype=None if half else torch.float32)
    return Converted(config, found.layout, tuple(notes))


def generator_in(foreign: Foreign) -> Found:
    """The averaged generator; where there is none the one in training."""
    root, title = foreign.root, foreign.name
    if isinstance(root, dict):
        for key in ("G_ema", "g_ema", "G", "g"):
            if isinstance(root.get(key), Saved | dict):
                chosen = root[key]
                break
        else:
            chosen = root
    else:
        chosen = root
    if isinstance(chosen, Saved):
        return official(chosen, title)
    if isinstance(chosen, dict) and "input.input" in chosen:
        tensors = {key: value for key, value in chosen.items() if isinstance(value, Stored)}
        if isinstance(root.get("latent_avg"), Stored):
            tensors["latent_avg"] = root["latent_avg"]
        return Found(title, "rosinality", tensors)
    raise InputError(
        f"{title}: holds no StyleGAN2 generator that sfumato knows (neither the objects of stylegan2-ada-pytorch nor "
        "the names of rosinality's)"
    )


def official(generator: Saved, title: str) -> Found:
    """Tensors and members of the modules, by path."""
    found = Found(title, "official", {})
    waiting: list[tuple[str, Any]] = [("", generator)]
    while waiting:
        path, module = waiting.pop()
        if not isinstance(module, Saved) or len(found.modules) >= MOST_MODULES:
            raise InputError(f"{title}: damaged (its modules are no tree)")
        found.modules[path] = module.members
        for kind in ("_parameters", "_buffers", "_modules"):
            members = module.members.get(kind, {})
            if not isinstance(members, dict):
                raise InputError(f"{title}: damaged (a module without members)")
            for name, value in members.items():
                if kind == "_modules":
                    waiting.append((f"{path}{name}.", value))
                elif isinstance(value, Stored):
                    found.tensors[f"{path}{name}"] = value
    strange = [p for p in found.modules if p.startswith("synthesis.") and p.count(".") == 2 and p[10] != "b"]
    if strange:
        raise InputError(
            f"{title}: a {generator.kind} of another architecture ({strange[0].rstrip('.')!a}); StyleGAN2 is what "
            "sfumato reads, not StyleGAN3"
        )
    return found


def config_of(found: Found) -> Config:
    """Sizes, from the tensors' shapes."""
    start = found.shape("synthesis.b4.const")[-2:]
    levels = 1
    while found.has(f"synthesis.b{4 << levels}.conv1.weight"):
        levels += 1
    layers = 0
    while found.has(f"mapping.fc{layers}.weight"):
        layers += 1
    inputs, code = found.shape("mapping.fc0.weight")[-1], found.shape(f"mapping.fc{max(0, layers - 1)}.weight")[0]
    classes = found.shape("mapping.embed.weight")[-1] if found.has("mapping.embed.weight") else 0
    z = inputs - (found.shape("mapping.embed.weight")[0] if classes else 0)
    if z != code:
        raise InputError(f"{found.title}: its z has {z} numbers and its w {code}; sfumato's have the same")
    weights = [found.shape(f"synthesis.b{4 << k}.conv1.weight") for k in range(levels)]
    if len(start) != 2 or any(len(shape) < 4 for shape in weights):
        raise InputError(f"{found.title}: damaged (a weight of a strange shape)")
    widths = [shape[-4] for shape in weights]
    base = max(width * (4 << k) for k, width in enumerate(widths))
    config = Config(
        resolution=min(start) << (levels - 1),
        start=(start[0], start[1]),
        code=code,
        mapping_layers=layers,
        channel_base=base,
        channel_max=max(widths),
        classes=tuple(map(str, range(classes))),
        conditional=classes > 0,
        clamp=clamp_of(found),
    )
    if [config.width(k) for k in range(levels)] != widths:
        shown = ", ".join(map(str, widths))
        raise InputError(f"{found.title}: its channels ({shown}) do not halve from size to size, as sfumato's do")
    check_values(config, RANGES)
    config.doublings()
    return config


def clamp_of(found: Found) -> float:
    """The one limit of all layers' values; 0 is none."""
    limits = {
        m["conv_clamp"] for m in found.modules.values() if isinstance(m.get("conv_clamp", ""), float | int | None)
    }
    if len(limits) > 1:
        raise InputError(f"{found.title}: its layers have different limits (conv_clamp); sfumato has one for all")
    return float(next(iter(limits), None) or 0)


def check_members(found: Found) -> None:
    """What the official objects say beside their tensors must be what `stylegan2_networks` computes."""
    for path, members in found.modules.items():
        layer = path.split(".")[-2] if path else ""
        wanted = {
            "architecture": "skip",
            "activation": "lrelu" if layer.startswith(("fc", "conv")) else "linear",
            "up": 2 if layer == "conv0" else 1,
        }
        for name, value in wanted.items():
            if name in members and members[name] != value:
                has = members[name] if isinstance(members[name], str | int | float) else "something else"
                raise InputError(
                    f"{found.title}: {path.rstrip('.')}.{name} is {str(has)[:40]!a}; of StyleGAN2 sfumato knows the "
                    f"one where it is {value!r}"
                )


def check_filters(found: Found) -> None:
    """The filter that sizes change with is not a setting of ours."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    for key, stored in found.tensors.items():
        if key.endswith(("resample_filter", ".kernel")):
            kernel = stored.tensor().double() if stored.shape == (4, 4) else torch.zeros(4, 4)
            if not torch.allclose((kernel / kernel.sum()).float(), torch.outer(taps, taps), atol=1e-5):
                raise InputError(f"{found.title}: its filter {key} is not (1, 3, 3, 1), which is the one sfumato has")


def filled(found: Found, config: Config) -> tuple[dict[str, nn.Module], list[str]]:
    """Mapping and synthesis with the file's numbers; a note on everything that the file does not hold."""
    with torch.device("meta"):  # no memory before the shapes are known to fit
        networks = {
            "mapping": Mapping(config.code, len(config.classes), config.code, config.mapping_layers),
            "synthesis": Synthesis(config),
        }
    wanted = {f"{name}.{key}": t.shape for name, n in networks.items() for key, t in n.state_dict().items()}
    used = {found.key(ours): shape for ours, shape in wanted.items()}
    for key, stored in found.tensors.items():
        if key not in used and not key.endswith(("resample_filter", ".kernel")) and not key.startswith("noises."):
            raise InputError(f"{found.title}: holds {key[:80]!a}, which a StyleGAN2 generator has not")
        if key in used and plain(stored.shape) != plain(used[key]):
            has, wants = (" x ".join(map(str, s)) or "a number" for s in (stored.shape, used[key]))
            raise InputError(f"{found.title}: {key} is {has}, and should be {wants}")
        if key in used and stored.storage.dtype not in ("float64", "float32", "float16", "bfloat16"):
            raise InputError(f"{found.title}: {key} is of {stored.storage.dtype}, which weights are not")
    notes, chance = list[str](), torch.Generator().manual_seed(0)
    state: dict[str, dict[str, Tensor]] = {name: {} for name in networks}
    for ours, shape in wanted.items():
        network, _, key = ours.partition(".")
        if found.has(ours):
            stored = found.tensors[found.key(ours)]
            value = stored.tensor().double().reshape(shape) * factor(found, ours)
            state[network][key] = value.float()
        elif key.endswith("noise_const") and found.has(ours.replace("_const", "_strength")):
            state[network][key] = torch.randn(shape, generator=chance)
            notes.append("the file holds no fixed noise: it was drawn")
        elif "noise_" in key and not found.has(ours.replace("_strength", "_const")):  # a generator without noise
            state[network][key] = torch.zeros(shape)
        elif key == "w_avg":
            state[network][key] = torch.zeros(shape)
            notes.append(f"the file holds no mean code for truncation: it was measured with {MEAN_OF:,} codes")
        else:
            found.shape(ours)  # raises
    for name, module in networks.items():
        module.load_state_dict(state[name], assign=True)
    if not found.has("mapping.w_avg"):
        mapping = cast(Mapping, networks["mapping"]).eval()
        label = torch.randint(len(config.classes), (MEAN_OF,), generator=chance) if config.classes else None
        with torch.no_grad():
            codes = mapping(torch.randn(MEAN_OF, config.code, generator=chance), label)
            cast(Tensor, mapping.w_avg).copy_(codes.mean(0))
    return networks, list(dict.fromkeys(notes))


def factor(found: Found, ours: str) -> float:
    """What a weight or bias is multiplied by: their scale of it, over ours. 1 but for unusual learning rates."""
    path, _, name = found.key(ours).rpartition(".")
    members: Table[str, Any] = found.modules.get(f"{path}.", {})
    gain = members.get(f"{name}_gain")
    if gain is None:
        return 1.0
    rate = RATE if path.startswith("mapping.fc") else 1.0
    own = rate if name == "bias" else rate / math.sqrt(math.prod(found.shape(ours)[1:]))
    if not isinstance(gain, float | int) or not math.isfinite(gain):
        raise InputError(f"{found.title}: damaged ({path}.{name}_gain is no number)")
    return 1.0 if math.isclose(gain, own, rel_tol=1e-6) else gain / own


def plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without sides of 1: the programs differ in where they have them."""
    return tuple(n for n in shape if n != 1)


def rosinality_name(ours: str) -> str:
    """Theirs of our parameter, empty where there is none (they have no classes).

    >>> rosinality_name("synthesis.b16.conv0.affine.weight")
    'convs.2.conv.modulation.weight'
    """
    network, *path, name = ours.split(".")
    if network == "mapping":
        if not path:
            return "latent_avg"
        return f"style.{int(path[0][2:]) + 1}.{name}" if path[0].startswith("fc") else ""
    level = int(path[0][1:]).bit_length() - 3
    if name == "const":
        return "input.input"
    affine = "conv.modulation." if path[-1] == "affine" else ""
    if path[1] == "torgb":
        layer = f"to_rgbs.{level - 1}" if level else "to_rgb1"
        return f"{layer}.{affine}{name}" if affine or name == "bias" else f"{layer}.conv.{name}"
    index = 2 * level - (path[1] == "conv0")
    layer = f"convs.{index - 1}" if level else "conv1"
    inside = {"weight": "conv.weight", "bias": "activate.bias", "noise_strength": "noise.weight"}
    if name == "noise_const":
        return f"noises.noise_{index}"
    return f"{layer}.{affine}{name}" if affine else f"{layer}.{inside[name]}"
