"""The textbook network: sizes, the total loss against one written out here, a step's effect, resuming."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.features.vgg import CONVS, VGG19, WIDTHS, Weights
from sfumato.models import crossdomain
from sfumato.models.crossdomain import Config, Discriminator, Encoder, Generator, Method, Painter, StyleEncoder
from sfumato.train import read_preset
from sfumato.train.data import Pictures
from sfumato.train.engine import fit
from sfumato.train.options import TrainOptions

TINY = Config(ngf=4, resolution=32, code=6, noise=2, content_weight=1, style_weight=1, learning_rate=2e-3)


def narrow() -> VGG19:
    """VGG-19 with a thirty-second of its channels and random weights."""
    noise, convs, inputs = torch.Generator().manual_seed(1), dict[str, tuple[Tensor, Tensor]](), 3
    for conv in CONVS:
        width = WIDTHS[int(conv[0]) - 1] // 32
        weight = torch.randn(width, inputs, 3, 3, generator=noise) * (2 / (9 * inputs)) ** 0.5
        convs[conv] = (weight, torch.zeros(width))
        inputs = width
    return VGG19(Weights(convs, (0.5, 0.5, 0.5), (2.0, 2.0, 2.0), "narrow", "0"))


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The family works with the narrow network in place of VGG-19, on one thread."""
    monkeypatch.setattr(crossdomain, "load_features", lambda *_args, **_options: narrow())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


class Steps:
    """What `step` needs of a run, plainly: gradients of one optimiser's weights, then its step."""

    def __init__(self, method: Method) -> None:
        self.networks = method.networks()
        self.ema, self.device = self.networks, torch.device("cpu")
        self.optimizers = method.optimizers(self.networks)
        self.options = SimpleNamespace(precision="32")
        self.minimized = list[tuple[str, float]]()

    def randn(self, purpose: str, count: int, *shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=torch.Generator().manual_seed(len(purpose)))

    def minimize(self, name: str, loss: Tensor) -> None:
        self.minimized.append((name, loss.item()))
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        loss.backward(inputs=[p for group in optimizer.param_groups for p in group["params"]])
        optimizer.step()


def batch_of(count: int, seed: int = 3) -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(seed)
    flat = torch.rand(2, count, 3, 4, 4, generator=noise)
    return F.interpolate(flat[0], 32, mode="bilinear"), F.interpolate(flat[1], 32)


def test_sizes_are_the_textbooks() -> None:
    c = Config(ngf=4, resolution=128, code=10)
    x = torch.rand(2, 3, 128, 128)
    assert Encoder(c)(x).shape == (2, 4 * 8, 4, 4)
    style = StyleEncoder(c)
    assert style.linear.weight.shape == (10, 4 * 8 * 4 * 4)
    assert style(x).shape == (2, 10)
    made = Generator(c)(x, style(x), torch.randn(2, c.noise, 4, 4))
    assert made.shape == x.shape
    assert made.min() >= 0
    assert made.max() <= 1
    down = [m for m in Discriminator(c).modules() if isinstance(m, nn.Conv2d)]
    assert {(m.kernel_size, m.stride) for m in down} == {((4, 4), (2, 2))}
    assert [m.out_channels for m in down] == [4, 8, 16, 32, 32, 1]
    encoders = [[m.weight.shape for m in n.modules() if isinstance(m, nn.Conv2d)] for n in (Encoder(c), style)]
    assert encoders[0] == encoders[1]  # the same encoder


def test_one_sigmoid_score_a_picture() -> None:
    judge, pictures = Discriminator(TINY), torch.rand(5, 3, 32, 32)
    chances = judge.probability(pictures)
    assert chances.shape == (5,)
    assert ((chances > 0) & (chances < 1)).all()
    torch.testing.assert_close(torch.logit(chances), judge(pictures))
    alone = torch.cat([judge.probability(p[None]) for p in pictures])
    torch.testing.assert_close(chances, alone)  # no picture sees another


