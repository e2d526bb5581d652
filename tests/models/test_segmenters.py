"""Families that label pixels: what they see with, what they learn, any size, resumed runs, and their files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from sfumato import cli, cli_train
from sfumato.errors import InputError
from sfumato.features.sources import load_features
from sfumato.models import deeplab, unet
from sfumato.models.encoders import LEVELS, TAPS, WHOLE, Light, VGGLite, make_encoder
from sfumato.models.predictor import load_predictor
from sfumato.models.registry import FAMILIES, family, offers
from sfumato.models.sampler import config_from
from sfumato.models.segmenting import figures
from sfumato.picture.label_maps import painted
from sfumato.train import presets, read_preset, resume, train
from sfumato.train.data import Pictures
from sfumato.weights.files import save_model

NETWORKS: dict[str, Any] = {"unet": unet.UNet, "deeplab": deeplab.DeepLab}
SMALL: dict[str, dict[str, Any]] = {
    "unet": {"width": 8, "resolution": 32},
    "deeplab": {"width": 16, "low_level": 8, "rates": (1, 2), "resolution": 32, "dropout": 0.0},
}
CLASSES = ("meadow", "disc", "wall")
COLORS = ((60, 140, 50), (220, 40, 60), (160, 160, 160))
OPTIONS = {"batch": 4, "threads": 0, "device": "cpu", "evaluate_samples": 8, "val_fraction": 0.2, "log_every": 2}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Twenty noisy pictures 40 x 48: a meadow, a wall above it, a disc somewhere; label maps half as large."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :48]
    for kind in ("pictures", "labels"):
        (folder / kind).mkdir()
    for i in range(20):
        labels = np.where(y < rng.integers(10, 30), 2, 0).astype(np.uint8)
        labels[(y - rng.integers(8, 32)) ** 2 + (x - rng.integers(8, 40)) ** 2 < 60] = 1
        noisy = painted(labels, COLORS) + rng.normal(0, 12, (40, 48, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / "pictures" / f"{i}.png")
        Image.fromarray(labels[::2, ::2]).save(folder / "labels" / f"{i}.png")
    (folder / "classes.toml").write_text(
        f"classes = {list(CLASSES)}\ncolors = {[list(c) for c in COLORS]}\nignore = 7\n"
    )
    return {"data": str(folder / "pictures"), "labels": str(folder / "labels")}


def classes_of(places: dict[str, str]) -> str:
    return str(Path(places["data"]).parent / "classes.toml")


def config(name: str, **given: Any) -> Any:
    return family(name).Config(**{**SMALL[name], "classes": CLASSES, "colors": COLORS, **given})


@pytest.mark.parametrize("encoder", ["light", "vgg-lite"])
@pytest.mark.parametrize("name", SMALL)
def test_resumed_equals_uninterrupted(name: str, encoder: str, places: dict[str, str], tmp_path: Path) -> None:
    given = {**OPTIONS, **SMALL[name], **places, "classes": classes_of(places), "encoder": encoder, "tuned": 1}
    train(name, out=tmp_path / "whole", steps=3, **given)
    train(name, out=tmp_path / "parts", steps=3, checkpoint_every=2, keep=9, **given)
    newest = tmp_path / "parts" / "checkpoints" / "000000003"
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    resume(tmp_path / "parts")
    whole, parts = (load_file(tmp_path / k / "checkpoints/000000003/tensors.safetensors") for k in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    sheet = np.asarray(Image.open(tmp_path / "whole" / "samples" / "000000003.png"))
    assert sheet.shape == (3 * 32, 4 * 32, 3)
    middle = sheet[32:64].reshape(-1, 3)
    assert {tuple(c) for c in np.unique(middle, axis=0).tolist()} <= set(COLORS)

    predictor, _ = load_predictor(tmp_path / "whole")
    assert (predictor.classes, predictor.colors, predictor.side) == (CLASSES, COLORS, 32)
    pictures = torch.rand(2, 3, 37, 50, generator=torch.Generator().manual_seed(0))
    chances = predictor.predict(pictures)
    assert chances.shape == (2, 3, 37, 50)
    torch.testing.assert_close(chances.sum(1), torch.ones(2, 37, 50))
    torch.testing.assert_close(predictor.predict(pictures[1:]), chances[1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "encoder"), [("unet", "light"), ("deeplab", "light"), ("unet", "vgg-lite")])
def test_it_learns(name: str, encoder: str, places: dict[str, str], tmp_path: Path) -> None:
    given = {**OPTIONS, **SMALL[name], **places, "classes": classes_of(places), "encoder": encoder, "ema": 0}
    given |= {"learning_rate": 1e-2, "jitter": 0.1, "batch": 8}
    done = train(name, out=tmp_path / "run", steps=50, **given)
    assert done.metrics["mIoU"] > 0.8
    assert done.metrics["pixel accuracy"] > 0.93
    assert done.metrics["score"] == pytest.approx(1 - done.metrics["mIoU"])
    own = [done.metrics[f"IoU {c}"] for c in CLASSES]
    assert done.metrics["mIoU"] == pytest.approx(sum(own) / 3)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(1, 1), (17, 40), (33, 16), (48, 64)])
def test_any_size_is_the_padded_picture_cropped(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name](config(name, encoder="light")).eval()
    picture = torch.rand(1, 3, *size)
    whole = [-(-s // 16) * 16 for s in size]
    rows, columns = (torch.arange(n).clamp(max=s - 1) for n, s in zip(whole, size, strict=True))
    padded = picture[:, :, rows][:, :, :, columns]
    with torch.no_grad():
        found, wanted = network(picture), network(padded)[:, :, : size[0], : size[1]]
    assert found.shape == (1, 3, *size)
    torch.testing.assert_close(found, wanted)


def test_vgg_lite_sees_what_the_bundled_network_sees() -> None:
    picture = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    layers = [f"relu{tap}" for tap in TAPS]
    wanted = load_features("vgg-lite")(F.avg_pool2d(picture, 2), layers)
    encoder = VGGLite(tuned=2)
    for k, (found, layer) in enumerate(zip(encoder(picture), layers, strict=True)):
        torch.testing.assert_close(found, wanted[layer] / LEVELS[k], atol=1e-4, rtol=1e-4)
        assert 0.1 < float(found.detach().square().mean().sqrt()) < 2
        assert found.shape == (1, encoder.widths[k], 64 >> k + 1, 96 >> k + 1)
        assert found.requires_grad == (k >= 2)
    assert {key[4] for key in encoder.state_dict()} == {"3", "4"}  # the rest is bundled by itself
    assert not VGGLite().state_dict()
    assert sum(p.numel() for p in encoder.parameters()) == 1_227_776


def test_the_whole_vgg_is_frozen_and_sees_what_the_wheel_sees() -> None:
    picture = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)).requires_grad_()
    wanted = load_features("vgg19", pooling="max")(picture, tuple(WHOLE))
    encoder = make_encoder("vgg19")
    for k, (found, (layer, level)) in enumerate(zip(encoder(picture), WHOLE.items(), strict=True)):
        torch.testing.assert_close(found, wanted[layer] / level)
        assert 0.1 < float(found.detach().square().mean().sqrt()) < 3
        assert found.shape == (1, encoder.widths[k], 64 >> k + 1, 96 >> k + 1)
    assert not encoder.state_dict()
    assert not encoder.pretrained()
    for wish in ({"tuned": 1}, {"stride": 8}):
        with pytest.raises(InputError, match="vgg19 is frozen and has a stride of 16"):
            make_encoder("vgg19", **wish)


@pytest.mark.parametrize("kind", ["light", "vgg-lite"])
def test_output_stride_8_keeps_the_last_map_as_large_as_the_third(kind: Any) -> None:
    picture = torch.rand(1, 3, 32, 48)
    for stride, wanted in ((16, (2, 3)), (8, (4, 6))):
        maps = make_encoder(kind, stride=stride)(picture)
        assert [tuple(m.shape[2:]) for m in maps] == [(16, 24), (8, 12), (4, 6), wanted]
    with pytest.raises(InputError, match="output stride must be 8 or 16, not 4"):
        make_encoder(kind, stride=4)


def test_the_pyramid_looks_exactly_rate_pixels_far() -> None:
    torch.manual_seed(0)
    for stride, reach in ((16, 3), (8, 6)):
        network = deeplab.DeepLab(config("deeplab", encoder="light", rates=(3,), output_stride=stride))
        branch = network.pyramid.branches[1].eval()
        for norm in branch.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                torch.nn.init.constant_(norm.bias, 5.0)  # no ReLU is off
        x = torch.rand(1, 96, 17, 17, requires_grad=True)
        (gradient,) = torch.autograd.grad(branch(x)[:, :, 8, 8].sum(), x)
        seen = (gradient.abs().sum((0, 1)) > 0).nonzero()
        assert {tuple(p) for p in seen.tolist()} == {
            (a, b) for a in (8 - reach, 8, 8 + reach) for b in (8 - reach, 8, 8 + reach)
        }


def test_new_layers_learn_ten_times_as_fast_as_pretrained_ones() -> None:
    method = unet.Method(config("unet", tuned=1))
    networks = method.networks()
    new, old = method.optimizers(networks)["segmenter"].param_groups
    assert old["lr"] == pytest.approx(0.1 * new["lr"])
    encoder = networks["segmenter"].encoder
    assert isinstance(encoder, VGGLite)
    assert {id(p) for p in old["params"]} == {id(p) for p in encoder.parameters()}
    everything = sum(p.numel() for p in networks["segmenter"].parameters())
    assert sum(p.numel() for g in (new, old) for p in g["params"]) == everything
    light = unet.Method(config("unet", encoder="light"))
    assert len(light.optimizers(light.networks())["segmenter"].param_groups) == 1
    assert 300_000 < sum(p.numel() for p in Light().parameters()) < 350_000


def test_samples_are_augmented_and_judged_ones_are_not(places: dict[str, str]) -> None:
    method = unet.Method(config("unet", crop_scale=(0.5, 0.9)))
    data = {
        "data": Pictures(places["data"], side=40),
        "labels": Pictures(places["labels"], side=40, labels=method.class_list),
    }
    table = torch.tensor(COLORS).float() / 255
    for make, largest in ((method.sample, False), (method.judged, True)):
        for seed in range(4):
            picture, labels = make(data, np.random.default_rng(seed))
            assert picture.shape == (3, 32, 32)
            nearest = (picture.permute(1, 2, 0)[:, :, None] - table).norm(dim=-1).argmin(-1)
            assert (nearest == labels).float().mean() > 0.85  # cut alike; edges are blurred
        if largest:
            assert torch.equal(picture, make(data, np.random.default_rng(3))[0])


@pytest.mark.parametrize("name", SMALL)
def test_presets_fit_and_their_files_stay_small(name: str, tmp_path: Path) -> None:
    for preset in presets(name):
        chosen = read_preset(name, preset)
        if not chosen:
            continue
        c = family(name).Method(config_from(family(name).Config, chosen)).config
        assert len(c.colors) == len(c.classes)
        path = tmp_path / f"{preset}.safetensors"
        network = NETWORKS[name](c)
        save_model(path, name, chosen, {"segmenter": network}, {})
        assert path.stat().st_size < 4_000_000


def test_what_a_run_needs_is_said(places: dict[str, str], tmp_path: Path) -> None:
    given: dict[str, Any] = {**OPTIONS, **SMALL["unet"], **places, "out": tmp_path / "run", "steps": 1}
    with pytest.raises(InputError, match="unet needs --labels: label maps of the pictures"):
        train("unet", **{k: v for k, v in given.items() if k != "labels"})
    with pytest.raises(InputError, match=r"say what the labels mean: --classes FILE\.toml"):
        train("unet", **given)
    with pytest.raises(InputError, match=r"nowhere\.toml: no such file"):
        train("unet", classes="nowhere.toml", **given)
    with pytest.raises(InputError, match="has the label 2, but there are 2 classes"):
        train("unet", classes=("meadow", "disc"), **given)
    assert not (tmp_path / "run").exists()


def test_predictors_are_known_and_others_refused(tmp_path: Path) -> None:
    assert {name for name in FAMILIES if offers(name, "Predictor")} == set(SMALL)
    with pytest.raises(InputError, match="a onepass model labels no pixels; these do: unet, deeplab"):
        load_predictor("onepass")
    other = config("unet", encoder="light")
    path = tmp_path / "short.safetensors"
    table = {**vars(other), "classes": ("a", "b")}
    save_model(path, "unet", table, {"segmenter": unet.UNet(other)}, {})
    with pytest.raises(InputError, match="3 colors for 2 classes"):
        load_predictor(path)
    table["colors"] = ()
    save_model(path, "unet", table, {"segmenter": unet.UNet(other)}, {})
    with pytest.raises(InputError, match="made for a network of another size"):
        load_predictor(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="not a model of sfumato"):
        load_predictor(path)


def test_figures_leave_out_classes_that_do_not_occur() -> None:
    found = figures(torch.tensor([[6, 2, 0], [0, 8, 0], [0, 0, 0]]), CLASSES)
    assert found == pytest.approx(
        {
            "score": 1 - (6 / 8 + 8 / 10) / 2,
            "mIoU": (6 / 8 + 8 / 10) / 2,
            "pixel accuracy": 14 / 16,
            "IoU meadow": 6 / 8,
            "IoU disc": 8 / 10,
        }
    )


def test_the_command_takes_a_class_list(
    places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli_train, "prepare_memory", lambda: None)
    options = ["--batch", "2", "--threads", "0", "--device", "cpu", "--resolution", "16", "--evaluate-samples", "2"]
    arguments = ["train", "unet", "--data", places["data"], "--labels", places["labels"], "--encoder", "light"]
    arguments += ["--classes", classes_of(places), "--out", str(tmp_path / "run"), "--steps", "1", *options]
    assert cli.main(arguments) == 0
    assert "the model is" in capsys.readouterr().err
    predictor, _ = load_predictor(tmp_path / "run")
    assert predictor.classes == CLASSES
