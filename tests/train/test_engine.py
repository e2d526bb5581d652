"""The loop against a textbook loop, closed forms, and itself interrupted."""

import errno
import io
import json
import math
import os
import re
import signal
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file

from sfumato.errors import InputError
from sfumato.picture.io import read_picture
from sfumato.train import checkpoint, engine, log
from sfumato.train.alarms import DivergedError
from sfumato.train.engine import Interrupted, Trained, fit
from sfumato.train.loader import sample_rng
from sfumato.train.log import TrainReporter
from sfumato.train.options import TrainOptions
from sfumato.train.run import Run, rate_factor
from sfumato.weights.files import load_model, save_model
from train.toy import Config, Method, Still

DATA: Any = {"a": Still(12, 0.25), "b": Still(10, 0.75)}


PLAIN = Config()


def options(out: Path, **given: Any) -> TrainOptions:
    quick = {"steps": 20, "batch": 3, "resolution": 8, "device": "cpu", "threads": 0, "ema": 60, "evaluate_samples": 6}
    return TrainOptions(**{**quick, "out": str(out), **given})


def train(out: Path, config: Config = PLAIN, *, resume: bool = False, method: Any = None, **given: Any) -> Trained:
    return fit(method or Method(config), DATA, options(out, **given), family="toy", resume=resume)


def lines(out: Path, key: str) -> list[dict[str, Any]]:
    found = [json.loads(text) for text in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in found if key in line]


def tensors(out: Path) -> dict[str, torch.Tensor]:
    """Everything in the newest checkpoint."""
    newest = max((out / "checkpoints").iterdir())
    return load_file(newest / "tensors.safetensors")


def same(a: Path, b: Path) -> bool:
    x, y = tensors(a), tensors(b)
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def textbook(steps: int, config: Config, o: TrainOptions) -> dict[str, torch.Tensor]:
    """The same training without the engine: plain Adam, schedule and averages by their formulas."""
    method = Method(config)
    method.resolution = o.resolution
    torch.manual_seed(engine_seed(o.seed, "networks"))
    net = method.networks()
    ema = {k: p.detach().clone() for k, p in net["generator"].named_parameters()}
    adam = {k: torch.optim.Adam(n.parameters(), lr=config.learning_rate, betas=(0.5, 0.99)) for k, n in net.items()}
    for step in range(1, steps + 1):
        samples = [method.sample(DATA, np.random.default_rng([o.seed, step, i])) for i in range(o.batch)]
        dark, bright = (torch.stack(column) for column in zip(*samples, strict=True))
        progress = (step - 1) / steps
        factor = 1.0 if progress <= 0.7 else 0.5 * (1 + math.cos(math.pi * (progress - 0.7) / 0.3))
        for optimizer in adam.values():
            optimizer.param_groups[0]["lr"] = config.learning_rate * factor
        noise = torch.stack(
            [
                torch.randn(
                    1, 8, 8, generator=torch.Generator().manual_seed(engine_seed(0, step, "sample", i, "brush"))
                )
                for i in range(o.batch)
            ]
        )
        fake = net["generator"](torch.cat([dark, noise], 1))
        loss = F.softplus(-net["judge"](fake)).mean()
        loss = loss + (fake.mean((2, 3)) - bright.mean((2, 3))).square().mean()
        for optimizer in adam.values():
            optimizer.zero_grad()
        loss.backward()
        adam["generator"].step()
        adam["judge"].zero_grad()
        real = bright.requires_grad_()
        scores = net["judge"](real)
        (slope,) = torch.autograd.grad(scores.mean((1, 2, 3)).sum(), real, create_graph=True)
        judged = F.softplus(-scores).mean() + F.softplus(net["judge"](fake.detach())).mean()
        (judged + config.penalty * slope.square().sum((1, 2, 3)).mean()).backward()
        adam["judge"].step()
        half = min(o.ema, 0.05 * step * o.batch)
        for k, p in net["generator"].named_parameters():
            ema[k] += (1 - 0.5 ** (o.batch / half)) * (p.detach() - ema[k])
    found = {f"network/{n}/{k}": p.detach() for n, m in net.items() for k, p in m.named_parameters()}
    return found | {f"ema/generator/{k}": p for k, p in ema.items()}


