"""The pyramid, the clock, and what is held when the work ends early."""

import itertools
import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.stylize import memory, optimise
from sfumato.stylize.objective import Evaluation, Objective
from sfumato.stylize.optimise import Budget, DivergedError, Optimisation, Scale, Style, pairs_kept, pyramid
from sfumato.stylize.options import StylizeOptions

from .made import narrow, tensor

GIB = 1 << 30


def run(
    height: int = 40, width: int = 56, mask: Tensor | None = None, styles: int = 1, limit: int = 64 * GIB, **given: Any
) -> Optimisation:
    options = StylizeOptions.of(**{"min_size": 16, "steps": 4, **given})
    pictures = [Style(tensor(30, 44, 5 + k, torch.float32), None, 1.0) for k in range(styles)]
    network = narrow(dtype=torch.float32)
    return Optimisation(network, tensor(height, width, 1, torch.float32), pictures, mask, options, limit)


def test_pyramid_by_hand() -> None:
    options = StylizeOptions.of(min_size=128, scale_factor=2, steps=50, step_decay=0.6)
    assert pyramid(512, 768, options) == [Scale(128, 192, 50), Scale(256, 384, 30), Scale(512, 768, 18)]
    assert pyramid(768, 512, options)[0] == Scale(192, 128, 50)
    assert pyramid(100, 100, options) == [Scale(100, 100, 50)]
    assert pyramid(512, 512, StylizeOptions.of(preset="gatys2016")) == [Scale(512, 512, 400)]


