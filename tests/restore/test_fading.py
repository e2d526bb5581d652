"""Fading undone: what was black and white is so again, what was not faded stays."""

import numpy as np
import torch

from sfumato.restore.fading import APART, endpoints, unfaded
from sfumato.train.damage import faded


def scene(seed: int = 0) -> torch.Tensor:
    """A picture with black, white and everything between, the same in all channels but for noise."""
    rng = torch.Generator().manual_seed(seed)
    ramp = torch.linspace(0, 1, 80).expand(1, 3, 60, 80)
    return (ramp + 0.02 * torch.randn(1, 3, 60, 80, generator=rng)).clamp(0, 1)


def test_a_full_range_stays_and_strength_zero_is_exact() -> None:
    picture = scene()
    assert float((unfaded(picture) - picture).abs().max()) < 0.08
    weak = 0.3 + 0.4 * picture
    assert torch.equal(unfaded(weak, 0.0), weak)


def test_linear_fading_is_undone_but_for_a_part_of_the_cast() -> None:
    picture = scene(1)
    low, high = torch.tensor([0.2, 0.2, 0.2]), torch.tensor([0.9, 0.8, 0.6])
    pale = low.view(1, 3, 1, 1) + (high - low).view(1, 3, 1, 1) * picture
    found_low, found_high = (x.flatten() for x in endpoints(pale))
    inner = unfaded(picture)  # the frame that is left out has the ramp's ends
    assert float((unfaded(0.2 + 0.6 * picture) - inner).abs().max()) < 0.02
    assert torch.allclose(found_low, low, atol=0.05)
    assert torch.allclose(found_high, 0.9 - APART[1] * (0.9 - high), atol=0.05)
    half = unfaded(pale, 0.5)
    assert float(pale.std()) < float(half.std()) < float(unfaded(pale).std())


def test_a_scene_with_black_and_white_keeps_its_colour() -> None:
    warm = scene(3) * torch.tensor([1.0, 0.85, 0.6]).view(1, 3, 1, 1)
    warm[:, :, 30:34, 30:50] = 1.0
    assert float((unfaded(warm) - warm).abs().max()) < 0.08


def test_marks_do_not_count() -> None:
    dull = 0.3 + 0.3 * scene(2)
    marks = torch.zeros(1, 1, 60, 80)
    marks[:, :, 25:35, 20:60] = 1
    scratched = torch.where(marks > 0, 1.0, dull)
    told, untold = unfaded(scratched, 1.0, marks), unfaded(scratched)
    clear = marks[0, 0] == 0
    assert float((told - unfaded(dull))[..., clear].abs().mean()) < 0.02
    assert float(untold[..., clear].mean()) < float(told[..., clear].mean()) - 0.1


def test_a_flat_picture_is_not_stretched_without_end() -> None:
    flat = torch.full((1, 3, 20, 20), 0.5)
    assert float((unfaded(flat) - 0.5).abs().max()) < 0.01
    assert bool(unfaded(torch.zeros(1, 3, 1, 1)).isfinite().all())


def test_most_faded_pictures_come_nearer_to_what_they_were() -> None:
    nearer = 0
    for seed in range(20):
        picture = scene(seed)
        pale = faded(picture[0], np.random.default_rng(seed))[None]
        nearer += float((unfaded(pale) - picture).abs().mean()) < float((pale - picture).abs().mean())
    assert nearer >= 18
