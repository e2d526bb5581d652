"""The discriminator on a trained network's features: what it sees, what learns in it, and its place in StyleGAN2."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sfumato.errors import InputError
from sfumato.models import biggan, cut, cyclegan, dcgan, pggan, unit, wgan_gp
from sfumato.models.feature_judge import LAYERS, FeatureJudge, SeeingJudge, matched, mismatched, named
from sfumato.models.stylegan2 import FEATURE_RATE, Config, Method, Sampler
from sfumato.models.translating import fooled
from sfumato.train.data import Pictures
from sfumato.train.engine import fit
from sfumato.train.options import TrainOptions

from .steps import Steps, steps_of
from .test_stylegan2 import folder, squares

AIDED = Config(
    resolution=32, code=8, channel_base=128, channel_max=16, augmentation="none", path_weight=0.0, features="",
    feature_judge="vgg-lite", feature_weight=0.5,
)  # fmt: skip
COLOURS = ("blue", "red")
AIDE: dict[str, Any] = {"feature_judge": "vgg-lite", "feature_weight": 0.5}


@pytest.fixture
def judge() -> FeatureJudge:
    torch.manual_seed(1)
    found = FeatureJudge("vgg-lite", (32, 48))
    found.calibrate({k: v.item() for k, v in found.energies(squares(8, 48)[:, :, :32]).items()})
    return found


def test_features_have_one_scale_that_stays(judge: FeatureJudge) -> None:
    assert judge.calibrated
    first = judge.features(squares(8, 48)[:, :, :32])
    assert [tuple(x.shape) for x in first] == [(8, 64, 4, 6), (8, 64, 8, 12), (8, 64, 16, 24)]
    for x in first:
        assert 0.5 < x.square().mean().sqrt() < 2
    run = steps_of(method := Method(AIDED))
    scales = list[list[float]]()
    for run.step, brightness in ((1, 1.0), (2, 0.2)):
        method.step(run, (squares(4, 32) * brightness,))
        scales.append([run.networks["feature_judge"].get_buffer(f"scale_{layer}").item() for layer in LAYERS])
    assert scales[0] == scales[1]
    assert min(scales[0]) > 0
    again = FeatureJudge("vgg-lite", (32, 32))
    assert not again.calibrated
    again.load_state_dict(run.networks["feature_judge"].state_dict())
    assert again.calibrated  # a resumed run goes on with the scale that it had


def test_shallow_features_hear_of_deep_ones(judge: FeatureJudge) -> None:
    """Figure 2 of the paper: what a deep layer saw reaches the heads of the layers before it."""
    x = squares(2, 48)[:, :, :32]
    before = judge.features(x)
    judge.get_buffer("mix_relu4_2").zero_()
    after = judge.features(x)
    assert after[0].abs().max() == 0
    assert (after[2] - before[2]).abs().mean() > 0.1


def test_gradients_reach_the_pictures_and_the_heads_alone(judge: FeatureJudge) -> None:
    x = squares(2, 48)[:, :, :32].requires_grad_()
    scores = judge(judge.features(x))
    assert scores.shape == (2, 1, 3 * 3)  # one score where 4 x 4 cells fit once, three along 4 x 6
    scores.mean().backward()
    assert x.grad is not None
    assert x.grad.abs().amax((1, 2, 3)).min() > 0
    assert {name.split(".")[0] for name, _ in judge.named_parameters()} == {"heads"}
    assert not any(name.startswith("network") for name in judge.state_dict())


def test_a_class_adds_to_what_looks_real_and_wrong_names_are_all_others() -> None:
    scores = torch.tensor([[[1.0, 2.0], [10, 20], [30, 40], [50, 60]], [[5.0, 6.0], [-1, -2], [-3, -4], [-5, -6]]])
    label = torch.tensor([1, 2])
    assert matched(scores, None).tolist() == [[1, 2], [5, 6]]
    assert matched(scores, label).tolist() == [[31, 42], [0, 0]]
    assert mismatched(scores, label, (3,)).tolist() == [[[11, 22], [51, 62]], [[4, 4], [2, 2]]]
    assert named(scores, torch.tensor([2, 0]), (3,)) == 1
    assert named(scores, label, (3,)) == 0


def test_of_several_names_one_at_a_time_is_wrong() -> None:
    """Two columns of two and three classes: a wrong name takes the place of its own column's right one."""
    scores = torch.tensor([[[1.0], [10], [20], [100], [200], [300]]])
    label, groups = torch.tensor([[1, 3]]), (2, 3)
    assert matched(scores, label).tolist() == [[1 + 20 + 200]]
    assert mismatched(scores, label, groups).flatten().tolist() == [1 + 10 + 200, 1 + 20 + 100, 1 + 20 + 300]
    assert named(scores, label, groups) == 0.5
    assert named(scores, torch.tensor([[1, 4]]), groups) == 1