@pytest.mark.parametrize("factor", [1.3, 1.5, 2.0, 4.0])
def test_smallest_scales_do_not_depend_on_the_final_size(factor: float) -> None:
    options = StylizeOptions.of(scale_factor=factor)
    largest = [min(s.height, s.width) for s in pyramid(4096, 6144, options)]
    for side in (160, 256, 300, 511, 512, 777, 1024, 2048, 3000):
        scales = pyramid(side, side * 3 // 2, options)
        short = [min(s.height, s.width) for s in scales]
        assert short[:-1] == largest[: len(short) - 1]
        assert short[-1] == side
        assert (scales[-1].height, scales[-1].width) == (side, side * 3 // 2)
        steps = [s.steps for s in scales]
        assert steps == sorted(steps, reverse=True)
        assert steps[0] == options.steps
        for a, b in itertools.pairwise(short):
            assert math.sqrt(factor) * 0.95 <= b / a <= factor**1.5 * 1.05


def test_a_schedule_is_taken_as_it_is() -> None:
    options = StylizeOptions.of(min_size=128, schedule=(7, 3, 1))
    assert [s.steps for s in pyramid(512, 512, options)] == [7, 3, 1]


@pytest.mark.parametrize("schedule", [(7,), (7, 3), (7, 3, 1, 1)])
def test_a_schedule_of_another_length_is_refused_and_the_sizes_are_named(schedule: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=rf"{len(schedule)} numbers of steps for the 3 sizes 128, 256, 512"):
        pyramid(512, 512, StylizeOptions.of(min_size=128, schedule=schedule))


def test_pairs_shrink_with_the_picture() -> None:
    options = StylizeOptions.of(history=10)
    assert [pairs_kept(options, p) for p in (1000, 1_500_000, 4_000_000, 16_000_000)] == [10, 10, 3, 0]
    assert pairs_kept(StylizeOptions.of(history=2), 4_000_000) == 2


class Clock:
    """Time that passes only when a picture is evaluated: `cost` seconds a pixel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
        self.now, self.steps = 1000.0, list[int]()
        clock = self

        class Slow(Objective):
            def evaluate(self, picture: Tensor) -> Evaluation:
                pixels = picture.shape[2] * picture.shape[3]
                clock.now += cost * pixels
                clock.steps.append(pixels)
                return super().evaluate(picture)

        monkeypatch.setattr(optimise, "Objective", Slow)
        monkeypatch.setattr(optimise, "time", SimpleNamespace(monotonic=lambda: clock.now))


SIDES = ((16, 22), (40, 56))  # of a picture of 40 x 56


@pytest.mark.parametrize("seconds", [10, 23, 60, 200])
def test_a_time_budget_is_kept_and_used(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    clock = Clock(monkeypatch, 1e-3)  # 0.35 and 2.24 seconds a step; planned: 12 and 10 steps, 27 seconds
    work = run(schedule=(12, 10), time_budget=f"{seconds}s")
    for _ in work:
        pass
    spent = clock.now - 1000
    most = 5 * (12 * 0.352 + 10 * 2.24)
    assert spent <= seconds + 2.24
    assert spent >= 0.7 * min(seconds, most)
    assert [clock.steps.count(h * w) for h, w in SIDES] == work.made
    assert all(1 <= made <= 5 * planned for made, planned in zip(work.made, (12, 10), strict=True))


def test_too_short_a_time_still_gives_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, 1.0)
    work = run(time_budget="1s")
    iterates = list(work)
    assert len(iterates) == 1
    assert work.made == [1]
    picture = work.picture()
    assert picture.shape == (1, 3, 40, 56)
    assert torch.isfinite(picture).all()


def test_without_a_budget_the_clock_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, 100.0)
    work = run(schedule=(3, 2))
    assert len(list(work)) == 5
    assert work.made == [3, 2]


def test_budget_shares_by_cost() -> None:
    scales = [Scale(10, 10, 30), Scale(20, 20, 10)]
    budget = Budget(700.0)
    # one step here takes a second, so 30 + 10 x 4 = 70 seconds are planned: ten times that are allowed, five are taken
    assert budget.steps(scales, 0, 1, 1.0) == 150
    budget = Budget(34.5)
    assert budget.steps(scales, 0, 1, 1.0) == 15  # (34.5 + 1) / 70 of 30
    assert Budget(None).steps(scales, 0, 1, 1.0) == 30


def test_iterates_say_where_the_work_is() -> None:
    work = run(schedule=(3, 2), tv_weight=0.0)
    seen, weight = list(work), work.options.content_weight
    assert [i.step for i in seen] == [1, 2, 3, 4, 5]
    assert {i.total for i in seen} == {5}
    assert [i.size for i in seen] == [(16, 22)] * 3 + [(40, 56)] * 2
    for i in seen:
        assert i.preview.shape[2:] == i.size
        assert 0 <= i.preview.min() <= i.preview.max() <= 1
        assert {"style", "content", "total"} <= set(i.losses)
        assert i.losses["total"] == pytest.approx(i.losses["style"] + weight * i.losses["content"], rel=1e-5)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_loss_falls_and_the_best_picture_is_the_one_kept(optimizer: str) -> None:
    work = run(optimizer=optimizer, schedule=(20, 12), learning_rate=0.03)
    seen = list(work)
    for size in SIDES:
        totals = [i.losses["total"] for i in seen if i.size == size]
        assert min(totals) < 0.8 * totals[0]
        assert totals[-1] < totals[0]
    style = [i.losses["style"] for i in seen]
    assert style[-1] < 0.6
    best = min((i for i in seen if i.size == SIDES[-1]), key=lambda i: i.losses["total"])
    assert torch.equal(best.preview, work.best)


def test_a_light_network_takes_over_at_large_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    """As two runs: the small scales by the one, then from there, with no curvature of the past, by the other."""
    monkeypatch.setattr(optimise, "LIGHT_FROM", 40)
    plain, light = run(schedule=(6, 6)), narrow(dtype=torch.float32, width=3)
    mixed = Optimisation(plain.network, plain.content, plain.styles, None, plain.options, 64 * GIB, light)
    seen = list(mixed)
    small = run(schedule=(6, 0))
    for a, b in zip(seen, small, strict=False):
        assert torch.equal(a.preview, b.preview)
    only = Optimisation(
        light, plain.content, plain.styles, None, StylizeOptions.of(min_size=40, schedule=(6,)), 64 * GIB
    )
    only.start = small.picture()
    for a, b in zip(seen[6:], only, strict=True):
        assert a.losses == pytest.approx(b.losses, rel=1e-4)
    assert len(mixed.weights()) == 1  # both are called narrow here
    assert mixed._network(mixed.scales[0]) is plain.network
    assert mixed._network(mixed.scales[1]) is light


@pytest.mark.parametrize("statistics", ["gram", "mean_std", "w2"])
def test_every_statistic_is_optimised(statistics: str) -> None:
    losses = [i.losses["style"] for i in run(statistics=statistics, schedule=(15,), min_size=512)]
    assert min(losses) < 0.5 * losses[0]


def test_averaged_iterates_are_the_running_mean() -> None:
    plain = [i.preview.clone() for i in run(schedule=(6,), min_size=512, optimizer="adam", average=1e-9)]
    shares = [0.7 ** (5 - k) for k in range(6)]  # the latest counts most, and the shares are of one whole
    mean = sum(w * x for w, x in zip(shares, plain, strict=True)) / sum(shares)
    work = run(schedule=(6,), min_size=512, optimizer="adam", average=0.7)
    list(work)
    assert torch.allclose(work.best, mean, atol=1e-5)


@pytest.mark.parametrize("init", ["content", "style", "noise"])
def test_starts(init: str) -> None:
    starts = [next(iter(run(init=init, init_noise=0.0, min_size=512, seed=seed))).preview for seed in (0, 1)]
    assert torch.equal(*starts) == (init != "noise")  # without noise, the seed chooses nothing
    near = {"content": tensor(40, 56, 1, torch.float32), "style": None, "noise": None}[init]
    if near is not None:
        assert torch.allclose(starts[0], near, atol=1e-6)
    if init == "noise":
        assert 0.15 < starts[0].std() < 0.3


def test_noise_at_the_start_has_the_deviation_asked_for() -> None:
    content = tensor(40, 56, 1, torch.float32)
    for deviation in (0.01, 0.05):
        start = next(iter(run(init_noise=deviation, min_size=512))).preview
        inside = (content > 0.2) & (content < 0.8)
        assert (start - content)[inside].std().item() == pytest.approx(deviation, rel=0.05)


def test_memory_is_asked_for_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=300 << 20))
    monkeypatch.setattr(memory, "psutil", SimpleNamespace(Process=lambda: process))
    with pytest.raises(InputError, match=r"need more than the 0\.50 GiB"):
        run(300, 400, limit=GIB // 2)


@pytest.mark.parametrize("shape", [(4096, 4096), (2500, 2500), (1500, 1500), (2000, 3000)])
@pytest.mark.parametrize("limit", [0.9, 1.0, 1.1])
def test_the_size_said_to_fit_does(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], limit: float) -> None:
    """The smaller picture may hold more of L-BFGS's pairs, which the advice must know."""
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=300 << 20))
    monkeypatch.setattr(memory, "psutil", SimpleNamespace(Process=lambda: process))
    network, options = narrow(dtype=torch.float32), StylizeOptions()

    def prepared(height: int, width: int) -> Optimisation:
        content = torch.zeros(1).expand(1, 3, height, width)
        return Optimisation(network, content, [], None, options, int(limit * GIB))

    try:
        prepared(*shape)
    except InputError as error:
        short = int(str(error).split("(--size ")[1].split(")")[0])
        prepared(*(round(side * short / min(shape)) for side in shape))


