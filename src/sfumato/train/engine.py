"""The training loop: devices and processes through Lightning Fabric, checkpoints, averages, judgements, budgets."""

import contextlib
import dataclasses
import json
import math
import platform
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic as now
from typing import TYPE_CHECKING, Any

import torch

from sfumato._version import __version__
from sfumato.errors import InputError
from sfumato.train.alarms import DIVERGENCE, KINDS, Alarm, CollapsedError, DivergedError, Watch
from sfumato.train.budget import SETTLE, Budget
from sfumato.train.card import card
from sfumato.train.checkpoint import Checkpoints, unpack, warm_start
from sfumato.train.files import write_atomic
from sfumato.train.loader import Loader, collate, sample_rng
from sfumato.train.log import Log, Meter, TrainReporter
from sfumato.train.machine import Interrupted, Stop, make_fabric
from sfumato.train.method import Batch, Fits, Judges, Method, Warns, players_of
from sfumato.train.options import TrainOptions
from sfumato.train.rescue import Rescue
from sfumato.train.run import Run
from sfumato.weights.files import EXPORTED, save_model

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from sfumato.train.data import Pictures

__all__ = ["Interrupted", "Run", "Trained", "fit", "make_fabric"]

SHOWN = 8
"""Samples on a sheet at most."""
UNKNOWN_STEPS = 1_000_000
"""Length of a run with a time budget until its speed is known."""


@dataclass(frozen=True)
class Trained:
    """What a run came to."""

    folder: Path
    step: int
    seconds: float
    losses: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    """The best judgement and its step; empty where nothing was judged."""
    bad: dict[str, str] = field(default_factory=dict)
    """Pictures that could not be read, and why."""


def fit(
    method: Method,
    data: "Mapping[str, Pictures]",
    options: TrainOptions,
    *,
    held_out: "Mapping[str, Pictures] | None" = None,
    family: str = "",
    resume: bool = False,
    fabric: "Fabric | None" = None,
    record: Mapping[str, Any] | None = None,
    reporter: TrainReporter | None = None,
) -> Trained:
    """Train `method` on `data` in this process (or in each process of `fabric`), in the folder `options.out`.

    Args:
        method: the family's method; `resolution` is set here.
        data: pictures by role.
        options: `steps` or `hours` must be there. With `steps` the result is the same to the bit on one machine
            however often the run is interrupted and resumed; with `hours` it depends on the clock.
        held_out: pictures to judge by and to show; None judges by `data`.
        family: its name, kept in the exported weights.
        resume: go on from the newest checkpoint, or start where there is none.
        fabric: made from the options when left out.
        record: how the run was called and what its data are, for RUN/config.json and the exported weights.
        reporter: shows progress; quiet when left out.

    Raises:
        InputError: bad options, a run that is there already, weights that do not fit, a full disk at the end.
        DivergedError: NaN or infinity; the last checkpoint is kept.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was written.
    """
    options.check()
    trainer = _Trainer(method, data, options, held_out, family, resume, fabric, dict(record or {}), reporter)
    return trainer.train()


