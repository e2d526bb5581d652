"""`evaluate generated`: what data score against themselves, what fools which metric, traps of reading pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from generate.made import plain
from metrics.test_embedding import classifier
from PIL import Image

from sfumato.cli import main
from sfumato.errors import InputError
from sfumato.evaluate import sets
from sfumato.evaluate.generated import HALVES, IDENTITY, REPEATED, evaluate_generated
from sfumato.evaluate.sets import cache_folder, embedded, read_set
from sfumato.generate.sampling import load_sampler
from sfumato.metrics.embedding import Embedded, load_embedding
from sfumato.metrics.perceptual_path_length import activations, path_lengths, trimmed


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("judge") / "digits.safetensors")


def pictures(path: Path, count: int = 60, side: int = 16, seed: int = 0) -> Path:
    """Blocks of colour."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    np.savez(path, x=small.repeat(side // 4, 1).repeat(side // 4, 2))
    return path


def test_reference_rows(judge: Path, tmp_path: Path) -> None:
    """Data by heart are perfect by every metric; one picture repeated is precise and reaches nothing."""
    data = pictures(tmp_path / "real.npz", 80)
    found = evaluate_generated(data, data, features=str(judge))
    own, one, half = (found.rows[k] for k in (IDENTITY, REPEATED, HALVES))
    assert found.rows["real.npz"]["FID-digits"] == own["FID-digits"] == pytest.approx(0, abs=1e-4)
    assert (own["precision"], own["recall"], own["coverage"], own["diversity"]) == (1, 1, 1, 1)
    assert one["precision"] == 1
    assert one["recall"] <= 0.05
    assert one["diversity"] == 0
    assert one["FID-digits"] > half["FID-digits"] > 0
    assert one["IS-digits"] == pytest.approx(1, abs=1e-5)
    assert found.features == f"classifier {judge}, last layer but one"
    shares = np.array(list(found.shares.values()))
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-6)
    np.testing.assert_allclose(shares[:, 0], shares[:, 1])
    assert "FID-digits of fewer than 1000 pictures is mostly chance" in found.table()


def test_a_model_by_its_seeds(judge: Path, tmp_path: Path) -> None:
    data, model = pictures(tmp_path / "real.npz"), plain(tmp_path / "gan.safetensors")
    found = evaluate_generated(model, data, features=str(judge), count=40, seed=3)
    assert found.made == {
        "name": "gan.safetensors",
        "sha256": found.made["sha256"],
        "pictures": 40,
        "seed": 3,
        "truncation": 1.0,
    }
    assert found.size == (16, 16)
    assert (found.data["pictures"], found.data["of"]) == (40, 60)
    assert found.rows["gan.safetensors"]["FID-digits"] > found.rows[HALVES]["FID-digits"]
    again = evaluate_generated(model, data, features=str(judge), count=40, seed=3)
    assert again.rows == found.rows
    other = evaluate_generated(model, data, features=str(judge), count=40, seed=4)
    assert other.rows["gan.safetensors"] != found.rows["gan.safetensors"]
    flat = evaluate_generated(model, data, features=str(judge), count=40, truncation=0.0)
    assert flat.rows["gan.safetensors"]["diversity"] == pytest.approx(0, abs=1e-3)


def test_unequal_counts_are_told(judge: Path, tmp_path: Path) -> None:
    few, many = pictures(tmp_path / "few.npz", 20), pictures(tmp_path / "many.npz", 50)
    found = evaluate_generated(few, many, features=str(judge))
    assert (found.made["pictures"], found.data["pictures"]) == (20, 50)
    assert any("20 made pictures against 50 real ones" in note for note in found.notes)
    with pytest.raises(InputError, match="at least 2"):
        evaluate_generated(few, many, features=str(judge), count=1)


def test_pictures_are_reduced_without_aliasing(tmp_path: Path) -> None:
    """The resize trap: a fine checkerboard must become grey, not stay black and white or become one of them."""
    board = np.indices((64, 64)).sum(0) % 2 * 255
    np.savez(tmp_path / "boards.npz", x=np.stack([board] * 3).astype(np.uint8))
    small = read_set(tmp_path / "boards.npz", size=(16, 16), count=3)
    assert small.pixels.shape == (3, 3, 16, 16)
    assert (small.pixels.float() - 127.5).abs().max() < 4
    wide = np.zeros((2, 40, 80, 3), np.uint8)
    wide[:, :, 20:60] = 255  # the middle square
    np.savez(tmp_path / "wide.npz", x=wide)
    assert read_set(tmp_path / "wide.npz", size=(20, 20), count=9).pixels.float().mean() > 250
    large = read_set(tmp_path / "wide.npz", size=(80, 80), count=9)
    assert large.notes == (f"2 pictures of {tmp_path / 'wide.npz'} were enlarged, which makes them soft",)


def test_jpeg_traces_are_told_and_seen(judge: Path, tmp_path: Path) -> None:
    (tmp_path / "png").mkdir()
    (tmp_path / "jpg").mkdir()
    with np.load(pictures(tmp_path / "real.npz", 30)) as file:
        for i, picture in enumerate(file["x"]):
            Image.fromarray(picture).save(tmp_path / "png" / f"{i:02d}.png")
            Image.fromarray(picture).save(tmp_path / "jpg" / f"{i:02d}.jpg", quality=40)
    found = evaluate_generated(tmp_path / "jpg", tmp_path / "png", features=str(judge))
    assert found.rows["jpg"]["FID-digits"] > 100 * found.rows[IDENTITY]["FID-digits"]
    assert any("30 pictures of" in note and "compressed with losses" in note for note in found.notes)
    assert not evaluate_generated(tmp_path / "png", tmp_path / "png", features=str(judge)).notes[0].startswith("30")


