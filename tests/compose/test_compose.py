"""Two pictures in one: light, seams, places, what stays, bad input."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from sfumato.compose import Layer, compose, composed, framed
from sfumato.compose.light import Seen, clean_colors, like_surroundings, relit, seamless
from sfumato.errors import InputError
from sfumato.picture.color import linear_to_srgb, rgb_to_lab, srgb_to_linear
from sfumato.picture.io import read_picture


def scene(height: int = 60, width: int = 80, seed: int = 0) -> torch.Tensor:
    """Smooth colours, 1 x 3 x H x W."""
    torch.manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 8)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0.05, 0.95)


def disc(height: int = 60, width: int = 80) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (((y - 30) ** 2 + (x - 40) ** 2) < 15**2).float()[None, None]


def array(picture: torch.Tensor) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = (255 * picture[0].permute(1, 2, 0)).round().byte().numpy()
    return found


def test_another_light_is_undone() -> None:
    """The same place in two lights: the ratio of its surroundings says how an object is to be lit, whatever it is."""
    real, mask = scene(), disc()
    gain = torch.tensor([0.6, 0.8, 1.3]).view(1, 3, 1, 1)
    dim = real * 0.7
    other = linear_to_srgb(srgb_to_linear(dim) * gain)
    outside = 1 - mask
    found = relit(other, Seen(other, outside), Seen(dim, outside))
    torch.testing.assert_close(found, dim, atol=2e-3, rtol=0)
    assert torch.allclose(relit(other, Seen(other, outside), Seen(dim, outside), 0.0), other, atol=1e-5)


def test_gradients_are_kept_and_the_seam_is_gone() -> None:
    """An object whose colours are off by a constant comes back exactly: the membrane of a constant is the constant."""
    real, mask = scene(), disc()
    pasted = (0.6 * real + 0.2) + torch.tensor([0.1, -0.05, 0.0]).view(1, 3, 1, 1)
    background = 0.6 * real + 0.2
    found = seamless(pasted, background, mask)
    torch.testing.assert_close(found, background, atol=1e-4, rtol=0)
    assert torch.equal(found[(mask == 0).expand_as(found)], background[(mask == 0).expand_as(found)])


def test_colours_move_to_the_surroundings_mean() -> None:
    thing, mask, ground = scene(seed=1), disc(), 0.3 + 0.2 * scene(seed=2)
    found = rgb_to_lab(like_surroundings(thing, mask, Seen(ground, 1 - mask)))
    wanted = rgb_to_lab(ground)

    def mean(lab: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return (lab * weight).sum((2, 3)) / weight.sum()

    torch.testing.assert_close(mean(found, mask), mean(wanted, 1 - mask), atol=1.5, rtol=0)
    half = rgb_to_lab(like_surroundings(thing, mask, Seen(ground, 1 - mask), 0.0))
    torch.testing.assert_close(half, rgb_to_lab(thing), atol=1e-2, rtol=0)


def test_a_soft_edge_loses_the_old_background() -> None:
    mask = torch.zeros(1, 1, 40, 60)
    mask[..., :30], mask[..., 30:33] = 1, torch.tensor([0.75, 0.5, 0.25])
    red, green = torch.tensor([0.8, 0.1, 0.1]).view(1, 3, 1, 1), torch.tensor([0.1, 0.8, 0.1]).view(1, 3, 1, 1)
    mixed = mask * red + (1 - mask) * green
    found = clean_colors(mixed, mask)
    torch.testing.assert_close(found[..., :33], red.expand(1, 3, 40, 33), atol=1e-4, rtol=0)
    assert torch.equal(found[..., 33:], mixed[..., 33:])


@pytest.mark.parametrize("method", ["light", "color", "seamless", "none"])
def test_outside_the_object_the_ground_is_untouched(method: str) -> None:
    layer = Layer(scene(seed=3), disc(), surrounded=True, whole=False)
    ground = scene(seed=4)
    made = composed(layer, ground, method, 1.0)
    outside = (layer.mask == 0).expand_as(ground)
    assert torch.equal(made[outside], ground[outside])
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    if method == "none":
        assert torch.equal(made[~outside], layer.picture[~outside])


def test_an_object_goes_where_it_is_told(tmp_path: Path) -> None:
    thing = np.zeros((10, 20, 4), np.uint8)
    thing[2:8, 4:16] = (200, 40, 40, 255)
    Image.fromarray(thing).save(tmp_path / "thing.png")
    ground = array(scene())
    done = compose(
        ground, insert=tmp_path / "thing.png", at="50,30", match="none", feather=0, output=tmp_path / "o.png"
    )
    hit = np.abs(done.rgb * 255 - np.array([200, 40, 40])).max(2) < 0.6
    wanted = np.zeros((60, 80), bool)
    wanted[27:33, 44:56] = True
    assert np.array_equal(hit, wanted)
    assert np.array_equal(done.rgb[~wanted], ground[~wanted].astype(np.float32) / 255)
    large = compose(ground, insert=tmp_path / "thing.png", at="50,30", scale=2, match="none", feather=0)
    assert 0.95 < float((large.maps["object"] > 0.5).sum()) / (4 * 72) < 1.1
    corner = compose(ground, insert=tmp_path / "thing.png", at="0,0", match="none", feather=0)
    assert int((corner.maps["object"] > 0.5).sum()) == 3 * 6
    assert done.record["verb"] == "compose"
    assert compose(ground, insert=tmp_path / "thing.png", at="50,30").record["settings"]["match"] == "color"
    assert compose(ground, insert=ground[:20, :20], at="50,30").record["settings"]["match"] == "seamless"


def test_a_background_fills_the_frame_and_a_mask_says_what_stays(tmp_path: Path) -> None:
    photo, sea = array(scene()), array(scene(90, 70, seed=5))
    Image.fromarray((255 * disc()[0, 0]).byte().numpy()).save(tmp_path / "mask.png")
    done = compose(photo, background=sea, only=(str(tmp_path / "mask.png"),), match="none", feather=0)
    ground = framed(read_picture(sea), 60, 80)
    inside = (disc()[0, 0] > 0).numpy()
    assert ground.shape == (1, 3, 60, 80)
    assert np.array_equal(done.rgb[~inside], ground[0].permute(1, 2, 0).numpy()[~inside])
    assert np.array_equal(done.rgb[inside], photo[inside].astype(np.float32) / 255)
    assert compose(photo, background=sea, only=(str(tmp_path / "mask.png"),)).record["settings"]["match"] == "light"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "say what to compose"),
        ({"background": array(scene())}, "say what stands before"),
        ({"insert": array(scene())}, "say where the object goes"),
        ({"insert": array(scene()), "at": "here"}, "a place is X,Y"),
        ({"insert": array(scene()), "at": "900,10"}, "nothing of 'array' lies within"),
        ({"insert": array(scene()), "at": "9,10", "scale": 100.0}, "give a smaller --scale"),
        ({"insert": np.zeros((5, 5, 4), np.uint8), "at": "9,10"}, "transparent all over"),
        ({"insert": array(scene()), "at": "9,10", "match": "magic"}, "magic"),
        ({"insert": array(scene()), "at": "9,10", "strength": 2}, "strength must be a number between 0 and 1"),
        ({"insert": array(scene()), "background": array(scene())}, "one of the two"),
        ({"insert": array(scene()), "into": 3}, "into"),
        ({"insert": array(scene()), "at": "9,10", "only": ("person",)}, "leave them out with an object"),
        ({"background": array(scene()), "only": ("person",), "scale": 2.0}, "leave them out with a background"),
    ],
)
def test_bad_input_is_a_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        compose(array(scene()), **given)


@pytest.mark.parametrize("scale", [0.5, 0.71, 1.0, 1.7])
def test_what_is_transparent_brings_no_fringe(scale: float) -> None:
    """A white object on a white ground cannot be seen, whatever colour its transparent pixels have."""
    thing = np.zeros((60, 80, 4), np.uint8)
    thing[disc()[0, 0].numpy() > 0] = 255
    found = compose(np.ones((90, 90, 3), np.float32), insert=thing, at="45,45", scale=scale, match="none")
    assert found.rgb.min() > 0.999


def test_a_style_is_read_first_painted_at_the_picture_s_size_and_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = dict[str, Any]()

    def painted(picture: NDArray[np.float32], style: Any, **given: Any) -> Any:
        asked.update(given, style=style.name, size_of_picture=picture.shape)
        return SimpleNamespace(pixels=1 - picture, record={"verb": "stylize"})

    monkeypatch.setattr(import_module("sfumato.stylize"), "stylize", painted)
    style = tmp_path / "style.png"
    Image.fromarray(array(scene())).save(style)
    before = style.read_bytes()
    mask = tmp_path / "mask.png"
    Image.fromarray((255 * disc()[0, 0].numpy()).astype(np.uint8)).save(mask)
    given: dict[str, Any] = {"background": array(scene(seed=2)), "only": (str(mask),), "device": "cpu"}
    done = compose(array(scene(seed=1)), style=style, **given)
    assert asked == {"style": str(style), "size": "original", "device": "cpu", "size_of_picture": (60, 80, 3)}
    np.testing.assert_allclose(done.rgb, 1 - compose(array(scene(seed=1)), **given).rgb, atol=1e-6)
    with pytest.raises(InputError, match="input"):
        done.save(style)
    assert style.read_bytes() == before
    with pytest.raises(InputError, match="no such file"):
        compose(array(scene(seed=1)), style=tmp_path / "none.png", **given)
