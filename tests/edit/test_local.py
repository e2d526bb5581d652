"""Layers, style channels, and what lies inside a region."""

from pathlib import Path

import pytest
import torch

from sfumato.edit.local import channel_offsets, channels_in, layer_range, mixed, style_deviations
from sfumato.errors import InputError
from sfumato.models.latent import styled

from .made import space_of


def test_layer_ranges() -> None:
    assert list(layer_range("2:4", 6)) == [2, 3]
    assert list(layer_range("4:", 6)) == [4, 5]
    assert list(layer_range(":2", 6)) == [0, 1]
    assert list(layer_range("5", 6)) == [5]
    for wrong in ("8:12", "4:4", "-1", "6"):
        with pytest.raises(InputError, match="6 layers"):
            layer_range(wrong, 6)
    with pytest.raises(InputError, match="given as 8:12"):
        layer_range("a:b", 6)


def test_mixed_layers_come_from_the_second() -> None:
    a, b = torch.zeros(1, 4, 2), torch.ones(1, 4, 2)
    assert mixed(a, b, [1, 2])[0, :, 0].tolist() == [0, 1, 1, 0]


def test_deviations_are_those_of_the_styles_seen(tmp_path: Path) -> None:
    space = space_of(tmp_path, "stylegan2")
    codes, name, seen = space.draw(range(64)), "b16.conv0.affine", []
    hook = space.network.get_submodule(name).register_forward_hook(lambda _m, _i, out: seen.append(out))
    space.show(codes)
    hook.remove()
    torch.testing.assert_close(style_deviations(space, codes)[name], torch.cat(seen).std(0), atol=1e-5, rtol=1e-4)


def test_channels_by_name(tmp_path: Path) -> None:
    space = space_of(tmp_path, "stylegan2")
    deviations = style_deviations(space, space.draw(range(64)))
    offsets = channel_offsets(space, {"b8.conv1.affine:3": -2.0}, deviations)
    assert list(offsets) == ["b8.conv1.affine"]
    wanted = torch.zeros(8)
    wanted[3] = -2 * deviations["b8.conv1.affine"][3]
    torch.testing.assert_close(offsets["b8.conv1.affine"], wanted)
    with pytest.raises(InputError, match="channels 0 to 7"):
        channel_offsets(space, {"b8.conv1.affine:8": 1.0}, deviations)
    with pytest.raises(InputError, match="style"):
        channel_offsets(space, {"b9:0": 1.0}, deviations)
    with pytest.raises(InputError, match="no styles"):
        channel_offsets(space_of(tmp_path, "dcgan"), {"a:0": 1.0}, {})


def test_local_channels_are_those_whose_change_lies_in_the_region(tmp_path: Path) -> None:
    """The share is what a change by hand gives, and the order is by it."""
    space = space_of(tmp_path, "stylegan2")
    codes, mask = space.draw(range(32)), torch.zeros(16, 16)
    mask[:, :8] = 1
    found = channels_in(space, codes, mask, count=1000)
    assert len(found) > 20
    assert [c.share for c in found] == sorted((c.share for c in found), reverse=True)
    best = found[0]
    offset = torch.zeros(len(style_deviations(space, codes)[best.reader]))
    offset[best.number] = best.deviation
    before = space.show(codes[:8])
    with styled(space, {best.reader: offset}):
        change = (space.show(codes[:8]) - before).square()
    assert best.share == pytest.approx(float(change[..., :8].sum() / change.sum()), rel=1e-4)
    assert best.share > found[-1].share + 0.05
