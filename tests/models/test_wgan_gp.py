"""The critic measures the Wasserstein distance, each picture by itself; the generator moves every fifth step."""

import pytest
import torch
from torch import nn

from sfumato.models.wgan_gp import Config, Critic, Method

from .steps import Steps, learns

TINY = {"resolution": 8, "channels": 1, "width": 8, "latent": 4, "features": ""}


def test_the_digit_networks_have_the_weights_that_their_sizes_say() -> None:
    """4 x 4 x 256 to 7, 14 and 28 against convolutions 5 x 5 to 64, 128 and 256 channels."""
    networks = Method(Config(resolution=28, channels=1, normalised=False)).networks()
    generator = 129 * 16 * 256 + (256 * 128 * 9 + 128) + (128 * 64 * 16 + 64) + (64 * 16 + 1)
    critic = (25 * 64 + 64) + (25 * 64 * 128 + 128) + (25 * 128 * 256 + 256) + (16 * 256 + 1)
    assert sum(p.numel() for p in networks["generator"].parameters()) == generator
    assert sum(p.numel() for p in networks["critic"].parameters()) == critic


def test_no_picture_sees_another() -> None:
    critic, pictures = Critic(Config(**TINY)), torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(critic(pictures), torch.cat([critic(p[None]) for p in pictures]))


def test_the_generator_moves_every_fifth_step() -> None:
    run, seen = Steps(Method(Config(**TINY))), list[list[str]]()
    for _ in range(10):
        logs = run.go(torch.rand(4, 1, 8, 8))
        seen.append(sorted(logs))
    assert [name for name, _ in run.minimized].count("generator") == 2
    assert [("generator" in names) for names in seen] == [False] * 4 + [True] + [False] * 4 + [True]


def test_a_trained_critic_measures_the_distance() -> None:
    """Between single pictures it is their Euclidean distance, in the range that the critic sees, [-1, 1]."""
    c = Config(critic_steps=100, learning_rate=3e-3, **TINY)
    run = Steps(Method(c))
    generator = run.networks["generator"]
    for p in generator.parameters():
        nn.init.zeros_(p)  # a picture of one grey, 0.5
    real = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(3)).expand(16, 1, 8, 8)
    logs = [run.go(real) for _ in range(99)]
    wanted = (real[0] - 0.5).norm().item()  # the penalty holds the slope by pictures in [0, 1] at 1
    found = torch.stack([entry["distance"] for entry in logs[-20:]]).mean().item()
    assert found == pytest.approx(wanted, rel=0.2)
    assert logs[-1]["penalty"] < 0.1 < logs[0]["penalty"]
    assert run.minimized[0][1] == pytest.approx((10 * logs[0]["penalty"] - logs[0]["distance"]).item(), rel=1e-5)


def test_it_learns() -> None:
    before, after = learns(Method(Config(critic_steps=2, learning_rate=4e-3, **TINY)), 200)
    assert after < 0.6 * before
