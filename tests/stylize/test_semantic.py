"""Semantic transfer, by the colours that regions end with: `transfer="color"` gives every region its part's mean."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sfumato import cli
from sfumato.errors import InputError
from sfumato.picture.io import write_picture
from sfumato.picture.record import read_record
from sfumato.picture.regions import Regions
from sfumato.segment.work import Seen
from sfumato.stylize import StylizeOptions, Stylizing, iter_stylize, stylize, work
from sfumato.stylize.explain import explain

CLASSES = ("sky", "ground", "person")
TONES = {"sky": (0.2, 0.3, 0.9), "ground": (0.3, 0.7, 0.2), "person": (0.9, 0.4, 0.3)}
OTHERS = {"sky": (0.9, 0.6, 0.1), "ground": (0.5, 0.1, 0.5), "person": (0.1, 0.1, 0.1)}


def scene(layout: Mapping[str, int], tones: Mapping[str, tuple[float, float, float]], side: int = 64) -> np.ndarray:
    """H x W x 3: bands of the classes from above, so many rows each, in their tones with a little noise."""
    noise = np.random.default_rng(3).normal(0, 0.03, (sum(layout.values()), side, 3))
    bands = np.concatenate([np.full((rows, side, 3), tones[name]) for name, rows in layout.items()])
    return (bands + noise).clip(0, 1).astype(np.float32)


def see(picture: Tensor) -> Seen:
    """A segmenter that knows the tones."""
    tones = torch.tensor([TONES[name] for name in CLASSES] + [OTHERS[name] for name in CLASSES])
    gap = (picture[0].permute(1, 2, 0)[..., None, :] - tones).square().sum(-1)
    return Seen(Regions.of_labels(gap.argmin(-1) % len(CLASSES), CLASSES), 0.9)


class Known:
    """In place of `segment.lazy.Segmenter`."""

    def __init__(self, source: str, _device: torch.device) -> None:
        self.weights = {source: "cd" * 32}

    def __call__(self, picture: Tensor) -> Seen:
        return see(picture)


@pytest.fixture(autouse=True)
def _networks(monkeypatch: pytest.MonkeyPatch, light: None) -> None:  # noqa: ARG001
    monkeypatch.setattr(work, "Segmenter", Known)


PHOTO = scene({"sky": 30, "ground": 34}, TONES)
PAINTING = scene({"sky": 20, "ground": 20, "person": 16}, OTHERS)


def means(picture: np.ndarray, layout: Mapping[str, int]) -> dict[str, list[float]]:
    """Mean colour of every band, less two rows at its edges."""
    found, top = {}, 0
    for name, rows in layout.items():
        found[name] = picture[top + 2 : top + rows - 2].mean((0, 1)).tolist()
        top += rows
    return found


def colored(**given: Any) -> Any:
    return stylize(PHOTO, PAINTING, **{"transfer": "color", "feather": 0.0, "device": "cpu", **given})


def test_sky_takes_its_colours_from_sky() -> None:
    found = means(colored(semantic=True, match="classes").rgb, {"sky": 30, "ground": 34})
    assert found["sky"] == pytest.approx(OTHERS["sky"], abs=0.03)
    assert found["ground"] == pytest.approx(OTHERS["ground"], abs=0.03)
    plain = means(colored().rgb, {"sky": 30, "ground": 34})
    assert np.abs(np.subtract(plain["sky"], OTHERS["sky"])).max() > 0.1  # without it, it does not


def test_pictures_of_regions_say_what_belongs_together() -> None:
    red, blue = np.array([255, 0, 0], np.uint8), np.array([0, 0, 255], np.uint8)
    mine = np.where(np.arange(64)[:, None, None] < 30, red, blue) * np.ones((1, 64, 1), np.uint8)
    theirs = np.where(np.arange(56)[:, None, None] >= 40, red, blue) * np.ones((1, 64, 1), np.uint8)
    found = means(colored(regions=[mine, theirs]).rgb, {"sky": 30, "ground": 34})
    assert found["sky"] == pytest.approx(OTHERS["person"], abs=0.03)  # red is the painting's lowest band
    other = np.add(OTHERS["sky"], OTHERS["ground"]) / 2
    assert found["ground"] == pytest.approx(other.tolist(), abs=0.03)


def test_clusters_need_no_segmenter(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses(Known):
        def __call__(self, picture: Tensor) -> Seen:
            raise AssertionError(f"asked for {tuple(picture.shape)}")

    monkeypatch.setattr(work, "Segmenter", Refuses)
    found = planned(match="clusters").plan
    assert found is not None
    assert found.how == "clusters"
    assert found.confidence is None
    assert len(found.content) > 1
    assert all(choice is not None and choice.source == 0 for choice in found.choices)
    assert torch.allclose(found.masks(0).sum(1), torch.ones(1, 64, 64))


def test_a_class_of_its_own_style_and_the_rest_untouched() -> None:
    result = stylize(PHOTO, [], style_for={"sky": PAINTING}, transfer="color", feather=0.0, device="cpu")
    found = means(result.rgb, {"sky": 30, "ground": 34})
    assert found["sky"] == pytest.approx(OTHERS["sky"], abs=0.03)
    assert np.array_equal(result.rgb[32:], PHOTO[32:])
    with pytest.raises(InputError, match="no person in the picture to give a style of its own: sky, ground"):
        stylize(PHOTO, [], style_for={"person": PAINTING}, transfer="color", device="cpu")


def test_with_a_general_style_the_rest_takes_that() -> None:
    own = np.full((16, 16, 3), 0.5, np.float32)
    result = colored(style_for={"sky": own})
    found = means(result.rgb, {"sky": 30, "ground": 34})
    assert found["sky"] == pytest.approx([0.5] * 3, abs=0.03)
    assert found["ground"] == pytest.approx(OTHERS["ground"], abs=0.03)


def test_the_first_style_that_has_the_class_gives_it() -> None:
    fields = scene({"ground": 40}, OTHERS)
    found = iter_stylize(PHOTO, [fields, PAINTING], semantic=True, match="classes", device="cpu").plan
    assert found is not None
    assert [(c.pair.content, c.source, c.pair.why) for c in found.made()] == [
        ("sky", 1, "same class"),
        ("ground", 0, "same class"),
    ]


@pytest.mark.parametrize("given", [{"only": ("sky",)}, {"except_": ("ground",)}])
def test_only_and_except_leave_the_rest_to_the_pixel(given: dict[str, Any]) -> None:
    result = colored(**given)
    assert np.array_equal(result.rgb[32:], PHOTO[32:])
    assert np.abs(result.rgb[:28] - PHOTO[:28]).mean() > 0.1


def test_only_takes_masks_too(tmp_path: Path) -> None:
    mask = np.zeros((64, 64, 3), np.float32)
    mask[:, :20] = 1
    write_picture(tmp_path / "mask.png", mask)
    result = colored(only=(str(tmp_path / "mask.png"), "sky"))
    assert np.array_equal(result.rgb[32:, 20:], PHOTO[32:, 20:])
    assert np.abs(result.rgb[32:, :20] - PHOTO[32:, :20]).mean() > 0.1
    assert [i["name"] for i in result.record["inputs"]][-1] == str(tmp_path / "mask.png")


def test_a_class_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(InputError, match="shows no person; it shows sky, ground"):
        colored(only=("person",))
    with pytest.raises(InputError, match=r"shows no mask\.png, and there is no file 'mask\.png'"):
        colored(only=("mask.png",))
    with pytest.raises(InputError, match="leave nothing"):
        colored(only=("sky",), except_=("sky",))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"match": "clusters"}, "match says how semantic finds"),
        ({"semantic": True, "style_masks": [None]}, "finds the parts of the pictures itself"),
        ({"semantic": True, "style_weights": (1.0,)}, "gives every part of the picture one style"),
        ({"regions": [PHOTO]}, "1 pictures of regions for one photograph and 1 styles"),
    ],
)
def test_what_contradicts_itself_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        colored(**given)


def planned(**given: Any) -> Stylizing:
    return iter_stylize(PHOTO, PAINTING, semantic=True, transfer="color", device="cpu", **given)


@pytest.mark.parametrize(
    ("of_photo", "of_style", "given", "how"),
    [
        (0.95, 0.91, {}, "classes"),
        (0.95, 0.89, {}, "clusters"),
        (0.89, 0.95, {}, "clusters"),
        (0.8, 0.76, {"style_for": {"sky": np.full((16, 16, 3), 0.5, np.float32)}}, "classes"),
        (0.8, 0.74, {"style_for": {"sky": np.full((16, 16, 3), 0.5, np.float32)}}, "attention"),
    ],
)
def test_auto_believes_the_classes_it_is_sure_of(
    monkeypatch: pytest.MonkeyPatch, of_photo: float, of_style: float, given: dict[str, Any], how: str
) -> None:
    class Unsure(Known):
        def __call__(self, picture: Tensor) -> Seen:
            return see(picture)._replace(confidence={64: of_photo, 56: of_style}.get(picture.shape[2], 1.0))

    monkeypatch.setattr(work, "Segmenter", Unsure)
    found = planned(**given).plan
    assert found is not None
    assert (found.how, found.confidence) == (how, min(of_photo, of_style))
    assert (found.content.names == ("sky", "ground")) == (how != "clusters")


def test_optimised_regions_come_nearer_to_their_own_parts() -> None:
    """With a network of random weights; colours are the part of its statistics that can be read off."""
    given = StylizeOptions.of(size=64, schedule=(80,), min_size=64, content_weight=0.0, tv_weight=0.0, device="cpu")

    def gap(**asked: Any) -> float:
        found = means(stylize(PHOTO, PAINTING, options=given, **asked).rgb, {"sky": 30, "ground": 34})
        return float(np.mean([np.abs(np.subtract(found[name], OTHERS[name])) for name in found]))

    assert gap(semantic=True, match="classes") < 0.8 * gap()


def test_the_record_repeats_it_to_the_pixel(tmp_path: Path) -> None:
    write_picture(tmp_path / "photo.png", PHOTO)
    write_picture(tmp_path / "painting.png", PAINTING)
    files = str(tmp_path / "photo.png"), str(tmp_path / "painting.png")
    given: dict[str, Any] = {
        "semantic": True,
        "only": ("sky",),
        "size": 48,
        "schedule": (3,),
        "min_size": 48,
        "device": "cpu",
    }
    first = stylize(*files, output=tmp_path / "out.png", **given)
    record = read_record(tmp_path / "out.png")
    assert record["settings"]["semantic"] is True
    assert record["weights"]["scene"] == "cd" * 32
    assert np.array_equal(stylize(*files, like=tmp_path / "out.png", device="cpu").rgb, first.rgb)


QUICK: dict[str, Any] = {"transfer": "color", "feather": 0.0, "device": "cpu"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The photograph, two styles, and maps of regions in which the photograph's sky goes with the person."""
    blue, red = np.array([0, 0, 1.0]), np.array([1.0, 0, 0])
    made = {
        "photo": PHOTO,
        "painting": PAINTING,
        "grey": np.full((16, 16, 3), 0.5, np.float32),
        "mine": np.where(np.arange(64)[:, None, None] < 30, red, blue) * np.ones((1, 64, 1)),
        "theirs": np.where(np.arange(56)[:, None, None] >= 40, red, blue) * np.ones((1, 64, 1)),
        "left": (np.arange(64)[None, :, None] < 32) * np.ones((64, 1, 3)),
        "top": (np.arange(56)[:, None, None] < 20) * np.ones((1, 64, 3)),
    }
    for name, picture in made.items():
        write_picture(tmp_path / f"{name}.png", picture.astype(np.float32))
    return {name: tmp_path / f"{name}.png" for name in made}


