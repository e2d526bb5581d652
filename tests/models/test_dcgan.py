"""DCGAN by the numbers of the authors' code and PyTorch's tutorial, its initial weights, and that it learns."""

import pytest
import torch
from torch import nn

from sfumato.models.dcgan import Config, Discriminator, Generator, Method

from .steps import Steps, learns


def test_the_published_number_of_weights() -> None:
    """PyTorch's DCGAN tutorial (64 px, nz 100, ngf 64, ndf 64): 3,576,704 and 2,765,568."""
    networks = Method(Config()).networks()
    assert [sum(p.numel() for p in networks[k].parameters()) for k in ("generator", "discriminator")] == [
        3_576_704,
        2_765_568,
    ]


def test_normalised_everywhere_but_at_pictures_and_scores() -> None:
    generator, discriminator = Generator(Config()), Discriminator(Config())
    kinds = [type(m) for m in generator.body]
    assert kinds == [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU] * 4 + [nn.ConvTranspose2d, nn.Tanh]
    kinds = [type(m) for m in discriminator.body]
    assert kinds[:2] == [nn.Conv2d, nn.LeakyReLU]
    assert kinds[2:-1] == [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU] * 3
    assert kinds[-1] is nn.Conv2d
    strided = [m for m in (*generator.body, *discriminator.body) if getattr(m, "stride", None) == (2, 2)]
    assert {m.kernel_size for m in strided} == {(4, 4)}  # the stride divides it: no checkerboard by uneven overlap


def test_weights_begin_with_a_deviation_of_a_fiftieth() -> None:
    torch.manual_seed(0)
    generator = Method(Config(width=16)).networks()["generator"]
    weights = torch.cat([m.weight.flatten() for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert abs(weights.mean().item()) < 1e-3
    scales = torch.cat([m.weight for m in generator.modules() if isinstance(m, nn.BatchNorm2d)])
    assert scales.mean().item() == pytest.approx(1, abs=0.01)


def test_the_generator_raises_the_scores_of_the_same_noise() -> None:
    c = Config(resolution=16, width=8, latent=6, features="", judge_rate=1e-7, learning_rate=1e-3)
    run = Steps(Method(c))
    real, scores = torch.rand(8, 3, 16, 16), list[float]()
    for _ in range(12):
        scores.append(run.go(real)["generator"].item())
    assert scores[-1] < scores[0] - 0.1


def test_it_learns() -> None:
    c = Config(resolution=8, width=8, latent=4, prior="normal", features="", learning_rate=2e-3, judge_rate=1e-3)
    before, after = learns(Method(c), 120)
    assert after < 0.6 * before