def test_code_and_noise_are_used_and_instance_norm_is_there() -> None:
    generator = Generator(TINY)
    x, code, noise = batch_of(2)[0], torch.randn(2, 6), torch.randn(2, 2, 4, 4)
    made = generator(x, code, noise)
    assert (made - generator(x, code + 1, noise)).abs().mean() > 1e-3
    assert (made - generator(x, code, noise.flip(3))).abs().mean() > 1e-3
    # content and noise are normalised: their scale and mean do not matter
    torch.testing.assert_close(made, generator(x, code, 5 * noise - 3), rtol=0, atol=1e-4)
    scaled = list[Tensor]()
    for scale, shift in ((100, 0), (300, -3)):  # large, so that the norm's epsilon does not count
        hook = generator.encoder.register_forward_hook(lambda _m, _i, f, scale=scale, shift=shift: scale * f + shift)
        scaled.append(generator(x, code, noise))
        hook.remove()
    torch.testing.assert_close(*scaled, rtol=0, atol=1e-4)
    kinds = [type(m) for m in generator.decoder]
    assert kinds == [nn.ConvTranspose2d, nn.InstanceNorm2d, nn.ReLU] * 2 + [nn.ConvTranspose2d, nn.Tanh]


def test_the_total_loss_is_the_sum_written_out() -> None:
    c = dataclasses.replace(TINY, adversarial_weight=0.7, content_weight=1.3, style_weight=0.4)
    judge, vgg = Discriminator(c), narrow()
    made, (content, style) = torch.rand(2, 3, 32, 32), batch_of(2)
    found = Method(c).losses(judge, vgg, made, content, style)

    adversarial = F.binary_cross_entropy(torch.sigmoid(judge(made)), torch.ones(2))
    distance = (vgg(made, ["relu4_1"])["relu4_1"] - vgg(content, ["relu4_1"])["relu4_1"]).pow(2).mean()
    total = 0.0
    for layer in c.style_layers:
        f, a = vgg(made, [layer])[layer].double(), vgg(style, [layer])[layer].double()
        N, M = f.shape[1], f.shape[2] * f.shape[3]
        for one, other in zip(f, a, strict=True):
            G = sum(torch.outer(one[:, y, x], one[:, y, x]) for y in range(f.shape[2]) for x in range(f.shape[3]))
            A = sum(torch.outer(other[:, y, x], other[:, y, x]) for y in range(f.shape[2]) for x in range(f.shape[3]))
            total += float((G - A).pow(2).sum()) / (N**2 * M**2) / 2 / len(c.style_layers)
    assert found["adversarial"].item() == pytest.approx(adversarial.item(), rel=1e-5)
    assert found["content"].item() == pytest.approx(distance.item(), rel=1e-5)
    assert found["style"].item() == pytest.approx(total, rel=1e-4)
    assert found["total"].item() == pytest.approx(
        0.7 * adversarial.item() + 1.3 * distance.item() + 0.4 * total, rel=1e-4
    )


def test_a_step_trains_each_side_on_its_own_loss() -> None:
    method = Method(TINY)
    run, batch = Steps(method), batch_of(4)
    before = {k: {n: p.clone() for n, p in net.named_parameters()} for k, net in run.networks.items()}
    judge = run.networks["discriminator"]
    with torch.no_grad():
        codes = run.networks["style_encoder"](batch[1])
        made = run.networks["generator"](batch[0], codes, run.randn("noise", 4, 2, 4, 4))
        real, fake = torch.sigmoid(judge(batch[1])), torch.sigmoid(judge(made))
        doubt = F.binary_cross_entropy(real, torch.ones(4)) + F.binary_cross_entropy(fake, torch.zeros(4))
    logs = method.step(run, batch)
    assert logs["discriminator"].item() == pytest.approx(doubt.item(), rel=1e-5)
    assert [name for name, _ in run.minimized] == ["discriminator", "generator"]
    assert run.minimized[0][1] == pytest.approx(logs["discriminator"].item())
    assert run.minimized[1][1] == pytest.approx(logs["total"].item())
    for name, weights in before.items():
        for key, now in run.networks[name].named_parameters():
            assert now.dim() == 1 or not torch.equal(now, weights[key]), f"{name}.{key}"


