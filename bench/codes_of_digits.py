#!/usr/bin/env python3
"""Does an InfoGAN's categorical code name the digit? Accuracy of the best one-to-one naming of its values.

    python bench/codes_of_digits.py runs/infogan --count 1000

A thousand digits of every value of the code are made; the bundled classifier says what
they are; the codes are then named so that most are right (Hungarian method, as Chen et al. 2016 match them by hand).
"""

import argparse

import numpy as np
import torch
from running import command_line, machine
from scipy.optimize import linear_sum_assignment

from sfumato.features.classifier import load_classifier
from sfumato.models.infogan import Sampler


def counted(sampler: Sampler, features: str, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """How often every value of the code (rows) made what the classifier calls each class (columns); its classes."""
    judge = load_classifier(features)
    code = next(code for code in sampler.codes if len(code.values) == len(judge.classes))
    seen = np.zeros((len(code.values), len(judge.classes)), int)
    for row, value in enumerate(code.values):
        for start in range(0, count, 200):
            seeds = range(1 + start, 1 + min(start + 200, count))
            made = sampler.paint(sampler.turn(sampler.draw(seeds), code.name, value))
            found = judge.chances((made * 255).round() / 255).argmax(1)
            seen[row] += np.bincount(found.numpy(), minlength=seen.shape[1])
    return seen, judge.classes


def named(seen: np.ndarray) -> list[int]:
    """The class that each value of the code is called after: one each, so that most are right (Hungarian method)."""
    return [int(column) for column in linear_sum_assignment(-seen)[1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--count", type=int, default=1000, help="digits a value")
    parser.add_argument("--features", default="digits")
    args = parser.parse_args()
    torch.set_num_threads(1)
    seen, classes = counted(Sampler.load(args.model), args.features, args.count)
    names = named(seen)
    print(f"    {command_line()}\n\n{machine()}\n")
    for row, column in enumerate(names):
        share = seen[row] / seen[row].sum()
        others = [f"{classes[k]} {share[k]:.1%}" for k in np.argsort(-share) if k != column and share[k] >= 0.02]
        print(
            f"value {row}: digit {classes[column]}, {share[column]:.1%}" + (f"; {', '.join(others)}" if others else "")
        )
    print(f"accuracy {seen[range(len(names)), names].sum() / seen.sum():.4f} of {seen.sum()} digits")


if __name__ == "__main__":
    main()
