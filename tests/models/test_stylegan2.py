"""StyleGAN2's training: the order and weight of its steps, what it learns, that it resumes to the bit, its sampler."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from sfumato.edit.directions import toward_class
from sfumato.errors import InputError
from sfumato.losses.adversarial import bce_discriminator, r1_penalty
from sfumato.models.stylegan2 import Config, Method, Sampler
from sfumato.train import augment
from sfumato.train.ada import CHANCES, ada_augment
from sfumato.train.data import Pictures
from sfumato.train.engine import fit
from sfumato.train.options import TrainOptions
from sfumato.weights.files import save_model

from .steps import steps_of

TINY = Config(
    resolution=8, code=8, channel_base=64, channel_max=8, augmentation="none", learning_rate=0.01, features=""
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def squares(count: int, side: int = 8, seed: int = 5) -> Tensor:
    """Orange squares at random places on blue."""
    places = torch.randint(side // 2 + 1, (count, 2), generator=torch.Generator().manual_seed(seed)).tolist()
    x = torch.tensor([0.1, 0.2, 0.8]).view(3, 1, 1).expand(count, 3, side, side).clone()
    for picture, (y, left) in zip(x, places, strict=True):
        picture[:, y : y + side // 2, left : left + side // 2] = torch.tensor([0.9, 0.6, 0.1]).view(3, 1, 1)
    return x


def folder(path: Path, count: int = 3, level: int | None = None) -> Path:
    """Pictures 24 x 20, noise or of one grey."""
    path.mkdir(parents=True)
    for i in range(count):
        chance = np.random.default_rng((count, i))
        pixels = chance.integers(0, 256, (24, 20, 3), np.uint8) if level is None else np.full((24, 20, 3), level)
        Image.fromarray(pixels.astype(np.uint8)).save(path / f"{i}.png")
    return path


def test_lazy_steps_come_when_they_should_with_their_weights() -> None:
    c = dataclasses.replace(TINY, path_every=2, r1_every=3, r1=0.7, path_weight=1.5)
    run, batch = steps_of(method := Method(c)), (squares(4),)
    names = list[list[str]]()
    for run.step in range(1, 7):
        run.minimized.clear()
        logs = method.step(run, batch)
        names.append([name[0] for name, _ in run.minimized])
        assert run.minimized[0][1] == pytest.approx(logs["generator"].item())
        if run.step % 2 == 0:
            assert run.minimized[1][1] == pytest.approx(1.5 * 2 * logs["path"].item() ** 2)
        if run.step % 3 == 0:
            assert run.minimized[-1][1] == pytest.approx(0.7 * 3 * logs["slope"].item() ** 2 / 2)
    assert ["".join(n) for n in names] == ["gd", "ggd", "gdd", "ggd", "gd", "ggdd"]
    groups = {name: optimizer.param_groups[0] for name, optimizer in run.optimizers.items()}
    assert groups["generator"]["lr"] == pytest.approx(0.01 * 2 / 3)
    assert groups["discriminator"]["betas"] == (0, pytest.approx(0.99 ** (3 / 4)))


def test_what_is_minimised_is_what_the_papers_say() -> None:
    """The first step's numbers, computed from outside."""
    c = dataclasses.replace(TINY, augmentation="ada", r1_every=1, path_weight=0.0)
    method = Method(c)
    run, real = steps_of(method), squares(4)
    run.step, run.state["ada_p"] = 1, torch.tensor(0.6)
    judge = run.networks["discriminator"]
    twin = steps_of(method)  # the same first weights
    for name, network in run.networks.items():
        twin.networks[name].load_state_dict(network.state_dict())
    twin.step = 1

    def seen(purpose: str, x: Tensor) -> Tensor:
        return ada_augment(x, run.rand(f"augment {purpose}", len(x), CHANCES), 0.6)

    made = twin.networks["synthesis"](method.codes(twin, "generator", 4, None), "none")  # its noise has no strength yet
    wanted = -torch.sigmoid(judge(seen("generator", made))).log().mean()
    logs = method.step(run, (real,))
    assert logs["generator"].item() == pytest.approx(wanted.item(), rel=1e-5)

    twin.networks["synthesis"].load_state_dict(run.networks["synthesis"].state_dict())
    for name in ("mapping", "synthesis"):
        twin.networks[name].load_state_dict(run.networks[name].state_dict())
    d = twin.networks["discriminator"]
    with torch.no_grad():
        made = twin.networks["synthesis"](method.codes(twin, "discriminator", 4, None), "none")
        doubt = -torch.sigmoid(d(seen("real", real))).log().mean() - torch.sigmoid(-d(seen("made", made))).log().mean()
    # noise strengths have moved by one step of Adam: 0.004
    assert logs["discriminator"].item() == pytest.approx(doubt.item(), rel=2e-2)
    weight = 0.0002 * 64 / 4  # gamma of their heuristic
    assert run.minimized[-1][1] == pytest.approx(weight * logs["slope"].item() ** 2 / 2)
    x = real.clone().requires_grad_()  # through the augmentations, at the pictures themselves
    assert r1_penalty(judge(seen("r1", x)), x).item() > 0


