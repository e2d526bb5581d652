"""Mask pairs as they are published: flat colours, edges off the palette."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from sfumato.errors import InputError
from sfumato.picture.io import Picture, read_picture
from sfumato.picture.label_files import write_label_map
from sfumato.picture.region_maps import joint_palette, read_regions, regions_of_maps


def flat(*colors: tuple[int, int, int], side: int = 60) -> NDArray[np.uint8]:
    """Upright stripes."""
    return np.concatenate([np.full((side, side, 3), color, np.uint8) for color in colors], 1)


def damaged(pixels: NDArray[np.uint8]) -> Picture:
    """Resampled and JPEG, as published masks are."""
    image = Image.fromarray(pixels).resize(
        (pixels.shape[1] * 3 // 2, pixels.shape[0] * 3 // 2), Image.Resampling.BICUBIC
    )
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return read_picture(file.getvalue())


BLUE, GREEN, GREY, BLACK, WHITE = (0, 0, 255), (0, 255, 0), (128, 128, 128), (0, 0, 0), (255, 255, 255)


def test_edges_make_no_colours_of_their_own() -> None:
    content, style = damaged(flat(BLUE, WHITE, BLACK)), damaged(flat(BLACK, GREEN, WHITE))
    first, second = regions_of_maps([content, style], [(90, 270), (40, 120)])
    assert set(first.names) == {"blue", "white", "black"}
    assert set(second.names) == {"black", "green", "white"}
    assert first.size == (90, 270)
    assert second.size == (40, 120)
    assert first.of("blue")[45, :85].min() > 0.99
    assert first.shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.01)
    assert second.of("green")[20, 42:78].min() > 0.9


def test_a_mixture_of_two_colours_is_a_region_where_it_has_an_inside() -> None:
    (regions,) = regions_of_maps([damaged(flat(BLACK, GREY, WHITE))], [(90, 270)])
    assert set(regions.names) == {"black", "grey", "white"}


def test_colours_without_a_name_are_told_by_their_number() -> None:
    assert joint_palette([flat((200, 90, 60))]) == [(200, 90, 60)]
    (regions,) = regions_of_maps([read_picture(flat((200, 90, 60), BLUE))], [(60, 120)])
    assert set(regions.names) == {"#c85a3c", "blue"}


def test_pictures_without_a_common_colour_are_refused() -> None:
    with pytest.raises(InputError, match="no colour in common, so no region takes its style: blue; green"):
        regions_of_maps([read_picture(flat(BLUE)), read_picture(flat(GREEN))], [(60, 60), (60, 60)])


def test_a_photograph_is_no_picture_of_regions() -> None:
    noise = np.random.default_rng(0).integers(0, 8, (16, 16, 3)).astype(np.uint8) * 36
    with pytest.raises(InputError, match="too many colours"):
        regions_of_maps([read_picture(noise.repeat(8, 0).repeat(8, 1))], [(128, 128)])


def test_label_maps_bring_their_names(tmp_path: Path) -> None:
    labels = torch.zeros(20, 30, dtype=torch.int64)
    labels[10:] = 2
    for name in ("a.png", "b.png"):
        write_label_map(tmp_path / name, labels, ("sky", "water", "ground"), (BLUE, GREEN, GREY), {})
    found, pictures = read_regions([tmp_path / "a.png", tmp_path / "b.png"], [(20, 30), (40, 60)])
    assert [r.names for r in found] == [("sky", "ground")] * 2
    assert found[1].of("sky")[:19].min() == 1
    assert [p.name for p in pictures] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    with pytest.raises(InputError, match="give one kind"):
        read_regions([tmp_path / "a.png", flat(BLUE)], [(20, 30), (60, 60)])
