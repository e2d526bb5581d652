"""The posterior beside StyleGAN2: what is minimised, and that real pictures get codes that draw them."""

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from sfumato.models.feature_judge import FeatureJudge
from sfumato.models.posterior import divergence, likeness
from sfumato.models.stylegan2 import MAPPING_RATE, Config, Method

from .steps import steps_of
from .test_stylegan2 import TINY, squares

LIKE = dataclasses.replace(TINY, likeness_rate=0.5, prior_weight=0.01, path_weight=0.0, r1=0.0)
ORANGE, GREEN = torch.tensor([0.9, 0.6, 0.1]), torch.tensor([0.1, 0.8, 0.3])


def test_the_divergence_is_that_of_normal_distributions() -> None:
    torch.manual_seed(1)
    mean, spread = torch.randn(2, 5, 7)
    wanted = kl_divergence(Normal(mean, (spread / 2).exp()), Normal(torch.zeros(()), torch.ones(()))).sum(1).mean()
    assert divergence(mean, spread).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_a_step_asks_half_of_a_batch_to_be_like_the_real_pictures() -> None:
    run, real = steps_of(method := Method(LIKE)), squares(4)
    run.step = 1
    twin = steps_of(method)
    twin.step = 1
    own, nats = method.own_codes(twin, twin.networks["mapping"], real[:2], None)
    made = twin.networks["synthesis"](own, "none")  # its noise has no strength yet
    logs = method.step(run, (real,))
    assert logs["pixels"].item() == pytest.approx((made - real[:2]).abs().mean().item(), rel=1e-4)
    assert logs["nats"].item() == pytest.approx(nats.item(), rel=1e-5)
    assert [name for name, _ in run.minimized] == ["likeness", "generator", "discriminator"]
    assert run.minimized[0][1] == pytest.approx((logs["pixels"] + 0.01 * logs["nats"]).item(), rel=1e-5)
    assert run.minimized[1][1] == pytest.approx(logs["generator"].item())
    rates = [group["lr"] for group in run.optimizers["likeness"].param_groups]
    assert rates == pytest.approx([0.5 * LIKE.learning_rate, 0.5 * LIKE.learning_rate * MAPPING_RATE])  # the mapping's


def test_it_can_be_learnt_alone_at_first() -> None:
    run = steps_of(method := Method(dataclasses.replace(LIKE, likeness_first=0.25)), steps=100)
    for run.step, turns in ((25, ["likeness"]), (26, ["likeness", "generator", "discriminator"])):
        run.minimized.clear()
        logs = method.step(run, (squares(4),))
        assert [name for name, _ in run.minimized] == turns
        assert ("discriminator" in logs) == (len(turns) > 1)


def test_what_discriminators_say_does_not_reach_the_posterior() -> None:
    """It is learnt from the likeness alone; the discriminators see pictures of its codes, first in the batch."""
    run, real = steps_of(method := Method(LIKE)), squares(4)
    run.step = 1
    seen = list[Tensor]()
    run.networks["synthesis"].register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    for group in run.optimizers["likeness"].param_groups:
        group["lr"] = 0.0
    before = {k: v.clone() for k, v in run.networks["posterior"].state_dict().items()}
    method.step(run, (real,))
    assert all(torch.equal(v, before[k]) for k, v in run.networks["posterior"].state_dict().items())
    own, generators, discriminators = seen
    assert [len(x) for x in seen] == [2, 4, 4]
    for codes in (generators, discriminators):
        torch.testing.assert_close(codes[:2], own)
        assert not torch.equal(codes[2:], own)


def test_features_of_the_second_judge_count_where_there_is_one() -> None:
    c = Config(
        resolution=32, code=8, channel_base=64, channel_max=8, augmentation="none", features="", path_weight=0.0,
        likeness_rate=1.0, prior_weight=0.0, feature_judge="vgg-lite", feature_weight=0.5, r1=0.0,
    )  # fmt: skip
    run, real = steps_of(method := Method(c)), squares(4, 32)
    run.step = 1
    logs = method.step(run, (real,))
    assert run.minimized[0][1] == pytest.approx((logs["pixels"] + logs["features apart"]).item(), rel=1e-5)
    judge: FeatureJudge = run.networks["feature_judge"]
    other = squares(4, 32, seed=6)
    both = [judge.features(x) for x in (real, other)]
    apart = sum((a - b).square().mean() for a, b in zip(*both, strict=True)) / 6
    assert likeness(run, other, real)["features apart"].item() == pytest.approx(float(apart), rel=1e-5)
    assert likeness(run, real, real)["features apart"].item() == 0


def test_real_pictures_get_codes_that_draw_them_and_a_class_is_told_beside() -> None:
    """How bright a picture is stands in the code, its colour in the class: another class is as bright."""
    c = dataclasses.replace(
        LIKE, classes=("orange", "green"), likeness_rate=1.0, likeness_first=1.0, prior_weight=0.001
    )
    run, colours = steps_of(Method(c)), torch.stack([ORANGE, GREEN])

    def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor]:
        light = torch.rand(16, 1, 1, 1, generator=torch.Generator().manual_seed(seed))
        label = torch.arange(16) % 2
        return light * colours[label][:, :, None, None].expand(-1, -1, 8, 8), label, light

    for k in range(150):
        run.go(*drawn(k)[:2])
    real, label, light = drawn(999)
    with torch.no_grad():
        mean, _ = run.networks["posterior"](real)
        made, other = (
            run.networks["synthesis"](run.networks["mapping"](mean, n)[:, None].expand(-1, c.codes(), -1), "none")
            for n in (label, 1 - label)
        )
    assert float((made - real).abs().mean()) < 0.5 * float((made - real.roll(2, 0)).abs().mean())
    wanted = light * colours[1 - label][:, :, None, None]
    assert float((other - wanted).abs().mean()) < 0.6 * float((other - real).abs().mean())


def test_the_sheet_shows_real_pictures_above_their_likenesses() -> None:
    run, real = steps_of(method := Method(LIKE)), squares(8)
    sheet = method.preview(run, (real,)).detach()
    assert sheet.shape == (3, 6 * 8, 8 * 8)  # four rows of drawn codes before these
    torch.testing.assert_close(sheet[:, 32:40], torch.cat(real.unbind(0), 2))
    mean, _ = run.networks["posterior"](real)
    assert not torch.equal(sheet[:, 40:], sheet[:, :8])
    assert mean.shape == (8, LIKE.code)
