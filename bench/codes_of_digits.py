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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--count", type=int, default=1000, help="digits a value")
    parser.add_argument("--features", default="digits")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sampler, judge = Sampler.load(args.model), load_classifier(args.features)
    (code,) = [code for code in sampler.codes if len(code.values) == 10][:1]
    seen = np.zeros((10, len(judge.classes)), int)
    for row, value in enumerate(code.values):
        for start in range(0, args.count, 200):
            seeds = range(1 + start, 1 + min(start + 200, args.count))
            made = sampler.paint(sampler.turn(sampler.draw(seeds), code.name, value))
            found = judge.chances((made * 255).round() / 255).argmax(1)
            seen[row] += np.bincount(found.numpy(), minlength=seen.shape[1])
    rows, columns = linear_sum_assignment(-seen)
    print(f"    {command_line()}\n\n{machine()}\n")
    for row, column in zip(rows, columns, strict=True):
        share = seen[row, column] / seen[row].sum()
        print(f"{code.name} {code.labels[row]}: digit {judge.classes[column]}, {share:.1%}")
    print(f"accuracy {seen[rows, columns].sum() / seen.sum():.4f} of {seen.sum()} digits")


if __name__ == "__main__":
    main()
