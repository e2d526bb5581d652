"""The network as the verb uses it: the fast path against its plain twin, how far it sees, what is kept."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfumato.errors import InputError
from sfumato.layers.modulated import AdaptiveConv, Statistics
from sfumato.models.onepass_networks import STRIDES, Colors, Style
from sfumato.style.recolor import color_moments
from sfumato.stylize import painter as module
from sfumato.stylize.painter import Folded, Painter, Reach, load_painter
from sfumato.weights.files import save_model

from .made import tensor
from .trained import SMALL, networks, painter, weights

CPU = torch.device("cpu")


def inputs(regions: int) -> tuple[Tensor, Colors, Tensor, list[Tensor], list[Tensor | None]]:
    """A picture 48 x 64, colours and codes of so many styles, noise, and labels that are soft everywhere."""
    torch.manual_seed(3)
    _, encoder = networks()
    x = tensor(48, 64, 1, torch.float32)
    styles = [encoder(tensor(40, 40, 5 + k, torch.float32) ** (k + 1)) for k in range(regions)]
    moments = [m.float() for m in color_moments(x)]
    each = [Colors.between(*moments, style) for style in styles]
    noise = [torch.randn(1, 1, 48 // s, 64 // s) for s in STRIDES]
    if regions == 1:
        return x, each[0], styles[0].code[:, None], noise, [None] * 4
    labels = torch.rand(1, regions, 48, 64)
    labels = labels / labels.sum(1, keepdim=True)
    soft: list[Tensor | None] = [torch.nn.functional.avg_pool2d(labels, s) for s in STRIDES]
    matrix, offset = (torch.stack([getattr(c, name)[0] for c in each])[None] for name in ("matrix", "offset"))
    codes = torch.stack([s.code[0] for s in styles])[None]
    return x, each[0]._replace(matrix=matrix, offset=offset), codes, noise, soft


def test_folded_is_the_generator() -> None:
    """Whole, by its own statistics; and after that a part of it, by the same statistics."""
    net, _ = networks()
    x, colors, code, noise, none = inputs(1)
    with torch.no_grad():
        features = net.encode(x, colors)
        wanted = net.decode(x, features, colors, code, noise)
        folded = Folded(net, colors, code)
        painted = folded.measure(x, noise)
        for a, b in zip(folded.encode(x), features, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
        whole = net.decode(x, features, colors, code, noise, statistics=folded.statistics)
        part, cut = (
            x[:, :, 8:40, 16:],
            [m[:, :, 8 // s : 40 // s, 16 // s :] for m, s in zip(noise, STRIDES, strict=True)],
        )
        wanted_part = net.decode(part, net.encode(part, colors), colors, code, cut, statistics=folded.statistics)
        found = folded.encode(part)
        made = folded.rise(part, found[:3], folded.lay_out(found[-1], cut[-1], None), cut, none)
    assert wanted.std() > 0.05
    torch.testing.assert_close(painted, wanted, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(whole, wanted, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(made, wanted_part, atol=2e-5, rtol=1e-5)
    assert len(folded.encode(x, 3)) == 3


@pytest.mark.parametrize("regions", [2, 3])
def test_every_region_has_the_statistics_of_its_style_alone(regions: int) -> None:
    net, _ = networks()
    x, colors, code, noise, soft = inputs(regions)
    with torch.no_grad():
        folded = Folded(net, colors, code)
        folded.measure(x, noise)
        for k in range(regions):
            one = colors._replace(matrix=colors.matrix[:, k], offset=colors.offset[:, k])
            alone = Folded(net, one, code[:, k : k + 1])
            alone.measure(x, noise)
            for layer, parts in alone.statistics.items():
                for a, b in zip(parts, folded.statistics[layer], strict=True):
                    torch.testing.assert_close(a[:, 0], b[:, k])
        features = folded.encode(x)
        made = folded.rise(x, features, folded.lay_out(features[-1], noise[-1], soft[-1]), noise, soft)
        wanted = net.decode(x, features, colors, code, noise, soft, folded.statistics)
    assert wanted.std() > 0.05
    torch.testing.assert_close(made, wanted, atol=2e-5, rtol=1e-5)


def test_each_region_has_its_own_colors() -> None:
    """Hard labels: away from the border the canvas is what each style's map makes of the picture."""
    net, _ = networks()
    x, colors, *_ = inputs(2)
    labels = torch.zeros(1, 2, 6, 8)
    labels[:, 0, :, :4] = labels[:, 1, :, 4:] = 1
    both = net.canvas(x, colors, labels)
    for k, columns in ((0, slice(0, 24)), (1, slice(40, 64))):
        one = net.canvas(x, colors._replace(matrix=colors.matrix[:, k], offset=colors.offset[:, k]), None)
        torch.testing.assert_close(both[..., columns], one[..., columns])
    assert (one - both).abs().max() > 0.01