def engine_seed(*parts: object) -> int:
    from sfumato.train.run import stable_seed

    return stable_seed(*parts)


def test_it_does_what_a_textbook_loop_does(tmp_path: Path) -> None:
    train(tmp_path / "run")
    found, expected = tensors(tmp_path / "run"), textbook(20, Config(), options(tmp_path))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_it_learns_and_keeps_the_best(tmp_path: Path) -> None:
    done = train(tmp_path / "run", Config(learning_rate=2e-3), steps=120, evaluate_every=20, log_every=10)
    scores = {line["step"]: line["metrics"]["score"] for line in lines(tmp_path / "run", "metrics")}
    assert list(scores) == [20, 40, 60, 80, 100, 120]
    assert scores[120] < 0.5 * scores[20]
    best = min(scores, key=lambda step: scores[step])
    assert done.best == {"score": scores[best], "step": best}
    kept, last = load_model(tmp_path / "run" / "best.safetensors"), load_model(tmp_path / "run")
    assert (kept.about["step"], last.about["step"]) == (best, 120)
    assert last.family == "toy"
    assert set(last.tensors) == {"generator"}
    final = tensors(tmp_path / "run")
    for key, value in last.tensors["generator"].items():
        assert torch.equal(value, final[f"ema/generator/{key}"].half().float())
    assert lines(tmp_path / "run", "losses")[-1]["losses"]["generator"] < 0.8


@pytest.mark.parametrize("given", [{"pool": True, "dropout": 0.3}, {}])
def test_resumed_is_uninterrupted(tmp_path: Path, given: dict[str, Any]) -> None:
    """Interrupted by Ctrl-C in a step, twice; with state, dropout and threads."""
    train(tmp_path / "whole", Config(**given), threads=2)
    for step in (7, 13):
        with pytest.raises(Interrupted):
            train(tmp_path / "cut", method=Stopping(Config(**given), step), resume=step > 7, threads=2)
        assert [p.name for p in (tmp_path / "cut" / "checkpoints").iterdir()][-1:] == [f"{step:09d}"] or step == 13
    train(tmp_path / "cut", Config(**given), resume=True)
    assert same(tmp_path / "whole", tmp_path / "cut")


class Stopping(Method):
    """Gets a Ctrl-C in the middle of a step."""

    def __init__(self, config: Config, when: int) -> None:
        super().__init__(config)
        self.when = when

    def step(self, run: Any, batch: Any) -> dict[str, torch.Tensor]:
        if run.step == self.when:
            os.kill(os.getpid(), signal.SIGINT)
        return super().step(run, batch)


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    train(tmp_path / "a", steps=2)
    train(tmp_path / "b", steps=2, seed=1)
    train(tmp_path / "c", steps=2)
    assert not same(tmp_path / "a", tmp_path / "b")
    assert same(tmp_path / "a", tmp_path / "c")