def test_like_repeats_styles_for_classes(files: dict[str, Path], tmp_path: Path) -> None:
    out, again = tmp_path / "out.png", tmp_path / "again.png"
    first = stylize(files["photo"], [], style_for={"sky": files["grey"]}, output=out, **QUICK)
    assert np.array_equal(stylize(files["photo"], [], like=out).rgb, first.rgb)
    assert cli.main(["stylize", str(files["photo"]), "--like", str(out), "-o", str(again), "--quiet"]) == 0
    assert read_record(again) == read_record(out)
    assert again.read_bytes() == out.read_bytes()

    both = stylize(files["photo"], files["painting"], style_for={"sky": files["grey"]}, output=out, **QUICK)
    assert cli.main(["stylize", str(files["photo"]), "--like", str(out), "-o", str(again), "--quiet"]) == 0
    assert read_record(again)["roles"] == {"style_for": {"sky": 2}}
    assert again.read_bytes() == out.read_bytes()
    other = stylize(files["photo"], files["painting"], like=out).rgb  # a style that is given takes their place
    assert np.abs(other[:28] - both.rgb[:28]).mean() > 0.05
    files["grey"].unlink()
    with pytest.raises(InputError, match=r"the style for sky '.*grey.png' .* is not there .* --style-for"):
        stylize(files["photo"], [], like=out)


