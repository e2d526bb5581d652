"""The networks of StyleGAN2: the published sizes, and a plain float64 implementation of the published formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.models.stylegan2 import Config, Method
from sfumato.models.stylegan2_networks import Discriminator, Mapping, StyledConv, Synthesis, modulated_conv

TINY = Config(resolution=16, code=6, channel_base=64, channel_max=8, mapping_layers=3)
CLASSED = Config(resolution=8, code=6, channel_base=64, channel_max=8, classes=("a", "b", "c"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def lively(network: nn.Module) -> nn.Module:
    """In float64, with biases and noise strengths that are not zero."""
    for name, p in network.named_parameters():
        if name.endswith(("bias", "noise_strength")):
            nn.init.normal_(p, 1.0 if "affine" in name else 0.0, 0.3)
    return network.double()


def upsampled(x: Tensor) -> Tensor:
    """N x C x 2H x 2W with zeros between."""
    wide = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    wide[:, :, ::2, ::2] = x
    return wide


def filtered(x: Tensor, before: int, after: int, gain: float = 1.0) -> Tensor:
    """Every plane through (1, 3, 3, 1) both ways, zeros around it."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype) / 8
    planes = F.pad(x, (before, after, before, after)).flatten(0, 1)[:, None]
    return F.conv2d(planes, gain * torch.outer(taps, taps)[None, None])[:, 0].unflatten(0, x.shape[:2])