def test_a_loss_that_is_not_a_number_stops_the_work_and_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Objective):
        made = 0

        def evaluate(self, picture: Tensor) -> Evaluation:
            found = super().evaluate(picture)
            Broken.made += 1
            return found._replace(total=math.nan) if Broken.made == 4 else found

    monkeypatch.setattr(optimise, "Objective", Broken)
    work = run(schedule=(3, 5))
    seen = list[float]()
    with pytest.raises(DivergedError, match="nan at step 4: try a smaller learning rate"):
        seen += (i.losses["total"] for i in work)
    assert torch.isfinite(work.picture()).all()
    assert work.picture().shape == (1, 3, 40, 56)
    assert work.best.shape[2:] == (16, 22)  # nothing at the second size was good


@pytest.mark.parametrize("rate", [1.0, 1e3, 1e30])
def test_a_senseless_learning_rate_keeps_a_picture(rate: float) -> None:
    work = run(optimizer="adam", learning_rate=rate, schedule=(6, 3))
    losses = list[float]()
    try:
        for i in work:
            losses.append(i.losses["total"])
    except DivergedError:
        pass
    picture = work.picture()
    assert torch.isfinite(picture).all()
    assert 0 <= picture.min() <= picture.max() <= 1


def test_infinite_weights_say_so() -> None:
    with pytest.raises(DivergedError, match="at step 1"):
        list(run(style_weight=1e300, content_weight=1e300))


