"""Segmenters that others have trained: any network for semantic segmentation of the package `transformers`.

SegFormer (Xie et al. 2021), MobileViT or MobileNetV2 with DeepLabv3 ... as a folder that `save_pretrained` wrote, or
by name from the model hub where there is internet (`hub:nvidia/segformer-b0-finetuned-ade-512-512`). Only safetensors
are read. Their many classes (ADE20K's 150, Cityscapes' 19, VOC's 21) become the few that matter to painters: chances of
words that mean the same are summed.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.features.sources import IMAGENET
from sfumato.picture.label_maps import Color

HUB = "hub:"
WANTED = "ForSemanticSegmentation"
SIDE = 512
"""Short side of training pictures where nothing says another."""
PAINTERS: dict[str, tuple[Color, str]] = {
    "sky": ((70, 130, 220), "sky"),
    "water": ((30, 60, 160), "water sea river lake waterfall pool fountain falls ocean"),
    "vegetation": ((60, 140, 50), "vegetation tree trees grass plant palm flower field hill bush hedge"),
    "ground": (
        (150, 110, 70),
        "road sidewalk pavement earth ground floor flooring path sand rock stone mountain mount dirt track land "
        "terrain runway rug carpet stage snow",
    ),
    "building": (
        (160, 160, 160),
        "building house edifice skyscraper wall ceiling hovel hut shack tower bridge fence railing stairs stairway "
        "stairway step windowpane window door grandstand column pillar booth pier canopy awning porch escalator",
    ),
    "person": ((220, 40, 60), "person rider pedestrian man woman child people"),
    "animal": ((240, 160, 40), "animal bird cat cow dog horse sheep"),
    "vehicle": (
        (130, 50, 170),
        "car bus truck train bicycle motorcycle motorbike minibike bike van boat ship aeroplane airplane plane",
    ),
    "object": ((240, 220, 90), ""),
}
"""The nine classes of the bundled `scene`: their colours, and the words for them; what no word names is an object."""


def painters_class(name: str) -> str:
    """Of a class's name, which may hold several words that mean the same ("sidewalk, pavement"), in any order."""
    for part in name.replace(";", ",").lower().split(","):
        words = part.replace("_", " ").replace("-", " ").split()
        for known, (_, listed) in PAINTERS.items():
            if words and (part.strip() in listed.split() or words[-1] in listed.split()):
                return known
    return "object"


def is_pretrained(source: str | os.PathLike[str]) -> bool:
    """Whether `source` is a network of `transformers` and none of ours."""
    text = os.fspath(source)
    if text.startswith(HUB):
        return True
    try:
        config = json.loads((Path(text) / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and any(WANTED in str(name) for name in config.get("architectures") or ())


class Pretrained:
    """A predictor (`sfumato.models.predictor.Predictor`) over a network of `transformers`."""

    ignore = 255

    def __init__(self, network: nn.Module, names: list[str], side: int, device: torch.device | str = "cpu") -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.device, self.side = device, side
        found = [painters_class(name) for name in names]
        self.classes = tuple(name for name in PAINTERS if name in found)
        self.colors = tuple(PAINTERS[name][0] for name in self.classes)
        self.groups = torch.tensor([self.classes.index(name) for name in found])
        """Of every class of the network's, which of `classes`."""

    @classmethod
    def load(cls, source: str | os.PathLike[str], device: torch.device | str = "cpu") -> "Pretrained":
        """From a folder or, with "hub:" before it, a name.

        Raises `InputError` where `transformers` is missing, nothing can be read or fetched, or the weights are no
        safetensors.
        """
        try:
            from transformers import AutoModelForSemanticSegmentation  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise InputError(f"{os.fspath(source)}: needs transformers: pip install 'sfumato[segmenters]'") from None
        text = os.fspath(source)
        where = text.removeprefix(HUB)
        try:
            network: Any = AutoModelForSemanticSegmentation.from_pretrained(
                where, use_safetensors=True, trust_remote_code=False, local_files_only=not text.startswith(HUB)
            )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(f"{text}: cannot be loaded by transformers: {reason}") from None
        labels = network.config.id2label
        names = [str(labels[k]) for k in range(network.config.num_labels)]
        return cls(network, names, _side(Path(where)), device)

    @torch.no_grad()
    def predict(self, pictures: Tensor) -> Tensor:
        """As `Predictor.predict`: N x K x H x W chances of N x 3 x H x W in [0, 1]."""
        mean, deviation = (torch.tensor(values)[:, None, None] for values in IMAGENET)
        scores = self.network(pixel_values=((pictures - mean) * deviation).to(self.device)).logits
        chances = (
            F.interpolate(scores.float(), pictures.shape[2:], mode="bilinear", align_corners=False).softmax(1).cpu()
        )
        found = chances.new_zeros(len(pictures), len(self.classes), *pictures.shape[2:])
        return found.index_add_(1, self.groups, chances)


def digest(source: str | os.PathLike[str]) -> str:
    """sha256 of a folder's weights; of a name from the hub, the name's, for its files are the hub's affair."""
    text, total = os.fspath(source), hashlib.sha256()
    files = sorted(Path(text).glob("*.safetensors")) if not text.startswith(HUB) else []
    for file in files:
        total.update(file.read_bytes())
    return (total if files else hashlib.sha256(text.encode())).hexdigest()


def _side(folder: Path) -> int:
    """What the folder's picture processor says of sizes, if it does."""
    try:
        size = json.loads((folder / "preprocessor_config.json").read_bytes())["size"]
    except (OSError, ValueError, KeyError, TypeError):
        return SIDE
    values = [v for v in (size.values() if isinstance(size, dict) else [size]) if isinstance(v, int)]
    return min(values, default=SIDE)
