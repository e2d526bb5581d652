"""InfoGAN: the appendix's sizes, the bound written out, codes that can be turned, and that the bound matters."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from sfumato.errors import InputError
from sfumato.losses.contrast import shared_information
from sfumato.models.infogan import Codes, Config, Discriminator, Generator, Method, Reading, Sampler, information
from sfumato.train.strokes import CHANCES, redrawn

from .steps import Steps

TINY = {"resolution": 8, "latent": 4, "width": 8, "hidden": 32, "features": ""}


def test_the_digit_networks_are_those_of_appendix_c1() -> None:
    generator, discriminator = Generator(Config()), Discriminator(Config())
    layers = 74 * 1024 + 2 * 1024 + 1024 * 6272 + 2 * 6272 + (128 * 64 * 16 + 2 * 64) + (64 * 16 + 1)
    assert sum(p.numel() for p in generator.parameters()) == layers
    body = (16 * 64 + 64) + (64 * 128 * 16 + 2 * 128) + (6272 * 1024 + 2 * 1024)
    heads = (1024 + 1) + (1024 * 128 + 2 * 128) + (128 + 1) * (10 + 2 * 2)
    assert sum(p.numel() for p in discriminator.parameters()) == body + heads
    found = discriminator(torch.rand(3, 1, 28, 28))
    assert found.score.shape == (3,)
    assert [k.shape for k in found.categories] == [(3, 10)]
    assert found.mean.shape == found.log_deviation.shape == (3, 2)


def test_the_bound_written_out() -> None:
    torch.manual_seed(0)
    reading = Reading(torch.randn(6), (torch.randn(6, 3), torch.randn(6, 2)), torch.randn(6, 2), torch.randn(6, 2) / 2)
    codes = Codes((torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 1, 0, 1, 0, 1])), torch.rand(6, 2) * 2 - 1)
    categorical, continuous = information(reading, codes)
    wanted = 0.0
    for scores, numbers in zip(reading.categories, codes.categories, strict=True):
        wanted -= sum(float(s.softmax(0)[k].log()) for s, k in zip(scores, numbers, strict=True)) / 6
    assert categorical.item() == pytest.approx(wanted, rel=1e-5)
    chances = Normal(reading.mean, reading.log_deviation.exp()).log_prob(codes.values)
    assert continuous.item() == pytest.approx(-chances.sum(1).mean().item(), rel=1e-5)
    sure = Reading(
        reading.score, (torch.eye(3)[codes.categories[0]] * 50, torch.eye(2)[codes.categories[1]] * 50), *reading[2:]
    )
    assert information(sure, codes)[0].item() == pytest.approx(0, abs=1e-6)  # L = H(c): everything is known
    blind = Reading(reading.score, (torch.zeros(6, 3), torch.zeros(6, 2)), *reading[2:])
    assert information(blind, codes)[0].item() == pytest.approx(math.log(3) + math.log(2))  # L = 0


def test_both_players_pay_for_codes_that_cannot_be_read() -> None:
    """The pieces of equation 6, with the paper's weights."""
    run = Steps(Method(Config(categorical=(3,), continuous=1, **TINY)))
    twin, real = Steps(run.method), torch.rand(6, 1, 8, 8)
    twin.step = 1
    noise, codes = run.method.latents(twin, "made", 6)
    assert codes.values.abs().max() <= 1
    made = twin.networks["generator"](codes.beside(noise, run.method.config))
    of_real, of_made = (twin.networks["discriminator"](x) for x in (real, made.detach()))
    categorical, continuous = information(of_made, codes)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    game = bce(of_real.score, torch.ones(6)) + bce(of_made.score, torch.zeros(6))
    logs = run.go(real)
    assert run.minimized[0][1] == pytest.approx((game + categorical + 0.1 * continuous).item(), rel=1e-5)
    assert run.minimized[1][1] == pytest.approx(
        (logs["generator"] + logs["categorical"] + 0.1 * logs["continuous"]).item(), rel=1e-5
    )