def test_codes_are_mixed_as_often_and_anywhere() -> None:
    """With 0.9: a tenth have one code; crossings are uniform between the first and the last layer."""
    c = dataclasses.replace(TINY, resolution=16, mixing=0.9)
    method = Method(c)
    ws = method.codes(steps_of(method), "x", 3000, None)
    assert ws.shape == (3000, 6, 8)
    changes = (ws[:, 1:] != ws[:, :-1]).any(2)
    assert changes.sum(1).max() == 1
    assert changes.any(1).float().mean().item() == pytest.approx(0.9, abs=0.02)
    for share in changes.float().mean(0).tolist():
        assert share == pytest.approx(0.9 / 5, abs=0.025)
    alone = Method(dataclasses.replace(c, mixing=0.0))
    ws = alone.codes(steps_of(alone), "x", 50, None)
    assert torch.equal(ws, ws[:, :1].expand_as(ws))


def test_the_path_length_mean_is_followed_and_the_penalty_pulls() -> None:
    c = dataclasses.replace(TINY, path_every=1, path_weight=100.0, learning_rate=0.003)
    method = Method(c)
    run = steps_of(method)
    means, penalties = list[float](), list[float]()
    for run.step in range(1, 61):
        penalties.append(method.path(run, 16, None).item())
        means.append(run.state["path_mean"].item())
    assert 0 < means[0] < means[5] < means[20]  # from 0 by a hundredth each
    assert sum(penalties[-10:]) < 0.7 * sum(penalties[:10])


def test_what_the_discriminator_sees() -> None:
    x = squares(5)
    for augmentation in ("none", "diff", "ada"):
        method = Method(dataclasses.replace(TINY, augmentation=augmentation))
        run = steps_of(method)
        run.state["ada_p"] = torch.tensor(0.7)
        wanted = {
            "none": x,
            "diff": augment.diff_augment(x, run.rand("augment real", 5, augment.CHANCES)),
            "ada": ada_augment(x, run.rand("augment real", 5, CHANCES), 0.7),
        }
        assert torch.equal(method.seen(run, "real", x), wanted[augmentation])


