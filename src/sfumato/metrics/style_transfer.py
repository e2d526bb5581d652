"""How much of the style is reached and of the content kept.

style     the share of the style gap that is left: the mean over relu1_1 .. relu5_1 of
          |G(out) - G(style)|^2 / |G(content) - G(style)|^2, G the Gram matrix over H W (Gatys et al. 2016, equations 3
          and 4, each layer in units of the untouched photograph's distance). 1: unchanged, 0: the style's statistics.
content   |N(out) - N(content)|^2 / (|N(out)|^2 + |N(content)|^2) on relu4_1, N = channels at mean 0 and variance 1.
          0: unchanged, 1: unrelated.
ssim      structural similarity to the content.

Two rows say what no work at all scores: `identity`, the content itself, and `style copy`, the style picture offered as
the result. A picture that scores well and looks bad is a wrong score: look at both.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from sfumato.errors import InputError
from sfumato.features import FeatureNetwork
from sfumato.features.sources import load_features
from sfumato.losses.perceptual import content_distance
from sfumato.metrics.ssim import ssim
from sfumato.picture.formats import known_extensions
from sfumato.picture.io import read_picture
from sfumato.style.statistics import gram_matrix, moments

T = TypeVar("T")

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYER = "relu4_1"
COPIES = 12
"""Pairs of which the style copy is scored, at most."""


@dataclass(frozen=True)
class Score:
    """Of one result, or the mean of many."""

    style: float
    """Share of the style gap left."""
    content: float
    """Share of the content lost."""
    ssim: float

    @classmethod
    def mean(cls, scores: "Sequence[Score]") -> "Score":
        columns = zip(*((s.style, s.content, s.ssim) for s in scores), strict=True)
        return cls(*(sum(c) / len(scores) for c in columns))


@dataclass(frozen=True)
class Row:
    """One result with its pair."""

    content: str
    style: str
    score: Score


@dataclass(frozen=True)
class Evaluation:
    """A folder of results, scored."""

    name: str
    rows: tuple[Row, ...]
    copy: Score
    """Mean score of the style pictures offered as results."""
    features: str
    """Name of the feature network: figures of different ones do not compare."""
    size: int

    def table(self) -> dict[str, Score]:
        """{row: mean}: the results, identity, style copy."""
        results = Score.mean([row.score for row in self.rows])
        return {f"{self.name} ({len(self.rows)})": results, "identity": Score(1, 0, 1), "style copy": self.copy}


@dataclass(frozen=True, eq=False)
class Reference:
    """What a content or style picture is compared by."""

    picture: Tensor
    grams: tuple[Tensor, ...]
    content: Tensor


class StyleJudge:
    """Scores results, pictures 1 x 3 x H x W in [0, 1]."""

    def __init__(self, features: FeatureNetwork) -> None:
        self.features = features

    @torch.inference_mode()
    def reference(self, picture: Tensor) -> Reference:
        f = self.features(picture, STYLE_LAYERS)
        grams = tuple(gram_matrix(moments(f[layer]))[0] for layer in STYLE_LAYERS)
        return Reference(picture, grams, f[CONTENT_LAYER])

    @torch.inference_mode()
    def score(self, out: Tensor, content: Reference, style: Reference) -> Score:
        """Raises `InputError` where the content's statistics are the style's already, so that there is no gap."""
        made = self.reference(out)
        left = list[float]()
        for got, own, wanted in zip(made.grams, content.grams, style.grams, strict=True):
            gap = float((own - wanted).square().sum())
            if gap == 0:
                raise InputError("content and style have the same statistics: there is no style gap to measure by")
            left.append(float((got - wanted).square().sum()) / gap)
        lost = float(content_distance(made.content, content.content))
        return Score(sum(left) / len(left), lost, float(ssim(out, content.picture)))


def evaluate_style(
    results: Path,
    content: Path,
    style: Path,
    *,
    features: str | Path | None = None,
    size: int = 512,
    limit: int | None = None,
    on_row: Callable[[int, int, Row], None] | None = None,
) -> Evaluation:
    """Score the folder `results` of pictures named CONTENT__STYLE after the pictures of two folders.

    Args:
        results: other pictures in it are left alone.
        content: folder of the content pictures; every picture is compared at the content's size.
        style: folder of the style pictures, whole.
        features: feature network with VGG-19's layers, as `sfumato.features.sources.load_features` takes it.
        size: short side of contents and styles in pixels.
        limit: so many of the results at most, evenly spread over their names.
        on_row: called with (number, count, row) after each.

    Raises:
        InputError: a folder that is missing or has no such pictures, a picture that cannot be read.
    """
    if size < 16:
        raise InputError(f"size must be at least 16 pixels, not {size}")
    contents, styles = pictures_in(content), pictures_in(style)
    found = list(pairs(pictures_in(results), contents, styles))
    if not found:
        raise InputError(f"{str(results)!r} has no picture named CONTENT__STYLE after {str(content)!r}, {str(style)!r}")
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, not {limit}")
    judge = StyleJudge(load_features(features))
    kept = dict[Path, Reference]()

    def reference(path: Path) -> Reference:
        if path not in kept:
            kept[path] = judge.reference(load(path, size))
        return kept[path]

    chosen, rows = spread(found, limit or len(found)), list[Row]()
    for number, (file, c, s) in enumerate(chosen, 1):
        own, wanted = reference(contents[c]), reference(styles[s])
        rows.append(Row(c, s, _score(judge, load(file, own.picture), own, wanted, contents[c], styles[s])))
        if on_row is not None:
            on_row(number, len(chosen), rows[-1])
    copies = list[Score]()
    for _, c, s in spread(found, COPIES):
        own, wanted = reference(contents[c]), reference(styles[s])
        copies.append(_score(judge, style_copy(styles[s], own.picture), own, wanted, contents[c], styles[s]))
    return Evaluation(results.name or str(results), tuple(rows), Score.mean(copies), judge.features.name, size)


def pairs(
    results: Mapping[str, Path], contents: Mapping[str, Path], styles: Mapping[str, Path]
) -> Iterator[tuple[Path, str, str]]:
    """(file, content, style) of the results whose stem is CONTENT__STYLE; either name may hold the mark itself."""
    for stem, path in results.items():
        parts = stem.split("__")
        for cut in range(1, len(parts)):
            c, s = "__".join(parts[:cut]), "__".join(parts[cut:])
            if c in contents and s in styles:
                yield path, c, s
                break


def pictures_in(folder: Path) -> dict[str, Path]:
    """{stem: path} of a folder's pictures, by name. Raises `InputError` where there is no folder or nothing in it."""
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is not a folder")
    found = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in known_extensions() and p.is_file()}
    if not found:
        raise InputError(f"{str(folder)!r} is a folder without pictures")
    return found


def load(path: Path, size: int | Tensor) -> Tensor:
    """A picture 1 x 3 x H x W in [0, 1], its short side at `size` pixels, or as large as the picture `size`."""
    image = _image(path)
    if isinstance(size, Tensor):
        width, height = size.shape[3], size.shape[2]
    else:
        scale = size / min(image.size)
        width, height = (max(16, round(side * scale)) for side in image.size)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return _tensor(image)


def style_copy(path: Path, like: Tensor) -> Tensor:
    """The style picture cropped to the size of `like`."""
    return _tensor(ImageOps.fit(_image(path), (like.shape[3], like.shape[2]), Image.Resampling.BICUBIC))


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of `items`, evenly spaced."""
    if count >= len(items):
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]


def _score(judge: StyleJudge, out: Tensor, own: Reference, wanted: Reference, c: Path, s: Path) -> Score:
    """As the judge's, an error naming the pair."""
    try:
        return judge.score(out, own, wanted)
    except InputError as error:
        raise InputError(f"{c.name} and {s.name}: {error}") from None


def _image(path: Path) -> Image.Image:
    """8 bits a channel, upright, sRGB: what is judged is what a viewer shows."""
    return Image.fromarray(np.round(read_picture(path).rgb * 255).astype(np.uint8))


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