def test_made_pictures_must_have_one_size(judge: Path, tmp_path: Path) -> None:
    for name, size in (("a", (16, 16)), ("b", (16, 18))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match=r"b.png has 16 x 18 pixels where others have 16 x 16"):
        evaluate_generated(tmp_path, pictures(tmp_path / "real.npz"), features=str(judge))


def test_the_path_length_is_named_and_of_the_made_pictures_only(
    judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model = pictures(tmp_path / "real.npz"), plain(tmp_path / "gan.safetensors")
    call = ["evaluate", "generated", str(model), "--data", str(data), "--features", str(judge), "-n", "20"]
    assert main([*call, "--path-length", "12", "--seed", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    embedding = load_embedding(judge)
    lengths = path_lengths(load_sampler(model)[0], activations(embedding)[1], pairs=12, seed=3)
    assert found["rows"]["gan.safetensors"]["PPL-digits"] == pytest.approx(trimmed(lengths).mean, rel=1e-3)
    assert found["rows"]["gan.safetensors"]["PPL-digits"] > 0
    assert [k for k in found["rows"] if "PPL-digits" in found["rows"][k]] == ["gan.safetensors"]
    assert any("12 pairs of latents, seeds from 3 on" in note and "not LPIPS" in note for note in found["notes"])
    assert main([*call, "--path-length", "12", "--truncation", "0"]) == 0
    assert "PPL-digits" in capsys.readouterr().out
    with pytest.raises(InputError, match="pictures have no latents"):
        evaluate_generated(data, data, features=str(judge), path_length=5)
    with pytest.raises(InputError, match="path_length must be 0"):
        evaluate_generated(model, data, features=str(judge), path_length=-1)


def test_what_a_network_saw_is_kept_by_pixels_and_network(tmp_path: Path) -> None:
    class Counting:
        name, title, sha256, calls = "counting", "x", "1", 0

        def __call__(self, batch: torch.Tensor) -> Embedded:
            self.calls += 1
            return Embedded(batch.mean((2, 3)), None)

    data, network = read_set(pictures(tmp_path / "a.npz", 20), size=None, count=20), Counting()
    first = embedded(data, network, cached=True)
    assert len(list((cache_folder() / "features").iterdir())) == 1
    again = embedded(data, network, cached=True)
    assert network.calls == 1
    assert torch.equal(first.features, again.features)
    network.sha256 = "2"
    embedded(data, network, cached=True)
    embedded(read_set(pictures(tmp_path / "a.npz", 20, seed=1), size=None, count=20), network, cached=True)
    assert network.calls == 3  # another network, other pixels under the same name
    embedded(data, network, cached=False)
    assert network.calls == 4
    for path in (cache_folder() / "features").iterdir():
        path.write_bytes(b"half")
    assert torch.equal(embedded(data, network, cached=True).features, first.features)


def test_subsets_do_not_depend_on_the_file_s_order_of_asking(tmp_path: Path) -> None:
    source = pictures(tmp_path / "a.npz", 50)
    small, large = (read_set(source, size=None, count=n) for n in (10, 50))
    assert small.pixels.shape[0] == 10
    whole = {p.numpy().tobytes() for p in large.pixels}
    assert all(p.numpy().tobytes() in whole for p in small.pixels)
    assert not torch.equal(small.pixels, large.pixels[:10])  # spread over all, not the first ones


def test_the_command(judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = pictures(tmp_path / "real.npz", 30)
    call = ["evaluate", "generated", str(data), "--data", str(data), "--features", str(judge), "--quiet"]
    assert main([*call, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["rows"]["real.npz"]["recall"] == 1
    assert document["data"]["pictures"] == 30
    assert main(call) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["FID-digits", "KID-digits"]
    assert lines[1].startswith("real.npz")
    assert main(["evaluate", "classifier", str(judge), "--data", str(data)]) == 2
    assert "unknown class of 00 ''" in capsys.readouterr().err


def test_a_classifier_is_judged_by_labels(judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sfumato.features.classifier import load_classifier

    with np.load(pictures(tmp_path / "x.npz", 40, side=8)) as file:
        x = file["x"]
    shown = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    found = load_classifier(judge).chances(shown).argmax(1).numpy()
    for i, (picture, k) in enumerate(zip(x, found, strict=True)):
        wrong = i < 4
        folder = tmp_path / "labelled" / "abc"[(k + wrong) % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{i}.png")
    assert main(["evaluate", "classifier", str(judge), "--data", str(tmp_path / "labelled"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["accuracy"] == pytest.approx(0.9)
    assert np.trace(document["confusion"]) == 36
    assert main(["evaluate", "classifier", str(judge), "--data", str(tmp_path / "labelled")]) == 0
    assert "accuracy 0.9000 of 40 pictures" in capsys.readouterr().out


def test_models_and_pictures_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    assert not sets.holds_pictures(tmp_path / "run")
    assert not sets.holds_pictures("digits")
    assert sets.holds_pictures(tmp_path)
    assert sets.holds_pictures("x.zip")
