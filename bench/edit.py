#!/usr/bin/env python3
"""Does an edit do what was asked, and nothing else? Drawn faces with one attribute changed are the exact answer.

    sfumato data faces -n 12000 --size 64 --seed 1 --out FACES
    sfumato train stylegan2 --preset faces --data FACES --label mouth --hours 8 --out runs/faces
    sfumato train classifier --data FACES --label mouth --resolution 64 --steps 4000 --out runs/mouth      (hair, ...)
    python bench/edit.py runs/faces --judge mouth=runs/mouth hair=runs/hair --to laugh --count 24

Faces of another seed than the training's are inverted in W+, edited towards one variant of an attribute, and put back;
the truth is the same face drawn with that variant. `success`: the classifier names the wanted variant. `truth`: root
mean square distance to the true edit, of 255. `others`: share of the other classifiers' answers that changed.
`outside`: mean absolute change, of 255, where the true edit changes nothing. Every direction is scaled by drawn codes
alone (the least of the strengths 0.5 to 4 at which half of 64 drawn pictures get the wanted answer, else 4).
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from running import command_line, machine
from torch import Tensor

from sfumato.data.drawing import Face, face
from sfumato.edit.directions import Direction, from_scores, orthogonal, principal, sefa
from sfumato.edit.editor import Editor
from sfumato.edit.invert import Inversion, inversion, invert
from sfumato.edit.local import channel_offsets, style_deviations
from sfumato.edit.options import Inverting
from sfumato.edit.region import put_back
from sfumato.features.classifier import Trained, load_classifier
from sfumato.models.encoder import Trained as Encoder
from sfumato.models.latent import styled
from sfumato.models.sampler import sheet
from sfumato.picture.io import write_picture

STRENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
SEED = 90_001
"""Of the faces; training's are others."""

Painted = Callable[[Tensor, float], Tensor]
"""Codes and a strength to pictures."""


def tensor(pixels: "np.ndarray") -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def drawn(attribute: str, wanted: str, count: int, style: str) -> list[tuple[Face, Face]]:
    """Faces that lack the variant, and their twins that have it."""
    found, index = list[tuple[Face, Face]](), 0
    while len(found) < count:
        one, index = face(style, SEED, index), index + 1
        if one.attributes[attribute] != wanted:
            found.append((one, one.changed(attribute, wanted)))
    return found


def direction_name(editor: Editor, attribute: str, wanted: str) -> str:
    """Of the class: of a generator with several columns it has the column's name before it."""
    return wanted if wanted in editor.own else f"{attribute}-{wanted}"


def odds(judge: Trained, pictures: Tensor, wanted: str) -> Tensor:
    chance = judge.chances(pictures)[:, judge.classes.index(wanted)].clamp(1e-6, 1 - 1e-6)
    return (chance / (1 - chance)).log()


