"""From what a user says to a run: options, presets, splits, sources, and RUN/config.json."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sfumato.errors import InputError
from sfumato.models import registry
from sfumato.train import free_folder, plan, presets, read_preset, resume, train
from sfumato.train.job import divide, open_split, read_job
from sfumato.train.options import TrainOptions

QUICK: dict[str, Any] = {"device": "cpu", "batch": 2, "resolution": 8, "threads": 0, "evaluate_samples": 2}


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.FAMILIES, "toy", "train.toy")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Two folders of 40 plain pictures."""
    for role, level in (("dark", 60), ("bright", 190)):
        (tmp_path / role).mkdir()
        for i in range(40):
            Image.new("RGB", (16, 20), (level + i, level, level - i)).save(tmp_path / role / f"{role}_{i:02d}.png")
    return {"a": str(tmp_path / "dark"), "b": str(tmp_path / "bright")}


def test_the_summary_is_the_config_without_torch() -> None:
    from train import toy

    config, docs, roles = registry.summary("toy")
    real = {f.name: (f.type, f.default) for f in toy.Config.__dataclass_fields__.values()}
    assert {f.name: (f.type, f.default) for f in config.__dataclass_fields__.values()} == real  # type: ignore[attr-defined]
    assert docs["penalty"] == "Weight of the judge's gradient."
    assert roles == toy.Method.roles
    assert registry.title("toy").startswith("A family small enough")