def extent(gradient: Tensor, low: int, high: int) -> int:
    """How far beyond columns low:high a gradient reaches, the further of both sides."""
    (columns,) = gradient.abs().sum((0, 1, 2)).nonzero(as_tuple=True)
    return max(low - int(columns.min()), int(columns.max()) + 1 - high)


def fixed(block: torch.nn.Module) -> Statistics:
    """Statistics that are not the activations' own: by these all of them would see one another."""
    layers = [m for m in block.modules() if isinstance(m, AdaptiveConv)]
    return {m: (torch.zeros(1, 1, len(m.weight)), torch.ones(1, 1, len(m.weight))) for m in layers}


def test_reach_is_what_gradients_say() -> None:
    """Of one position far from every border: exactly so far and no further."""
    net, _ = networks(config=replace(SMALL, blocks=2))
    reach = Reach(net)
    colors = Colors(torch.full((1, 3, 1), 0.5), torch.ones(1, 1, 1), torch.eye(3)[None], torch.full((1, 3, 1), 0.5))
    x = tensor(16, 400, 2, torch.float32).requires_grad_()
    (gradient,) = torch.autograd.grad(net.encode(x, colors)[-1][..., 25].sum(), x)
    assert extent(gradient, 200, 208) == reach.encoder == 8
    leaf = torch.randn(1, 8, 2, 50).requires_grad_()
    h = leaf
    for block in net.trunk:
        h = block(h, torch.randn(1, 1, 8), None, None, fixed(block))
    (gradient,) = torch.autograd.grad(h[..., 25].sum(), leaf)
    assert extent(gradient, 25, 26) * 8 == reach.trunk == 32


