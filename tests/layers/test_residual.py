"""The network of CycleGAN: published sizes, arithmetic, mask, layers on the way in."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sfumato.errors import InputError
from sfumato.layers.patches import PatchJudge, ScaledJudge, check_patch_judge, check_scaled_judge
from sfumato.layers.residual import AROUND, Antialiased, Doubling, Generator, Residual, simplified


def weights(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_published_numbers_of_weights() -> None:
    with torch.device("meta"):
        assert weights(Generator(64, 9)) == 11_378_179
        assert weights(Generator(64, 6)) == 7_837_699
        assert weights(PatchJudge(64, 3)) == 2_764_737


def test_a_separable_generator_is_light() -> None:
    with torch.device("meta"):
        dense, light = (weights(Generator(32, 6, separable=s)) for s in (False, True))
    assert light < 0.3 * dense


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_score_sees_so_many_pixels(layers: int) -> None:
    side = {1: 16, 2: 34, 3: 70}[layers]
    judge = PatchJudge(2, layers)
    for layer in judge.body:
        if isinstance(layer, torch.nn.InstanceNorm2d):
            layer.forward = lambda x: x  # it sees everything
    picture = torch.rand(1, 3, 128, 128, requires_grad=True)
    scores = judge(picture)
    middle = scores.shape[2] // 2
    (gradient,) = torch.autograd.grad(scores[0, 0, middle, middle], picture)
    rows, columns = (gradient.abs().sum((0, 1)) > 0).nonzero().T
    assert int(rows.max() - rows.min()) + 1 == side
    assert int(columns.max() - columns.min()) + 1 == side


def test_judges_at_scales() -> None:
    judge = ScaledJudge(2, layers=2, scales=3)
    pictures = torch.rand(2, 3, 32, 48)
    scores = judge(pictures)
    assert [tuple(s.shape) for s in scores] == [(2, 1, 8, 12), (2, 1, 4, 6), (2, 1, 2, 3)]
    one = [judge(p[None]) for p in pictures]
    for k, found in enumerate(scores):
        torch.testing.assert_close(found, torch.cat([o[k] for o in one]))
    check_scaled_judge(16, 2, 3)
    with pytest.raises(InputError, match="2 layers at 3 scales need 16 px, not 12"):
        check_scaled_judge(12, 2, 3)
    check_patch_judge(24, 3)
    PatchJudge(2, 3)(torch.rand(1, 3, 24, 24))
    with pytest.raises(InputError, match="3 layers needs 24 px, not 20: fewer --judge-layers"):
        check_patch_judge(20, 3)


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear", "nearest"])
@pytest.mark.parametrize("separable", [False, True])
def test_any_shape_in_the_same_out_and_no_picture_sees_another(upsampling: str, separable: bool) -> None:
    torch.manual_seed(0)
    network = Generator(4, 2, upsampling=upsampling, separable=separable)
    for shape in ((8, 8), (12, 20)):
        x = torch.rand(3, 3, *shape)
        made, mask = network(x)
        assert mask is None
        assert made.shape == x.shape
        assert 0 <= made.min() < made.max() <= 1
        torch.testing.assert_close(network(x[1:2]).picture, made[1:2], atol=1e-5, rtol=0)


def test_enlarging_first_draws_no_checkerboard() -> None:
    """A flat plane stays flat; the transposed convolution makes every second pixel another."""
    torch.manual_seed(0)
    flat = torch.ones(1, 4, 6, 6)
    inner = {u: Doubling(4, 4, u)(flat)[:, :, 2:-2, 2:-2] for u in ("transposed", "bilinear", "nearest")}
    assert inner["transposed"].std((2, 3)).min() > 1e-2
    assert inner["bilinear"].std((2, 3)).max() < 1e-6
    assert inner["nearest"].std((2, 3)).max() < 1e-6


def test_painting_onto_begins_as_the_picture_and_learns_the_difference() -> None:
    """tanh(y + M atanh(0.96 (2x - 1)) + s) by hand, M the identity and s 0 at first; black and white are 0.02 off, and
    every value can still be left."""
    torch.manual_seed(1)
    network = Generator(4, 1, onto=True)
    assert network.onto is not None
    x = torch.rand(2, 3, 12, 16)
    x[0, :, 0], x[0, :, 1] = 0, 1
    made = network(x).picture
    plain = Generator(4, 1)
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("onto")})
    inner = torch.atanh(2 * plain(x).picture.clamp(1e-6, 1 - 1e-6) - 1)
    bare = torch.atanh(0.96 * (2 * x - 1))
    wanted = (torch.tanh(inner + bare) + 1) / 2
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=0)
    with torch.no_grad():
        network.onto.change.copy_(torch.tensor([[0.0, 0.1, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, -0.1]]))
        network.onto.shift.copy_(torch.tensor([0.0, -0.02, 0.0]))
        mixed = torch.stack([bare[:, 0] + bare[:, 1], bare[:, 1] - 0.2, torch.zeros_like(bare[:, 2])], 1)
        torch.testing.assert_close(network(x).picture, (torch.tanh(inner + mixed) + 1) / 2, atol=1e-5, rtol=0)
        network.onto.change.zero_()
        network.onto.shift.zero_()
    torch.nn.init.zeros_(network.leave.weight)
    copy = network(x.requires_grad_()).picture
    assert (copy - x).abs().max() < 0.0201
    assert (copy - x).abs().mean() < 0.012
    network.leave.bias.grad = None
    copy[0, :, :2].sum().backward()
    assert network.leave.bias.grad.abs().min() > 0.1


def test_a_mask_keeps_what_is_outside() -> None:
    torch.manual_seed(0)
    network = Generator(4, 1, mask=True)
    x = torch.rand(2, 3, 12, 16)
    made, mask = network(x)
    assert mask.shape == (2, 1, 12, 16)
    plain = Generator(4, 1)
    state = {k: v[:3] if k.startswith("leave") else v for k, v in network.state_dict().items()}
    plain.load_state_dict(state)
    torch.testing.assert_close(made, mask * plain(x).picture + (1 - mask) * x)
    with torch.no_grad():
        network.leave.bias[3] = -200.0
    assert torch.equal(network(x).picture, x)


def test_layers_on_the_way_in_and_none_past_the_last_asked_for() -> None:
    torch.manual_seed(0)
    network = Generator(4, 3)
    x = torch.rand(2, 3, 12, 16)
    names = [name for name, _ in network.layers(x)]
    assert names == ["pixels", "down1", "down2", "block1", "block2", "block3", "inner"]
    calls = list[int]()
    network.blocks[1].register_forward_hook(lambda *_: calls.append(1))
    found = network.seen(x, ("pixels", "down2", "block1"))
    assert not calls
    assert {k: tuple(v.shape) for k, v in found.items()} == {
        "pixels": (2, 3, 12, 16),
        "down2": (2, 16, 3, 4),
        "block1": (2, 16, 3, 4),
    }
    inner = F.relu(F.instance_norm(F.conv2d(F.pad(2 * x - 1, (3,) * 4, "reflect"), *network.enter[0].parameters())))
    middle = F.relu(F.instance_norm(F.conv2d(inner, *network.down[0][0].parameters(), stride=2, padding=1)))
    wanted = F.conv2d(middle, *network.down[1][0].parameters(), stride=2, padding=1)
    torch.testing.assert_close(found["down2"], wanted)


@pytest.mark.parametrize("groups", [1, 4])
def test_nothing_that_alternates_comes_through(groups: int) -> None:
    torch.manual_seed(0)
    layer = Antialiased(4, 4, groups=groups, bias=False)
    x = torch.randn(2, 4, 9, 12)
    with torch.no_grad():
        plainly = F.avg_pool2d(F.conv2d(x, layer.weight, groups=groups), 2, 1)
        torch.testing.assert_close(layer(x)[:, :, 1:-1, 1:-1], plainly)
        rows, columns = torch.arange(9) % 2, torch.arange(12) % 2
        for board in (rows[:, None] + 0 * columns, 0 * rows[:, None] + columns, (rows[:, None] + columns) % 2):
            alternating = (2.0 * board - 1).expand(2, 4, -1, -1)
            assert layer(alternating).abs().max() < 1e-6
        assert layer(torch.ones_like(x)).abs().max() > 1e-3


def test_lattices_do_not_grow_from_block_to_block() -> None:
    """Four blocks on a flat place with a little alternation in it: what alternates of what comes out."""

    def grown(antialias: bool) -> float:
        torch.manual_seed(1)
        blocks = nn.Sequential(*(Residual(24, separable=True, antialias=antialias) for _ in range(4)))
        columns = (2.0 * (torch.arange(32) % 2) - 1).expand(1, 24, 32, 32)
        x = torch.randn(1, 24, 1, 1) + 0.01 * columns
        with torch.no_grad():
            made = blocks(x)
        return float((made * columns)[:, :, 8:-8, 8:-8].mean((2, 3)).abs().mean())

    assert grown(False) > 0.3
    assert grown(True) < 0.015


def test_texture_is_taken_off_and_edges_stay() -> None:
    """Grain of deviation 0.03 on either side of a step of 0.6: a tenth of the one is left, nearly all of the other."""
    grain = 0.03 * torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    step = torch.full((1, 3, 40, 40), 0.2)
    step[..., 20:] = 0.8
    found = simplified(step + grain, 0.1)
    flat = found[:, :, 8:-8, 3:12]
    assert flat.std() < 0.2 * grain.std()
    assert flat.mean().item() == pytest.approx(0.2, abs=0.01)
    assert (found[..., 21:23] - found[..., 17:19]).mean() > 0.5
    torch.testing.assert_close(simplified(step + grain, 1e-4), step + grain, atol=2e-3, rtol=0)


def test_simplified_is_the_guided_filter() -> None:
    """He, Sun & Tang 2013, equations 5, 6 and 8 with a grey guide, by means over windows clipped at the border."""
    x = torch.rand(2, 3, 23, 31, generator=torch.Generator().manual_seed(1)).double()

    def mean(y: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(y, 2 * AROUND + 1, 1, AROUND, count_include_pad=False)

    grey = x.mean(1, keepdim=True)
    slope = (mean(grey * x) - mean(grey) * mean(x)) / (mean(grey * grey) - mean(grey).square() + 0.04)
    wanted = (mean(slope) * grey + mean(mean(x) - slope * mean(grey))).clamp(0, 1)
    torch.testing.assert_close(simplified(x, 0.2), wanted, atol=1e-9, rtol=0)