@pytest.mark.parametrize("augmentation", ["none", "ada"])
def test_a_little_training_finds_the_colors(augmentation: Any) -> None:
    method = Method(dataclasses.replace(TINY, augmentation=augmentation, learning_rate=0.005, r1=0.5))
    run, real = steps_of(method), squares(16)

    def gap() -> float:
        with torch.no_grad():
            made = method.drawn(run, "judge", 64, None)
        return float((made.mean((0, 2, 3)) - real.mean((0, 2, 3))).abs().max())

    before, weights = gap(), {k: v.clone() for k, v in run.networks["synthesis"].state_dict().items()}
    for run.step in range(1, 81):
        logs = method.step(run, (squares(16, seed=run.step),))
    assert all(v.isfinite() for v in logs.values())
    assert gap() < 0.5 * before
    assert gap() < 0.2
    for key, value in run.networks["synthesis"].state_dict().items():
        assert torch.equal(value, weights[key]) == key.endswith("noise_const"), key
    assert run.networks["mapping"].w_avg.abs().max() > 0


def test_the_discriminator_learns_and_ada_answers() -> None:
    """Against a generator that stands still the scores part, and p grows."""
    method = Method(dataclasses.replace(TINY, augmentation="ada", ada_pictures=300, path_weight=0.0))
    run = steps_of(method)
    generator = run.optimizers["generator"]
    generator.param_groups[0]["lr"] = 0.0
    first = method.step(run, (squares(8),))
    for run.step in range(1, 41):
        last = method.step(run, (squares(8, seed=run.step),))
    assert last["told apart"] > 0.9
    assert last["discriminator"] < 0.7 * first["discriminator"]
    assert 0.1 < last["ada_p"].item() <= 1


class Wishes(nn.Module):
    """In place of a discriminator: pictures of class 0 should be dark, those of class 1 bright."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, pictures: Tensor, label: Tensor) -> Tensor:
        return -100 * (pictures.mean((1, 2, 3)) - torch.where(label == 0, 0.2, 0.8)).square() + self.unused


def test_the_generator_learns_what_is_asked_of_each_class() -> None:
    c = dataclasses.replace(TINY, classes=("dark", "bright"), learning_rate=0.02, path_weight=0.0, r1_every=1000)
    method = Method(c)
    run, label = steps_of(method), torch.tensor([0, 1] * 8)
    run.networks["discriminator"] = Wishes()
    run.optimizers["discriminator"] = torch.optim.SGD(run.networks["discriminator"].parameters(), lr=0.0)
    for run.step in range(1, 41):
        method.step(run, (torch.rand(16, 3, 8, 8), label))
    sheet = method.preview(run, (torch.zeros(2, 3, 8, 8), label[:2]))
    assert sheet.shape == (3, 2 * 8, 8 * 8)
    assert sheet[:, :8].mean() < 0.35
    assert sheet[:, 8:].mean() > 0.65


TWO: dict[str, Any] = {"label": "light,hue", "classes": ("light-no", "light-yes", "hue-red", "hue-grey", "hue-blue")}


class Mixed(nn.Module):
    """In place of a discriminator: of two columns one should be the brightness, the other red less blue."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, pictures: Tensor, label: Tensor) -> Tensor:
        wanted = torch.stack([torch.where(label[:, 0] == 0, 0.3, 0.7), (3 - label[:, 1]) * 0.3], 1)
        return -100 * (judged(pictures) - wanted).square().sum(1) + self.unused


def judged(pictures: Tensor) -> Tensor:
    """N x 2: brightness, red less blue."""
    r, _, b = pictures.mean((2, 3)).unbind(1)
    return torch.stack([pictures.mean((1, 2, 3)), r - b], 1)


