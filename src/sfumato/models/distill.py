"""VGG-19 distilled into a quarter of its channels: light features for large pictures and small machines.

Wang et al. 2020, "Collaborative Distillation for Ultra-Resolution Universal Style Transfer" (CVPR), section 3.2: a
narrow encoder learns, through a 1 x 1 map a layer, to span the features of the full one. Here by imitation alone: the
mapped features and their Gram matrices should be VGG-19's, on pictures as optimisation meets them: photographs,
paintings, noise, and everything between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.features.sources import load_features
from sfumato.features.vgg import BLOCKS, WIDTHS
from sfumato.style.statistics import gram_matrix, moments
from sfumato.train.data import Pictures, crop
from sfumato.train.run import Run

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
"""Where the student is held to its teacher."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Config:
    """Sizes and weights."""

    widths: tuple[int, int, int, int, int] = (16, 32, 64, 128, 128)
    """Channels a block; VGG-19's are 64, 128, 256, 512, 512."""
    gram_weight: float = 1.0
    """Weight of the Gram matrices' relative distance, next to that of the features themselves."""
    learning_rate: float = 1e-3
    crop_scale: tuple[float, float] = (0.4, 1.0)


class Student(nn.Module):
    """The convolutions of VGG-19 to conv5_1, narrow, average pooling, zeros outside; and the maps to full width."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.convs, inputs = nn.ModuleDict(), 3
        for block, (count, width) in enumerate(zip((*BLOCKS[:4], 1), c.widths, strict=True), 1):
            for index in range(1, count + 1):
                conv = nn.Conv2d(inputs, width, 3, padding=1)
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                self.convs[f"conv{block}_{index}"] = conv
                inputs = width
        pairs = zip(LAYERS, c.widths, WIDTHS, strict=True)
        self.maps = nn.ModuleDict({layer: nn.Conv2d(narrow, full, 1) for layer, narrow, full in pairs})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """{layer: N x c x h x w}, narrow, of pictures N x 3 x H x W in [0, 1]."""
        mean, deviation = (torch.tensor(v, device=pictures.device).view(3, 1, 1) for v in (MEAN, DEVIATION))
        x, found = (pictures - mean) / deviation, dict[str, Tensor]()
        for name, conv in self.convs.items():
            if name.endswith("_1") and name != "conv1_1":
                x = F.avg_pool2d(x, 2)
            x = F.relu(conv(x))
            if (layer := f"relu{name[4:]}") in LAYERS:
                found[layer] = x
        return found

    def full(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The features in the teacher's widths."""
        return {layer: self.maps[layer](x) for layer, x in found.items()}


class Method:
    """Training: every layer's features and Gram matrix, relative to the teacher's own size."""

    roles: ClassVar[tuple[str, ...]] = ("data",)
    averaged: ClassVar[tuple[str, ...]] = ("student",)
    resolution: int = 128

    def __init__(self, config: Config) -> None:
        self.config = config
        self.teacher = load_features("vgg19")
        self.placed: torch.device | None = None

    def networks(self) -> dict[str, nn.Module]:
        return {"student": Student(self.config)}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        return {"student": torch.optim.Adam(networks["student"].parameters(), lr=self.config.learning_rate)}

    def sample(self, data: Mapping[str, Pictures], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A picture as optimisation meets it."""
        one, other = (self.draw(data["data"], rng) for _ in range(2))
        kind, share = rng.random(2)
        noise = torch.from_numpy(rng.random((3, self.resolution, self.resolution), dtype=np.float32))
        if kind < 0.5:
            return (one,)
        if kind < 0.65:
            return (torch.lerp(one, other, share),)
        if kind < 0.85:
            return ((one + share * (noise - 0.5)).clamp(0, 1),)
        if kind < 0.95:  # half-optimised: the layout of one, the fine detail of the other
            factor = 2 ** int(1 + 3 * share)
            low, high = (blurred(x, factor) for x in (one, other))
            return ((low + other - high).clamp(0, 1),)
        return (blurred(noise, 2 ** int(3 * share)),)

    def draw(self, pictures: Pictures, rng: np.random.Generator) -> Tensor:
        chosen = pictures[pictures.draw(rng, by_group=True)]
        return crop(chosen, rng, size=self.resolution, scale=self.config.crop_scale)

    def step(self, run: Run, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        student = run.networks["student"]
        assert isinstance(student, Student)
        errors = self.errors(run, student, batch[0])
        features = torch.stack([e[0] for e in errors.values()]).mean()
        grams = torch.stack([e[1] for e in errors.values()]).mean()
        run.minimize("student", features + self.config.gram_weight * grams)
        return {"features": features, "gram": grams}

    def errors(self, run: Run, student: Student, pictures: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """{layer: (|f - t|^2 / |t|^2, |G(f) - G(t)|^2 / |G(t)|^2)}, means over the batch."""
        if self.placed != run.device:
            self.teacher, self.placed = self.teacher.to(run.device), run.device
        with torch.no_grad():
            wanted = self.teacher(pictures, LAYERS)
        found = student.full(student(pictures))
        errors = {}
        for layer, t in wanted.items():
            grams = [gram_matrix(moments(f)) for f in (found[layer], t)]
            errors[layer] = (relative(found[layer], t), relative(*grams))
        return errors

    @torch.no_grad()
    def preview(self, run: Run, batch: tuple[Tensor, ...]) -> Tensor:
        """Pictures above, then relu3_1 as three projections: the teacher's, the student's."""
        pictures = batch[0][:6]
        student = run.ema["student"]
        assert isinstance(student, Student)
        self.errors(run, student, pictures)  # places the teacher
        maps = [self.teacher(pictures, ("relu3_1",))["relu3_1"], student.full(student(pictures))["relu3_1"]]
        axes = torch.linalg.svd(maps[0].transpose(0, 1).flatten(1), full_matrices=False)[0][:, :3]
        shown = [torch.einsum("nchw,ck->nkhw", m.float(), axes) for m in maps]
        low, high = (f(shown[0].transpose(0, 1).flatten(1), dim=1).values.view(3, 1, 1) for f in (torch.min, torch.max))
        rows = [pictures, *(F.interpolate((s - low) / (high - low), pictures.shape[2:]) for s in shown)]
        return torch.cat([torch.cat(list(row), 2) for row in rows], 1).clamp(0, 1)

    @torch.no_grad()
    def evaluate(self, run: Run, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Mean relative errors on held-out pictures, all and by layer."""
        student = run.ema["student"]
        assert isinstance(student, Student)
        rows = [self.errors(run, student, pictures) for (pictures,) in batches]
        of = {layer: torch.tensor([[float(x) for x in row[layer]] for row in rows]).mean(0) for layer in LAYERS}
        features, grams = torch.stack(list(of.values())).mean(0).tolist()
        by_layer = {f"features {layer}": float(e[0]) for layer, e in of.items()}
        return {"score": features + grams, "features": features, "gram": grams, **by_layer}


def relative(found: Tensor, wanted: Tensor) -> Tensor:
    """|found - wanted|^2 / |wanted|^2 per sample, mean over the batch."""
    gap, size = ((x.float()).square().flatten(1).sum(1) for x in (found - wanted, wanted))
    return (gap / size.clamp_min(1e-12)).mean()


def blurred(picture: Tensor, factor: int) -> Tensor:
    """3 x H x W averaged over `factor` x `factor` pixels and brought back."""
    small = F.avg_pool2d(picture[None], factor)
    return F.interpolate(small, picture.shape[1:], mode="bilinear", align_corners=False)[0]
