"""CycleGAN generators of the authors' program made files of ours; what they compute stays the same.

Read is what pytorch-CycleGAN-and-pix2pix saves as `latest_net_G.pth`, `latest_net_G_A.pth` (from a to b) or
`latest_net_G_B.pth` (back): the state of a ResNet generator with instance norm, a flat table of `model.INDEX.weight`.
An index counts every layer of the sequence, so the indices tell the layers that have no weights: where the sides are
doubled by transposed convolutions, where enlarged first, whether dropout stood in the blocks.
"""

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.layers.residual import Upsampling
from sfumato.models.cyclegan import RANGES, Config, generator
from sfumato.models.translator import Direction
from sfumato.train.options import check_values
from sfumato.weights.files import save_model
from sfumato.weights.foreign import Foreign, Stored, read_foreign

FIRST = 10
"""Index of the first residual block."""
OLD = ("running_mean", "running_var", "num_batches_tracked")
"""Statistics that PyTorch kept for instance norm before 0.4 and that are not used."""
NUMBER = re.compile(r"model\.(\d{1,4})\.(?:conv_block\.(\d)\.)?(weight|bias)")


@dataclass(frozen=True)
class Converted:
    """What was made of foreign files."""

    config: Config
    directions: tuple[Direction, ...]
    notes: tuple[str, ...]
    """What the files did not say and how that was answered, a sentence each."""


@dataclass(frozen=True, eq=False)
class Found:
    """A generator in a foreign file."""

    title: str
    tensors: dict[str, Stored]
    """Under the names of their program."""
    blocks: int
    upsampling: Literal["transposed", "resized"]
    dropout: bool

    def key(self, ours: str) -> str:
        """Their name of our parameter, e.g. of "blocks.0.body.3.weight"."""
        layer, _, name = ours.rpartition(".")
        number = layer.split(".")[1] if "." in layer else ""
        if layer.startswith("blocks"):
            second = 6 if self.dropout else 5
            return f"model.{FIRST + int(number)}.conv_block.{1 if layer.endswith('0') else second}.{name}"
        up = ups(self.blocks, self.upsampling)
        places = {"enter": 1, "down0": 4, "down1": 7, "up0": up[0], "up1": up[1], "leave": up[2]}
        part = layer.split(".")[0]
        return f"model.{places[part + number if part in ('down', 'up') else part]}.{name}"


def ups(blocks: int, upsampling: str) -> tuple[int, int, int]:
    """Indices of the two doublings' convolutions and of the last layer's."""
    if upsampling == "transposed":  # it, norm, ReLU; padding, convolution
        return FIRST + blocks, FIRST + blocks + 3, FIRST + blocks + 7
    return FIRST + blocks + 2, FIRST + blocks + 7, FIRST + blocks + 11  # enlarging, padding, it, norm, ReLU


def is_generator(foreign: Foreign) -> bool:
    """Whether a file looks like one of that program's, good or not."""
    root = foreign.root
    return isinstance(root, dict) and any(isinstance(k, str) and re.match(r"(module\.)?model\.", k) for k in root)


def convert(
    source: str | os.PathLike[str] | Foreign,
    output: str | os.PathLike[str],
    *,
    back: str | os.PathLike[str] | None = None,
    nearest: bool = False,
    half: bool = False,
) -> Converted:
    """Write foreign generators as a model of the family cyclegan.

    Args:
        source: the generator from a to b. Nothing in it is run.
        output: the .safetensors to write.
        back: the generator from b to a; without it the model has one direction.
        nearest: where sides are enlarged before a convolution, they are by repeated pixels; else bilinearly. The file
            does not say it.
        half: 16 bits a number and half the size; else the numbers stay as they are.

    Raises:
        InputError: a file that is refused, damaged, of another architecture; a path that cannot be written.
    """
    target = Path(output)
    if target.suffix != ".safetensors":
        raise InputError(f"cannot write {os.fspath(output)!r}: sfumato's models are files .safetensors")
    files: dict[Direction, Foreign] = {"a_to_b": source if isinstance(source, Foreign) else read_foreign(source)}
    if back is not None:
        files["b_to_a"] = read_foreign(back)
    notes, configs, networks = list[str](), list[Config](), dict[str, nn.Module]()
    for direction, foreign in files.items():
        found = found_in(foreign)
        enlarged: Upsampling = "nearest" if nearest else "bilinear"
        if found.upsampling == "resized" and not nearest:
            notes.append("the file does not say how it enlarges: bilinearly was taken (--nearest repeats pixels)")
        if found.dropout:
            notes.append("it was trained with dropout, which is left out in use")
        configs.append(config_of(found, "transposed" if found.upsampling == "transposed" else enlarged))
        networks[direction] = filled(found, configs[-1])
    if configs[0] != configs[-1]:
        raise InputError(f"{os.fspath(back or '')}: a generator of another size or kind than {files['a_to_b'].name}")
    about = {
        "converted from": "pytorch-CycleGAN-and-pix2pix",
        "files": {direction: {"file": Path(f.name).name, "sha256": f.sha256} for direction, f in files.items()},
        "terms": "those of the file that it was converted from",
    }
    save_model(target, "cyclegan", asdict(configs[0]), networks, about, dtype=None if half else torch.float32)
    return Converted(configs[0], tuple(files), tuple(dict.fromkeys(notes)))


