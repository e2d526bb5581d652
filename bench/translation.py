#!/usr/bin/env python3
"""CycleGAN's step of training and its generator at work, against plain textbook modules of the same size.

    python bench/translation.py

The textbook is the official program's arithmetic written plainly: float32, NCHW, `nn.InstanceNorm2d`, every network
called once for every picture that it sees (fakes, back again, identity, both discriminators on real and pooled fakes).
Both sides have equal weights at the start and get equal pictures; `--check` shows how far the two pictures and the
losses of the first step are apart. Rounds alternate; medians of processor seconds are shown.

    python bench/translation.py --large 2048 --max-memory 1GiB --channels 32 --blocks 6

translates a square of that side in tiles by the command, as a process of its own: seconds, peak memory, and how far
columns and rows beside the tiles' borders are from the same picture in other tiles, against all others.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from running import command_line, machine, measured, mib, table
from torch import Tensor, nn

from sfumato.models.cyclegan import Config, Method, Translator, generator
from sfumato.models.translating import way
from sfumato.models.translator import ready
from sfumato.picture.io import read_picture, write_picture
from sfumato.picture.record import read_record
from sfumato.train.engine import make_fabric
from sfumato.train.options import TrainOptions
from sfumato.train.run import Run
from sfumato.weights.files import save_model


def normed(layer: nn.Module, channels: int) -> list[nn.Module]:
    return [layer, nn.InstanceNorm2d(channels), nn.ReLU(True)]


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3) for _ in range(2))
        pads = nn.ReflectionPad2d(1), nn.ReflectionPad2d(1)
        self.body = nn.Sequential(pads[0], *normed(first, channels), pads[1], second, nn.InstanceNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y


def painter(n: int, blocks: int) -> nn.Sequential:
    """c7s1-64, d128, d256, R256 x blocks, u128, u64, c7s1-3: pictures in [-1, 1]."""
    layers = [nn.ReflectionPad2d(3), *normed(nn.Conv2d(3, n, 7), n)]
    for k in (1, 2):
        layers += normed(nn.Conv2d(k * n, 2 * k * n, 3, 2, 1), 2 * k * n)
    layers += [Block(4 * n) for _ in range(blocks)]
    for k in (2, 1):
        layers += normed(nn.ConvTranspose2d(2 * k * n, k * n, 3, 2, 1, 1), k * n)
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(n, 3, 7), nn.Tanh())


def judge(n: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, n, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for inputs, outputs, stride in ((n, 2 * n, 2), (2 * n, 4 * n, 2), (4 * n, 8 * n, 1)):
        norm = [nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.2, True)]
        layers += [nn.Conv2d(inputs, outputs, 4, stride, 1), *norm]
    return nn.Sequential(*layers, nn.Conv2d(8 * n, 1, 4, 1, 1))


class Textbook:
    """Networks, optimisers and one step; weights are copied from ours."""

    def __init__(self, networks: dict[str, nn.Module], c: Config) -> None:
        self.paint = {d: painter(c.channels, c.blocks) for d in ("a_to_b", "b_to_a")}
        self.judge = {d: judge(c.judge_channels) for d in ("judge_a", "judge_b")}
        for name, network in (self.paint | self.judge).items():
            given = list(networks[name].state_dict().values())
            own = network.state_dict()
            network.load_state_dict(dict(zip(own, given, strict=True)))
        weights = [[p for n in side.values() for p in n.parameters()] for side in (self.paint, self.judge)]
        self.optimizers = [torch.optim.Adam(w, lr=2e-4, betas=(0.5, 0.999)) for w in weights]
        self.config, self.pools = c, {name: list[Tensor]() for name in self.judge}

    def step(self, a: Tensor, b: Tensor) -> dict[str, float]:
        c, paint, judge, one = self.config, self.paint, self.judge, torch.ones(())
        fake_b, fake_a = paint["a_to_b"](a), paint["b_to_a"](b)
        back_a, back_b = paint["b_to_a"](fake_b), paint["a_to_b"](fake_a)
        same_b, same_a = paint["a_to_b"](b), paint["b_to_a"](a)
        for network in judge.values():
            network.requires_grad_(False)
        seen_a, seen_b = judge["judge_a"](fake_a), judge["judge_b"](fake_b)
        adversarial = F.mse_loss(seen_a, one.expand_as(seen_a)) + F.mse_loss(seen_b, one.expand_as(seen_b))
        cycle = (F.l1_loss(back_a, a) + F.l1_loss(back_b, b)) / 2  # in [-1, 1] differences are twice as large
        identity = (F.l1_loss(same_a, a) + F.l1_loss(same_b, b)) / 2
        self.optimizers[0].zero_grad()
        (adversarial + c.cycle_weight * cycle + c.identity_weight * identity).backward()  # type: ignore[no-untyped-call]
        self.optimizers[0].step()
        self.optimizers[1].zero_grad()
        for name, real, fake in (("judge_a", a, fake_a), ("judge_b", b, fake_b)):
            network, shown = judge[name].requires_grad_(True), self.pooled(name, fake.detach())
            real_scores, fake_scores = network(real), network(shown)
            doubt = F.mse_loss(real_scores, one.expand_as(real_scores)) + fake_scores.square().mean()
            (doubt / 2).backward()
        self.optimizers[1].step()
        return {"adversarial": adversarial.item(), "cycle": cycle.item(), "identity": identity.item()}

    def pooled(self, name: str, fake: Tensor) -> Tensor:
        pool = self.pools[name]
        if len(pool) < self.config.pool_size:
            pool.append(fake)
            return fake
        k = int(torch.randint(len(pool), ()))
        old, pool[k] = pool[k], fake
        return old if torch.rand(()) < 0.5 else fake


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def interleaved(title: str, rounds: int, ours: Callable[[], object], textbook: Callable[[], object]) -> list[object]:
    """A row: medians of both and their ratio, after one round that is not counted."""
    pairs = [(seconds(ours), seconds(textbook)) for _ in range(rounds + 1)][1:]
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = sorted(b / a for a, b in pairs)
    return [title, mine, theirs, theirs / mine, f"{ratios[0]:.2f} to {ratios[-1]:.2f}"]


def large(side: int, limit: str, config: Config) -> None:
    """One large picture by the command, twice: in tiles that fit into `limit`, and in others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        save_model(folder / "model.safetensors", "cyclegan", vars(config), {"a_to_b": generator(config)}, {})
        coarse = torch.rand(1, 3, side // 32, side // 32, generator=torch.Generator().manual_seed(1))
        smooth = F.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
        write_picture(folder / "photo.png", smooth)
        del coarse, smooth
        rows, tiles, pictures = list[list[object]](), list[int](), list[Tensor]()
        for extra in ([], ["--tile", "192"]):
            target = folder / f"{len(rows)}.png"
            command = [sys.executable, "-m", "sfumato.cli", "translate", str(folder / "photo.png"), "-q"]
            command += ["--model", str(folder / "model.safetensors"), "-o", str(target), "--max-memory", limit, *extra]
            run = measured(command)
            if run.code:
                sys.exit(run.code)
            tiles.append(read_record(target)["settings"]["tile"])
            pictures.append(torch.from_numpy(read_picture(target).rgb) * 255)
            rows.append([f"tiles of {tiles[-1]}", run.seconds, f"{mib(run.peak)}"])
    print(command_line(), machine(), sep="\n\n", end="\n\n")
    print(table([f"{side} x {side} px within {limit}", "s", "peak MiB"], rows))
    apart = (pictures[0] - pictures[1]).abs()
    beside = torch.zeros(side, dtype=torch.bool)
    for k in range(tiles[0], side, tiles[0]):
        beside[k - 1 : k + 1] = True
    inside = apart[~beside][:, ~beside]
    found = (
        f"{where} {float(x.mean()):.1e}, at most {float(x.max()):.0f}"
        for where, x in (("beside borders", apart[beside]), ("elsewhere", inside))
    )
    print("\nLevels of 255 apart:", "; ".join(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--train-size", type=int, default=256)
    parser.add_argument("--size", type=int, default=512, help="of the picture that is translated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="only how far the two are apart")
    parser.add_argument("--large", type=int, help="side of a picture that is translated in tiles, and nothing else")
    parser.add_argument("--max-memory", default="1GiB")
    parser.add_argument("--separable", action="store_true", help="with --large: the light network of the CPU's preset")
    given = parser.parse_args()
    if given.large:
        large(
            given.large,
            given.max_memory,
            Config(channels=given.channels, blocks=given.blocks, separable=given.separable),
        )
        return
    torch.set_num_threads(given.threads)
    config = Config(resolution=given.train_size, channels=given.channels, blocks=given.blocks, features="")
    options = TrainOptions(batch=1, resolution=given.train_size, device="cpu", threads=0)
    method = Method(config)
    torch.manual_seed(0)
    run = Run(make_fabric(options), method, options, 10**6)
    plain = Textbook(dict(run.networks), config)
    a, b = torch.rand(2, 1, 3, given.train_size, given.train_size, generator=torch.Generator().manual_seed(1))
    picture = torch.rand(1, 3, given.size, given.size, generator=torch.Generator().manual_seed(2))
    network = generator(config)
    network.load_state_dict(run.networks["a_to_b"].state_dict())
    translator = Translator({"a_to_b": way(ready(network, "cpu"))}, lambda _: network.parts(), given.train_size)
    frozen = painter(config.channels, config.blocks).eval()
    frozen.load_state_dict(plain.paint["a_to_b"].state_dict())

    def step() -> dict[str, Tensor]:
        run.begin(run.step + 1)
        logs = method.step(run, (a, b))
        run.average()
        return logs

    @torch.no_grad()
    def translated() -> Tensor:
        made: Tensor = frozen(2 * picture - 1)
        return (made + 1) / 2

    if given.check:
        print(f"pictures: {(translator.translate(picture) - translated()).abs().max():.1e} at most")
        mine, theirs = step(), plain.step(2 * a - 1, 2 * b - 1)
        print({name: (round(mine[name].item(), 5), round(value, 5)) for name, value in theirs.items()})
        return
    rows = [
        interleaved(
            f"training step, {given.train_size} px", given.rounds, step, lambda: plain.step(2 * a - 1, 2 * b - 1)
        ),
        interleaved(f"translating, {given.size} px", given.rounds, lambda: translator.translate(picture), translated),
    ]
    print(command_line(), machine(), sep="\n\n", end="\n\n")
    print(table(["work", "sfumato s", "textbook s", "times as fast", "in single rounds"], rows))


if __name__ == "__main__":
    main()