def test_several_columns_are_learnt_at_once(tmp_path: Path) -> None:
    c = dataclasses.replace(TINY, **TWO, learning_rate=0.02, path_weight=0.0, r1_every=1000)
    method = Method(c)
    run = steps_of(method)
    label = torch.stack([torch.arange(16) % 2, 2 + torch.arange(16) % 3], 1)
    run.networks["discriminator"] = Mixed()
    run.optimizers["discriminator"] = torch.optim.SGD(run.networks["discriminator"].parameters(), lr=0.0)
    for run.step in range(1, 121):
        method.step(run, (torch.rand(16, 3, 8, 8), label))
    assert method.preview(run, (torch.zeros(2, 3, 8, 8), label[:2])).shape == (3, 3 * 8, 8 * 8)

    networks = {name: run.networks[name] for name in Method.averaged}
    save_model(tmp_path / "m.safetensors", "stylegan2", dataclasses.asdict(c), networks, {}, dtype=torch.float32)
    sampler, seeds = Sampler.load(tmp_path / "m.safetensors"), range(40)
    assert sampler.groups == (2, 3)
    free = sampler.draw(seeds)
    assert (judged(sampler.paint(free)).std(0) > 0.1).all()  # every seed has classes of its own
    red, blue = (judged(sampler.paint(sampler.draw(seeds, label=k))) for k in (2, 4))
    apart = red - blue
    assert apart[:, 1].mean() > 0.2
    assert apart[:, 0].abs().mean() < 0.5 * red[:, 0].std()  # the other column is the seed's own as before
    same = torch.stack([(sampler.draw(seeds, label=k) == free).flatten(1).all(1) for k in (2, 3, 4)])
    assert (same.sum(0) == 1).all()  # one of a column's classes is the seed's own

    way, red_codes = toward_class(sampler.space(), "hue-blue", range(300)), sampler.draw(seeds, label=2)
    moved = judged(sampler.paint(red_codes + way.at(red_codes)))
    assert moved[:, 1].mean() < -0.1
    assert (moved - blue)[:, 1].abs().mean() < 0.3 * (red - blue)[:, 1].abs().mean()


def test_made_pictures_have_the_shares_of_the_data(tmp_path: Path) -> None:
    for shares, wanted in (
        ((0.25, 0.75, 0.5, 0.5, 0.0), [0.25, 0.75, 0.5, 0.5, 0.0]),
        ((), [0.5, 0.5, 1 / 3, 1 / 3, 1 / 3]),
    ):
        c = dataclasses.replace(TINY, **TWO, shares=shares)
        networks = {name: Method(c).networks()[name] for name in Method.averaged}
        save_model(tmp_path / "m.safetensors", "stylegan2", dataclasses.asdict(c), networks, {})
        sampler, seeds = Sampler.load(tmp_path / "m.safetensors"), range(600)
        free = sampler.draw(seeds)
        own = torch.stack([(sampler.draw(seeds, label=k) == free).flatten(1).all(1) for k in range(5)])
        torch.testing.assert_close(own.float().mean(1), torch.tensor(wanted), atol=0.06, rtol=0)


def test_one_column_at_a_time_is_changed_and_what_must_change_is_not_held() -> None:
    c = dataclasses.replace(TINY, resolution=16, **TWO, class_weight=3.0)
    run, label = steps_of(method := Method(c)), torch.tensor([[0, 2], [1, 3], [0, 4], [1, 2]])
    asked = list[Tensor]()
    mapping = run.networks["mapping"]
    mapping.register_forward_pre_hook(lambda _m, given: asked.append(given[1]))
    for run.step in range(1, 30):
        asked.clear()
        method.classes_apart(run, label)
        was, new = asked[0].chunk(2)
        assert torch.equal(was, label)
        assert ((was != new).sum(1) == 1).all()
        assert (new[:, 0] < 2).all()
        assert (new[:, 1] >= 2).all()


def test_the_discriminator_learns_which_class_is_which() -> None:
    """Pictures are always real, but made ones are said to be of the other class."""
    c = dataclasses.replace(TINY, classes=("dark", "bright"), learning_rate=0.01)
    run, label = steps_of(Method(c)), torch.tensor([0, 1] * 8)
    judge, noise = run.networks["discriminator"], torch.Generator().manual_seed(3)
    for _ in range(60):
        level = torch.where(label == 0, 0.2, 0.8).view(-1, 1, 1, 1)
        pictures = (level + 0.05 * torch.randn(16, 3, 8, 8, generator=noise)).clamp(0, 1)
        right, wrong = judge(pictures, label), judge(pictures, 1 - label)
        run.minimize("discriminator", bce_discriminator(right, wrong))
    assert run.minimized[-1][1] < 0.5 * run.minimized[0][1]
    assert (right > wrong).all()