def test_agreement_is_paid_by_the_discriminator_alone() -> None:
    """Off it changes nothing; on it takes off what categories of real pictures and of redrawn ones share."""
    real = torch.rand(6, 1, 8, 8)
    bare = Steps(Method(Config(categorical=(3, 2), continuous=1, **TINY)))
    tied = Steps(Method(Config(categorical=(3, 2), continuous=1, agreement=2.0, **TINY)))
    twin = Steps(tied.method)
    twin.step = 1
    twin.networks["discriminator"](real)  # batch norm learns from every pass; scores in training do not depend on it
    copies = redrawn(real, twin.rand("another hand", 6, CHANCES))
    views = [twin.networks["discriminator"](x).categories for x in (real, copies)]
    shared = sum(shared_information(a.softmax(1), b.softmax(1)) for a, b in zip(*views, strict=True))
    without, logs = bare.go(real), tied.go(real)
    assert "agreement" not in without
    assert logs["agreement"].item() == pytest.approx(float(shared.detach()), rel=1e-4)
    assert tied.minimized[0][1] == pytest.approx(bare.minimized[0][1] - 2 * float(shared.detach()), rel=1e-4)
    with pytest.raises(InputError, match="no categorical code"):
        Method(Config(categorical=(), agreement=1.0))


def test_latents_are_noise_then_one_hot_categories_then_values() -> None:
    c = Config(categorical=(3, 2), continuous=2, **TINY)
    sampler = Sampler(c, Generator(c))
    assert [code.name for code in sampler.codes] == ["category 1", "category 2", "value 1", "value 2"]
    z = sampler.draw(range(40))
    assert z.shape == (40, 4 + 3 + 2 + 2)
    assert torch.equal(z[:, 4:7].sum(1), torch.ones(40))
    assert set(z[:, 4:7].argmax(1).tolist()) == {0, 1, 2}
    assert z[:, 9:].abs().max() <= 1
    turned = sampler.turn(sampler.turn(z, "category 2", 1), "value 2", -2)
    assert torch.equal(turned[:, 7:9], torch.tensor([[0.0, 1.0]]).expand(40, 2))
    assert torch.equal(turned[:, 10], torch.full((40,), -2.0))
    kept = [*range(7), 9]
    assert torch.equal(turned[:, kept], z[:, kept])
    with pytest.raises(InputError, match="unknown code 'colour': did you mean"):
        sampler.turn(z, "colour", 1)
    for value in (3, 0.5, -1):
        with pytest.raises(InputError, match="category 1 must be a whole number below 3"):
            sampler.turn(z, "category 1", value)
    with pytest.raises(InputError, match="at least two"):
        Method(Config(categorical=(1,)))


def patterns() -> Tensor:
    """Stripes across, stripes down, diagonal stripes: 3 x 1 x 8 x 8."""
    i = torch.arange(8)
    planes = [(i % 4 < 2)[:, None].expand(8, 8), (i % 4 < 2).expand(8, 8), (i[:, None] + i) % 4 < 2]
    return torch.stack(planes)[:, None].float() * 0.8 + 0.1


def codes_in_pictures(weight: float, seed: int) -> float:
    """How often the category of a made picture is found by the nearest mean picture, after a short training.

    Q is not asked: without its weight it would know nothing anyway.
    """
    c = Config(categorical=(3,), continuous=0, categorical_weight=weight, judge_rate=1e-3, **{**TINY, "latent": 16})
    run, base = Steps(Method(c), seed), patterns()
    for k in range(100):
        chance = torch.Generator().manual_seed(1000 * seed + k)
        real = base[torch.randint(3, (24,), generator=chance)]
        run.go((real + 0.05 * torch.randn(real.shape, generator=chance)).clamp(0, 1))
    sampler = Sampler(c, run.networks["generator"])

    def made(seeds: range) -> Tensor:
        z = sampler.draw(seeds)
        return torch.stack([sampler.paint(sampler.turn(z, "category", k)).flatten(1) for k in range(3)])

    means, others = made(range(60)).mean(1), made(range(100, 160))
    found = (others[:, :, None] - means).norm(dim=3).argmin(2)
    return (found == torch.arange(3)[:, None]).float().mean().item()


def test_without_the_bound_the_codes_mean_less() -> None:
    """The ablation that the paper lives of: the same network, seeds and steps, lambda 1 and 0."""
    for seed in (0, 1):
        assert codes_in_pictures(1.0, seed) > 0.85
        assert codes_in_pictures(0.0, seed) < 0.75
