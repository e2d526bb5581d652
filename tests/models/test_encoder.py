"""The encoder: trained for a small generator it finds codes, keeps its generator, and resumes from its file."""

import dataclasses
from pathlib import Path

import pytest
import torch
from edit.made import MAKERS, style_generator

from sfumato.errors import InputError
from sfumato.models.encoder import Config, Encoder, Method, Trained, open_space
from sfumato.picture.io import write_picture
from sfumato.train import train

from .steps import steps_of


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """What the generator makes, as files."""
    space, _ = open_space(style_generator(tmp_path / "g.safetensors"))
    for i, picture in enumerate(space.show(space.draw(range(40)))):
        write_picture(tmp_path / "pictures" / f"{i:02d}.png", picture)
    return tmp_path / "pictures"


def fitted(tmp_path: Path, kind: str, **changes: object) -> Method:
    path = MAKERS[kind](tmp_path / f"{kind}.safetensors")
    config = Config(generator=str(path), features="", channels=4)
    return Method(dataclasses.replace(config, **changes)).fitted({})  # type: ignore[arg-type]


def test_training_brings_pictures_nearer(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "run"
    train(
        "encoder", data=pictures, generator=str(tmp_path / "g.safetensors"), features="", channels=8, steps=80,
        batch=8, out=str(out), evaluate_every=80, evaluate_samples=8, sample_every=80, threads=0, ema=50, flip=False,
        learning_rate=3e-3,
    )  # fmt: skip
    space, sha256 = open_space(tmp_path / "g.safetensors")
    encoder = Trained.load(out)
    assert encoder.config.generator_sha256 == sha256
    wanted = space.show(space.draw(range(100, 116)))
    mean = space.draw(range(500)).mean(0, keepdim=True)
    found, middle = (space.show(c) for c in (encoder.encode(wanted), mean.expand(16, -1, -1)))
    assert float((found - wanted).square().mean()) < 0.6 * float((middle - wanted).square().mean())


@pytest.mark.parametrize("kind", list(MAKERS))
def test_any_family_with_codes(tmp_path: Path, kind: str) -> None:
    method = fitted(tmp_path, kind)
    space, _ = open_space(tmp_path / f"{kind}.safetensors")
    encoder = method.networks()["encoder"]
    assert isinstance(encoder, Encoder)
    assert encoder(torch.rand(2, 3, *space.size)).shape == (2, space.layers, space.width)
    codes = space.draw(range(1024))
    torch.testing.assert_close(encoder.mean, codes.mean(0))


def test_what_it_paints_must_pass_for_a_real_picture(tmp_path: Path) -> None:
    """With all distances off the feature judge alone moves the encoder."""
    path = style_generator(tmp_path / "g.safetensors", resolution=32)
    off = dict.fromkeys(("pixels", "perceptual", "codes", "delta", "adversarial"), 0.0)
    config = Config(generator=str(path), features="", channels=4, feature_judge="vgg-lite", feature_weight=0.5, **off)  # type: ignore[arg-type]
    run = steps_of(method := Method(config).fitted({}))
    before = [p.detach().clone() for p in run.networks["encoder"].parameters()]
    run.step = 1
    logs = method.step(run, (torch.rand(4, 3, 32, 32), torch.arange(4)))
    assert [name for name, _ in run.minimized] == ["encoder", "feature_judge"]
    assert run.minimized[0][1] == pytest.approx(0.5 * logs["features"].item(), rel=1e-5)
    moved = [not torch.equal(a, b) for a, b in zip(before, run.networks["encoder"].parameters(), strict=True)]
    assert sum(moved) > len(moved) // 2


def test_differences_are_let_in_one_after_another(tmp_path: Path) -> None:
    encoder = fitted(tmp_path, "stylegan2").networks()["encoder"]
    assert isinstance(encoder, Encoder)
    torch.nn.init.normal_(encoder.differences.bias)
    x = torch.rand(1, 3, 16, 16)
    whole = encoder(x)
    for count in (0, 2, 6):
        codes = encoder(x, count)
        torch.testing.assert_close(codes[:, :count], whole[:, :count])
        torch.testing.assert_close(codes[:, count:], codes[:, -1:].expand_as(codes[:, count:]))


class AtProgress:
    def __init__(self, progress: float) -> None:
        self.progress = progress


def test_the_schedule(tmp_path: Path) -> None:
    method = fitted(tmp_path, "stylegan2", first=0.2, last=0.8)
    found = [method.let_in(AtProgress(p)) for p in (0.0, 0.2, 0.25, 0.51, 0.8, 1.0)]  # type: ignore[arg-type]
    assert found == [0, 0, 1, 4, 6, 6]


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--generator"):
        Method(Config()).fitted({})
    path = style_generator(tmp_path / "g.safetensors")
    with pytest.raises(InputError, match="its file has changed"):
        Method(Config(generator=str(path), generator_sha256="other")).fitted({})
    with pytest.raises(InputError, match="makes no pictures of codes"):
        open_space("scene")