def test_training_lowers_the_losses_it_should() -> None:
    """On one batch: content and style fall; without the generator's turn the discriminator tells the pictures apart."""
    config = dataclasses.replace(TINY, adversarial_weight=0.01)
    method = Method(config)
    run, batch = Steps(method), batch_of(4)
    first = method.step(run, batch)
    for _ in range(60):
        last = method.step(run, batch)
    assert last["style"] < 0.6 * first["style"]
    assert last["total"] < 0.8 * first["total"]
    judge = run.networks["discriminator"]
    made = run.networks["generator"](batch[0], run.networks["style_encoder"](batch[1]), run.randn("noise", 4, 2, 4, 4))
    start = crossdomain.bce_discriminator(judge(batch[1]), judge(made.detach())).item()
    for _ in range(30):
        run.minimize("discriminator", crossdomain.bce_discriminator(judge(batch[1]), judge(made.detach())))
    assert run.minimized[-1][1] < 0.5 * start
    assert judge.probability(batch[1]).min() > judge.probability(made.detach()).max()


def test_evaluation_knows_the_identity_and_the_style_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    method = Method(TINY)
    run, batch = Steps(method), batch_of(3)

    def judged(result: int) -> dict[str, float]:
        monkeypatch.setattr(method, "_painted", lambda _run, _networks, *pictures: pictures[result])
        with torch.no_grad():
            return method.evaluate(run, [batch, batch])

    identity, copy = judged(0), judged(1)
    assert identity["content_lost"] == pytest.approx(0, abs=1e-6)
    assert copy["style_left"] == pytest.approx(0, abs=1e-6)
    assert copy["content_lost"] > 0.2
    untouched, wanted = (narrow()(x, TINY.style_layers) for x in batch)
    shares = list[float]()
    for layer in TINY.style_layers:
        for f, a in zip(untouched[layer], wanted[layer], strict=True):
            G, A = (x.flatten(1) @ x.flatten(1).T / x[0].numel() for x in (f, a))
            gap = float((G - A).square().sum())
            shares.append(gap / max(gap, 0.1 * float(A.square().sum())))
    assert identity["style_left"] == pytest.approx(sum(shares) / len(shares), rel=1e-4)
    for found in (identity, copy):
        assert found["score"] == pytest.approx(found["content_lost"] + found["style_left"])


def test_preview_is_a_sheet() -> None:
    method = Method(TINY)
    batch = batch_of(6)
    with torch.no_grad():
        sheet = method.preview(Steps(method), batch)
    assert sheet.shape == (3, 4 * 32, 3 * 32)
    assert torch.equal(sheet[:, 32:64, :32], batch[0][1])
    assert torch.equal(sheet[:, 96:, 32:64], batch[1][3])


@pytest.mark.parametrize("size", [(32, 32), (33, 70), (5, 1), (128, 17)])
def test_translation_at_any_size(size: tuple[int, int]) -> None:
    networks = Method(TINY).networks()
    painter = Painter(TINY, networks)
    pictures, style = torch.rand(2, 3, *size), torch.rand(1, 3, 50, 40)
    made = painter.translate(pictures, style)
    assert made.shape == pictures.shape
    assert made.min() >= 0
    assert made.max() <= 1
    assert torch.equal(made, painter.translate(pictures, style))
    assert not torch.equal(made, painter.translate(pictures, style, seed=1))
    assert (made - painter.translate(pictures, torch.rand(1, 3, 32, 32) * 0.1)).abs().max() > 1e-4
    each = painter.translate(pictures, torch.cat([style, style]))
    torch.testing.assert_close(each, made)
    with pytest.raises(InputError, match="3 style pictures for 2"):
        painter.translate(pictures, style.expand(3, -1, -1, -1))


def test_translation_at_the_training_size_is_the_generator_alone() -> None:
    networks = Method(TINY).networks()
    pictures, style = batch_of(2)
    made = Painter(TINY, networks).translate(pictures, style, seed=5)
    noise = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        torch.testing.assert_close(made, networks["generator"](pictures, networks["style_encoder"](style), noise))