def test_like_repeats_regions_for_the_pictures_that_they_belong_to(files: dict[str, Path], tmp_path: Path) -> None:
    out, maps = tmp_path / "out.png", [files["mine"], files["theirs"]]
    first = stylize(files["photo"], files["painting"], regions=maps, output=out, **QUICK)
    assert read_record(out)["roles"] == {"regions": [2, 3]}
    found = stylize(files["photo"], files["painting"], like=out)
    assert np.array_equal(found.rgb, first.rgb)
    assert found.record == first.record
    plain = iter_stylize(files["photo"], files["grey"], like=out)  # another style: its parts are found anew
    assert plain.plan is not None
    assert plain.plan.how == "classes"
    assert plain.notes == [f"--regions of {out} belongs to other pictures and is left out"]
    files["mine"].write_bytes(files["theirs"].read_bytes())
    with pytest.raises(InputError, match=r"the picture of regions '.*mine.png' .* has changed: give it with --regions"):
        stylize(files["photo"], files["painting"], like=out)


def test_like_repeats_masks_for_the_pictures_that_they_belong_to(files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    masks: dict[str, Any] = {"mask": files["left"], "style_masks": [None, files["top"]]}
    first = stylize(files["photo"], [files["grey"], files["painting"]], output=out, **masks, **QUICK)
    assert read_record(out)["roles"] == {"mask": [3], "style_masks": [None, 4]}
    again = stylize(files["photo"], [], like=out)
    assert np.array_equal(again.rgb, first.rgb)
    assert again.record == first.record
    other = iter_stylize(files["painting"], [files["grey"], files["painting"]], like=out)
    assert other.masks is None
    assert other.notes == [f"--mask of {out} belongs to other pictures and is left out"]
    assert [part.mask is None for part in other.parts] == [True, False]


@pytest.mark.parametrize("roles", [[1], {"mask": 3}, {"style_for": {"sky": "a"}}, {"mask": [9]}, {"mask": [None]}])
def test_a_record_that_nobody_wrote_is_refused(files: dict[str, Path], tmp_path: Path, roles: Any) -> None:
    record = stylize(files["photo"], files["painting"], **QUICK).record | {"roles": roles}
    write_picture(tmp_path / "odd.png", PHOTO, record=record)
    with pytest.raises(InputError, match=r"damaged sfumato record|names no mask"):
        stylize(files["photo"], files["painting"], like=tmp_path / "odd.png")


def test_explain_shows_regions_and_pairs(tmp_path: Path) -> None:
    found = planned(match="classes")
    assert found.plan is not None
    picture, table = explain(found.plan, found.content, found.styles, tmp_path / "why")
    with table.open() as file:
        rows = list(csv.reader(file))
    assert rows[1] == ["sky", "0.469", "array", "sky", "0.357", "same class"]
    assert rows[2][0] == "ground"
    shown = np.asarray(Image.open(picture).convert("RGB"))
    assert shown.shape[:2] == (64, 64 + 8 + 64)
    sky, ground = shown[3, 3].astype(int), shown[60, 3].astype(int)
    same_sky, same_ground, nobody = (shown[row, 132].astype(int) for row in (3, 25, 53))
    for mine, theirs in ((sky, same_sky), (ground, same_ground)):  # one colour, but for the pictures' lightness
        assert np.abs((mine - mine.mean()) - (theirs - theirs.mean())).max() < 8
    assert np.ptp(nobody) < 8  # white: nothing is taken from the person
