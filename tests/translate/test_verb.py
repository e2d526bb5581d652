"""The verb: any size and form of picture in, the same form out; direction, regions, memory, record, command."""

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sfumato
from sfumato.cli import main
from sfumato.errors import InputError
from sfumato.models.translator import DIRECTIONS, load_translator
from sfumato.picture.io import read_picture, write_picture
from sfumato.picture.record import read_record
from sfumato.translate import prepare, translate
from sfumato.translate.work import tile_for

from .made import landscape, write_model


def photo(folder: Path, name: str = "photo.png", size: tuple[int, int] = (37, 50)) -> Path:
    path = folder / name
    pixels = (landscape(*size)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_it_is_the_network_at_any_size_and_in_tiles(tmp_path: Path) -> None:
    model, source = write_model(tmp_path, "transposed"), photo(tmp_path)
    translator, digest = load_translator(model)
    given = read_picture(source)
    for reverse, direction in zip((False, True), DIRECTIONS, strict=True):
        wanted = translator.translate(torch.from_numpy(given.rgb).permute(2, 0, 1)[None], direction)
        done = sfumato.translate(source, model=model, reverse=reverse)
        assert torch.equal(done.tensor, wanted)
        tiled = translate(source, model=model, reverse=reverse, tile=16)
        assert (tiled.tensor - wanted).abs().max() < 2e-4
        assert tiled.record["settings"]["tile"] == 16
        assert tiled.record["settings"]["direction"] == direction
    assert done.record["verb"] == "translate"
    assert done.record["weights"] == {str(model): digest}
    assert done.record["inputs"][0]["sha256"] == given.sha256
    small = translate(source, model=model, size=20)
    assert small.rgb.shape == (20, 27, 3)
    assert translate(source, model=model, size=4000).rgb.shape == (37, 50, 3)  # nothing is enlarged
    assert translate(photo(tmp_path, "dot.png", (1, 2)), model=model).rgb.shape == (1, 2, 3)


def test_the_bundled_model_paints_on_silk_and_back() -> None:
    """A blue sky is warm silk afterwards, hues draw together, the building stays; the great wave loses warm paper."""
    photos = resources.files("sfumato.demo") / "photos"
    with resources.as_file(photos / "pavilion.jpg") as path:
        given, made = (
            np.asarray(im, np.float32) for im in (Image.open(path), translate(path, model="ink", size=160).image)
        )
    small = np.asarray(
        Image.fromarray(given.astype(np.uint8)).resize(made.shape[1::-1], Image.Resampling.LANCZOS), np.float32
    )
    sky = (slice(10, 40), slice(150, 230))
    assert small[sky][..., 2].mean() - small[sky][..., 0].mean() > 15
    assert made[sky][..., 0].mean() - made[sky][..., 2].mean() > 15
    chroma = [(x - x.mean(2, keepdims=True)).std((0, 1)).max() for x in (small, made)]
    assert chroma[1] < 0.7 * chroma[0]
    assert np.corrcoef(small.mean(2).ravel(), made.mean(2).ravel())[0, 1] > 0.8
    with resources.as_file(resources.files("sfumato.demo") / "paintings" / "great_wave.jpg") as path:
        painting = np.asarray(Image.open(path), np.float32)
        back = np.asarray(translate(path, model="ink", size=160, reverse=True).image, np.float32)
    warmth = [(x[..., 0] - x[..., 2]).mean() for x in (painting, back)]
    assert warmth[1] < warmth[0] - 15


def test_outside_of_regions_every_pixel_stays(tmp_path: Path) -> None:
    model, source = write_model(tmp_path, "light"), photo(tmp_path)
    mask = np.zeros((37, 50), np.uint8)
    mask[:, 20:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    given, whole = read_picture(source).rgb, translate(source, model=model).rgb
    inside = mask > 0
    for chosen, kept in (
        ({"only": (str(tmp_path / "mask.png"),)}, ~inside),
        ({"except_": (str(tmp_path / "mask.png"),)}, inside),
    ):
        for tile in (None, 16):
            out = tmp_path / "out.png"
            done = translate(source, model=model, output=out, tile=tile, **chosen)
            assert np.array_equal(done.rgb[kept], given[kept])
            assert np.abs(done.rgb[~kept] - whole[~kept]).max() < 2e-4
            assert np.array_equal(np.asarray(Image.open(out))[kept], np.asarray(Image.open(source))[kept])
    assert len(done.record["inputs"]) == 2
    with pytest.raises(InputError, match="shows no whale"):
        translate(source, model=model, only=("whale",))


def test_alpha_depth_and_record_go_into_the_file(tmp_path: Path) -> None:
    model = write_model(tmp_path, "cut")
    pixels = landscape(20, 24)[0].permute(1, 2, 0).numpy()
    deep = tmp_path / "deep.png"
    write_picture(deep, pixels, bits=16)
    translate(deep, model=model, output=tmp_path / "deep-out.png")
    assert read_picture(tmp_path / "deep-out.png").bits == 16
    alpha = np.linspace(0, 255, 24).astype(np.uint8)[None].repeat(20, 0)
    Image.fromarray(np.dstack([(pixels * 255).astype(np.uint8), alpha])).save(tmp_path / "alpha.png")
    translate(tmp_path / "alpha.png", model=model, output=tmp_path / "alpha-out.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "alpha-out.png"))[..., 3], alpha)
    assert read_record(tmp_path / "alpha-out.png")["settings"]["model"] == str(model)
    with pytest.raises(InputError, match=r"alpha\.png"):
        translate(tmp_path / "alpha.png", model=model, output=tmp_path / "alpha.png")


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    model, source = write_model(tmp_path, "cut"), photo(tmp_path)
    with pytest.raises(InputError, match="this model has no way back: leave reverse out"):
        translate(source, model=model, reverse=True)
    with pytest.raises(InputError, match="a onepass model translates no pictures"):
        translate(source, model="onepass")
    with pytest.raises(InputError, match="unknown option 'sise'"):
        prepare(model, sise=3)
    with pytest.raises(InputError, match="size must be a whole number between 8 and 65536 or 'original', not 4"):
        prepare(model, size=4)
    with pytest.raises(InputError, match=r"50 x 37 pixels need \d+ MiB more memory than is allowed"):
        translate(source, model=model, max_memory="1MiB")
    assert tile_for(1000, 1000, 88**2 * 10, 10) == 64
    with pytest.raises(InputError, match="smaller --size"):
        tile_for(1000, 1000, 88**2 * 10 - 200, 10)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path, "transposed")
    folder = tmp_path / "photos"
    folder.mkdir()
    first, second = photo(folder, "a.png"), photo(folder, "b.png", (24, 24))
    out = tmp_path / "out"
    command = ["translate", str(folder), "--model", str(model), "-o", str(out), "--quiet"]
    assert main([*command, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    made = [out / "a-transposed.png", out / "b-transposed.png"]
    assert lines == [{"output": str(p), "direction": "a_to_b"} for p in made]
    assert np.abs(np.asarray(Image.open(made[0])) / 255 - translate(first, model=model).rgb).max() <= 0.5 / 255 + 1e-6
    before = made[0].stat().st_mtime_ns
    made[1].unlink()
    assert main([*command, "--skip-existing"]) == 0
    assert made[0].stat().st_mtime_ns == before
    assert made[1].exists()
    assert main(["translate", str(second), "--model", str(model), "--reverse", "-o", str(tmp_path / "back.png")]) == 0
    assert main(["inspect", str(tmp_path / "back.png")]) == 0
    assert '"direction": "b_to_a"' in capsys.readouterr().out
    assert main(["translate", str(folder), "--model", str(model), "-o", str(tmp_path / "one.png")]) == 2
    assert "give a folder" in capsys.readouterr().err
    assert main(["translate", str(first)]) == 2
