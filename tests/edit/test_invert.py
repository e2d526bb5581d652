"""Inversion: pictures that the generator can make are found again, noise and tuning add what codes cannot."""

import dataclasses
from pathlib import Path

import pytest
import torch

from sfumato.edit.invert import correlation, invert, spread
from sfumato.edit.options import Inverting
from sfumato.errors import InputError

from .made import psnr, space_of

PIXELS = Inverting(perceptual=0, prior=0, spread=0)
FOREIGN = torch.full((1, 3, 16, 16), 0.3)
FOREIGN[:, 0, 4:12, 4:12] = 0.9
FOREIGN[:, 2] += torch.linspace(0, 0.5, 16)


@pytest.mark.parametrize("kind", ["stylegan2", "biggan", "dcgan"])
def test_a_picture_of_the_generators_own_is_found_again(tmp_path: Path, kind: str) -> None:
    space = space_of(tmp_path, kind)
    wanted = space.show(space.draw([1001, 1002]))
    begun = invert(space, wanted, None, dataclasses.replace(PIXELS, steps=0))
    found = invert(space, wanted, None, dataclasses.replace(PIXELS, where="w", steps=60, rate=0.1))
    assert bool((found.psnr > begun.psnr + 15).all())
    assert found.codes.shape == (2, space.layers, space.width)
    if space.tied:
        assert torch.equal(found.codes, found.codes[:, :1].expand_as(found.codes))
    for i in range(2):  # each picture by itself, measured as it is
        assert float(found.psnr[i]) == pytest.approx(psnr(found.pictures[i], wanted[i]), abs=1e-3)


def test_w_plus_comes_nearer_than_w_to_a_foreign_picture(tmp_path: Path) -> None:
    space = space_of(tmp_path, "stylegan2")
    one, several = (invert(space, FOREIGN, None, dataclasses.replace(PIXELS, where=w, steps=40)) for w in ("w", "w+"))
    assert float(several.psnr) > float(one.psnr) + 2


def test_tuning_comes_nearest_and_leaves_the_generator_and_its_neighbourhood(tmp_path: Path) -> None:
    space = space_of(tmp_path, "stylegan2")
    before = [p.clone() for p in space.network.parameters()]
    o = dataclasses.replace(PIXELS, where="w", steps=20)
    codes = invert(space, FOREIGN, None, o)
    tuned = invert(space, FOREIGN, None, dataclasses.replace(o, tune=50, tune_rate=0.01, locality=0))
    local = invert(space, FOREIGN, None, dataclasses.replace(o, tune=50, tune_rate=0.01, locality=2.0))
    assert float(tuned.psnr) > float(codes.psnr) + 8
    assert float(local.psnr) > float(codes.psnr) + 2
    assert all(torch.equal(a, b) for a, b in zip(before, space.network.parameters(), strict=True))
    near = torch.lerp(codes.codes, space.draw(range(500, 516)), 0.5)
    old = space.show(near)
    far = [float((s.show(near) - old).square().mean()) for s in (tuned.space, local.space)]
    assert far[1] < 0.5 * far[0]  # what the locality term is for


def test_noise_is_the_copys_own_and_stays_noise(tmp_path: Path) -> None:
    space = space_of(tmp_path, "stylegan2")
    for name, p in space.network.named_parameters():
        if name.endswith("noise_strength"):
            p.fill_(1.0)
    kept = {n: space.network.get_buffer(n).clone() for n in space.noises}
    o = dataclasses.replace(PIXELS, steps=50, noise_weight=1e-3)
    without, found = (invert(space, FOREIGN, None, dataclasses.replace(o, noise=n)) for n in (False, True))
    assert float(found.psnr) > float(without.psnr) + 0.5
    assert all(torch.equal(kept[n], space.network.get_buffer(n)) for n in space.noises)
    for name in space.noises:
        moved = found.space.network.get_buffer(name)
        assert not moved.requires_grad
        assert float(moved.mean()) == pytest.approx(0, abs=1e-5)
        assert float(moved.std()) == pytest.approx(1, abs=1e-4)


def test_correlation_of_noise_is_small_and_of_a_picture_large() -> None:
    noise = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    ramp = torch.linspace(-1.7, 1.7, 64).expand(64, 64)
    assert float(correlation(noise)) < 0.1
    assert float(correlation(ramp)) > 5
    # by hand at the one size that an 8 x 8 has
    small = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    by_hand = sum(float((small * small.roll(1, d)).mean()) ** 2 for d in (0, 1))
    assert float(correlation(small)) == pytest.approx(by_hand, rel=1e-5)


def test_the_beginning_given_is_where_it_begins(tmp_path: Path) -> None:
    space = space_of(tmp_path, "stylegan2")
    codes = space.draw([7])
    found = invert(space, space.show(codes), None, dataclasses.replace(PIXELS, steps=0), start=codes)
    torch.testing.assert_close(found.codes, codes, atol=1e-6, rtol=0)
    assert float(found.psnr) > 90


def test_codes_are_measured_over_seeds(tmp_path: Path) -> None:
    space = space_of(tmp_path, "dcgan")
    known, codes = spread(space, 300), space.draw(range(300))
    torch.testing.assert_close(known.mean, codes.mean(0))
    assert float(known.deviation) == pytest.approx(float(codes.var(0, correction=0).mean()) ** 0.5, rel=1e-5)


def test_bad_input(tmp_path: Path) -> None:
    space = space_of(tmp_path, "stylegan2")
    with pytest.raises(InputError, match="24 x 16 do not fit a model of 16 x 16"):
        invert(space, torch.rand(1, 3, 16, 24), None)
    with pytest.raises(InputError, match="one by one"):
        invert(space, torch.rand(2, 3, 16, 16), None, Inverting(tune=3))
    with pytest.raises(InputError, match="latent space"):
        invert(space, torch.rand(1, 3, 16, 16), None, Inverting(where="z"))
    with pytest.raises(InputError, match="steps must be a whole number"):
        invert(space, torch.rand(1, 3, 16, 16), None, Inverting(steps=-1))