def test_heads_learn_the_classes_of_real_pictures_though_nothing_is_made_well() -> None:
    """Reed et al.'s wrong names: red and blue squares, pictures of an untrained generator beside them."""
    config = dataclasses.replace(AIDED, label="colour", classes=("blue", "red"), learning_rate=2.5e-3)
    run = Steps(Method(config))
    real, label = squares(8, 32), torch.arange(8) % 2
    real[label == 0] = real[label == 0].flip(1) * 0.5
    for _ in range(15):
        last = run.go(real, label)
    assert last["classes told"] == 1
    judge = run.networks["feature_judge"].eval()
    assert isinstance(judge, FeatureJudge)
    scores = judge(judge.features(real))
    assert matched(scores, label).mean() > 0.5
    assert mismatched(scores, label, judge.groups).mean() < -0.5


def test_too_small_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="32 px or more, not 16 x 64"):
        FeatureJudge("vgg-lite", (64, 16))


def test_both_judges_teach_the_generator_and_each_learns_its_own() -> None:
    run = steps_of(method := Method(AIDED))
    real = squares(4, 32)
    run.step = 1
    logs = method.step(run, (real,))
    assert [name for name, _ in run.minimized] == ["generator", "feature_judge", "discriminator"]
    assert run.minimized[0][1] == pytest.approx((logs["generator"] + 0.5 * logs["features"]).item(), rel=1e-5)
    assert run.minimized[1][1] == pytest.approx(logs["feature judge"].item())
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in run.optimizers.items()}
    assert rates["feature_judge"] == pytest.approx(FEATURE_RATE * AIDED.learning_rate)


@pytest.mark.parametrize(
    ("method", "classes", "grows"),
    [
        (dcgan.Method(dcgan.Config(resolution=32, latent=4, width=4, **AIDE)), False, False),
        (wgan_gp.Method(wgan_gp.Config(resolution=32, latent=4, width=4, critic_steps=1, **AIDE)), False, False),
        (pggan.Method(pggan.Config(resolution=32, latent=4, channel_base=64, channel_max=8, **AIDE)), False, True),
        (biggan.Method(biggan.Config(resolution=32, width=2, classes=COLOURS, orthogonal=0.0, **AIDE)), True, False),
    ],
)  # fmt: skip
def test_it_stands_beside_the_discriminator_of_every_large_family(method: Any, classes: bool, grows: bool) -> None:
    run = steps_of(method)
    run.step = 1
    batch = (squares(4, 32), torch.arange(4) % 2) if classes else (squares(4, 32),)
    before = [p.detach().clone() for p in run.networks["feature_judge"].parameters()]
    if grows:  # small pictures are none of its business
        small = method.step(run, batch)
        assert small["pixels"].item() == 4
        assert "features" not in small
        assert [name for name, _ in run.minimized] == ["discriminator", "generator"]
        assert run.minimized[1][1] == pytest.approx(small["generator"].item())
        run.step, run.minimized = run.steps, []
    logs = method.step(run, batch)
    names = [name for name, _ in run.minimized]
    turn = names.index("generator")
    assert names[turn + 1] == "feature_judge"
    assert run.minimized[turn][1] == pytest.approx((logs["generator"] + 0.5 * logs["features"]).item(), rel=1e-5)
    after = list(run.networks["feature_judge"].parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert ("classes obeyed" in logs) == classes
    plain = type(method)(dataclasses.replace(method.config, feature_judge=""))
    assert "feature_judge" not in plain.networks()
    assert "feature_judge" not in plain.optimizers(plain.networks())


def test_its_heads_learn_to_tell_what_is_made() -> None:
    run = Steps(method := Method(dataclasses.replace(AIDED, learning_rate=2.5e-3)))
    assert method.config.feature_judge
    first = run.go(squares(4, 32))
    for k in range(12):
        last = run.go(squares(4, 32, seed=k))
    assert last["feature judge"].item() < 0.6 * first["feature judge"].item()


def test_a_run_with_it_resumes_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"data": Pictures(folder(tmp_path / "data", 4), side=32)}
    options = TrainOptions(steps=3, batch=2, resolution=32, threads=0, checkpoint_every=1, keep=9)

    def run(name: str, steps: int, *, resume: bool = False) -> dict[str, torch.Tensor]:
        chosen = dataclasses.replace(options, out=str(tmp_path / name), steps=steps)
        fit(Method(AIDED), data, chosen, family="stylegan2", resume=resume)
        return load_file(tmp_path / name / "weights.safetensors")

    whole = run("whole", 3)
    run("cut", 2)
    resumed = run("cut", 3, resume=True)
    assert {key.split(".")[0] for key in whole} == {"mapping", "synthesis"}
    for key, tensor in whole.items():
        assert torch.equal(tensor, resumed[key]), key
    monkeypatch.setattr("sfumato.models.feature_judge.FeatureJudge", None)  # who paints needs no judge
    assert Sampler.load(tmp_path / "whole").draw([1]).shape == (1, 8, 8)