def test_only_the_optimisers_own_weights_get_gradients(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    before = {k: p.detach().clone() for k, p in run.networks["judge"].named_parameters()}
    run.begin(1)
    fake = run.networks["generator"](torch.rand(2, 4, 8, 8))
    run.minimize("generator", run.networks["judge"](fake).mean())
    assert all(p.grad is None for n in run.networks.values() for p in n.parameters())
    assert all(torch.equal(p, before[k]) for k, p in run.networks["judge"].named_parameters())


def test_clipping_bounds_the_gradient(tmp_path: Path) -> None:
    run = new_run(tmp_path, clip=0.01)
    run.optimizers = {"generator": torch.optim.SGD(run.networks["generator"].parameters(), lr=1.0)}
    run.optimizers["generator"].param_groups[0]["initial_lr"] = 1.0
    before = torch.cat([p.detach().flatten() for p in run.networks["generator"].parameters()])
    run.begin(1)
    run.minimize("generator", 100 * run.networks["generator"](torch.rand(2, 4, 8, 8)).square().sum())
    after = torch.cat([p.detach().flatten() for p in run.networks["generator"].parameters()])
    assert (after - before).norm() == pytest.approx(0.01, rel=1e-3)


def test_on_a_gpu_nan_is_found_later_and_named_as_it_was(tmp_path: Path) -> None:
    """There a look at every step would make the processor wait; one look finds the first that was not finite."""
    run = new_run(tmp_path)
    run.device = torch.device("cuda")
    weight = run.networks["generator"][0].weight
    for step, factor in ((1, 1.0), (2, math.inf), (3, 1.0)):
        run.step = step
        run.minimize("generator", factor * weight.square().sum())
    with pytest.raises(DivergedError, match="loss of 'generator' became inf in step 2"):
        run.check_finite()
    run.check_finite()


def test_a_gradient_that_is_not_finite_is_told_apart(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.step = 1
    weight = run.networks["generator"][0].weight
    with pytest.raises(DivergedError, match=r"gradient of 'generator' is not finite in step 1 \(loss 0\)"):
        run.minimize("generator", (weight * 0).sum().sqrt())


def new_run(tmp_path: Path, **given: Any) -> Run:
    chosen = options(tmp_path, **given)
    return Run(engine.make_fabric(chosen), Method(), chosen, 10)


def test_chance_is_a_function_of_seed_step_and_purpose(tmp_path: Path) -> None:
    run, other = new_run(tmp_path), new_run(tmp_path)
    run.begin(4)
    first = run.randn("a", 6, 2, 3)
    other.begin(3)
    assert not torch.equal(other.randn("a", 6, 2, 3), first)
    other.begin(4)
    assert torch.equal(other.randn("a", 6, 2, 3), first)
    assert not torch.equal(other.randn("b", 6, 2, 3), first)
    assert not torch.equal(run.rand("a", 6), new_run(tmp_path, seed=1).rand("a", 6))
    halves = []
    for rank in (0, 1):
        other.rank, other.world = rank, 2
        halves.append(other.randn("a", 3, 2, 3))
    assert torch.equal(torch.stack(halves, 1).flatten(0, 1), first)  # sample i is i // 2 of process i % 2


def test_the_rate_rises_stays_and_falls() -> None:
    rates = [rate_factor(step, 100, 9, 0.5) for step in range(1, 101)]
    assert rates[:9] == pytest.approx([k / 10 for k in range(1, 10)])
    assert rates[9:51] == [1.0] * 42
    assert rates[75] == pytest.approx(0.5)
    assert rates[-1] < 0.001
    assert all(a >= b for a, b in pairwise(rates[50:]))


def test_the_rate_falls_along_a_line() -> None:
    """The paper's schedule: half of the run at the full rate, then linearly to 0 (Zhu et al. 2017, section 4)."""
    rates = [rate_factor(step, 200, 0, 0.5, "linear") for step in range(1, 201)]
    assert rates[:101] == [1.0] * 101
    assert rates[101:] == pytest.approx([1 - k / 100 for k in range(1, 100)])


def test_bf16_computes_in_half_and_keeps_float32(tmp_path: Path) -> None:
    run = new_run(tmp_path, precision="bf16-mixed")
    seen = []
    run.networks["generator"][0].register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    out = run.networks["generator"](torch.rand(1, 4, 8, 8))
    assert (seen, out.dtype) == ([torch.bfloat16], torch.float32)
    assert {p.dtype for p in run.networks["generator"].parameters()} == {torch.float32}
    done = train(tmp_path / "run", precision="bf16-mixed", steps=40, log_every=5)
    assert done.losses["generator"] < lines(tmp_path / "run", "losses")[0]["losses"]["generator"]


def test_nan_stops_with_a_sentence_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"loss of 'generator' became nan in step 13.*step 12"):
        train(tmp_path / "run", Config(poison=13), checkpoint_every=4)
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["000000008", "000000012"]
    assert all(t.isfinite().all() for t in tensors(tmp_path / "run").values())
    assert "nan" in lines(tmp_path / "run", "note")[-1]["note"]
    train(tmp_path / "run", resume=True)
    train(tmp_path / "whole")
    assert same(tmp_path / "run", tmp_path / "whole")


def test_a_full_disk_costs_checkpoints_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full from step 9 to 14: warned; the older checkpoint stays. Full at the end too: the run fails, and resumes."""
    real, full = checkpoint.write_synced, [False]

    def write(path: Path, data: bytes) -> None:
        if full[0]:
            path.write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, data)

    class Filling(Method):
        until = 14

        def step(self, run: Any, batch: Any) -> dict[str, torch.Tensor]:
            full[0] = 9 <= run.step < self.until
            return super().step(run, batch)

    monkeypatch.setattr(checkpoint, "write_synced", write)
    train(tmp_path / "run", method=Filling(Config()), checkpoint_every=4)
    warned = [line["note"] for line in lines(tmp_path / "run", "note")]
    assert warned == ["warning: the checkpoint of step 12 could not be written (No space left on device); "
                      "that of step 8 is kept"]  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["000000016", "000000020"]

    Filling.until = 99
    with pytest.raises(InputError, match=r"could not be written .*No space left on device"):
        train(tmp_path / "end", method=Filling(Config()), checkpoint_every=4)
    assert sorted(p.name for p in (tmp_path / "end" / "checkpoints").iterdir()) == ["000000004", "000000008"]
    full[0] = False
    train(tmp_path / "end", resume=True, checkpoint_every=4)
    assert same(tmp_path / "run", tmp_path / "end")


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    train(tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(tmp_path / "run", method=Stopping(Config(), 15), checkpoint_every=5)
    newest = tmp_path / "run" / "checkpoints" / "000000015" / "tensors.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    train(tmp_path / "run", resume=True)
    assert any("000000015 cannot be read" in line["note"] for line in lines(tmp_path / "run", "note"))
    assert same(tmp_path / "whole", tmp_path / "run")


def test_the_log_holds_every_step_once(tmp_path: Path) -> None:
    with pytest.raises(DivergedError):
        train(tmp_path / "run", Config(poison=12), checkpoint_every=5, log_every=1)
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "losses')  # killed while it wrote
    train(tmp_path / "run", resume=True, log_every=1)
    assert [line["step"] for line in lines(tmp_path / "run", "losses")] == list(range(1, 21))
    events = [p.name for p in (tmp_path / "run" / "events").iterdir()]
    assert len(events) == 2


def test_a_run_killed_before_its_first_file_is_resumed_from_the_start(tmp_path: Path) -> None:
    train(tmp_path / "run", resume=True, log_every=1)
    assert [line["step"] for line in lines(tmp_path / "run", "losses")] == list(range(1, 21))


def test_tensorboard_has_curves_and_sheets(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path / "run", log_every=5, sample_every=10)
    events = EventAccumulator(str(tmp_path / "run" / "events"))
    events.Reload()
    logged = {line["step"]: line["losses"]["judge"] for line in lines(tmp_path / "run", "losses")}
    assert {e.step: pytest.approx(e.value) for e in events.Scalars("loss/judge")} == logged
    assert [e.step for e in events.Images("samples")] == [10, 20]
    assert {"rate/judge", "metric/score"} <= set(events.Tags()["scalars"])
    sheet = read_picture(tmp_path / "run" / "samples" / "000000020.png")
    assert (sheet.height, sheet.width) == (8, 24)


class Timed(Method):
    """Pushes the engine's clock on: a second a step, two after 200 seconds; a judgement takes four."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, until: float = math.inf) -> None:
        super().__init__(PLAIN)
        self.now, self.until, self.start = 50.0, until, 50.0
        monkeypatch.setattr(engine, "now", lambda: self.now)

    def step(self, run: Any, batch: Any) -> dict[str, torch.Tensor]:
        self.now += 1 if self.now < 250 else 2
        if self.now - self.start >= self.until:
            os.kill(os.getpid(), signal.SIGINT)
        return super().step(run, batch)

    def evaluate(self, run: Any, batches: Any) -> dict[str, float]:
        self.now += 4
        return super().evaluate(run, batches)


BUDGET: dict[str, Any] = {"steps": None, "hours": 300 / 3600, "log_every": 5, "sample_every": 10**6}


def test_a_time_budget_is_spent_and_the_schedule_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = train(tmp_path / "run", method=Timed(monkeypatch), evaluate_every=50, **BUDGET)
    assert done.seconds == pytest.approx(300, abs=10)
    assert done.step == pytest.approx(186 + 47, abs=8)  # four judgements take 4 seconds each
    rates = [line["rates"]["judge"] for line in lines(tmp_path / "run", "rates")]
    assert rates[:20] == [0.01] * 20
    assert rates[-1] < 0.001
    assert "0.0833333 hours are about" in lines(tmp_path / "run", "note")[0]["note"]


def test_time_already_used_survives_and_can_be_made_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path / "run", method=Timed(monkeypatch, until=120), evaluate_every=10**6, **BUDGET)
    first = json.loads((max((tmp_path / "run" / "checkpoints").iterdir()) / "state.json").read_text())
    assert (first["seconds"], first["step"]) == (120, 120)
    rest = train(tmp_path / "run", method=Timed(monkeypatch), resume=True, evaluate_every=10**6, **BUDGET)
    assert rest.seconds == pytest.approx(300, abs=15)
    assert rest.step == pytest.approx(300, abs=15)
    spent = train(tmp_path / "run", method=Timed(monkeypatch), resume=True, evaluate_every=10**6, **BUDGET)
    assert spent.step == rest.step
    longer = {**BUDGET, "hours": 400 / 3600}
    more = train(tmp_path / "run", method=Timed(monkeypatch), resume=True, evaluate_every=10**6, **longer)
    assert more.seconds == pytest.approx(400, abs=15)
    assert more.step == pytest.approx(rest.step + 100, abs=25)


