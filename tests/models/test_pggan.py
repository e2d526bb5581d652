"""The progressive GAN: published sizes, fading that is continuous, its schedule, its step, resuming to the bit."""

import dataclasses
import json
import math
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.models.pggan import Config, Discriminator, Generator, Method, Sampler, at_size, grown_at
from sfumato.train.data import Pictures
from sfumato.train.engine import fit
from sfumato.train.options import TrainOptions

from .steps import steps_of

TINY = Config(resolution=16, latent=8, channel_base=64, channel_max=8, features="", learning_rate=0.01)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_the_published_numbers_of_weights() -> None:
    """Table 2: 23.1 million each at 1024 pixels, with one layer to or from colours."""
    with torch.device("meta"):
        networks = Method(Config(resolution=1024)).networks()

    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    generator, judge = networks["generator"], networks["discriminator"]
    assert isinstance(generator, Generator)
    assert isinstance(judge, Discriminator)
    assert count(generator) - count(generator.to_rgb[:-1]) == 23_079_187
    assert count(judge) - count(judge.from_rgb[:-1]) == 23_077_137
    widths = [conv.weight.shape[0] for conv in generator.convs1]
    assert widths == [512, 512, 512, 256, 128, 64, 32, 16]


def test_the_schedule_is_still_and_fading_in_turns() -> None:
    """Three doublings in 0.6 of the run: six turns of a tenth each."""
    wanted = {0: 0, 0.05: 0, 0.1: 0, 0.15: 0.5, 0.2: 1, 0.25: 1, 0.3: 1, 0.34: 1.4, 0.45: 2, 0.55: 2.5, 0.6: 3, 1: 3}
    for share, grown in wanted.items():
        assert grown_at(share, 3, 0.6) == pytest.approx(grown), share
    assert grown_at(0, 3, 0) == 3
    path = [grown_at(i / 1000, 4, 1.0) for i in range(1001)]
    assert path == sorted(path)
    assert max(b - a for a, b in pairwise(path)) < 0.01


def test_a_run_with_a_time_grows_with_the_time() -> None:
    """Steps become four times slower with every doubling, and what is left of the run is estimated from the last."""
    method = Method(dataclasses.replace(TINY, growth=0.5))
    run, clock, seconds = steps_of(method, hours=1.0), 0.0, 100.0
    run.step, seen = 0, list[tuple[float, float]]()
    while clock < seconds:
        run.step += 1
        each = 0.01 * 4 ** (len(seen) and math.ceil(seen[-1][1]))
        run.steps = run.step + max(0, int((seconds - clock) / each))
        seen.append((clock / seconds, method.grow(run)))
        clock += each
    for share, grown in seen:
        assert grown == pytest.approx(grown_at(share, 2, 0.5), abs=0.05)