class _Trainer:
    """The loop and what it needs between its steps."""

    def __init__(
        self,
        method: Method,
        data: "Mapping[str, Pictures]",
        options: TrainOptions,
        held_out: "Mapping[str, Pictures] | None",
        family: str,
        resume: bool,
        fabric: "Fabric | None",
        record: dict[str, Any],
        reporter: TrainReporter | None,
    ) -> None:
        if options.steps is None and options.hours is None:
            raise InputError("say how long to train: --steps N or --hours H")
        if not options.out:
            raise InputError("say where the run shall be kept: --out FOLDER")
        for role in method.roles:
            if role not in data:
                raise InputError(f"--{role} is missing: the pictures to train on")
        if isinstance(method, Fits):
            method = method.fitted(data)
        self.method, self.data, self.held_out = method, data, held_out or data
        self.options, self.family, self.record = options, family, record
        self.reporter = reporter or TrainReporter(quiet=True, json=False, name=family)
        self.folder = Path(options.out)
        self.began = now()
        method.resolution = options.resolution
        self.fabric = fabric or make_fabric(options)
        self.first = self.fabric.global_rank == 0
        self.checkpoints = Checkpoints(self.folder / "checkpoints", options.keep)
        checkpoint, notes = self.checkpoints.load(self.fabric.global_rank) if resume else (None, [])
        if not resume and self.first:
            self._claim()
        self.run = Run(self.fabric, method, options, options.steps or UNKNOWN_STEPS)
        state = checkpoint.state if checkpoint is not None else {}
        self.seconds_before = float(state.get("seconds", 0.0))
        self.best: dict[str, float] = dict(state.get("best", {}))
        self.metrics: dict[str, float] = dict(state.get("metrics", {}))
        self.means: dict[str, float] = dict(state.get("losses", {}))
        if checkpoint is not None:
            unpack(self.run, checkpoint)
            if options.hours is not None:
                self.run.steps = self._steps_before(options.hours, state)
        elif options.init is not None:
            notes.append(warm_start(self.run, options.init))
        self.log = Log(self.folder, self.run.step, self.reporter) if self.first else None
        for note in notes:
            self.note(note)
        self.budget = Budget(options.hours * 3600, self.seconds_before, now) if options.hours is not None else None
        self.watch = Watch()
        self.rescue = Rescue(self.folder, options.on_collapse, players_of(method), self.fabric.global_rank)
        self.rescue.count = int(state.get("rescues", 0))
        self.rang: Alarm | None = None
        """An alarm that calls for an answer."""
        self.unsaved: OSError | None = None
        self.told_bad: set[str] = set()
        self.last_save = now()
        self.revised = -math.inf
        self.took: dict[str, float] = {}
        """Seconds of the last judgement and checkpoint, which the end of a time budget is kept for."""

    def _steps_before(self, hours: float, state: Mapping[str, Any]) -> int:
        """The length that a run with a time budget had; where it has another budget now, as much longer or shorter."""
        known, used, step = int(state["steps"]), float(state["seconds"]), self.run.step
        if hours == state.get("hours") or known == UNKNOWN_STEPS:
            return known
        return max(step, int(step * hours * 3600 / max(used, 1e-9)))

    @property
    def seconds(self) -> float:
        """Time spent, earlier processes included."""
        return self.seconds_before + now() - self.began

    def note(self, text: str) -> None:
        if self.log is not None:
            self.log.note(self.run.step, text)

    def train(self) -> Trained:
        for remark in dict.fromkeys(r for p in self.data.values() for r in getattr(p, "remarks", ())):
            self.note(remark)
        self.rescue.begin(self.run, self._state(), self._all_agree)
        while True:
            try:
                self._loop()
                return self._finish()
            except (DivergedError, CollapsedError) as error:
                if not self._rescued(error):
                    raise self._given_up(error) from None

    def _rescued(self, error: DivergedError | CollapsedError) -> bool:
        """Whether the run was put back to where it was well."""
        kind = error.kind if isinstance(error, CollapsedError) else DIVERGENCE
        told = self.rescue.go_back(self.run, kind) if self.rescue.left else None
        if told is None:
            return False
        if self.log is not None:
            if isinstance(error, DivergedError):
                self._tell([Alarm(DIVERGENCE, str(error))])
            self.note(told)
        self.watch, self.rang = Watch(), None
        if self.first:
            self.checkpoints.forget_after(self.run.step)
        self._save()
        return True

    def _given_up(self, error: DivergedError | CollapsedError) -> InputError:
        kept = self.checkpoints.steps()
        left = f"the checkpoint of step {kept[-1]} is kept" if kept else "there is no checkpoint yet"
        way = (
            f"; a lower --rate or --clip 1 may help (--init {self.folder})" if isinstance(error, DivergedError) else ""
        )
        text = f"{error}; {left}{way}"
        whole = CollapsedError(error.kind, text) if isinstance(error, CollapsedError) else DivergedError(text)
        if self.log is not None:
            self.log.line(self.run.step, note=str(whole))
            self.log.close()
        return whole

    def _loop(self) -> None:
        run, options = self.run, self.options
        start = run.step
        if options.steps is not None:
            self._warn_if_short()
        meter = Meter()
        loader = Loader(
            lambda rng: self.method.sample(self.data, rng),
            seed=options.seed,
            batch=options.batch,
            first=run.step + 1,
            threads=options.threads,
            rank=run.rank,
            world=run.world,
        )
        with Stop() as stop, loader:
            while run.step < run.steps:
                run.begin(run.step + 1)
                batch = self._to_device(next(loader))
                logs = self.method.step(run, batch)
                run.average()
                meter.add(logs, options.batch * run.world)
                made = run.step - start
                if self.budget is not None and made >= SETTLE:
                    self._revise(made == SETTLE)
                self.reporter.tick(run.step, run.steps)
                last = run.step >= run.steps
                stopping, due = run.agreed(int(stop.asked), int(now() - self.last_save >= options.checkpoint_seconds))
                if run.step % options.log_every == 0 or last:
                    self._log(meter, made)
                judging = run.step % options.evaluate_every == 0 or last
                if judging:
                    self._evaluate()
                if judging or run.step % options.log_every == 0:
                    self._answer(judged=judging)
                if run.step % options.sample_every == 0 or last:
                    self._show()
                if run.step % options.checkpoint_every == 0 or due or stopping or last:
                    self._save()
                if stopping:
                    self._interrupted()

    def _to_device(self, batch: Batch) -> Batch:
        if self.run.device.type == "cuda":
            return tuple(t.pin_memory().to(self.run.device, non_blocking=True) for t in batch)
        return tuple(t.to(self.run.device) for t in batch)

    def _revise(self, first: bool) -> None:
        """Fit the steps to the time: as soon as the speed is known, then after every fiftieth of the budget."""
        assert self.budget is not None
        used, due, wait = self.budget.used, 0, self.budget.seconds / 50
        if self.run.steps == UNKNOWN_STEPS:
            wait = min(wait, 20.0)
        if self.first and (first or used - self.revised >= wait or used >= self.budget.seconds):
            self.revised = used
            self.budget.reserve = sum(self.took.values())
            due = self.budget.steps(self.run.step) or 0
        (steps,) = self.run.agreed(due)
        if steps:
            known = self.run.steps != UNKNOWN_STEPS
            self.run.steps = steps
            if not known:
                self.note(f"{self.options.hours:g} hours are about {steps} steps")
                self._warn_if_short()

    def _warn_if_short(self) -> None:
        batch = self.options.batch * self.run.world
        for role, pictures in self.data.items():
            if isinstance(pictures, Sized) and (count := len(pictures)) < batch:  # what is drawn anew has no end
                self.note(
                    f"warning: {role} has {count} pictures, fewer than a step's {batch}: they will be learnt by heart"
                )
        if isinstance(self.method, Warns) and self.options.init is None:  # they speak of training from scratch
            warning = self.method.short(self.run.steps, batch)
            if warning:
                self.note(f"warning: {warning}")

    def _log(self, meter: Meter, made: int) -> None:
        run = self.run
        run.check_finite()
        means, rate = meter.take()
        self.means = run.mean(means)
        if self.log is None:
            return
        rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in run.optimizers.items()}
        samples = run.step * self.options.batch * run.world
        entries = {"samples": samples, "seconds": round(self.seconds, 2), "pictures_per_second": round(rate, 2)}
        norms = {name: float(f"{float(norm):.4g}") for name, norm in run.norms.items()}
        finite = {k: v if math.isfinite(v) else None for k, v in self.means.items()}
        self.log.line(run.step, **entries, losses=finite, rates=rates, norms=norms)
        self.log.scalars(run.step, "loss", self.means)
        self.log.scalars(run.step, "rate", rates)
        if self.budget is not None:
            left: float | None = self.budget.seconds - self.budget.used
        else:
            left = (run.steps - run.step) * (now() - self.began) / made if made else None
        self.reporter.advance(run.step, run.steps, rate, left, self.means)
        self._tell(self.watch.losses(run.step, self.means))
        learners = (self.rescue.players or ())[:1]  # a discriminator that won has no gradient either
        self._tell(self.watch.gradients(run.step, {k: norms[k] for k in learners if k in norms}))
        self._tell_bad()

    def _tell(self, alarms: list[Alarm]) -> None:
        """Say what rang, to people, the log and TensorBoard."""
        assert self.log is not None
        for alarm in alarms:
            self.log.note(self.run.step, alarm.text, **({"alarm": alarm.kind} if alarm.kind else {}))
            if alarm.kind:
                self.log.scalars(self.run.step, "alarm", {alarm.kind: 1.0})
                self.rang = self.rang or alarm

    def _answer(self, *, judged: bool) -> None:
        """What the run does about an alarm, in all processes; a judgement without one is a state to go back to."""
        (number,) = self.run.agreed(0 if self.rang is None else 1 + KINDS.index(self.rang.kind))
        if not number:
            if judged:
                self.rescue.keep(self.run, self._state(), self._all_agree)
        elif self.options.on_collapse != "continue":
            raise CollapsedError(KINDS[number - 1], self.rang.text if self.rang is not None else KINDS[number - 1])
        self.rang = None

    def _tell_bad(self) -> None:
        for role, pictures in {**self.data, **{f"held-out {k}": v for k, v in self.held_out.items()}}.items():
            for name, reason in list(pictures.bad.items()):
                if name not in self.told_bad:
                    self.told_bad.add(name)
                    self.note(f"{role}: {name} is left out: {reason}")

    def _held_out(self, count: int) -> Iterator[Batch]:
        """Batches of the same samples every time, as large as all processes' together."""
        batch = min(self.options.batch * self.fabric.world_size, count)
        sample = self.method.judged if isinstance(self.method, Judges) else self.method.sample
        for start in range(0, count, batch):
            indices = range(start, min(start + batch, count))
            samples = [sample(self.held_out, sample_rng(self.options.seed, 0, i)) for i in indices]
            yield self._to_device(collate(samples))

    def _evaluate(self) -> None:
        """Judge the averages (the first process does) and export them."""
        self.run.check_finite()
        if self.log is None:
            return
        began = now()
        with self.run.still():
            self.metrics = self.method.evaluate(self.run, list(self._held_out(self.options.evaluate_samples)))
        step = self.run.step
        if self.metrics:
            self.log.line(step, metrics=self.metrics)
            self.log.scalars(step, "metric", self.metrics)
        score = self.metrics.get("score", math.nan)
        if math.isfinite(score):
            if score < self.best.get("score", math.inf):
                self.best = {**self.metrics, "step": step}
                self._export("best.safetensors")
            self._tell(self.watch.score(step, score))
        self._tell(self.watch.judgement(step, self.run.progress, self.metrics))
        self._export(EXPORTED)
        self.took["judgement"] = now() - began

    def _about(self) -> dict[str, Any]:
        """What the exported weights say of their making; not where things lay."""
        options = {k: v for k, v in dataclasses.asdict(self.options).items() if k != "out"}
        return {
            **{k: v for k, v in self.record.items() if k in ("command", "data")},
            "options": options,
            "step": self.run.step,
            "samples": self.run.step * self.options.batch * self.run.world,
            "seconds": round(self.seconds),
            "metrics": self.metrics,
            "losses": self.means,
            "version": __version__,
        }

    def _export(self, name: str) -> bool:
        config = dataclasses.asdict(self.method.config)
        try:
            save_model(self.folder / name, self.family, config, self.run.ema, self._about())
        except InputError as error:
            self.note(str(error))
            return False
        return True

    def _show(self) -> None:
        if self.log is None:
            return
        with self.run.still():
            (batch,) = self._held_out(min(SHOWN, self.options.batch * self.fabric.world_size))
            sheet = self.method.preview(self.run, batch)
        self.log.picture(self.run.step, sheet)

    def _state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the run itself."""
        return {
            "steps": self.run.steps,
            "hours": self.options.hours,
            "seconds": self.seconds,
            "best": self.best,
            "metrics": self.metrics,
            "losses": self.means,
            "rescues": self.rescue.count,
            "version": __version__,
        }

    def _save(self) -> None:
        """A checkpoint; a full disk is told, and the run goes on."""
        self.run.check_finite()
        began = now()
        try:
            self.checkpoints.save(self.run, self._state(), self._all_agree)
            self.unsaved = None
        except OSError as error:
            self.unsaved = error
            reason = error.strerror or str(error)
            kept = self.checkpoints.steps()
            last = f"that of step {kept[-1]} is kept" if kept else "there is none yet"
            self.note(f"warning: the checkpoint of step {self.run.step} could not be written ({reason}); {last}")
        self.last_save = now()
        self.took["checkpoint"] = self.last_save - began

    def _all_agree(self, good: bool) -> bool:
        """Whether it went well in every process."""
        if self.run.world == 1:
            return good
        votes = torch.tensor([int(good)], device=self.run.device)
        torch.distributed.all_reduce(votes)
        return int(votes) == self.run.world

    def _claim(self) -> None:
        """Make the folder; refuse one that holds a run. RUN/config.json says how to build it again."""
        if (self.folder / "config.json").exists():
            raise InputError(f"{self.folder} holds a run already: sfumato resume {self.folder}, or another --out")
        document = {
            "format": 1,
            "family": self.family,
            "config": dataclasses.asdict(self.method.config),
            "options": dataclasses.asdict(self.options),
            **self.record,
            "versions": {"sfumato": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }
        try:
            write_atomic(self.folder / "config.json", json.dumps(document, indent=1, default=str).encode())
        except OSError as error:
            raise InputError(f"cannot write into {str(self.folder)!r}: {error.strerror or error}") from error

    def _interrupted(self) -> None:
        self.note(f"stopped at step {self.run.step} of {self.run.steps}; go on with: sfumato resume {self.folder}")
        if self.log is not None:
            self.log.close()
        raise Interrupted

    def _finish(self) -> Trained:
        run = self.run
        bad = {n: r for d in (self.data, self.held_out) for p in d.values() for n, r in p.bad.items()}
        trained = Trained(self.folder, run.step, self.seconds, self.means, self.metrics, self.best, bad)
        if self.log is None:
            return trained
        self._tell_bad()
        exported = self._export(EXPORTED)
        with contextlib.suppress(OSError):  # told below, where it is the disk
            write_atomic(self.folder / "card.md", card(self.family, self._about(), self.best, bad).encode())
        self.log.close()
        if self.unsaved is not None or not exported:
            reason = (
                (self.unsaved.strerror or str(self.unsaved)) if self.unsaved is not None else "no room or no access"
            )
            raise InputError(
                f"the end of the run could not be written to {self.folder}: {reason}; make room, then resume"
            )
        return trained
