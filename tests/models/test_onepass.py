"""The one-pass network: what its parts promise, on small random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sfumato.errors import InputError
from sfumato.features.sources import IMAGENET
from sfumato.features.vgg import CONVS, VGG19, Weights
from sfumato.layers.modulated import Conv
from sfumato.layers.patches import ProjectedJudge
from sfumato.models import onepass_networks
from sfumato.models.onepass import STYLE_LAYERS, Config, Method, halves
from sfumato.models.onepass_networks import STRIDES, Colors, Generator, Standardise, Style, StyleEncoder, in_bands
from sfumato.style.recolor import color_moments

from .steps import steps_of

SMALL = Config(widths=(4, 6, 8, 8), blocks=1, code=8, style_widths=(4, 6, 8, 8, 8), judge_width=4)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def style_of(picture: torch.Tensor) -> Style:
    found: Style = StyleEncoder(SMALL).eval()(picture)
    return found


def noise_for(x: torch.Tensor, scale: float = 1.0) -> list[torch.Tensor | None]:
    height, width = (-(-side // 8) * 8 for side in x.shape[2:])
    return [scale * torch.randn(len(x), 1, height // s, width // s) for s in STRIDES]


def colors_of(x: torch.Tensor, style: Style) -> Colors:
    mean, covariance = (m.float() for m in color_moments(x))
    return Colors.between(mean, covariance, style)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (8, 40), (9, 8)])
def test_any_size_comes_out_as_it_went_in(size: tuple[int, int]) -> None:
    x, style = torch.rand(2, 3, *size), style_of(torch.rand(2, 3, 20, 24))
    made = Generator(SMALL)(x, colors_of(x, style), style.code, noise_for(x))
    assert made.shape == x.shape
    assert made.isfinite().all()


def test_the_canvas_has_the_style_s_colors() -> None:
    x, painting = torch.rand(1, 3, 32, 32) * 0.3, torch.rand(1, 3, 32, 32) ** 2
    style = style_of(painting)
    colors = colors_of(x, style)
    moved = (colors.matrix @ (x.flatten(2) - colors.mean) + colors.offset).reshape(x.shape)
    for found, wanted in zip(color_moments(moved), color_moments(painting), strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-3, rtol=0)


def test_contrast_grows_four_times_at_most() -> None:
    x, painting = 0.5 + 0.001 * torch.randn(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    assert torch.linalg.eigvalsh(colors_of(x, style_of(painting)).matrix).max() <= 4.0001


def test_the_whole_picture_s_weight_is_no_weight() -> None:
    encoder, picture = StyleEncoder(SMALL).eval(), torch.rand(1, 3, 24, 32)
    for found, wanted in zip(encoder(picture, torch.ones(1, 1, 24, 32)), encoder(picture), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_pixels_without_weight_do_not_count() -> None:
    encoder, picture = StyleEncoder(SMALL).eval(), torch.rand(1, 3, 24, 160)
    other, weight = picture.clone(), torch.zeros(1, 1, 24, 160)
    other[..., 112:], weight[..., :32] = 0, 1  # further away than the encoder sees
    assert not torch.allclose(encoder(picture).code, encoder(other).code, atol=1e-3)
    for found, wanted in zip(encoder(other, weight), encoder(picture, weight), strict=True):
        torch.testing.assert_close(found, wanted)


def test_the_style_encoder_starts_as_a_trained_network() -> None:
    """Its activations are that network's, and stay so while the rest is trained."""
    encoder = StyleEncoder(SMALL)
    convs = {c: (torch.randn(w.shape), torch.randn(len(b))) for c, (w, b) in zip(CONVS, shapes(encoder), strict=False)}
    network = VGG19(Weights(convs, *IMAGENET, "narrow", "0" * 64), pooling="max", padding="replicate")
    encoder.start(network)
    seen, projected = [], encoder._projected
    encoder._projected = lambda block, x, *sums: (seen.append(x), projected(block, x, *sums))[1]  # type: ignore
    picture = torch.rand(1, 3, 32, 48)
    encoder.eval()(picture)
    for x, f in zip(seen, network(picture, STYLE_LAYERS).values(), strict=True):
        torch.testing.assert_close(x, f, atol=1e-3, rtol=1e-3)
    assert not any(p.requires_grad for p in encoder.convs.parameters())
    assert encoder.first.weight.requires_grad