def stopped(work: Optimisation, after: int) -> Iterator[None]:
    iterator = iter(work)
    for _ in range(after):
        next(iterator)
        yield
    iterator.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("after", [0, 1, 4, 6])
def test_the_picture_is_there_at_any_moment(after: int) -> None:
    work = run(schedule=(4, 3))
    for _ in stopped(work, after):
        picture = work.picture()
        assert picture.shape == (1, 3, 40, 56)
        assert torch.isfinite(picture).all()
        assert 0 <= picture.min() <= picture.max() <= 1
    if after == 0:
        assert torch.equal(work.picture(), work.content)
    assert sum(work.made) == after


def test_an_interruption_between_two_sizes_keeps_what_the_record_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start at a new size that was never evaluated is not the best picture: a replay would not know of it."""

    class Interrupted(Objective):
        def evaluate(self, picture: Tensor) -> Evaluation:
            if picture.shape[2] > 16:
                raise KeyboardInterrupt
            return super().evaluate(picture)

    with monkeypatch.context() as patch:
        patch.setattr(optimise, "Objective", Interrupted)
        cut = run(schedule=(4, 3))
        with pytest.raises(KeyboardInterrupt):
            list(cut)
    again = run(schedule=(4, 0))
    list(again)
    assert torch.equal(cut.picture(), again.picture())


def test_the_mask_holds_at_every_size() -> None:
    mask = torch.zeros(1, 1, 40, 56)
    mask[..., 10:30, 8:40] = 1
    work = run(mask=mask, schedule=(5, 4))
    for _ in work:
        outside = (mask == 0).expand_as(work.content)
        assert torch.equal(work.picture()[outside], work.content[outside])
    assert (work.picture() - work.content).abs().max() > 0.05


def test_a_mask_for_each_style_asks_in_each_region_for_its_own() -> None:
    masks = torch.zeros(1, 2, 40, 56)
    masks[:, 0, :, :20] = masks[:, 1, :, 30:] = 1
    both = run(mask=masks, styles=2)
    scale = both.scales[-1]
    objective = both._objective(both.content, masks, scale)
    for k in range(2):
        alone = run(mask=masks[:, k : k + 1], styles=2)
        alone.styles = [alone.styles[k]]
        wanted = alone._objective(alone.content, masks[:, k : k + 1], scale)
        for layer, distance in objective.style.items():
            torch.testing.assert_close(distance.target[k], wanted.style[layer].target[0])
            torch.testing.assert_close(distance.unit[k], wanted.style[layer].unit[0])


def test_a_start_takes_the_place_of_the_photograph() -> None:
    start = tensor(40, 56, 9, torch.float32)
    work = run(min_size=64, schedule=(1,))
    work.start = start
    list(work)
    torch.testing.assert_close(work.picture(), start)
    assert work.steps == 1
    assert work.resolved()["schedule"] == [1]
