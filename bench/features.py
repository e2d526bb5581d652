#!/usr/bin/env python3
"""Light features against VGG-19: what a gradient costs, how well it agrees, and what the pictures made by it are worth.

    python bench/features.py --size 512 --pairs 6 vgg19 vgg-lite mixed
    python bench/features.py --size 512 --pairs 6 vgg19 vgg-lite runs/distill/weights.safetensors

"a gradient" is processor seconds of one evaluation of the style objective with its gradient, the median over the pairs;
"agrees" the cosine to VGG-19's gradient of the style distance, at the photograph a third of the way to its finished
picture. The pictures are `sfumato stylize --features NAME`; VGG-19 judges them, and it is what most of them were
optimised by: look at the sheet (--out) too.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from codes import picture
from pictures import bundled, pictures_in, sheet, spread_pairs
from running import command_line, machine, table
from torch import Tensor

from sfumato import stylize
from sfumato.features import FeatureNetwork
from sfumato.features.sources import load_features
from sfumato.metrics.style_transfer import StyleJudge
from sfumato.stylize.objective import Objective, picture_moments
from sfumato.stylize.optimise import terms_of
from sfumato.stylize.options import StylizeOptions


def gradient(network: FeatureNetwork, content: Tensor, style: Tensor, at: Tensor) -> tuple[Tensor, float]:
    """Of the style distance alone, and the processor seconds that the objective and its gradient took."""
    terms = terms_of(StylizeOptions(method="optimise", content_weight=0.0))
    objective = Objective(network, terms, content, [picture_moments(network, terms.style_layers, style, None, 1 << 30)])
    began = time.process_time()
    found = objective.evaluate(at).gradient
    return found.flatten(), time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", nargs="+", help="names or files")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("runs/features"), help="folder for the pictures")
    args = parser.parse_args()
    contents, styles = (pictures_in(bundled(kind, "x").parent) for kind in ("photos", "paintings"))
    pairs = spread_pairs(list(contents), list(styles), args.pairs)
    judge, exact = StyleJudge(load_features("vgg19")), load_features("vgg19", padding="replicate")
    costs: dict[str, list[float]] = {name: [] for name in args.features}
    cosines: dict[str, list[float]] = {name: [] for name in args.features}
    scores: dict[str, list[tuple[float, float, float]]] = {name: [] for name in args.features}
    made = dict[tuple[str, str], dict[str, Path]]()
    for c, s in pairs:
        x, y = picture(contents[c], args.size), picture(styles[s], args.size)
        own, wanted = judge.reference(x), judge.reference(y)
        for name in args.features:
            target = args.out / f"{Path(name).stem}-{c}-{s}.png"
            began = time.process_time()
            stylize(contents[c], styles[s], method="optimise", features=name, size=args.size, output=target)
            seconds = time.process_time() - began
            score = judge.score(picture(target, args.size), own, wanted)
            scores[name].append((score.style, score.content, seconds))
            made.setdefault((c, s), {"photograph": contents[c], "style": styles[s]})[name] = target
            print(f"{c} x {s}, {name}: {score.style:.3f} / {score.content:.3f}, {seconds:.0f} s", flush=True)
        at = torch.lerp(x, picture(made[c, s][args.features[0]], args.size), 1 / 3)
        for name in args.features:
            if name == "mixed":
                continue
            network = load_features(name, padding="replicate")
            right = gradient(exact, x, y, at)[0]
            found, cost = gradient(network, x, y, at)
            costs[name].append(cost)
            cosines[name].append(float(F.cosine_similarity(found, right, dim=0)))
    rows = []
    for name in args.features:
        means = [statistics.mean(column) for column in zip(*scores[name], strict=True)]
        cost = statistics.median(costs[name]) if costs[name] else None
        agrees = statistics.mean(cosines[name]) if cosines[name] else None
        rows.append((name, cost, agrees, means[0], means[1], round(means[2])))
    print(f"\n    {command_line()}\n\n{machine()}\n")
    header = ("features", "a gradient, s", "agrees", "style left", "content lost", "processor s a picture")
    print(table(header, rows))
    names = ["photograph", "style", *args.features]
    sheet(names, [[found[n] for n in names] for found in made.values()], args.out / "sheet.jpg")


if __name__ == "__main__":
    main()
