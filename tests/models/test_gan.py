"""The GAN of 2014 and its textbook form: published sizes, maxout, the two turns, and that it learns."""

import math

import pytest
import torch
from torch import nn

from sfumato.errors import InputError
from sfumato.models.adversaries import told_apart
from sfumato.models.gan import Config, Maxout, Method
from sfumato.train import read_preset

from .steps import Steps, learns


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_textbooks_network_has_the_published_number_of_weights() -> None:
    """TensorFlow's tutorial: 2,305,472 trainable weights of the generator, 212,865 of the discriminator."""
    networks = Method(Config()).networks()
    assert count(networks["generator"]) == 2_305_472
    assert count(networks["discriminator"]) == 212_865
    assert [m.p for m in networks["discriminator"].modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]


def test_the_dense_network_is_the_papers() -> None:
    networks = Method(Config(form="dense")).networks()
    assert count(networks["generator"]) == 101 * 1200 + 1201 * 1200 + 1201 * 784
    assert count(networks["discriminator"]) == 785 * 1200 + 241 * 1200 + 241
    assert networks["generator"](torch.rand(2, 100)).shape == (2, 1, 28, 28)
    assert networks["discriminator"](torch.rand(2, 1, 28, 28)).shape == (2,)
    assert read_preset("gan", "digits-dense")["form"] == "dense"


def test_maxout_takes_the_largest_piece() -> None:
    layer = Maxout(3, 2, 4)
    x = torch.randn(5, 3)
    weight, bias = layer.linear.weight.view(2, 4, 3), layer.linear.bias.view(2, 4)
    wanted = [[max((weight[u, k] @ row + bias[u, k]).item() for k in range(4)) for u in range(2)] for row in x]
    torch.testing.assert_close(layer(x), torch.tensor(wanted))


TINY = {"resolution": 8, "widths": (12, 8, 8), "latent": 4, "dropout": 0.0, "features": ""}


@pytest.mark.parametrize(
    ("objective", "wanted"),
    [
        ("bce", (2 * math.log(2), math.log(2))),
        ("minimax", (2 * math.log(2), -math.log(2))),
        ("lsgan", (0.5, 0.5)),
        ("hinge", (2.0, 0.0)),
    ],
)
def test_the_losses_of_an_undecided_discriminator(objective: str, wanted: tuple[float, float]) -> None:
    """With every score 0, and kept there, both sides pay what the formulas say, the discriminator first."""
    run = Steps(Method(Config(objective=objective, judge_rate=1e-7, **TINY)))  # type: ignore[arg-type]
    last = run.networks["discriminator"].body[-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    logs = run.go(torch.rand(6, 1, 8, 8))
    assert [name for name, _ in run.minimized] == ["discriminator", "generator"]
    assert [loss for _, loss in run.minimized] == pytest.approx(wanted, abs=1e-4)
    assert logs["told apart"] == 0  # scores of exactly 0 are on neither side


def test_smoothed_labels() -> None:
    """Cross entropy with labels 0.8 and 0, written out for the very same noise."""
    run = Steps(Method(Config(smoothing=0.2, **TINY)))
    twin, real = Steps(run.method), torch.rand(6, 1, 8, 8)
    twin.step = 1
    made = twin.networks["generator"](run.method.noise(twin, "judged", 6))
    wanted = sum(
        nn.functional.binary_cross_entropy_with_logits(twin.networks["discriminator"](x), torch.full((6,), label))
        for x, label in ((real, 0.8), (made, 0.0))
    )
    run.go(real)
    assert run.minimized[0][1] == pytest.approx(float(wanted), rel=1e-5)
    with pytest.raises(InputError, match="for the objectives bce and minimax, not hinge"):
        Method(Config(objective="hinge", smoothing=0.1))


def test_a_share_of_pictures_is_told_apart() -> None:
    assert told_apart(torch.tensor([1.0, 2, -1]), torch.tensor([-1.0, -2, 3, 4])) == pytest.approx((2 / 3 + 0.5) / 2)


@pytest.mark.parametrize("form", ["dense", "convolutional"])
def test_it_learns(form: str) -> None:
    sizes = {"hidden": (32, 32), "maxout": (24,), "pieces": 2}
    c = Config(form=form, learning_rate=2e-3, judge_rate=1e-3, prior="normal", **TINY, **sizes)  # type: ignore[arg-type]
    before, after = learns(Method(c), 120)
    assert after < 0.6 * before