def plain_modulated(x: Tensor, weight: Tensor, scale: Tensor, *, double: bool = False) -> Tensor:
    """Equations 1 and 3 to the letter: weights of its own for every sample."""
    made = []
    for picture, s in zip(x, scale, strict=True):
        w = weight * s[None, :, None, None]
        w = w / (w.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if double:  # a true convolution of the spaced pixels, then the filter
            whole = F.conv2d(F.pad(upsampled(picture[None]), (2, 2, 2, 2)), w.flip(2, 3))[:, :, :-1, :-1]
            made.append(filtered(whole, 1, 1, 4.0))
        else:
            made.append(F.conv2d(picture[None], w, padding=1))
    return torch.cat(made)


@pytest.mark.parametrize("double", [False, True])
def test_modulated_convolution_is_the_plain_one(double: bool) -> None:
    """Values, gradients and second derivatives."""
    x, weight = torch.randn(3, 4, 5, 6, dtype=torch.float64), torch.randn(7, 4, 3, 3, dtype=torch.float64)
    scale = torch.randn(3, 4, dtype=torch.float64)
    inputs = [t.requires_grad_() for t in (x, weight, scale)]
    found, wanted = modulated_conv(*inputs, double=double), plain_modulated(*inputs, double=double)
    torch.testing.assert_close(found, wanted)
    direction = torch.randn_like(wanted)
    first = [torch.autograd.grad((y * direction).sum(), inputs, create_graph=True) for y in (found, wanted)]
    for a, b in zip(*first, strict=True):
        torch.testing.assert_close(a, b)
    second = [torch.autograd.grad(sum(g.square().sum() for g in grads), inputs) for grads in first]
    for a, b in zip(*second, strict=True):
        torch.testing.assert_close(a, b)


def test_demodulation_takes_the_scale_away() -> None:
    """The reason for equation 3: outputs of unit deviation, however large the code's scale."""
    x, weight = torch.randn(6, 64, 20, 20), torch.randn(32, 64, 3, 3)
    scale = torch.exp(torch.randn(6, 64))
    for factor in (0.1, 1, 10):
        y = modulated_conv(x, weight, factor * scale)[..., 1:-1, 1:-1]
        assert y.std((0, 2, 3)).mean().item() == pytest.approx(1, rel=0.05)


def test_the_published_numbers_of_weights() -> None:
    """1024 pixels, configuration F, as the authors' programs print them."""
    with torch.device("meta"):
        networks = Method(Config(resolution=1024, channel_base=32768, mapping_layers=8)).networks()

    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    mapping, synthesis, judge = networks["mapping"], networks["synthesis"], networks["discriminator"]
    assert count(mapping) + count(synthesis) == 30_370_060
    assert count(judge) == 29_012_513
    published = {
        "b4.conv1": 2_622_465, "b4.torgb": 264_195, "b64.conv0": 2_622_465, "b128.conv0": 1_442_561,
        "b128.conv1": 721_409, "b128.torgb": 132_099, "b256.conv0": 426_369, "b512.conv0": 139_457,
    }  # fmt: skip
    assert {name: count(synthesis.get_submodule(name)) for name in published} == published
    published = {
        "b1024.fromrgb": 128, "b1024.skip": 2048, "b1024.conv0": 9248, "b1024.conv1": 18_496, "b256.conv1": 295_168,
        "b64.conv0": 2_359_808,
    }  # fmt: skip
    assert {name: count(judge.get_submodule(name)) for name in published} == published
    assert [count(mapping.get_submodule(f"fc{i}")) for i in range(8)] == [262_656] * 8
    noises = {k: tuple(b.shape) for k, b in synthesis.named_buffers()}
    assert noises["b4.conv1.noise_const"] == (4, 4)
    assert noises["b1024.conv0.noise_const"] == (1024, 1024)
    assert len(noises) == 17


def linear(state: dict[str, Tensor], name: str, x: Tensor, rate: float = 1.0) -> Tensor:
    weight = state[f"{name}.weight"]
    return x @ weight.T * rate / math.sqrt(weight.shape[1]) + state[f"{name}.bias"] * rate


def active(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def unit(x: Tensor) -> Tensor:
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def plain_mapping(state: dict[str, Tensor], layers: int, z: Tensor | None, onehot: Tensor | None) -> Tensor:
    parts = [] if z is None else [unit(z)]
    if onehot is not None:
        parts.append(unit(linear(state, "embed", onehot)))
    x = torch.cat(parts, 1)
    for i in range(layers):
        x = active(linear(state, f"fc{i}", x, 0.01))
    return x


def plain_synthesis(state: dict[str, Tensor], ws: Tensor, blocks: int) -> Tensor:
    """The published order of codes: the first of a size also colours the size before it."""

    def conv(name: str, x: Tensor, w: Tensor, *, double: bool = False) -> Tensor:
        y = plain_modulated(x, state[f"{name}.weight"], linear(state, f"{name}.affine", w), double=double)
        y = y + state[f"{name}.noise_const"] * state[f"{name}.noise_strength"]
        return active(y + state[f"{name}.bias"][:, None, None])

    def colors(name: str, x: Tensor, w: Tensor) -> Tensor:
        scale = linear(state, f"{name}.affine", w) / math.sqrt(x.shape[1])
        y = F.conv2d(x * scale[:, :, None, None], state[f"{name}.weight"])
        return y + state[f"{name}.bias"][:, None, None]

    x = state["b4.const"].expand(len(ws), -1, -1, -1)
    x = conv("b4.conv1", x, ws[:, 0])
    picture = colors("b4.torgb", x, ws[:, 1])
    for i in range(1, blocks):
        name = f"b{4 << i}"
        x = conv(f"{name}.conv0", x, ws[:, 2 * i - 1], double=True)
        x = conv(f"{name}.conv1", x, ws[:, 2 * i])
        picture = filtered(upsampled(picture), 2, 1, 4.0) + colors(f"{name}.torgb", x, ws[:, 2 * i + 1])
    return (picture + 1) / 2


def plain_judge(state: dict[str, Tensor], pictures: Tensor, onehot: Tensor | None, blocks: int) -> Tensor:
    def conv(name: str, x: Tensor, **options: int) -> Tensor:
        weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
        return F.conv2d(x, weight / math.sqrt(weight[0].numel()), bias, **options)

    x, top = 2 * pictures - 1, f"b{4 << blocks}"
    x = active(conv(f"{top}.fromrgb", x))
    for i in range(blocks, 0, -1):
        name = f"b{4 << i}"
        beside = conv(f"{name}.skip", filtered(x, 1, 1)[:, :, ::2, ::2]) * math.sqrt(0.5)
        y = active(conv(f"{name}.conv0", x, padding=1))
        y = active(conv(f"{name}.conv1", filtered(y, 2, 2), stride=2)) * math.sqrt(0.5)
        x = y + beside
    groups = x.reshape(min(4, len(x)), -1, *x.shape[1:])
    deviation = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3)).repeat(len(groups))
    x = torch.cat([x, deviation[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1)
    x = active(conv("b4.conv", x, padding=1))
    x = linear(state, "b4.out", active(linear(state, "b4.fc", x.flatten(1))))
    if onehot is None:
        return x[:, 0]
    own = {k.removeprefix("mapping."): v for k, v in state.items() if k.startswith("mapping.")}
    return (x * plain_mapping(own, 8, None, onehot)).sum(1) / math.sqrt(x.shape[1])


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5)  # mapping and the end are always float32


@pytest.mark.parametrize("start", [(4, 4), (3, 5)])
def test_the_generator_is_the_published_formulas(start: tuple[int, int]) -> None:
    c = Config(resolution=4 * start[0], start=start, code=6, channel_base=64, channel_max=8, mapping_layers=3)
    mapping, synthesis = (lively(n).eval() for n in (Mapping(6, 0, 6, 3), Synthesis(c)))
    z = torch.randn(3, 6, dtype=torch.float64)
    w = plain_mapping(mapping.state_dict(), 3, z, None)
    close(mapping.float()(z), w)
    ws = torch.randn(3, c.codes(), 6, dtype=torch.float64)
    made = synthesis(ws, "fixed")
    assert made.shape == (3, 3, *c.size())
    assert c.size() == (4 * start[0], 4 * start[1])
    close(made, plain_synthesis(synthesis.state_dict(), ws, 3))


@pytest.mark.parametrize("classed", [False, True])
def test_the_discriminator_is_the_published_formulas(classed: bool) -> None:
    c = CLASSED if classed else TINY
    judge = lively(Discriminator(c))
    pictures = torch.rand(4, 3, c.resolution, c.resolution, dtype=torch.float64)
    label = torch.tensor([2, 0, 1, 1]) if classed else None
    onehot = F.one_hot(label, 3).double() if label is not None else None
    wanted = plain_judge(judge.state_dict(), pictures, onehot, c.doublings())
    close(judge.float()(pictures.float(), label), wanted)
    assert wanted.shape == (4,)


def test_the_class_reaches_w() -> None:
    mapping = lively(Mapping(6, 3, 6, 2)).eval()
    z, label = torch.randn(1, 6, dtype=torch.float64).expand(3, -1), torch.arange(3)
    wanted = plain_mapping(mapping.state_dict(), 2, z, torch.eye(3, dtype=torch.float64))
    close(mapping.float()(z.float(), label), wanted)
    assert torch.pdist(wanted).min() > 1e-3


def test_a_layers_code_steers_it_and_what_follows() -> None:
    """The last code only colours the last size; the first changes everything."""
    synthesis, ws = Synthesis(TINY), torch.randn(1, TINY.codes(), 6)
    seen = list[Tensor]()
    for name in ("b4", "b8", "b16"):
        synthesis.get_submodule(name).register_forward_hook(lambda _m, _i, o: seen.append(o[0]))
    synthesis(ws, "none")
    for layer, same in ((0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3)):
        before, changed = list(seen[:3]), ws.clone()
        changed[:, layer] += 1
        synthesis(changed, "none")
        after = seen[-3:]
        assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [i < same for i in range(3)], layer


def test_noise_has_its_strength_and_its_kinds() -> None:
    conv = StyledConv(4, 5, 6, (8, 8), double=False)
    x, w = torch.randn(1, 4, 8, 8).expand(2, -1, -1, -1), torch.randn(1, 6).expand(2, -1)
    plain = conv(x, w, "none")
    assert torch.equal(conv(x, w, "random"), plain)  # its strength begins at 0
    with torch.no_grad():
        conv.noise_strength.fill_(0.5)
    fixed, random = conv(x, w, "fixed"), conv(x, w, "random")
    torch.testing.assert_close(fixed[0], fixed[1])
    assert (random[0] - random[1]).abs().mean() > 0.1
    inverse = torch.where(fixed > 0, fixed, fixed / 0.2) - torch.where(plain > 0, plain, plain / 0.2)
    wanted = (0.5 * math.sqrt(2) * conv.noise_const).expand_as(inverse)  # type: ignore[operator]
    torch.testing.assert_close(inverse, wanted, atol=1e-5, rtol=1e-4)


def test_the_mean_of_w_is_followed_in_training_only() -> None:
    mapping, z = Mapping(6, 0, 6, 2), torch.randn(50, 6)
    w = mapping(z)
    torch.testing.assert_close(mapping.w_avg, 0.005 * w.mean(0))
    mapping.eval()
    mapping(z)
    torch.testing.assert_close(mapping.w_avg, 0.005 * w.mean(0))


def test_networks_under_autocast_keep_mapping_and_end_exact() -> None:
    mapping, synthesis, judge = Mapping(6, 0, 6, 2).eval(), Synthesis(TINY), Discriminator(TINY)
    z = torch.randn(4, 6)
    w = mapping(z)
    ws = w[:, None].expand(-1, TINY.codes(), -1)
    made = synthesis(ws, "fixed")
    scores = judge(made)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mapping(z), w)
        rough = synthesis(ws, "fixed")
        rough_scores = judge(made)
    assert rough.dtype == rough_scores.dtype == torch.float32
    assert 0 < (rough - made).abs().max() < 0.1
    assert (rough_scores - scores).abs().max() < 0.1