def test_a_warm_start_loads_what_has_the_same_name(tmp_path: Path) -> None:
    donor = Method(Config(width=4)).networks()
    save_model(tmp_path / "donor.safetensors", "toy", {}, {"generator": donor["generator"]}, {}, torch.float32)
    train(tmp_path / "run", steps=1, init=str(tmp_path / "donor.safetensors"), rate=1e-6)
    for key, value in donor["generator"].state_dict().items():
        torch.testing.assert_close(tensors(tmp_path / "run")[f"network/generator/{key}"], value, atol=1e-5, rtol=0)
    assert "generator; new: judge" in lines(tmp_path / "run", "note")[0]["note"]
    with pytest.raises(InputError, match=r"another size \(generator.0"):
        train(tmp_path / "wide", Config(width=5), init=str(tmp_path / "donor.safetensors"))
    save_model(tmp_path / "other.safetensors", "toy", {}, {"painter": donor["judge"]}, {})
    with pytest.raises(InputError, match="none of the networks generator, judge, but painter"):
        train(tmp_path / "none", init=str(tmp_path / "other.safetensors"))
    assert not (tmp_path / "wide" / "checkpoints").exists()


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    train(tmp_path / "run", steps=2)
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    with pytest.raises(InputError, match="holds a run already: sfumato resume"):
        train(tmp_path / "run", steps=2)
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before


