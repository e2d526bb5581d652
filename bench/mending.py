"""How far a mended picture is from the true one: pixels, structure, features, and the set as a whole."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from pictures import at_short_side, opened, pictures_in, spread
from torch import Tensor

from sfumato.features.sources import load_features
from sfumato.metrics.frechet import frechet_distance, gaussian
from sfumato.metrics.ssim import ssim

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
"""Those of LPIPS (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features")."""
DEEPEST = "relu5_4"
EXPLAINED = """\
PSNR and SSIM: of the whole picture, means over the pictures. VGG: distance of VGG-19's features, channels at a position
brought to length 1, squared differences summed over channels and averaged (LPIPS without its learnt weights).
FID-VGG: Frechet distance of the sets by the means of relu5_4, whose 512 dimensions so few pictures do not span: for
comparison within the table only."""


def chosen(folder: Path, split: Path, part: str, count: int) -> list[Path]:
    """Pictures of a part of the split, evenly spaced."""
    names = json.loads(split.read_text(encoding="utf-8"))[folder.name][part]
    found = pictures_in(folder)
    return spread([found[Path(name).stem] for name in sorted(names)], count)


def loaded(path: Path, side: int) -> Tensor:
    """1 x 3 x H x W in [0, 1], the short side at `side`, sides multiples of 4."""
    image = at_short_side(opened(path), side)
    image = image.crop((0, 0, image.width // 4 * 4, image.height // 4 * 4))
    values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return values.view(image.height, image.width, 3).permute(2, 0, 1)[None].float() / 255


class Yardstick:
    """Compares made pictures with true ones."""

    def __init__(self) -> None:
        self.network = load_features("vgg19", pooling="max")

    @torch.no_grad()
    def features(self, picture: Tensor) -> dict[str, Tensor]:
        found = self.network(picture, (*LAYERS, DEEPEST))
        unit = {k: found[k] / found[k].norm(dim=1, keepdim=True).clamp_min(1e-6) for k in LAYERS}
        return unit | {"mean": found[DEEPEST].mean((2, 3))[0]}

    def compare(self, made: Tensor, real: Tensor, wanted: dict[str, Tensor]) -> tuple[dict[str, float], Tensor]:
        """Figures of one picture, and its vector for the Frechet distance."""
        rounded = (made * 255).round() / 255
        found = self.features(rounded)
        vgg = sum(float((found[k] - wanted[k]).square().sum(1).mean()) for k in LAYERS) / len(LAYERS)
        figures = {"PSNR": psnr(rounded, real), "SSIM": float(ssim(rounded, real)), "VGG": vgg}
        return figures, found["mean"]


def psnr(made: Tensor, real: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels, at most 99."""
    return min(99.0, -10 * float((made - real).square().mean().clamp_min(1e-12).log10()))


def frechet(made: Sequence[Tensor], real: Sequence[Tensor]) -> float:
    """Distance of two sets of vectors."""
    return float(frechet_distance(gaussian(torch.stack(list(made))), gaussian(torch.stack(list(real)))))