def test_what_lies_beyond_the_reach_does_not_matter() -> None:
    """The last part of a crop against the same of the whole picture."""
    net, _ = networks()
    torch.manual_seed(1)
    colors = Colors(torch.full((1, 3, 1), 0.5), torch.ones(1, 1, 1), torch.eye(3)[None], torch.full((1, 3, 1), 0.5))
    folded = Folded(net.requires_grad_(False), colors, torch.randn(1, 1, 8))
    x, h = tensor(16, 400, 2, torch.float32), torch.randn(1, 8, 2, 50)
    folded.measure(x, [torch.zeros(1, 1, 16 // s, 400 // s) for s in STRIDES])
    none = [None] * 4
    whole = folded.rise(x, folded.encode(x, 3), h, none, none)[..., 200:208]
    apart = []
    for halo in (Reach.rounded(Reach(net).rise), Reach.rounded(Reach(net).rise) - 16):
        crop = x[..., 200 - halo : 208 + halo]
        part = h[..., 25 - halo // 8 : 26 + halo // 8]
        made = folded.rise(crop, folded.encode(crop, 3), part, none, none)[..., halo : halo + 8]
        apart.append(float((made - whole).abs().max()))
    assert apart[0] < 1e-5 < 1e-4 < apart[1]


def test_a_style_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = painter(tmp_path / "w.safetensors")
    calls, plain = [], made.encoder.forward

    def counted(*args: Tensor | None) -> Style:
        calls.append(args[0].shape)
        return plain(*args)

    monkeypatch.setattr(made.encoder, "forward", counted)
    picture = tensor(40, 60, 1, torch.float32)
    first = made.encode(picture, None, 20, "a")
    assert calls == [(1, 3, 20, 30)]
    assert made.encode(picture, None, 20, "a") is first
    assert len(calls) == 1
    for side, key in ((24, "a"), (20, "b"), (20, None), (20, None)):
        made.encode(picture, None, side, key)
    assert len(calls) == 5
    for k in range(module.KEPT):
        made.encode(picture, None, 16, str(k))
    assert len(made.encoded) == module.KEPT
    made.encode(picture, None, 20, "a")
    assert len(calls) == 5 + module.KEPT + 1


def test_a_style_mask_goes_with_its_picture(tmp_path: Path) -> None:
    made = painter(tmp_path / "w.safetensors")
    picture, mask = tensor(40, 60, 1, torch.float32), torch.zeros(1, 1, 40, 60)
    mask[..., :30] = 1
    whole, part = made.encode(picture, None, 20), made.encode(picture, mask, 20)
    assert (whole.code - part.code).abs().max() > 1e-3
    wanted = color_moments(picture[..., :30])[0].float()
    assert (part.mean - wanted).abs().max() < 0.02


def test_a_network_is_loaded_once_while_its_file_stays(tmp_path: Path) -> None:
    path = weights(tmp_path / "w.safetensors")
    before = torch.random.get_rng_state()
    first = load_painter(str(path), CPU)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert load_painter(str(path), CPU) is first
    weights(path, seed=1)
    second = load_painter(str(path), CPU)
    assert second is not first
    assert second.sha256 != first.sha256
    assert second.name == str(path)


def test_a_run_is_a_model(tmp_path: Path) -> None:
    weights(tmp_path / "run" / "weights.safetensors")
    assert load_painter(str(tmp_path / "run"), CPU).channels == [4, 6, 8, 8]


def test_options_of_training_that_are_gone_do_not_matter(tmp_path: Path) -> None:
    generator, encoder = networks()
    fields = {"widths": [4, 6, 8, 8], "blocks": 1, "code": 8, "style_widths": [4, 6, 8, 8, 8], "magic": 3}
    save_model(tmp_path / "w.safetensors", "onepass", fields, {"generator": generator, "style_encoder": encoder}, {})
    assert load_painter(str(tmp_path / "w.safetensors"), CPU).reach.encoder == 8


def bad(path: Path, kind: str) -> str:
    """Files that are not the weights wanted, and what is said of them."""
    generator, encoder = networks()
    both = {"generator": generator, "style_encoder": encoder}
    fields = {"widths": [4, 6, 8, 8], "blocks": 1, "code": 8, "style_widths": [4, 6, 8, 8, 8]}
    save_model(path, "crossdomain" if kind == "family" else "onepass", fields, both, {})
    if kind == "size":
        save_model(path, "onepass", {**fields, "code": 9}, both, {})
    elif kind == "config":
        save_model(path, "onepass", {**fields, "widths": "many"}, both, {})
    elif kind == "network":
        save_model(path, "onepass", fields, {"generator": generator}, {})
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "pickle":
        torch.save(generator.state_dict(), path)
    elif kind == "foreign":
        save_file(load_file(path), path)
    return {
        "family": "is a crossdomain model, onepass wanted",
        "size": "made for a network of another size",
        "config": "its configuration is not a one-pass network's",
        "network": "holds no network 'style_encoder'",
        "cut": "cut short",
        "pickle": "refused, a PyTorch or pickle file",
        "foreign": "is not a model of sfumato",
    }[kind]


@pytest.mark.parametrize("kind", ["family", "size", "config", "network", "cut", "pickle", "foreign"])
def test_bad_weights_are_one_sentence(tmp_path: Path, kind: str) -> None:
    sentence = bad(tmp_path / "w.safetensors", kind)
    with pytest.raises(InputError, match=sentence) as caught:
        load_painter(str(tmp_path / "w.safetensors"), CPU)
    assert "\n" not in str(caught.value)


def test_costs_grow_with_the_network(tmp_path: Path) -> None:
    made: Painter = painter(tmp_path / "w.safetensors")
    assert made.bytes(1) < made.bytes(2) < made.bytes(3)
    assert made.deep_bytes(2000) == 2 * made.deep_bytes(1000) > 0
