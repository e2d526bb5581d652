"""CUT: contrast against the formula on the generator's own activations, what holds the picture, what it learns."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from sfumato.layers.residual import Generator
from sfumato.models.cut import Config, Method, at
from sfumato.models.translating import way

from .domains import SIDE, batch_of, blue, brightness, red
from .steps import steps_of
from .test_translators import judged_colour

TINY: dict[str, Any] = {"resolution": SIDE, "channels": 4, "blocks": 2, "judge_channels": 4, "judge_layers": 2}
TINY |= {"patches": 16, "code": 8, "features": ""}


def test_contrast_is_the_formula_on_five_layers() -> None:
    """Equations 3 to 5, place by place, at the places that the run's chance chose; keys have no gradient."""
    method = Method(Config(**{**TINY, "blocks": 6, "patches": 7}))
    assert list(method.config.taps()) == ["pixels", "down1", "down2", "block1", "block5"]
    run = steps_of(method)
    for network in run.networks.values():
        network.double()
    a, made = (x.double() for x in batch_of(2, 0))
    made.requires_grad_()
    given = a.clone().requires_grad_()
    found = method.contrast(run, "a", given, made)
    painter, heads = run.networks["a_to_b"], run.networks["heads"]
    assert isinstance(painter, Generator)
    total, taps = 0.0, method.config.taps()
    before, after = painter.seen(a, taps), painter.seen(made, taps)
    for name, width in taps.items():
        places = method.places(run, f"a {name}", before[name])
        assert before[name].shape[1] == width
        for i in range(2):
            assert len(set(places[i].tolist())) == places.shape[1] == 7
            columns = before[name].shape[3]
            vectors = []
            for x in (after, before):
                rows = torch.stack([x[name][i, :, int(p) // columns, int(p) % columns] for p in places[i]])
                out = heads.heads[name](rows)
                vectors.append(out / out.square().sum(1, keepdim=True).sqrt())
            scores = (vectors[0] @ vectors[1].T / 0.07).exp()
            total -= (scores.diag() / scores.sum(1)).log().mean().item() / 2 / 5
    assert found.item() == pytest.approx(total, rel=1e-5)
    gradients = torch.autograd.grad(found, (made, given), allow_unused=True)
    assert gradients[0].abs().max() > 0
    assert gradients[1] is None


def test_places_are_read_where_they_are() -> None:
    x = torch.arange(24.0).view(1, 2, 3, 4)
    assert at(x, torch.tensor([[0, 5, 11]])).tolist() == [[[0, 12], [5, 17], [11, 23]]]


def test_the_step_is_equation_6() -> None:
    method = Method(Config(**{**TINY, "contrast_weight": 0.7, "identity_weight": 0.2}))
    run = steps_of(method)
    a, b = batch_of(2, 0)
    with torch.no_grad():
        made = way(run.networks["a_to_b"])(a)
        real, fake = run.networks["judge"](b), run.networks["judge"](made)
    logs = run.go(a, b)
    torch.testing.assert_close(logs["adversarial"], F.mse_loss(fake, torch.ones_like(fake)))
    torch.testing.assert_close(logs["judge"], ((real - 1).square().mean() + fake.square().mean()) / 2)
    total = logs["adversarial"] + 0.7 * logs["contrast"] + 0.2 * logs["identity"]
    assert run.minimized[0] == ("generator", pytest.approx(total.item(), rel=1e-5))
    fast = steps_of(Method(Config(**{**TINY, "identity_weight": 0.0})))
    assert "identity" not in fast.go(a, b)


def test_it_changes_the_colour_and_keeps_the_pattern() -> None:
    run = steps_of(Method(Config(**{**TINY, "learning_rate": 3e-3, "judge_rate": 6e-3, "identity_weight": 0.0})))
    for seed in range(90):
        run.go(*batch_of(4, seed))
    pattern = brightness(16, 999)
    with torch.no_grad():
        made = way(run.networks["a_to_b"])(red(pattern))
    gap, kept = judged_colour(made, pattern, blue(pattern), red(pattern))
    assert gap < 0.75
    assert kept > 0.85
