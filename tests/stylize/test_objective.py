"""The objective against the same formulas written plainly, whole and in tiles, in float64."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.features import FeatureNetwork
from sfumato.style.statistics import Moments, bures_distance, gram_matrix
from sfumato.stylize import distances
from sfumato.stylize.distances import Terms
from sfumato.stylize.objective import Objective, picture_moments

from .made import narrow, off, tensor

STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
TERMS = Terms(STYLE, (), ("relu4_1",))
SHALLOW = Terms(("relu1_1", "relu2_2", "relu3_1"), (3.0, 1.0, 0.5), ("relu2_1", "relu3_2"))


# The formulas, plainly: one whole picture, everything differentiable.


def gram(f: Tensor, w: Tensor, divisor: str) -> Tensor:
    g = torch.einsum("chw,dhw,hw->cd", f, f, w)
    return g / {"hw": w.sum(), "chw": w.sum() * len(f), "hw2": w.sum() ** 2}[divisor]


def mean_and_covariance(f: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    mean = torch.einsum("chw,hw->c", f, w) / w.sum()
    gap = f - mean[:, None, None]
    return mean, torch.einsum("chw,dhw,hw->cd", gap, gap, w) / w.sum()


def root(a: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(a)
    return vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T


def statistic(f: Tensor, w: Tensor, terms: Terms) -> Tensor:
    if terms.statistics == "gram":
        return gram(f, w, terms.gram_normalisation)
    mean, covariance = mean_and_covariance(f, w)
    if terms.statistics == "mean_std":
        return torch.cat([mean, (covariance.diagonal() + 1e-5).sqrt()])
    return torch.cat([mean[:, None], covariance], 1)


def distance(a: Tensor, b: Tensor, terms: Terms) -> Tensor:
    if terms.statistics != "w2":
        return (a - b).square().sum()
    r = root(b[:, 1:])
    inner = r @ a[:, 1:] @ r
    cross = torch.linalg.eigvalsh(inner).clamp_min(1e-14).sqrt().sum()
    return (a[:, 0] - b[:, 0]).square().sum() + a[:, 1:].trace() + b[:, 1:].trace() - 2 * cross


def pooled(w: Tensor | None, like: Tensor) -> list[Tensor]:
    if w is None:
        return [torch.ones_like(like[0, 0])]
    return [*F.adaptive_avg_pool2d(w[None], like.shape[2:])[0]]


def plain_style(
    network: FeatureNetwork,
    terms: Terms,
    x: Tensor,
    content: Tensor,
    styles: Sequence[Tensor],
    shares: Tensor,
    regions: Tensor | None,
    style_regions: Sequence[Tensor | None],
    strength: float,
) -> Tensor:
    at_x, at_c = network(x, terms.style_layers), network(content, terms.style_layers)
    weights = terms.style_layer_weights or (1.0,) * len(terms.style_layers)
    total = torch.zeros((), dtype=x.dtype)
    for layer, weight in zip(terms.style_layers, weights, strict=True):
        maps = pooled(regions, at_c[layer])
        area = sum(m.sum() for m in maps)
        for k, w in enumerate(maps):
            own, target = statistic(at_c[layer][0], w, terms), 0
            for share, style, where in zip(shares, styles, style_regions, strict=True):
                f = network(style, [layer])[layer]
                theirs = pooled(where, f)
                s = statistic(f[0], theirs[min(k, len(theirs) - 1)], terms)
                target = target + share[k] / shares[:, k].sum() * s
            target = own + strength * (target - own)
            gap = distance(statistic(at_x[layer][0], w, terms), target, terms)
            if terms.relative:
                gap = gap / distance(own, target, terms)
            elif terms.statistics == "gram":
                gap = gap / (4 * at_x[layer].shape[1] ** 2)
            total = total + weight * w.sum() / area * gap
    return total / sum(weights) if terms.relative else total


def plain_content(network: FeatureNetwork, terms: Terms, x: Tensor, content: Tensor, regions: Tensor | None) -> Tensor:
    found = []
    at_x, at_c = network(x, terms.content_layers), network(content, terms.content_layers)
    for layer in terms.content_layers:
        w = sum(pooled(regions, at_c[layer]))
        a, b = at_x[layer][0], at_c[layer][0]
        if not terms.relative:
            found.append(0.5 * ((a - b).square() * w).sum())
            continue
        pairs = []
        for f in (a, b):
            mean = (f * w).sum((1, 2), keepdim=True) / w.sum()
            spread = ((f - mean).square() * w).sum((1, 2), keepdim=True) / w.sum()
            pairs.append((f - mean) / spread.sqrt())
        found.append(((pairs[0] - pairs[1]).square() * w).sum() / ((pairs[0] ** 2 + pairs[1] ** 2) * w).sum())
    return torch.stack(found).mean()


class Case:
    """A picture between content and two styles, of odd sizes, and the objective on it."""

    def __init__(
        self, terms: Terms = TERMS, *, size: tuple[int, int] = (97, 131), regions: str = "", **network: Any
    ) -> None:
        self.terms, self.network = terms, narrow(**network)
        self.content = tensor(*size, seed=1)
        self.styles = [tensor(70, 113, seed=2), tensor(101, 64, seed=3)]
        self.x = 0.6 * self.content + 0.4 * tensor(*size, seed=4)
        self.regions, self.style_regions = None, [None, None]
        self.shares = torch.tensor([[0.3], [0.9]], dtype=torch.float64)
        if regions:
            ramp = torch.linspace(0, 1, size[1], dtype=torch.float64).expand(1, *size)
            mask = (ramp * 4 - 1).clamp(0, 1)  # two regions of unlike size
            self.regions = mask if regions == "mask" else torch.cat([mask, 1 - mask])
            self.style_regions = [torch.rand(len(self.regions), 70, 113, dtype=torch.float64), None]
            if regions == "two":
                self.shares = torch.tensor([[0.3, 1.0], [0.9, 0.5]], dtype=torch.float64)
                self.style_regions[1] = torch.rand(2, 101, 64, dtype=torch.float64)

    def objective(self, tile: int = 1 << 30, strength: float = 1.0) -> Objective:
        wanted = [
            picture_moments(self.network, self.terms.style_layers, s, r, tile)
            for s, r in zip(self.styles, self.style_regions, strict=True)
        ]
        return Objective(
            self.network,
            self.terms,
            self.content,
            wanted,
            shares=self.shares,
            regions=self.regions,
            strength=strength,
            tile=tile,
        )

    def plain(self, strength: float = 1.0) -> tuple[dict[str, float], float, Tensor]:
        x = self.x.clone().requires_grad_()
        given = (self.styles, self.shares, self.regions, self.style_regions, strength)
        style = plain_style(self.network, self.terms, x, self.content, *given)
        content = plain_content(self.network, self.terms, x, self.content, self.regions)
        tv = (x[:, :, 1:] - x[:, :, :-1]).square().mean() + (x[..., 1:] - x[..., :-1]).square().mean()
        terms = self.terms
        total = terms.style_weight * style + terms.content_weight * content + terms.tv_weight * tv
        (gradient,) = torch.autograd.grad(total, x)
        return {"style": style.item(), "content": content.item()}, total.item(), gradient


CASES: dict[str, tuple[Terms, dict[str, Any]]] = {
    "default": (TERMS, {}),
    "mask": (TERMS, {"regions": "mask"}),
    "two regions": (TERMS, {"regions": "two"}),
    "chw": (replace(TERMS, gram_normalisation="chw"), {}),
    "hw2": (replace(SHALLOW, gram_normalisation="hw2"), {"regions": "mask"}),
    "mean_std": (replace(TERMS, statistics="mean_std"), {"regions": "two", "padding": "zeros"}),
    "w2": (replace(SHALLOW, statistics="w2"), {"regions": "mask"}),
    "w2 deep": (replace(TERMS, statistics="w2"), {"pooling": "max"}),
    "paper": (replace(TERMS, relative=False, content_weight=0.02, tv_weight=2.0), {"padding": "zeros"}),
    "paper, mean_std": (replace(SHALLOW, relative=False, statistics="mean_std"), {"pooling": "max", "regions": "mask"}),
    "shallow": (SHALLOW, {"pooling": "max", "padding": "zeros", "regions": "two"}),
    "before activation": (Terms(("conv1_2", "relu3_1"), (), ("conv2_2",), tv_weight=5.0), {"regions": "mask"}),
    "no content": (replace(TERMS, content_layers=()), {"size": (61, 99)}),
}


@pytest.mark.parametrize("name", [n for n in CASES if n != "no content"])
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_loss_and_gradient_are_the_formulas(name: str, strength: float, monkeypatch: pytest.MonkeyPatch) -> None:
    terms, options = CASES[name]
    monkeypatch.setattr(distances, "bures_distance", partial(bures_distance, eps=1e-13))
    case = Case(terms, **options)
    found = case.objective(strength=strength).evaluate(case.x)
    losses, total, gradient = case.plain(strength)
    tolerance = 1e-4 if terms.statistics == "w2" else 1e-6  # square roots of eigenvalues near zero
    for key, value in losses.items():
        assert found.losses[key] == pytest.approx(value, rel=tolerance), key
    assert found.total == pytest.approx(total, rel=tolerance)
    assert off(found.gradient, gradient) < 10 * tolerance


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tile", [32, 64])
def test_tiled_equals_whole(name: str, tile: int) -> None:
    terms, options = CASES[name]
    case = Case(terms, **options)
    whole, tiled = case.objective(), case.objective(tile)
    assert len(whole.scanner.tiles) == 1
    assert len(tiled.scanner.tiles) >= 2
    a, b = whole.evaluate(case.x), tiled.evaluate(case.x)
    assert b.total == pytest.approx(a.total, rel=1e-9)
    assert b.losses == pytest.approx(a.losses, rel=1e-9)
    assert off(b.gradient, a.gradient) < 1e-8
    assert (b.gradient - a.gradient).abs().max() < 1e-8 * a.gradient.abs().max()


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (33, 65), (40, 200), (16, 16), (65, 31)])
def test_tiled_equals_whole_at_awkward_sizes(size: tuple[int, int]) -> None:
    case = Case(SHALLOW, size=size, regions="mask" if min(size) > 1 else "")
    a, b = case.objective().evaluate(case.x), case.objective(32).evaluate(case.x)
    assert torch.isfinite(a.gradient).all()
    assert b.total == pytest.approx(a.total, rel=1e-9)
    assert (b.gradient - a.gradient).abs().max() <= 1e-8 * a.gradient.abs().max()


@pytest.mark.parametrize("statistics", ["gram", "mean_std", "w2"])
@pytest.mark.parametrize("tile", [32, 1 << 30])
def test_gradient_against_finite_differences(statistics: Any, tile: int) -> None:
    case = Case(replace(SHALLOW, statistics=statistics, tv_weight=0.5), size=(47, 66), regions="mask")
    made = case.objective(tile)
    gradient = made.evaluate(case.x).gradient
    for seed in range(3):
        direction = torch.randn(case.x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        direction = direction / direction.norm()
        step = 1e-5
        up, down = (made.evaluate(case.x + sign * step * direction).total for sign in (1, -1))
        slack = 1e-5 * gradient.norm().item()  # a direction may be nearly level
        assert (up - down) / (2 * step) == pytest.approx((gradient * direction).sum().item(), rel=2e-4, abs=slack)


@pytest.mark.parametrize("statistics", ["gram", "mean_std", "w2"])
@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_the_content_picture_itself_is_one_away(statistics: Any, strength: float) -> None:
    case = Case(replace(TERMS, statistics=statistics))
    losses = case.objective(strength=strength).evaluate(case.content).losses
    assert losses["style"] == pytest.approx(1.0, rel=1e-9)
    assert losses["content"] == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("statistics", ["gram", "mean_std", "w2"])
def test_the_style_picture_itself_is_nothing_away(statistics: Any) -> None:
    case = Case(replace(TERMS, statistics=statistics), size=(70, 113))
    case.shares = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    losses = case.objective().evaluate(case.styles[0]).losses
    assert losses["style"] == pytest.approx(0.0, abs=1e-12 if statistics != "w2" else 1e-3)
    assert losses["content"] > 0.1


@pytest.mark.parametrize("statistics", ["gram", "mean_std"])
@pytest.mark.parametrize("strength", [0.25, 0.5, 0.8])
def test_strength_moves_the_target_along_a_line(statistics: Any, strength: float) -> None:
    """At the style, (1 - s) of the way remains where s was asked for: ((1 - s) / s)^2 in units of the asked."""
    case = Case(replace(TERMS, statistics=statistics), size=(70, 113))
    case.shares = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    losses = case.objective(strength=strength).evaluate(case.styles[0]).losses
    assert losses["style"] == pytest.approx(((1 - strength) / strength) ** 2, rel=1e-9)


def test_absolute_distances_are_the_papers() -> None:
    """Gatys et al. 2016: equations 1, 3, 4, 5 with sums over positions, not means; total is equation 7."""
    terms = Terms(
        ("relu1_1", "relu2_1"), (0.2, 0.5), ("relu3_1",), relative=False, content_weight=1.0, style_weight=1e3
    )
    network, c, s = narrow(padding="zeros"), tensor(40, 48, 1), tensor(40, 48, 2)
    x = tensor(40, 48, 3)
    style = 0.0
    for layer, w in (("relu1_1", 0.2), ("relu2_1", 0.5)):
        F_l, A_l = (network(p, [layer])[layer][0].flatten(1) for p in (x, s))
        n, m = F_l.shape
        style += w * ((F_l @ F_l.T - A_l @ A_l.T).square().sum() / (4 * n**2 * m**2)).item()
    P, Q = (network(p, ["relu3_1"])["relu3_1"] for p in (x, c))
    content = 0.5 * (P - Q).square().sum().item()
    found = Objective(network, terms, c, [picture_moments(network, terms.style_layers, s, None, 1 << 30)]).evaluate(x)
    assert found.losses["style"] == pytest.approx(style, rel=1e-9)
    assert found.losses["content"] == pytest.approx(content, rel=1e-9)
    assert found.total == pytest.approx(content + 1e3 * style, rel=1e-9)


def test_content_distance_is_the_judges() -> None:
    """|N(x) - N(c)|^2 / (|N(x)|^2 + |N(c)|^2), N = channels of mean 0 and deviation 1 (shared/tools/judge.py)."""

    def normalised(f: Tensor) -> Tensor:
        f = f[0].flatten(1)
        return (f - f.mean(1, keepdim=True)) / (f.std(1, keepdim=True) + 1e-5)

    case = Case()
    a, b = (normalised(case.network(p, ["relu4_1"])["relu4_1"]) for p in (case.x, case.content))
    wanted = ((a - b).square().sum() / (a.square().sum() + b.square().sum())).item()
    assert case.objective().evaluate(case.x).losses["content"] == pytest.approx(wanted, rel=1e-3)
    assert 0.01 < wanted < 0.99


def test_channels_silent_in_the_photograph_say_nothing() -> None:
    """A flat photograph has no structure to lose: nothing infinite, no loss, no gradient."""
    case = Case(size=(48, 64))
    for dtype in (torch.float64, torch.float32):
        case.network = narrow(dtype=dtype)
        case.content, case.x = torch.full_like(case.content, 0.5).to(dtype), case.x.to(dtype)
        case.styles, case.shares = [s.to(dtype) for s in case.styles], case.shares.to(dtype)
        found = case.objective().evaluate(case.x)
        assert found.losses["content"] == 0
        assert torch.isfinite(found.gradient).all()
        assert torch.isfinite(case.objective().evaluate(case.content).gradient).all()


def test_pixels_outside_the_mask_do_not_matter() -> None:
    """Beyond what a position sees, they change neither statistics nor distances, and no gradient reaches them."""
    network = narrow()
    terms = Terms(("relu1_1", "relu2_1", "relu3_1"), (), ("relu3_1",))
    mask = torch.zeros(1, 60, 150, dtype=torch.float64)
    mask[..., :61] = 1
    beyond = 61 + 2 * network.reach("relu3_1") + 4
    assert beyond < 130
    x, c, s = (tensor(60, 150, seed) for seed in (1, 2, 3))
    y, d = x.clone(), c.clone()
    y[..., beyond:], d[..., beyond:] = 0, 1
    found = []
    for picture, photo in ((x, c), (y, d)):
        wanted = [picture_moments(network, terms.style_layers, s, mask, 1 << 30)]
        found.append(Objective(network, terms, photo, wanted, regions=mask).evaluate(picture))
    assert found[0].losses == found[1].losses
    assert torch.equal(found[0].gradient, found[1].gradient)
    assert found[0].gradient[..., beyond:].abs().max() == 0
    assert found[0].gradient[..., :61].abs().min(-1).values.max() > 0
    moments = [picture_moments(network, terms.style_layers, p, mask, 1 << 30) for p in (x, y)]
    for layer in terms.style_layers:
        for a, b in zip(moments[0][layer], moments[1][layer], strict=True):
            assert torch.equal(a, b)


def test_a_region_mask_of_ones_is_no_mask() -> None:
    case = Case()
    without = case.objective().evaluate(case.x)
    case.regions = torch.ones(1, 97, 131, dtype=torch.float64)
    ones = case.objective().evaluate(case.x)
    assert ones.losses == pytest.approx(without.losses, rel=1e-12)
    assert off(ones.gradient, without.gradient) < 1e-12


def test_each_region_takes_its_own_style() -> None:
    """Left half from the first style, right half from the second: the picture that is so is nothing away."""
    terms = Terms(("relu1_1",), (), ())
    network, left, right = narrow(), tensor(40, 40, 1), tensor(40, 40, 2)
    x = torch.cat([left, right], 3)
    sides = torch.zeros(2, 40, 80, dtype=torch.float64)
    sides[0, :, :40], sides[1, :, 40:] = 1, 1
    inner = sides.clone()
    inner[..., 38:42] = 0  # positions that see both halves
    border = torch.ones(2, 40, 40, dtype=torch.float64)
    wanted = []
    for k, picture in enumerate((left, right)):
        w = border.clone()
        w[..., slice(38, None) if k == 0 else slice(0, 2)] = 0
        wanted.append(picture_moments(network, terms.style_layers, picture, w, 1 << 30))
    for shares, expected in ((torch.eye(2), True), (torch.eye(2).flip(0), False)):
        loss = Objective(network, terms, tensor(40, 80, 9), wanted, shares=shares.double(), regions=inner)
        assert (loss.evaluate(x).losses["style"] < 1e-9) is expected


def test_layer_weights_and_shares_are_proportions() -> None:
    case, other = Case(SHALLOW), Case(replace(SHALLOW, style_layer_weights=(6.0, 2.0, 1.0)))
    other.shares = case.shares * 10
    a, b = case.objective().evaluate(case.x), other.objective().evaluate(case.x)
    assert b.total == pytest.approx(a.total, rel=1e-12)


@pytest.mark.parametrize("tile", [32, 64, 96])
def test_moments_of_a_picture_in_tiles(tile: int) -> None:
    network, picture = narrow(), tensor(97, 131, 5)
    regions = torch.rand(2, 97, 131, dtype=torch.float64)
    for where in (None, regions):
        whole = picture_moments(network, STYLE, picture, where, 1 << 30)
        parts = picture_moments(network, STYLE, picture, where, tile)
        for layer in STYLE:
            for a, b in zip(parts[layer], whole[layer], strict=True):
                assert off(a, b) < 1e-12


def test_evaluating_changes_nothing() -> None:
    case = Case()
    for tile in (32, 1 << 30):
        made, before = case.objective(tile), case.x.clone()
        a, b = made.evaluate(case.x), made.evaluate(case.x)
        assert torch.equal(case.x, before)
        assert not case.x.requires_grad
        assert not a.gradient.requires_grad
        assert a.total == b.total
        assert torch.equal(a.gradient, b.gradient)


def test_gram_target_is_the_styles() -> None:
    """Two styles of shares 1 and 3: a quarter and three quarters of their Gram matrices."""
    case = Case(replace(TERMS, style_layers=("relu2_1",)))
    case.shares = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    grams = [gram_matrix(picture_moments(case.network, ["relu2_1"], s, None, 999)["relu2_1"]) for s in case.styles]
    target = case.objective().style["relu2_1"].target
    assert off(target, 0.25 * grams[0] + 0.75 * grams[1]) < 1e-12
    assert isinstance(picture_moments(case.network, ["relu2_1"], case.styles[0], None, 999)["relu2_1"], Moments)