def kinds(editor: Editor, judges: dict[str, Trained], attribute: str, wanted: str) -> dict[str, Painted]:
    """Every kind of direction towards the variant; unsupervised ones and channels are those that move it most."""
    space, codes = editor.space, editor.space.draw(range(600))
    pictures = space.show(codes)
    score = odds(judges[attribute], pictures, wanted)
    label = from_scores("label", codes, score)
    others = [
        from_scores(f"{name} {c}", codes, odds(judge, pictures, c))
        for name, judge in judges.items()
        for c in judge.classes[:-1]
        if name != attribute
    ]
    own = [from_scores(c, codes, odds(judges[attribute], pictures, c)) for c in judges[attribute].classes]
    own = [d for d in own if d.name != wanted]

    def along(direction: Direction) -> Painted:
        return lambda c, s: space.show(c + direction.at(c, s))

    def steered(name: str, sign: float) -> Painted:
        def paint(c: Tensor, s: float) -> Tensor:
            with styled(space, channel_offsets(space, {name: sign * 2 * s}, deviations)):
                return space.show(c)

        return paint

    def best(candidates: list[Direction]) -> Direction:
        gains = {}
        for k, d in enumerate(candidates):
            for sign in (1.0, -1.0):
                moved = space.show(codes[:64] + 2 * sign * d.vector)
                gains[k, sign] = float(odds(judges[attribute], moved, wanted).mean())
        (k, sign), _ = max(gains.items(), key=lambda item: item[1])
        return replace(candidates[k], vector=sign * candidates[k].vector)

    found = {
        "sefa, best of 10": along(best(sefa(space, 10, editor.spread.deviation))),
        "pca, best of 10": along(best(principal(codes, 10))),
        "label": along(label),
    }
    if others:
        found["label, orthogonal to others"] = along(orthogonal(label, others))
    name = direction_name(editor, attribute, wanted)
    if name in editor.own:
        own_class, late = editor.direction(name), torch.arange(space.layers)[:, None] >= space.layers // 3
        found["class"] = along(own_class)
        found["class, one vector"] = along(replace(own_class, slope=None))
        found["class, later layers"] = lambda c, s: space.show(c + own_class.at(c, s) * late)
    deviations = style_deviations(space, codes)
    readers = {r.name: r for r in space.readers if r.styles}
    correlations = []
    for name in deviations:
        reader = readers[name]
        values = codes[:, reader.layer] @ reader.matrix(space.network).detach().T
        standard = (values - values.mean(0)) / values.std(0).clamp_min(1e-9)
        related = (standard * ((score - score.mean()) / score.std())[:, None]).mean(0)
        correlations += [(float(r), f"{name}:{k}") for k, r in enumerate(related)]
    if correlations:
        value, name = max(correlations, key=lambda pair: abs(pair[0]))
        found["style channel"] = steered(name, 1.0 if value > 0 else -1.0)
    return found