def test_a_run_that_is_too_short_says_so(tmp_path: Path) -> None:
    class Wanting(Method):
        def short(self, steps: int, batch: int) -> str | None:
            return f"{steps * batch} samples are few" if steps * batch < 100 else None

    train(tmp_path / "short", method=Wanting(Config()), steps=20)
    train(tmp_path / "long", method=Wanting(Config()), steps=40)
    assert [line["note"] for line in lines(tmp_path / "short", "note")] == ["warning: 60 samples are few"]
    assert lines(tmp_path / "long", "note") == []
    train(tmp_path / "on", method=Wanting(Config()), steps=20, init=str(tmp_path / "long"))
    assert not any("few" in line["note"] for line in lines(tmp_path / "on", "note"))


def test_fewer_pictures_than_a_batch_are_said(tmp_path: Path) -> None:
    train(tmp_path / "few", batch=11, steps=2)
    assert [line["note"] for line in lines(tmp_path / "few", "note")] == [
        "warning: b has 10 pictures, fewer than a step's 11: they will be learnt by heart"
    ]


def test_bad_pictures_are_told_once_and_reported(tmp_path: Path) -> None:
    bad = Still(12, 0.25)

    class Stumbling(Method):
        def sample(self, data: Any, rng: np.random.Generator) -> Any:
            if rng.random() < 0.2:
                bad.bad["torn.png"] = "cut short"
            return super().sample(data, rng)

    done = fit(Stumbling(), {**DATA, "a": bad}, options(tmp_path / "run", log_every=2), family="toy")
    assert done.bad == {"torn.png": "cut short"}
    told = [line["note"] for line in lines(tmp_path / "run", "note")]
    assert told == ["a: torn.png is left out: cut short"]
    assert "torn.png: cut short" in (tmp_path / "run" / "card.md").read_text()


