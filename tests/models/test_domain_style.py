"""The style loss of whole domains: its value written out, running means, whom it moves, its place in the families."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.features.sources import load_features
from sfumato.models import cut, cyclegan, unit
from sfumato.models.domain_style import DOMAIN, LAYERS, MADE, DomainStyle

from .steps import steps_of

SIDE = 32


def stripes(count: int, seed: int, *, upright: bool) -> Tensor:
    """Bars of two pixels, of any place and strength."""
    g = torch.Generator().manual_seed(seed)
    line = (torch.arange(SIDE) // 2 % 2).float()
    bars = (line if upright else line[:, None]).expand(count, 3, SIDE, SIDE)
    strength = 0.5 + 0.5 * torch.rand(count, 1, 1, 1, generator=g)
    return (0.5 + strength * (bars - 0.5)).contiguous()


def run_of() -> Any:
    config = cyclegan.Config(resolution=SIDE, channels=4, blocks=1, judge_channels=4, judge_layers=2, features="")
    return steps_of(cyclegan.Method(config))


def plain(pictures: Tensor) -> dict[str, Tensor]:
    """Mean Gram matrices and covariances, position by position."""
    found = load_features("vgg-lite", pooling="max", padding="replicate")(pictures, LAYERS)
    means = dict[str, Tensor]()
    for layer, f in found.items():
        columns = f.double().flatten(2)
        centred = columns - columns.mean(2, keepdim=True)
        for name, x in (("gram", columns), ("covariance", centred)):
            means[f"{name} {layer}"] = torch.einsum("ncp,ndp->ncd", x, x).mean(0) / columns.shape[2]
    return means


def left(found: dict[str, Tensor], source: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    gaps = []
    for key in found:
        whole = max((source[key] - wanted[key]).square().sum(), 0.1 * wanted[key].square().sum())
        gaps.append(((found[key] - wanted[key]).square().sum() / whole + 1e-3).sqrt())
    return float(torch.stack(gaps).mean())


def test_the_value_is_the_formula() -> None:
    """Two batches: means over all pictures of a domain so far, over the translations as well."""
    run, style = run_of(), DomainStyle("vgg-lite")
    a, b = (torch.cat([stripes(2, seed, upright=upright) for seed in (0, 1)]) for upright in (True, False))
    made = (a + b) / 2
    first = style(run, {"a": a[:2], "b": b[:2]}, {"b": made[:2]})
    assert first.item() == pytest.approx(left(plain(made[:2]), plain(a[:2]), plain(b[:2])), rel=1e-4)
    second = style(run, {"a": a[2:], "b": b[2:]}, {"b": made[2:]})
    assert second.item() == pytest.approx(left(plain(made), plain(a), plain(b)), rel=1e-4)
    assert style(run, {"a": a, "b": b}, {"b": a, "a": b}).item() > 0.8


def test_the_mean_must_be_the_domains_and_not_every_picture() -> None:
    """One translation may be dark and another bright where real pictures are; all may not be dark."""
    bars = stripes(1, 0, upright=True)
    b = torch.cat([0.3 * bars, bars])
    a = torch.cat([0.3 * bars, 0.3 * bars])
    values = list[float]()
    for made in ([b[:1], b[1:]], [b[:1], b[:1]]):
        run, style = run_of(), DomainStyle("vgg-lite")
        for x in made:
            value = style(run, {"a": a, "b": b}, {"b": x})
        values.append(value.item())
    assert values[0] == pytest.approx(0.001**0.5, rel=0.05)
    assert values[1] == pytest.approx(1, abs=0.01)


def test_running_means_forget() -> None:
    run, style = run_of(), DomainStyle("vgg-lite")
    for weight, name in ((DOMAIN, "real"), (MADE, "made")):
        for _ in range(round(1 / weight) + 5):
            style.known(run, name, {"x": torch.zeros(1)}, weight)
        assert style.known(run, name, {"x": torch.ones(1)}, weight)["x"].item() == pytest.approx(weight)


def test_it_moves_the_translations_alone() -> None:
    run, style = run_of(), DomainStyle("vgg-lite")
    a, b = stripes(4, 0, upright=True), stripes(4, 1, upright=False)
    made = a.clone().requires_grad_()
    optimizer = torch.optim.Adam([made], lr=0.03)
    values = list[float]()
    for _ in range(40):
        real = {"a": a.requires_grad_(), "b": b.requires_grad_()}
        loss = style(run, real, {"b": made})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert a.grad is None
    assert b.grad is None
    assert values[0] == pytest.approx(1, abs=0.05)
    assert values[-1] < 0.8


@pytest.mark.parametrize(
    ("family", "turn"), [(cyclegan, "generators"), (cut, "generator"), (unit, "coder")], ids=lambda x: str(x)[-20:]
)
def test_it_joins_the_losses_of_the_family(family: Any, turn: str) -> None:
    small: dict[str, Any] = {"resolution": SIDE, "channels": 4, "blocks": 1, "judge_channels": 4, "judge_layers": 2}
    config = family.Config(**small, features="", style_features="vgg-lite")
    a, b = stripes(2, 0, upright=True), stripes(2, 1, upright=False)
    totals = list[float]()
    for weight in (0.0, 0.5):
        run = steps_of(family.Method(replace(config, style_weight=weight)))
        logs = run.go(a, b)
        totals.append(dict(run.minimized)[turn])
        assert ("style" in logs) == (weight > 0)
    assert logs["style"].item() > 0.1
    assert totals[1] - totals[0] == pytest.approx(0.5 * logs["style"].item(), rel=1e-3)


def test_a_network_that_is_not_there_is_said_at_once() -> None:
    given: dict[str, Any] = {
        "resolution": SIDE,
        "channels": 4,
        "judge_layers": 2,
        "features": "",
        "style_features": "no",
    }
    with pytest.raises(InputError, match="no feature network 'no'"):
        cut.Method(cut.Config(**given, style_weight=1.0))
    cut.Method(cut.Config(**given))