def strength(paint: Painted, editor: Editor, judge: Trained, wanted: str) -> float:
    codes = editor.space.draw(range(5000, 5064))
    for s in STRENGTHS:
        if float((judge.chances(paint(codes, s)).argmax(1) == judge.classes.index(wanted)).float().mean()) >= 0.5:
            return s
    return STRENGTHS[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--judge", nargs="+", required=True, help="ATTRIBUTE=CLASSIFIER; the first is edited")
    parser.add_argument("--to", required=True, help="the wanted variant")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--tune", type=int, default=100, help="steps of pivotal tuning in the table of distortion")
    parser.add_argument("--style", default="toon-head")
    parser.add_argument("--encoder", help="a run; the bundled one for a bundled generator; '' for none")
    parser.add_argument("--sheet", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    judges = {name: load_classifier(path) for name, _, path in (text.partition("=") for text in args.judge)}
    attribute = next(iter(judges))
    editor = Editor(args.model, steps=args.steps, encoder=args.encoder)
    pairs = drawn(attribute, args.to, args.count, args.style)
    side = editor.space.size[0]
    before = torch.cat([tensor(a.pixels(side)) for a, _ in pairs])
    truth = torch.cat([tensor(b.pixels(side)) for _, b in pairs])
    region = ((before - truth).abs().amax(1, keepdim=True) > 1 / 255).float()
    redrawn = torch.cat([tensor(face(args.style, SEED + 1, i).pixels(side)) for i in range(len(pairs))])
    start = None if editor.encoder is None else editor.encoder.encode(before)
    found = invert(editor.space, before, editor.features, editor.inverting, start=start)

    print(f"    {command_line()}\n\n{machine()}\n")
    for name, judge in judges.items():
        right = [judge.classes[k] for k in judge.chances(before).argmax(1).tolist()]
        share = np.mean([r == a.attributes[name] for r, (a, _) in zip(right, pairs, strict=True)])
        print(f"the classifier of {name} is right on {share:.0%} of these {len(pairs)} faces")
    print(f"and names {args.to} in {float(named(judges[attribute], truth, args.to)):.0%} of the true edits\n")
    print(f"| towards {args.to} | success | truth | others | outside |\n| --- | --- | --- | --- | --- |")
    rows = [before]

    def row(name: str, after: Tensor) -> None:
        distance = 255 * (after - truth).square().mean((1, 2, 3)).sqrt().mean()
        outside = 255 * ((after - before).abs() * (1 - region)).sum() / (3 * (1 - region).sum())
        changed = [
            (judge.chances(after).argmax(1) != judge.chances(before).argmax(1)).float().mean()
            for key, judge in judges.items()
            if key != attribute
        ]
        others = f"{float(torch.stack(changed).mean()):.0%}" if changed else "-"
        success = float(named(judges[attribute], after, args.to))
        print(f"| {name} | {success:.0%} | {float(distance):.1f} | {others} | {float(outside):.2f} |")
        rows.append(after)

    row("nothing done", before)
    row("another face at random", redrawn)
    row("the true edit", truth)
    row("its likeness, nothing changed (W+)", found.pictures)
    for name, paint in kinds(editor, judges, attribute, args.to).items():
        s = strength(paint, editor, judges[attribute], args.to)
        made = paint(found.codes, s)
        boxes = (0, 0, side, side)
        parts = zip(before.split(1), found.pictures.split(1), made.split(1), region.split(1), strict=True)  # type: ignore[no-untyped-call]
        whole = [(put_back(b, boxes, f, m), put_back(b, boxes, f, m, r)) for b, f, m, r in parts]
        row(f"{name}, x{s:g}", torch.cat([w[0] for w in whole]))
        if name in ("label", "class"):
            row(f"{name}, x{s:g}, only in the region", torch.cat([w[1] for w in whole]))
    if args.sheet:
        shown = torch.cat([r[:8] for r in rows])
        write_picture(args.sheet, sheet(shown, min(8, len(pairs))))
    distortion(editor, before, args.steps, args.tune)


def named(judge: Trained, pictures: Tensor, wanted: str) -> Tensor:
    return (judge.chances(pictures).argmax(1) == judge.classes.index(wanted)).float().mean()


def distortion(editor: Editor, pictures: Tensor, steps: int, tune: int) -> None:
    """How near the likeness comes, and what it costs: a picture at a time, as users have them."""
    space, features = editor.space, editor.features
    print("\n| likeness | PSNR, dB | perceptual distance | seconds |\n| --- | --- | --- | --- |")
    some = pictures[:6].split(1)  # type: ignore[no-untyped-call]

    def row(name: str, make: Callable[[Tensor], Inversion]) -> None:
        made = [make(p) for p in some]
        seen = torch.cat([m.perceptual for m in made if m.perceptual is not None])
        seconds = sorted(m.seconds for m in made)[len(made) // 2]
        psnr = float(torch.cat([m.psnr for m in made]).mean())
        print(f"| {name} | {psnr:.2f} | {float(seen.mean()):.3f} | {seconds:.2f} |")

    row("the mean picture", lambda p: inversion(space, editor.spread.mean[None], p, features, 0.0))
    if isinstance(editor.encoder, Encoder):
        encoder = editor.encoder
        row("encoder", lambda p: invert(space, p, features, Inverting(steps=0), start=encoder.encode(p)))
        row("encoder, then W+", lambda p: invert(space, p, features, Inverting(steps=steps), start=encoder.encode(p)))
    row(f"W, {steps} steps", lambda p: invert(space, p, features, Inverting(where="w", steps=steps)))
    row(f"W+, {steps} steps", lambda p: invert(space, p, features, Inverting(steps=steps)))
    row(f"W+ and noise, {steps} steps", lambda p: invert(space, p, features, Inverting(steps=steps, noise=True)))
    row(
        f"W, then PTI, {tune} steps", lambda p: invert(space, p, features, Inverting(where="w", steps=steps, tune=tune))
    )


if __name__ == "__main__":
    main()