def found_in(foreign: Foreign) -> Found:
    """The generator; its layers' places must be those of the ResNet generator. Raises `InputError`."""
    title, root = foreign.name, foreign.root
    if not is_generator(foreign):
        raise InputError(f"{title}: holds no generator of pytorch-CycleGAN-and-pix2pix")
    tensors = {k.removeprefix("module."): v for k, v in root.items() if isinstance(k, str) and isinstance(v, Stored)}
    if len(tensors) < len(root):
        raise InputError(f"{title}: damaged (its table holds something else than tensors)")
    tensors = {k: v for k, v in tensors.items() if not k.endswith(OLD)}
    if any(k.startswith("model.model.") for k in tensors):
        raise InputError(f"{title}: a U-Net (pix2pix), where sfumato reads ResNet generators (--netG resnet_9blocks)")
    blocks, top = set[int](), set[int]()
    inner = set[int]()
    for key, stored in tensors.items():
        match = NUMBER.fullmatch(key)
        if match is None:
            raise InputError(f"{title}: holds {key[:80]!a}, which a ResNet generator of CycleGAN has not")
        if match[3] == "weight" and len(stored.shape) != 4:
            raise InputError(
                f"{title}: its normalisation has weights ({key}): batch norm, where sfumato reads instance norm"
            )
        if match[2]:
            blocks.add(int(match[1]))
            inner.add(int(match[2]))
        else:
            top.add(int(match[1]))
    for upsampling in ("transposed", "resized"):
        if top == {1, 4, 7, *ups(len(blocks), upsampling)} and blocks == set(range(FIRST, FIRST + len(blocks))):
            break
    else:
        shown = ", ".join(map(str, sorted(top)))
        raise InputError(f"{title}: a generator of another architecture (layers {shown} and {len(blocks)} blocks)")
    if inner not in (set(), {1, 5}, {1, 6}):
        raise InputError(f"{title}: its blocks are of another kind; sfumato reads those with reflected borders")
    kind: Literal["transposed", "resized"] = "transposed" if upsampling == "transposed" else "resized"
    return Found(title, tensors, len(blocks), kind, 6 in inner)


def config_of(found: Found, upsampling: Upsampling) -> Config:
    """Sizes, from the tensors' shapes. Raises `InputError`."""
    shape = found.tensors["model.1.weight"].shape if "model.1.weight" in found.tensors else (0,)
    config = Config(channels=shape[0], blocks=found.blocks, upsampling=upsampling)
    try:
        check_values(config, RANGES)
    except InputError as error:
        raise InputError(f"{found.title}: {error}") from None
    return config


def filled(found: Found, config: Config) -> nn.Module:
    """The generator with the file's numbers. Raises `InputError`."""
    with torch.device("meta"):  # no memory before the shapes are known to fit
        network = generator(config)
    state = dict[str, Tensor]()
    for ours, own in network.state_dict().items():
        key, shape = found.key(ours), tuple(own.shape)
        if key not in found.tensors:
            raise InputError(f"{found.title}: {key} is missing")
        stored = found.tensors[key]
        if stored.shape != shape:
            has, wants = (" x ".join(map(str, s)) or "a number" for s in (stored.shape, shape))
            raise InputError(f"{found.title}: {key} is {has}, and should be {wants}")
        if stored.storage.dtype not in ("float64", "float32", "float16", "bfloat16"):
            raise InputError(f"{found.title}: {key} is of {stored.storage.dtype}, which weights are not")
        state[ours] = stored.tensor().float()
    network.load_state_dict(state, assign=True)
    return network