def test_samples_do_not_depend_on_the_order_of_threads(tmp_path: Path) -> None:
    train(tmp_path / "alone", steps=10)
    train(tmp_path / "threads", steps=10, threads=4)
    assert same(tmp_path / "alone", tmp_path / "threads")


def test_progress_tells_speed_and_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with TrainReporter(quiet=False, json=True, name="toy") as reporter:
        fit(Method(), DATA, options(tmp_path / "run", log_every=10), family="toy", reporter=reporter)
    shown = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert [line["step"] for line in shown] == [10, 20]
    assert shown[0]["total"] == 20
    assert shown[0]["rate"] > 0
    assert shown[-1]["left"] == 0
    assert set(shown[-1]["losses"]) == {"generator", "judge", "penalty"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"steps": None}, "how long"),
        ({"hours": 1.0}, "not both"),
        ({"batch": 0}, "batch must be a whole number between 1"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"device": "cuda:7"}, "not to be had"),
        ({"precision": "16"}, "unknown precision '16'"),
        ({"out": ""}, "--out"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    tmp_path: Path, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        fit(Method(), DATA, replace(options(tmp_path / "run"), **given), family="toy")
    assert not (tmp_path / "run").exists()


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(InputError, match=r"pip install 'sfumato\[train\]'"):
        train(tmp_path / "run")
    monkeypatch.delitem(sys.modules, "lightning_fabric")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert train(tmp_path / "run").step == 20
    assert [line["note"] for line in lines(tmp_path / "run", "note")] == [
        "no curves for TensorBoard: pip install tensorboard"
    ]


def test_a_log_that_cannot_be_written_costs_lines_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(log.Log, "_append", full)
    with TrainReporter(quiet=False, json=False, name="toy") as reporter:
        done = fit(Method(), DATA, options(tmp_path / "run", log_every=1), family="toy", reporter=reporter)
    assert done.step == 20
    assert capsys.readouterr().err.count("cannot be written (No space left on device); training goes on") == 1


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--b is missing"):
        fit(Method(), {"a": DATA["a"]}, options(tmp_path / "run"), family="toy")


def test_sample_generators_differ() -> None:
    draws = {float(sample_rng(s, t, i).random()) for s in range(3) for t in range(3) for i in range(3)}
    assert len(draws) == 27


def test_the_bar_shows_speed_and_time_left(tmp_path: Path) -> None:
    """As on a terminal of 100 columns."""
    with TrainReporter(quiet=False, json=True, name="toy") as reporter:
        reporter.json = False
        text = io.StringIO()
        columns = (TextColumn("{task.fields[info]}"), TimeRemainingColumn())
        reporter.bar = Progress(*columns, console=Console(file=text, force_terminal=True, width=100))
        reporter.task = reporter.bar.add_task("toy", total=None, info="preparing")
        reporter.bar.start()
        fit(Method(), DATA, options(tmp_path / "run", log_every=10), family="toy", reporter=reporter)
    shown = text.getvalue()
    assert re.search(r"\d+\.\d pictures/s, generator 0\.\d+.*0:00:00", shown)