def test_other_sizes_are_continued_by_their_border_pixels() -> None:
    networks = Method(TINY).networks()
    pictures, style = torch.rand(1, 3, 10, 37), torch.rand(1, 3, 32, 32)
    rows, columns = torch.arange(16).clamp(max=9), torch.arange(40).clamp(max=36)
    noise = torch.randn(1, 2, 2, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        codes = networks["style_encoder"](style)
        wanted = networks["generator"](pictures[:, :, rows][..., columns], codes, noise)[:, :, :10, :37]
    torch.testing.assert_close(Painter(TINY, networks).translate(pictures, style), wanted)


def test_reverse_swaps_the_domains(tmp_path: Path) -> None:
    data = {}
    for role, level in (("a", 40), ("b", 200)):
        (tmp_path / role).mkdir()
        Image.fromarray(np.full((40, 40, 3), level, np.uint8)).save(tmp_path / role / "x.png")
        data[role] = Pictures(tmp_path / role, side=40)
    for reverse, levels in ((False, (40, 200)), (True, (200, 40))):
        method = Method(dataclasses.replace(TINY, reverse=reverse))
        sample = method.sample(data, np.random.default_rng(0))
        assert [t.shape for t in sample] == [(3, 32, 32)] * 2
        assert tuple(round(t.mean().item() * 255) for t in sample) == levels


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"resolution": 100}, "needs a resolution of 2, 4, 8 ... pixels: 128, not 100"),
        ({"resolution": 8}, "between 16 and 1024"),
        ({"ngf": 0}, "ngf must be a whole number between 1 and 1024"),
        ({"style_weight": -1.0}, "style_weight must be a number between 0"),
        ({"style_layers": ()}, "at least one layer"),
    ],
)
def test_configurations_that_cannot_be(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Method(dataclasses.replace(TINY, **change))


def test_the_default_preset_makes_the_default_network() -> None:
    preset = read_preset("crossdomain", "default")
    known = {f.name: f.default for f in (*dataclasses.fields(TrainOptions), *dataclasses.fields(Config))}
    assert preset.keys() <= known.keys()
    assert preset["resolution"] == Config().resolution  # else the engine's own default would be taken
    assert Config().depth == 5


def test_short_runs_are_told() -> None:
    assert "too few" in str(Method(TINY).short(100, 8))
    assert Method(TINY).short(10_000, 8) is None


def test_a_run_learns_exports_and_resumes_to_the_bit(tmp_path: Path) -> None:
    data = {}
    for role, seed in (("a", 1), ("b", 2)):
        (tmp_path / role).mkdir()
        for i in range(3):
            pixels = np.random.default_rng((seed, i)).integers(0, 256, (40, 44, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / role / f"{i}.png")
        data[role] = Pictures(tmp_path / role, side=40)
    options = TrainOptions(
        steps=4, batch=2, resolution=32, threads=0, checkpoint_every=1, keep=9, log_every=1, evaluate_samples=2
    )

    def run(name: str, *, resume: bool = False) -> dict[str, Tensor]:
        chosen = dataclasses.replace(options, out=str(tmp_path / name))
        fit(Method(TINY), data, chosen, family="crossdomain", resume=resume)
        return load_file(tmp_path / name / "weights.safetensors")

    whole = run("whole")
    run("resumed")
    for step in ("000000003", "000000004"):  # as if killed in the third step
        shutil.rmtree(tmp_path / "resumed" / "checkpoints" / step)
    (tmp_path / "resumed" / "weights.safetensors").unlink()
    resumed = run("resumed", resume=True)
    assert whole.keys() == resumed.keys()
    assert {k.split(".")[0] for k in whole} == {"generator", "style_encoder"}
    for key, tensor in whole.items():
        assert torch.equal(tensor, resumed[key]), key
    painter = Painter.load(tmp_path / "whole")
    assert painter.config == TINY
    weight = painter.style_encoder.get_parameter("linear.weight")
    assert torch.equal(weight, whole["style_encoder.linear.weight"].float())
    assert painter.translate(torch.rand(1, 3, 40, 20), torch.rand(1, 3, 32, 32)).shape == (1, 3, 40, 20)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    losses = [line["losses"] for line in lines if "losses" in line]
    assert len(losses) == 4
    assert set(losses[0]) == {"total", "adversarial", "content", "style", "discriminator"}
    assert list((tmp_path / "whole" / "samples").glob("*.png"))