def test_as_many_pictures_of_the_same_classes_are_judged() -> None:
    method = Method(dataclasses.replace(TINY, classes=("a", "b")))
    run, seen = steps_of(method), list[Any]()

    def judge(_device: Any, make: Any, batches: Any) -> dict[str, float]:
        seen.extend(make(i, len(batch[0])) for i, batch in enumerate(batches))
        return {"score": 1.0}

    method.judge = judge  # type: ignore[assignment]
    labels = torch.tensor([0, 1, 1]), torch.tensor([1, 0])
    batches = [(torch.rand(len(y), 3, 8, 8), y) for y in labels]
    with torch.no_grad():
        assert method.evaluate(run, batches) == {"score": 1.0}
        for i, (made, label) in enumerate(zip(seen, labels, strict=True)):
            w = run.ema["mapping"](run.randn(f"judged {i}", len(label), 8), label)
            wanted = run.ema["synthesis"](w[:, None].expand(-1, 4, -1), "fixed").clamp(0, 1)
            torch.testing.assert_close(made, wanted)


def test_oblong_pictures(tmp_path: Path) -> None:
    c = dataclasses.replace(TINY, start=(2, 3))
    method, data = Method(c), {"data": Pictures(folder(tmp_path / "x"), side=16)}
    (picture,) = method.sample(data, np.random.default_rng(0))
    assert picture.shape == (3, 8, 12)
    run = steps_of(method)
    run.step = 16
    assert all(v.isfinite() for v in method.step(run, (picture.expand(4, -1, -1, -1),)).values())
    assert method.preview(run, (picture[None],)).shape == (3, 4 * 8, 8 * 12)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"resolution": 100}, "cannot make 100 pixels from 4 x 4; the short side can be 8, 16, 32"),
        ({"start": (4, 1)}, "cannot make 8 pixels from 4 x 1"),
        ({"start": (3, 4)}, "cannot make 8 pixels from 3 x 4; the short side can be 6, 12"),
        ({"resolution": 4}, "cannot make 4 pixels"),
        ({"augmentations": ("colour",)}, "did you mean 'color'"),
    ],
)
def test_configurations_that_cannot_be(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Method(dataclasses.replace(TINY, **change))


def test_a_class_per_folder_and_data_without(tmp_path: Path) -> None:
    for name, level in (("night", 20), ("day", 200)):
        folder(tmp_path / "x" / name, level=level)
    data = {"data": Pictures(tmp_path / "x", side=16)}
    method = Method(dataclasses.replace(TINY, conditional=True)).fitted(data)
    assert method.config.classes == ("day", "night")
    for i in range(8):
        picture, label = method.sample(data, np.random.default_rng(i))
        assert (picture.mean() > 0.5) == (label == 0)
    assert method.fitted(data) is method  # as in a resumed run
    plain = {"data": Pictures(folder(tmp_path / "y"), side=16)}
    with pytest.raises(InputError, match="has no label"):
        Method(dataclasses.replace(TINY, conditional=True)).fitted(plain)
    unconditional = Method(TINY)
    assert unconditional.fitted(plain) is unconditional


def test_a_run_exports_and_resumes_to_the_bit(tmp_path: Path) -> None:
    for name, level in (("night", 20), ("day", 200)):
        folder(tmp_path / "data" / name, level=level)
    data = {"data": Pictures(tmp_path / "data", side=16)}
    c = dataclasses.replace(TINY, augmentation="ada", conditional=True, path_every=2, r1_every=2, ada_pictures=20)
    options = TrainOptions(
        steps=6, batch=4, resolution=8, threads=0, checkpoint_every=1, keep=9, log_every=1, evaluate_samples=6
    )

    def run(name: str, *, resume: bool = False) -> dict[str, Tensor]:
        chosen = dataclasses.replace(options, out=str(tmp_path / name))
        fit(Method(c), data, chosen, family="stylegan2", resume=resume)
        return load_file(tmp_path / name / "weights.safetensors")

    whole = run("whole")
    run("resumed")
    for step in ("000000005", "000000006"):  # as if killed in the fifth step: within ADA's four
        shutil.rmtree(tmp_path / "resumed" / "checkpoints" / step)
    resumed = run("resumed", resume=True)
    assert {k.split(".")[0] for k in whole} == {"mapping", "synthesis"}
    for key, tensor in whole.items():
        assert torch.equal(tensor, resumed[key]), key
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    losses = [line["losses"] for line in lines if "losses" in line]
    assert {"generator", "discriminator", "path", "slope", "ada_p"} <= set(losses[-1])
    assert 0 <= losses[-1]["told apart"] <= 1

    sampler = Sampler.load(tmp_path / "whole")
    assert (sampler.size, sampler.classes, sampler.codes) == ((8, 8), ("day", "night"), ())
    latents = sampler.draw([3, 4, 5])
    assert latents.shape == (3, 4, 8)
    torch.testing.assert_close(sampler.draw([4]), latents[1:2])  # a seed alone is the same
    made = sampler.paint(latents)
    assert made.shape == (3, 3, 8, 8)
    torch.testing.assert_close(sampler.paint(latents[1:2]), made[1:2], rtol=1e-4, atol=1e-5)
    mean = sampler.draw([3, 4], truncation=0.0)
    torch.testing.assert_close(mean, sampler.mapping.w_avg.expand_as(mean))
    half = sampler.draw([3], truncation=0.5)
    torch.testing.assert_close(half, (latents[:1] + mean[:1]) / 2)
    assert (sampler.draw([3], label=0) - sampler.draw([3], label=1)).abs().max() > 1e-4
    torch.testing.assert_close(sampler.blend(latents[:1], latents[1:2], 0.25), 0.75 * latents[:1] + 0.25 * latents[1:2])
    with pytest.raises(InputError, match="no code"):
        sampler.turn(latents, "size", 1.0)


def test_short_runs_are_told() -> None:
    assert "few" in str(Method(TINY).short(100, 8))
    assert Method(TINY).short(100_000, 8) is None


def test_a_class_leaves_the_rest_of_a_picture_alone() -> None:
    """Lazily, in the second half, in steps of its own; the pictures of one code and two classes come nearer."""
    c = dataclasses.replace(TINY, resolution=16, classes=("one", "other", "third"), class_weight=3.0, path_weight=0.0)
    run, label = steps_of(method := Method(c)), torch.arange(4) % 3
    for run.steps, run.step, turns in ((100, 4, 1), (6, 3, 1), (6, 4, 2)):
        run.minimized.clear()
        logs = method.step(run, (squares(4, 16), label))
        assert [name for name, _ in run.minimized].count("generator") == turns
    assert run.minimized[1][1] == pytest.approx(3.0 * 4 * logs["class"].item())

    def pictures(number: int) -> Tensor:
        z = torch.randn(32, 8, generator=torch.Generator().manual_seed(1))
        w = run.networks["mapping"](z, torch.full((32,), number))
        made: Tensor = run.networks["synthesis"](w[:, None].expand(-1, c.codes(), -1), "none")
        return made.detach()

    def apart() -> float:
        return float((pictures(0) - pictures(1)).mean((2, 3)).square().mean())

    before, spread = apart(), pictures(0).mean((2, 3)).std(0).mean()
    for run.step in range(5, 45):
        method.classes_apart(run, label)
    assert apart() < 0.5 * before
    assert pictures(0).mean((2, 3)).std(0).mean() > 0.3 * spread  # codes still differ