def test_new_layers_fade_in_without_a_jump() -> None:
    """Just after a doubling begins pictures are the old ones enlarged, and scores those of the halved ones."""
    generator, judge, noise = Generator(TINY), Discriminator(TINY), torch.randn(3, 8)
    for level in (0, 1):
        old = generator(noise, float(level))
        assert old.shape[3] == 4 << level
        new = generator(noise, level + 1e-6)
        torch.testing.assert_close(new, F.interpolate(old, scale_factor=2.0), atol=1e-4, rtol=0)
        full, almost = generator(noise, level + 1.0), generator(noise, level + 1 - 1e-6)
        torch.testing.assert_close(almost, full, atol=1e-4, rtol=0)
        assert (full - new).abs().max() > 0.01
        halves = torch.lerp(F.interpolate(old, scale_factor=2.0), full, 0.25)
        torch.testing.assert_close(generator(noise, level + 0.25), halves)

        pictures = torch.rand(4, 3, 8 << level, 8 << level)
        torch.testing.assert_close(
            judge(pictures, level + 1e-6), judge(F.avg_pool2d(pictures, 2), float(level)), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(judge(pictures, level + 1 - 1e-6), judge(pictures, level + 1.0), atol=1e-4, rtol=0)


def test_real_pictures_fade_alike() -> None:
    pictures = torch.rand(2, 3, 16, 16)
    assert torch.equal(at_size(pictures, 2.0), pictures)
    torch.testing.assert_close(at_size(pictures, 0.0), F.avg_pool2d(pictures, 4))
    coarse = F.interpolate(F.avg_pool2d(pictures, 2), scale_factor=2.0)
    torch.testing.assert_close(at_size(pictures, 1.25), 0.75 * coarse + 0.25 * pictures)
    assert at_size(pictures, 0.5).shape[3] == 8


def test_without_a_level_the_generator_shows_how_far_it_got() -> None:
    method = Method(TINY)
    run = steps_of(method)
    run.step = 31  # 0.3 of the run; two doublings in 0.6
    assert method.grow(run) == pytest.approx(1.0)
    generator, noise = run.networks["generator"], torch.randn(2, 8)
    assert isinstance(generator, Generator)
    shown = generator(noise)
    wanted = F.interpolate(generator(noise, 1.0), scale_factor=2.0).clamp(0, 1)
    torch.testing.assert_close(shown, wanted)
    assert method.preview(run, (torch.rand(2, 3, 16, 16),)).shape == (3, 8 * 16, 8 * 16)


def test_every_layers_activations_have_unit_length_and_scale_does_not_matter() -> None:
    generator, noise = Generator(TINY), torch.randn(2, 8)
    torch.testing.assert_close(generator(noise, 2.0), generator(5 * noise, 2.0))  # the noise lies on a sphere
    seen = list[Tensor]()
    for rgb in generator.to_rgb:
        rgb.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    generator(noise, 1.5)
    assert [f.shape[3] for f in seen] == [16, 8]
    for f in seen:
        torch.testing.assert_close(f.square().mean(1), torch.ones_like(f[:, 0]), atol=1e-4, rtol=0)


def test_a_step_minimises_what_the_paper_says() -> None:
    """WGAN-GP with the drift term, written out, at a size in between."""
    method = Method(TINY)
    run, batch = steps_of(method), torch.rand(4, 3, 16, 16)
    run.step, grown = 24, grown_at(0.23, 2, 0.6)
    assert 0 < grown < 1
    critic, generator = run.networks["discriminator"], run.networks["generator"]
    real = at_size(batch, grown)
    with torch.no_grad():
        made = generator(run.randn("judged", 4, 8), grown)
    u = run.rand("mixed", 4).view(4, 1, 1, 1)
    x = ((1 - u) * real + u * made).requires_grad_()
    (slope,) = torch.autograd.grad(critic(x, grown).sum(), x)
    penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    scores = critic(real, grown)
    wanted = critic(made, grown).mean() - scores.mean() + 10 * penalty + 0.001 * (scores**2).mean()
    logs = method.step(run, (batch,))
    assert [name for name, _ in run.minimized] == ["discriminator", "generator"]
    assert run.minimized[0][1] == pytest.approx(wanted.item(), rel=1e-4)
    assert logs["pixels"].item() == pytest.approx(4 * 2**grown)
    # layers of sizes that are not there yet have not moved
    state = run.optimizers["generator"].state
    moved = {name: p in state for name, p in generator.named_parameters()}
    assert moved["convs0.0.weight"]
    assert not moved["convs0.1.weight"]
    assert moved["to_rgb.0.weight"]
    assert moved["to_rgb.1.weight"]
    assert not moved["to_rgb.2.weight"]


def test_optimisers_begin_anew_at_every_size() -> None:
    method = Method(TINY)
    run, batch = steps_of(method, steps=20), (torch.rand(4, 3, 16, 16),)
    ages = list[int]()
    for run.step in range(1, 15):
        method.step(run, batch)
        state = run.optimizers["generator"].state
        ages.append(int(next(iter(state.values()))["step"]))
    grown = [grown_at((i - 1) / 20, 2, 0.6) for i in range(1, 15)]
    sizes = [math.ceil(g) for g in grown]
    for i, age in enumerate(ages):
        first = sizes.index(sizes[i])
        assert age == i - first + 1


def test_a_little_training_finds_the_colors() -> None:
    method = Method(dataclasses.replace(TINY, resolution=8, growth=0.3, learning_rate=0.005))
    run = steps_of(method, steps=80)
    real = torch.tensor([0.8, 0.5, 0.2]).view(1, 3, 1, 1).expand(16, 3, 8, 8)

    def gap() -> float:
        with torch.no_grad():
            made = run.networks["generator"](torch.randn(64, 8))
        return float((made.mean((0, 2, 3)) - real[0, :, 0, 0]).abs().max())

    before = gap()
    for run.step in range(1, 81):
        noise = 0.05 * torch.randn(16, 3, 8, 8, generator=run.noise("data"))
        logs = method.step(run, (real + noise,))
    assert all(v.isfinite() for v in logs.values())
    assert gap() < 0.5 * before


@pytest.mark.parametrize("resolution", [4, 28, 100])
def test_sizes_that_cannot_be(resolution: int) -> None:
    with pytest.raises(InputError, match=f"pixels, not {resolution}"):
        Method(dataclasses.replace(TINY, resolution=resolution))


def test_a_run_exports_and_resumes_to_the_bit(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (24, 20, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / f"{i}.png")
    data = {"data": Pictures(tmp_path / "data", side=20)}
    options = TrainOptions(
        steps=8, batch=2, resolution=16, threads=0, checkpoint_every=1, keep=9, log_every=1, evaluate_samples=2
    )

    def run(name: str, *, resume: bool = False) -> dict[str, Tensor]:
        chosen = dataclasses.replace(options, out=str(tmp_path / name))
        fit(Method(TINY), data, chosen, family="pggan", resume=resume)
        return load_file(tmp_path / name / "weights.safetensors")

    whole = run("whole")
    run("resumed")
    for step in range(4, 9):  # as if killed in the fourth step, while the second size fades in
        shutil.rmtree(tmp_path / "resumed" / "checkpoints" / f"{step:09d}")
    resumed = run("resumed", resume=True)
    for key, tensor in whole.items():
        assert torch.equal(tensor, resumed[key]), key
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    pixels = [line["losses"]["pixels"] for line in lines if "losses" in line]
    assert pixels == pytest.approx([4 * 2 ** grown_at(i / 8, 2, 0.6) for i in range(8)], abs=1e-5)
    assert whole["generator.grown"].item() == 2

    sampler = Sampler.load(tmp_path / "whole")
    latents = sampler.draw([1, 2])
    made = sampler.paint(latents)
    assert made.shape == (2, 3, 16, 16)
    assert made.min() >= 0
    assert made.max() <= 1
    with pytest.raises(InputError, match="no truncation"):
        sampler.draw([1], truncation=0.7)


def test_short_runs_are_told() -> None:
    assert "few" in str(Method(TINY).short(100, 8))
    assert Method(TINY).short(100_000, 8) is None
