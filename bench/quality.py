#!/usr/bin/env python3
"""Stylizes pairs of pictures, scores them by two judges and lays them out to be looked at.

    python bench/quality.py --content DIR --style DIR --out runs/quality -- steps=80 content_weight=0.4
    python bench/quality.py --content DIR --style DIR --method ours OTHER_RESULTS --out runs/quality

`--method` takes `ours`, `identity` (the photograph itself), `style-copy` (the painting itself) and folders of results
named CONTENT__STYLE.png; the rows identity and style copy are always there. What follows `--` are options of
`sfumato.stylize`; `--label` names the run that has them. Finished pictures are not made again.
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

from pictures import pictures_in, product_pairs, sheet, spread, spread_pairs
from running import command_line, machine, settings, table

COLUMNS = ("style", "content", "ssim", "moments", "features", "patches", "border", "specks", "color specks")
Pair = tuple[str, str]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--content", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--style", type=Path, required=True, help="folder of paintings")
    parser.add_argument("--pairs", type=int, default=12, help="so many of them")
    parser.add_argument(
        "--choice",
        choices=("even", "product"),
        default="even",
        help="evenly over both folders, or over all pairs by name",
    )
    parser.add_argument("--size", type=int, default=512, help="short side of our results")
    parser.add_argument("--method", nargs="+", default=["ours"])
    parser.add_argument("--label", default="ours", help="name of our run: its folder and its row")
    parser.add_argument("--score-size", type=int, default=512, help="short side at which pictures are compared")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args()
    for folder in (args.content, args.style, *(Path(m) for m in args.method if m not in NAMED)):
        if not folder.is_dir():
            sys.exit(f"{folder} is not a folder")
    return args


def make(args: argparse.Namespace, pairs: list[Pair], contents: dict[str, Path], styles: dict[str, Path]) -> Path:
    """Our results in args.out/LABEL, with times.csv; whatever is there from the same options stays."""
    from sfumato.cli import prepare_memory

    prepare_memory()  # as the command does, before PyTorch's first allocation
    from sfumato.stylize import stylize

    folder = args.out / args.label
    folder.mkdir(parents=True, exist_ok=True)
    options, note = {"size": args.size, **settings(args.options)}, folder / "options.json"
    shown = json.loads(json.dumps(options))
    if note.exists() and json.loads(note.read_text()) != shown:
        sys.exit(f"{folder} has results of other options ({note.read_text()}): give another --label or remove it")
    note.write_text(json.dumps(shown))
    for number, (c, s) in enumerate(pairs, 1):
        target = folder / f"{c}__{s}.png"
        if target.exists():
            continue
        began = time.perf_counter()
        stylize(contents[c], styles[s], output=target, **options)
        seconds = time.perf_counter() - began
        with (folder / "times.csv").open("a", newline="") as file:
            csv.writer(file).writerow([target.name, f"{seconds:.2f}"])
        print(f"{number}/{len(pairs)} {target.name}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return folder


def times(folder: Path) -> dict[str, float]:
    """{file: seconds}, where a run left them."""
    file = folder / "times.csv"
    return {name: float(s) for name, s in csv.reader(file.read_text().splitlines())} if file.exists() else {}


def chosen_pairs(args: argparse.Namespace, contents: dict[str, Path], styles: dict[str, Path]) -> list[Pair]:
    """Evenly spread over both folders; where nothing is to be made, over the results that the first folder has."""
    others = [Path(m) for m in args.method if m not in NAMED]
    if "ours" in args.method or not others:
        choose = product_pairs if args.choice == "product" else spread_pairs
        return choose(list(contents), list(styles), args.pairs)
    stems = [stem.partition("__") for stem in pictures_in(others[0])]
    found = [(c, s) for c, _, s in stems if c in contents and s in styles]
    return spread(found, args.pairs) if found else sys.exit(f"{others[0]}: no picture is named CONTENT__STYLE.png")


class Scoring:
    """Both judges and the measures of faults, for one pair at a time."""

    def __init__(self, side: int, contents: dict[str, Path], styles: dict[str, Path]) -> None:
        from judging import Judge, SecondOpinion

        self.judge, self.second, self.side = Judge(side=side), SecondOpinion(side), side
        self.contents, self.styles = contents, styles
        self.style_specks: dict[str, dict[str, float]] = {}

    def __call__(self, pair: Pair, result: Path | str) -> dict[str, float]:
        """`result` is a picture's path, "identity" or "style-copy"."""
        from judging import border, load, load_like, speckle, style_copy

        content, style = self.contents[pair[0]], self.styles[pair[1]]
        picture = self.judge.reference(content)[0]
        if result == "identity":
            out = picture
        else:
            out = style_copy(style, picture) if result == "style-copy" else load_like(Path(result), picture)
        if pair[1] not in self.style_specks:
            self.style_specks[pair[1]] = speckle(load(style, self.side))
        specks = {k: v / max(1e-3, self.style_specks[pair[1]][k]) for k, v in speckle(out).items()}
        found = self.judge.score(out, content, style) | self.second.score(out, content, style)
        return {**found, "border": border(out), **specks}