def shapes(encoder: StyleEncoder) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(conv.weight, conv.bias) for conv in encoder.convs]


def test_what_is_projected_is_standardised_as_a_whole() -> None:
    """By the root of the channels' mean variance: one factor for all of them."""
    encoder, x = StyleEncoder(SMALL), 3 + torch.rand(2, 6, 9, 7) * torch.arange(1, 7)[:, None, None]
    variance, mean = torch.var_mean(x, (2, 3), correction=0)
    z = (x - mean[..., None, None]) / (variance + 1e-3).mean(1).sqrt()[:, None, None, None]
    torch.testing.assert_close(encoder._projected(1, x, mean, variance), encoder.projections[1](z), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(50, 40), (41, 200), (7, 3)])
def test_a_convolution_in_bands_is_the_convolution(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    conv, x = Conv(3, 5), torch.rand(2, 3, *size)
    for band in (1, 600, 1000):
        monkeypatch.setattr(onepass_networks, "BAND", band)
        torch.testing.assert_close(in_bands(conv, x), conv(x), atol=1e-5, rtol=0)


def test_a_network_of_other_widths_is_no_start() -> None:
    encoder, other = StyleEncoder(SMALL), StyleEncoder(replace(SMALL, style_widths=(4, 6, 8, 8, 9)))
    convs = dict(zip(CONVS, shapes(other), strict=False))
    with pytest.raises(InputError, match="9 x 8 channels where the style encoder's have 8 x 8"):
        encoder.start(VGG19(Weights(convs, *IMAGENET, "narrow", "0" * 64)))


def test_inputs_are_standardised_by_what_training_saw() -> None:
    net, batches = Standardise(3), 5 + 2 * torch.randn(400, 8, 3)
    for batch in batches:
        net(batch)
    y = net.eval()(batches.flatten(0, 1))
    assert y.mean(0).abs().max() < 0.1
    assert (y.std(0) - 1).abs().max() < 0.1
    assert torch.equal(net(batches[0]), y[:8])


def test_styles_mix_linearly() -> None:
    a, b = style_of(torch.rand(1, 3, 16, 16)), style_of(torch.rand(1, 3, 16, 16) * 0.2)
    for x, y, half in zip(a, b, a.mixed(b, 0.5), strict=True):
        torch.testing.assert_close(half, (x + y) / 2)
    torch.testing.assert_close(a.mixed(b, 0.0).code, a.code)


def test_regions_of_one_code_are_no_regions() -> None:
    net, x = Generator(SMALL), torch.rand(1, 3, 16, 24)
    style = style_of(torch.rand(1, 3, 16, 16))
    colors = colors_of(x, style)
    features = net.encode(x, colors)
    code, noise = style.code[:, None], noise_for(x)
    share = torch.rand(1, 1, 2, 3)
    regions = []
    for stride in STRIDES:
        one = share.repeat_interleave(8 // stride, 2).repeat_interleave(8 // stride, 3)
        regions.append(torch.cat([one, 1 - one], 1))
    both = net.decode(x, features, colors, code.expand(1, 2, -1), noise, regions)
    torch.testing.assert_close(both, net.decode(x, features, colors, code, noise), atol=1e-4, rtol=1e-4)


def test_whole_pictures_take_regions_too() -> None:
    net, x = Generator(SMALL), torch.rand(1, 3, 16, 24)
    style = style_of(torch.rand(1, 3, 16, 16))
    colors, noise, labels = colors_of(x, style), noise_for(x), torch.rand(1, 1, 16, 24)
    both = net(x, colors, style.code[:, None].expand(1, 2, -1), noise, torch.cat([labels, 1 - labels], 1))
    torch.testing.assert_close(both, net(x, colors, style.code, noise), atol=1e-4, rtol=1e-4)


def test_drawn_regions_halve_the_picture() -> None:
    labels = halves(torch.randn(3, 1, 4, 4), (64, 48))
    assert labels.shape == (3, 2, 64, 48)
    torch.testing.assert_close(labels.sum(1), torch.ones(3, 64, 48))
    torch.testing.assert_close(labels.mean((2, 3)), torch.full((3, 2), 0.5), atol=0.1, rtol=0)
    assert ((labels < 0.1) | (labels > 0.9)).float().mean() > 0.6


def test_every_region_goes_to_the_colors_of_its_own_style() -> None:
    x = torch.rand(1, 3, 32, 32) * 0.4
    paintings = torch.stack([torch.rand(3, 32, 32) ** 2, 0.5 + 0.5 * torch.rand(3, 32, 32)])
    labels = torch.zeros(1, 2, 32, 32)
    labels[:, 0, :, :16], labels[:, 1, :, 16:] = 1, 1
    with torch.no_grad():
        styles = StyleEncoder(SMALL).eval()(paintings)
    inside = [torch.cat(p).float() for p in zip(*(color_moments(x, labels[:, k : k + 1]) for k in (0, 1)), strict=True)]
    everywhere = tuple(m.float() for m in color_moments(x))
    colors = Colors.per_region(everywhere, (inside[0], inside[1]), styles)  # type: ignore[arg-type]
    for k, columns in enumerate((slice(0, 16), slice(16, 32))):
        part = x[..., columns].flatten(2)
        moved = (colors.matrix[:, k] @ (part - colors.mean) + colors.offset[:, k]).reshape(1, 3, 32, 16)
        for found, wanted in zip(color_moments(moved), color_moments(paintings[k : k + 1]), strict=True):
            torch.testing.assert_close(found, wanted, atol=5e-3, rtol=0)


def test_the_region_loss_asks_every_region_for_its_own_style() -> None:
    """A picture made of the two paintings has a small loss, the same with the paintings exchanged a large one."""
    method = Method(replace(SMALL, region_weight=1.0, features="vgg-lite"))
    method.resolution = 64
    run = steps_of(method)
    content, style = torch.rand(1, 3, 64, 64), torch.rand(2, 3, 64, 64)
    style[0] = (style[0] ** 3).round(decimals=1)
    style[1, :, ::4] = 0
    code = style_of(style)
    labels = halves(run.randn("regions", 1, 1, 4, 4), (64, 64))

    def loss(first: int) -> float:
        made = labels[:, :1] * style[first] + labels[:, 1:] * style[1 - first]
        run.networks["generator"] = lambda *_: made
        return float(method.by_regions(run, content, style, code))

    assert loss(0) < 0.6 * loss(1)


def test_a_step_with_regions_trains_what_they_see() -> None:
    method = Method(replace(SMALL, region_weight=1.0, features="vgg-lite"))
    method.resolution = 32
    run = steps_of(method)
    logs = run.go(*(torch.rand(2, 3, 32, 32) for _ in range(3)))
    assert 0.1 < float(logs["regions"].detach()) < 3
    plain = steps_of(Method(replace(SMALL, features="vgg-lite")))
    assert "regions" not in plain.go(*(torch.rand(2, 3, 32, 32) for _ in range(3)))


def test_every_picture_has_a_strength_of_noise_of_its_own() -> None:
    method, x = Method(replace(SMALL, noise=(0.2, 0.7), features="vgg-lite")), torch.zeros(16, 3, 64, 64)
    maps = method.noise(steps_of(method), "noise", x)
    assert [tuple(m.shape) for m in maps] == [(16, 1, 64 // s, 64 // s) for s in STRIDES]
    strength = maps[0].std((1, 2, 3))
    assert 0.19 < strength.min() < 0.4
    assert 0.5 < strength.max() < 0.72
    torch.testing.assert_close(maps[1].std((1, 2, 3)), strength, rtol=0.15, atol=0)
    whole = Method(replace(SMALL, features="vgg-lite"))
    assert whole.noise(steps_of(whole), "noise", x)[0].std((1, 2, 3)).sub(1).abs().max() < 0.05


def test_noise_and_code_change_the_picture() -> None:
    net, x = Generator(SMALL), torch.rand(1, 3, 16, 16)
    a, b = style_of(torch.rand(1, 3, 16, 16)), style_of(torch.rand(1, 3, 16, 16) ** 3)
    colors, noise = colors_of(x, a), noise_for(x)
    plain = net(x, colors, a.code, noise)
    assert not torch.allclose(plain, net(x, colors, a.code, noise_for(x)), atol=1e-4)
    assert not torch.allclose(plain, net(x, colors, b.code, noise), atol=1e-4)
    torch.testing.assert_close(
        net(x, colors, a.code, noise_for(x, 0.0)), net(x, colors, a.code, [None] * 4), atol=1e-5, rtol=0
    )


def test_brightness_and_contrast_of_the_photograph_hardly_matter() -> None:
    """The encoder sees (x - mean) / deviation: the same picture, dimmed."""
    net, x = Generator(SMALL), torch.rand(1, 3, 16, 16)
    style = style_of(torch.rand(1, 3, 16, 16))
    dim = 0.1 + 0.7 * x
    noise = noise_for(x)
    a, b = (net(p, colors_of(p, style), style.code, noise) for p in (x, dim))
    assert (a - b).abs().mean() < 0.1 * a.std()


def test_the_discriminator_judges_patches_at_two_scales() -> None:
    scores = ProjectedJudge(SMALL.judge_width, SMALL.code)(torch.rand(2, 3, 64, 48), torch.randn(2, 8))
    assert [tuple(s.shape) for s in scores] == [(2, 1, 8, 6), (2, 1, 4, 3)]


class FakeData:
    """Flat pictures by index."""

    def draw(self, rng: np.random.Generator, *, by_group: bool = False) -> int:
        assert by_group
        return int(rng.integers(100))

    def __getitem__(self, i: int) -> torch.Tensor:
        return torch.full((3, 40, 50), i, dtype=torch.uint8)


def test_a_sample_is_a_photograph_and_two_crops_of_one_painting() -> None:
    method = Method(SMALL)
    method.resolution = 32
    data = {"content": FakeData(), "style": FakeData()}
    content, first, second = method.sample(data, np.random.default_rng(3))  # type: ignore[arg-type]
    assert content.shape == first.shape == second.shape == (3, 32, 32)
    assert first.mean() == second.mean() != content.mean()
    again = method.sample(data, np.random.default_rng(3))  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip((content, first, second), again, strict=True))


def test_a_judge_of_features_stands_beside_the_other() -> None:
    """It tells results from paintings within a few steps, and the painters hear of it."""
    config = replace(SMALL, features="vgg-lite", adversarial_weight=0.5, adversarial_from=0.0, feature_judge="vgg-lite")
    method = Method(replace(config, judge_rate=3e-3, learning_rate=1e-6))
    method.resolution = 48
    run = steps_of(method)
    content = torch.rand(4, 3, 6, 6).repeat_interleave(8, 2).repeat_interleave(8, 3)
    painting = torch.rand(4, 3, 48, 48)
    first = run.go(content, painting, painting.flip(3))
    assert run.networks["discriminator"].features.calibrated
    with pytest.raises(InputError, match="no say without an adversarial weight"):
        Method(replace(method.config, adversarial_weight=0.0))
    alone = steps_of(Method(replace(method.config, adversarial_weight=0.0, feature_judge="")))
    alone.method.resolution = 48
    other = alone.go(content, painting, painting.flip(3))
    added = run.minimized[0][1] - alone.minimized[0][1]
    assert added == pytest.approx(0.5 * first["adversarial"].item(), abs=1e-4)
    assert other["style"].item() == pytest.approx(first["style"].item(), abs=1e-6)
    for _ in range(12):
        last = run.go(content, painting, painting.flip(3))
    assert last["judge"] < 0.7 * first["judge"]
    assert last["told apart"] > 0.65  # measured: 0.73