@pytest.mark.parametrize(("family", "name"), [(cyclegan, "judge_b"), (unit, "judge_b"), (cut, "judge")])
def test_translators_can_have_it_place_by_place(family: Any, name: str) -> None:
    small = {"resolution": 32, "channels": 4, "blocks": 1, "judge_channels": 4, "judge_layers": 2, "features": ""}
    small |= {"feature_judge": "vgg-lite", "judge_rate": 2e-3, "pool_size": 0}
    run = steps_of(family.Method(family.Config(**small)))
    a, b = squares(4, 32), squares(4, 32, seed=1).flip(1)
    run.go(a, b)
    judge = run.networks[name].eval()  # spectral norms stay as they are
    assert isinstance(judge, SeeingJudge)
    assert judge.features.calibrated
    alone = judge.pictures(a)
    scores = judge(a)
    assert [tuple(s.shape[2:]) for s in scores[-3:]] == [(4, 4), (8, 8), (16, 16)]  # every place of every layer
    assert len(scores) == 3 + (len(alone) if isinstance(alone, list) else 1)
    flat = torch.cat([s.flatten(2) for s in scores[-3:]], 2)
    assert torch.equal(flat, judge.features(judge.features.features(a)))
    x = a.clone().requires_grad_()
    fooled(judge(x)[-3:]).backward()  # what the generators learn from it
    assert x.grad is not None
    assert x.grad.abs().amax((1, 2, 3)).min() > 0
    judge.train()
    before = [p.detach().clone() for p in judge.features.parameters()]
    first = run.go(a, b)
    assert any(not torch.equal(p, q) for p, q in zip(before, judge.features.parameters(), strict=True))
    for _ in range(10):
        last = run.go(a, b)
    doubts = next(k for k in ("judges", "judge") if k in first)
    assert last[doubts] < 0.9 * first[doubts]


@pytest.mark.parametrize(("family", "name"), [(cyclegan, "judge_b"), (unit, "judge_b"), (cut, "judge")])
def test_or_one_score_a_crop(family: Any, name: str) -> None:
    """It hears of every corner, which no place by itself does."""
    small = {"resolution": 64, "channels": 4, "blocks": 1, "judge_channels": 4, "judge_layers": 2, "features": ""}
    judge = family.Method(family.Config(**small, feature_judge="vgg-lite", judge_whole=True)).networks()[name]
    assert [tuple(s.shape) for s in judge(squares(2, 64))[-3:]] == 3 * [(2, 1, 1, 1)]
    heads = judge.features
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    heads.calibrate({k: v.item() for k, v in heads.energies(picture).items()})
    heads.maps(heads.features(picture))[2].sum().backward()  # of stride 2
    seen = picture.grad.abs().amax(1)[0] > 0
    assert seen[0].any()
    assert seen[-1].any()
    assert seen[:, 0].any()
    assert seen[:, -1].any()
    with pytest.raises(InputError, match="add feature_judge"):
        family.Method(family.Config(**small, judge_whole=True)).networks()