def test_train_and_resume_to_another_end(folders: dict[str, str], tmp_path: Path) -> None:
    """The verb, from folders with a torn picture to a model; then further than was planned."""
    (tmp_path / "dark" / "dark_torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = train("toy", **folders, **QUICK, out=tmp_path / "run", steps=12, width=5, log_every=1, val_fraction=0)
    assert done.step == 12
    assert list(done.bad) in ([], ["dark_torn.png"])
    document = json.loads((tmp_path / "run" / "config.json").read_text())
    assert document["config"]["width"] == 5
    assert document["data"]["a"]["train"] == 41
    assert document["sources"]["a"] == [folders["a"]]
    longer = resume(tmp_path / "run", steps=15)
    assert longer.step == 15
    steps = [
        json.loads(text)["step"]
        for text in (tmp_path / "run" / "log.jsonl").read_text().splitlines()
        if "losses" in text
    ]
    assert steps == list(range(1, 16))
    assert resume(tmp_path / "run").step == 15


def test_every_torn_picture_is_named_at_the_end(folders: dict[str, str], tmp_path: Path) -> None:
    for path in sorted((tmp_path / "dark").iterdir())[::2]:
        path.write_bytes(path.read_bytes()[:30])
    done = train("toy", **folders, **QUICK, out=tmp_path / "run", steps=60, val_fraction=0)
    torn = {path.name for path in sorted((tmp_path / "dark").iterdir())[::2]}
    assert len(done.bad) > 10
    assert set(done.bad) <= torn


def test_a_folder_all_torn_is_refused(folders: dict[str, str], tmp_path: Path) -> None:
    for path in (tmp_path / "dark").iterdir():
        path.write_bytes(b"torn")
    for threads in (0, 2):
        with pytest.raises(InputError, match="none of its 40 pictures can be read"):
            train(
                "toy",
                **folders,
                **{**QUICK, "threads": threads},
                out=tmp_path / f"run{threads}",
                steps=2,
                val_fraction=0,
            )


def test_pictures_are_held_out_by_name() -> None:
    names = [f"photo{i}.jpg" for i in range(2000)]
    kept, held = divide(names, "photos", TrainOptions())
    assert sorted(kept + held) == sorted(names)
    assert 70 < len(held) < 130
    fewer = divide(names[:500], "photos", TrainOptions())
    assert set(fewer[1]) == set(held) & set(names[:500])
    assert divide(names[:3], "photos", TrainOptions()) == (names[:3], names[:3])
    assert divide(names, "photos", TrainOptions(val_fraction=0)) == (names, names)


def test_a_split_file_chooses(folders: dict[str, str], tmp_path: Path) -> None:
    table = {"dark": {"train": ["dark_01.png", "dark_03.png"], "dev": ["dark_02.png"], "test": ["dark_04.png"]}}
    (tmp_path / "split.json").write_text(json.dumps(table))
    options = TrainOptions(split=str(tmp_path / "split.json"))
    kept, held = open_split([folders["a"]], options)
    assert (kept.names, held.names) == (["dark_01.png", "dark_03.png"], ["dark_02.png"])
    with pytest.raises(InputError, match="has no table for 'bright', but dark"):
        open_split([folders["b"]], options)
    (tmp_path / "split.json").write_text(json.dumps(table["dark"]))
    assert open_split([folders["a"]], options)[0].names == kept.names
    with pytest.raises(InputError, match=r"lacks 'dark_01.png'"):
        open_split([folders["b"]], options)
    (tmp_path / "split.json").write_text('{"train": 3}')
    with pytest.raises(InputError, match="must hold lists of names"):
        open_split([folders["a"]], options)
    (tmp_path / "split.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        open_split([folders["a"]], options)


def test_several_folders_are_one_kind_of_data(folders: dict[str, str], tmp_path: Path) -> None:
    table = {
        "dark": {"train": ["dark_01.png"], "dev": ["dark_02.png"]},
        "bright": {"train": ["bright_07.png"], "dev": []},
    }
    (tmp_path / "split.json").write_text(json.dumps(table))
    kept, held = open_split([folders["a"], folders["b"]], TrainOptions(split=str(tmp_path / "split.json")))
    assert kept.names == ["bright/bright_07.png", "dark/dark_01.png"]
    assert held.names == ["bright/bright_07.png", "dark/dark_02.png"]


def test_presets_lie_below_what_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sfumato.train as verb

    (tmp_path / "presets" / "toy").mkdir(parents=True)
    (tmp_path / "presets" / "toy" / "quick.toml").write_text("hours = 0.5\nbatch = 3\nwidth = 6\n")
    (tmp_path / "presets" / "toy" / "wrong.toml").write_text("widht = 6\n")
    monkeypatch.setattr(verb.resources, "files", lambda _: tmp_path)
    assert read_preset("toy", "default") == {}
    chosen = plan("toy", preset="quick", a="x", b="y", batch=4)
    assert (chosen.options.hours, chosen.options.batch, chosen.config) == (0.5, 4, {"width": 6})
    counted = plan("toy", preset="quick", a="x", b="y", steps=9)
    assert (counted.options.hours, counted.options.steps) == (None, 9)
    with pytest.raises(InputError, match="unknown preset of toy 'quik': did you mean 'quick'"):
        plan("toy", preset="quik", a="x", b="y")
    with pytest.raises(InputError, match="did you mean 'width'"):
        plan("toy", preset="wrong", a="x", b="y", steps=1)


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family in registry.FAMILIES for name in presets(family)]
)
def test_every_preset_is_a_plan_and_says_how_it_came(family: str, name: str) -> None:
    sources = dict.fromkeys(registry.summary(family).roles, "somewhere")
    chosen = plan(family, preset=name, **sources, steps=1)
    chosen.method()
    file = resources.files("sfumato") / "presets" / family / f"{name}.toml"
    if name != "default" or file.is_file():
        assert file.read_text(encoding="utf-8").startswith(f"# sfumato train {family}")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"steps": 5}, "toy needs --a: pictures of the first domain"),
        ({"a": "x", "steps": 5}, "toy needs --b"),
        ({"a": "x", "b": "y", "style": "z", "steps": 5}, "no use for --style: it takes --a and --b"),
        ({"a": "x", "b": "y"}, "say how long"),
        ({"a": "x", "b": "y", "steps": 5, "widht": 3}, "unknown option 'widht': did you mean 'width'"),
        ({"a": "x", "b": "y", "steps": 0}, "steps must be a whole number"),
        ({"a": "x", "b": "y", "steps": 5, "hours": 1}, "not both"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        plan("toy", **given)


def test_a_network_built_for_a_resolution_sets_it() -> None:
    """crossdomain's Config has a resolution of its own, which is the crops' too."""
    folders = {"a": "photos", "b": "paintings"}
    assert plan("crossdomain", **folders, steps=1).options.resolution == 128
    chosen = plan("crossdomain", **folders, steps=1, resolution=64)
    assert (chosen.options.resolution, chosen.config["resolution"]) == (64, 64)
    assert chosen.method().resolution == 64


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(InputError, match="unknown family 'toys': did you mean 'toy'"):
        plan("toys", steps=3)


def test_data_that_is_not_there_is_refused(folders: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no pictures in it"):
        train("toy", a=tmp_path / "empty", b=folders["b"], **QUICK, steps=2, out=tmp_path / "run")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        train("toy", a=tmp_path / "nowhere", b=folders["b"], **QUICK, steps=2, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_config_out_of_its_type_is_refused(folders: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="width must be a whole number, not 'wide'"):
        train("toy", **folders, **QUICK, steps=2, out=tmp_path / "run", width="wide")


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a training run"):
        resume(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 1, "family": "toy"}')
    with pytest.raises(InputError, match="damaged"):
        read_job(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 7}')
    with pytest.raises(InputError, match="format 7"):
        read_job(tmp_path)


def test_the_recipe_comes_back_from_its_file(folders: dict[str, str], tmp_path: Path) -> None:
    train("toy", **folders, **QUICK, out=tmp_path / "run", steps=1, dropout=0.25, clip=2.0, command="sfumato train")
    first = plan(
        "toy", **folders, **QUICK, out=tmp_path / "run", steps=1, dropout=0.25, clip=2.0, command="sfumato train"
    )
    again = read_job(tmp_path / "run")
    assert again.options == first.options
    assert again.method().config == first.method().config
    assert (again.sources, again.command, again.module) == (first.sources, "sfumato train", "train.toy")


def test_changed_pictures_are_told(folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("toy", **folders, **QUICK, out=tmp_path / "run", steps=2)
    Image.new("RGB", (20, 20)).save(tmp_path / "dark" / "new.png")
    resume(tmp_path / "run", steps=3, quiet=False)
    assert "not those the run began with" in capsys.readouterr().err


def test_the_next_free_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert free_folder("toy") == "runs/toy"
    for name in ("toy", "toy-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").touch()
    assert free_folder("toy") == "runs/toy-3"