NAMED = {"ours": "ours", "identity": "identity", "style-copy": "style copy"}
EXPLAINED = """\
style, content, ssim: as the optimiser measures (style gap left, content lost, structure kept).
moments, features, patches: the second opinion, shares of the style gap left in statistics that no optimiser here uses.
border: the step from the outer 4 pixels to the next, over the usual step further inside (1: no rim).
specks, color specks: |x - its 3 x 3 median| relative to the painting's own (1: as grainy as the painting)."""


def main() -> None:
    args = arguments()
    contents, styles = pictures_in(args.content), pictures_in(args.style)
    if not contents or not styles:
        sys.exit(f"no pictures in {args.style if contents else args.content}")
    pairs = chosen_pairs(args, contents, styles)
    results: dict[str, Path | None] = {}
    for method in args.method:
        if method == "ours":
            results[args.label] = make(args, pairs, contents, styles)
        elif method not in NAMED:
            results[Path(method).name if Path(method).name not in results else method] = Path(method)
    results |= {"identity": None, "style copy": None}
    scoring, rows, lines = Scoring(args.score_size, contents, styles), [], []
    for name, folder in results.items():
        scores, spent = list[dict[str, float]](), list[float]()
        for pair in pairs:
            file = "__".join(pair) + ".png"
            source: Path | str = folder / file if folder else name.replace(" ", "-")
            if folder and not Path(source).exists():
                continue
            scores.append(scoring(pair, source))
            seconds = times(folder).get(file) if folder else None
            spent += [seconds] if seconds is not None else []
            rows.append([name, *pair, *(f"{scores[-1][k]:.5f}" for k in COLUMNS), "" if seconds is None else seconds])
            print(f"{name:16} {'  '.join(pair):48} style {scores[-1]['style']:.3f}", file=sys.stderr, flush=True)
        if not scores:
            print(f"{name}: no result is named after the pairs, such as {'__'.join(pairs[0])}.png", file=sys.stderr)
            continue
        means: list[Any] = [sum(s[k] for s in scores) / len(scores) for k in COLUMNS]
        lines.append([name, len(scores), *means, f"{sum(spent) / len(spent):.1f}" if spent else None])
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "scores.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("method", "content_name", "style_name", *COLUMNS, "seconds"), *rows])
    folders = {name: folder for name, folder in results.items() if folder}
    grid = [
        [contents[c], styles[s], *(f if (f := d / f"{c}__{s}.png").exists() else None for d in folders.values())]
        for c, s in pairs
    ]
    sheet(["content", "style", *folders], grid, args.out / "sheet.png")
    scores_table = table(["", "pairs", *COLUMNS, "s a picture"], lines)
    text = f"    {command_line()}\n\n{machine()}\n\n{scores_table}\n\n{EXPLAINED}\n"
    (args.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
