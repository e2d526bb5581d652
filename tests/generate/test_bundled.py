"""The bundled generator of digits: offline, by name, and its category makes the digit of its number."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sfumato import generate
from sfumato.features.classifier import load_classifier
from sfumato.generate import traverse
from sfumato.models.infogan import Sampler


def test_category_k_makes_the_digit_k() -> None:
    sampler, judge = Sampler.load("infogan-digits"), load_classifier("digits")
    latents = sampler.draw(range(1, 41))
    right = []
    for k in range(10):
        found = judge.chances(sampler.paint(sampler.turn(latents, "category", k))).argmax(1)
        right.append((found == k).float().mean().item())
    assert sum(right) / 10 > 0.85
    assert min(right) > 0.5


def test_seeds_differ_and_all_digits_occur(tmp_path: Path) -> None:
    made = generate("infogan-digits", count=100, seed=1, output=tmp_path / "sheet.png").pictures
    found = load_classifier("digits").chances(made).argmax(1)
    assert torch.bincount(found, minlength=10).min() >= 2
    assert torch.cdist(made.flatten(1), made.flatten(1)).fill_diagonal_(9).min() > 1  # no picture twice
    ink = made.mean((1, 2, 3))  # MNIST's digits: 0.13 on average
    assert 0.09 < ink.mean() < 0.17
    assert np.asarray(Image.open(tmp_path / "sheet.png")).std() > 50


def test_the_codes_are_shown_by_name(tmp_path: Path) -> None:
    shown = Image.open(traverse("infogan-digits", tmp_path / "codes.png", count=2))
    assert shown.width > 10 * 28
