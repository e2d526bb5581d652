"""Directions against closed forms: eigenvectors, principal components, a score whose gradient is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sfumato.edit.directions import (
    Direction,
    from_labels,
    from_scores,
    learnt,
    orthogonal,
    principal,
    read_directions,
    sefa,
    toward_class,
    write_directions,
)
from sfumato.errors import InputError
from sfumato.models.latent import Space

from .made import space_of, style_generator


def tied(count: int, width: int, layers: int = 3, scale: Tensor | None = None) -> Tensor:
    x = torch.randn(count, 1, width, generator=torch.Generator().manual_seed(1))
    return (x * (scale if scale is not None else 1)).expand(-1, layers, -1)


@pytest.mark.parametrize("kind", ["stylegan2", "biggan", "dcgan"])
def test_sefa_is_the_svd_of_the_stacked_matrices(tmp_path: Path, kind: str) -> None:
    space = space_of(tmp_path, kind)
    found = sefa(space, 3, torch.tensor(2.0))
    rows = [r.matrix(space.network).detach().double().numpy() for r in space.readers]
    rows = [m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-12) for m in rows]
    _, values, axes = np.linalg.svd(np.concatenate(rows))
    for k, direction in enumerate(found):
        assert direction.vector.shape == (space.layers, space.width)
        own = direction.vector[0].double().numpy() / 2
        assert abs(own @ axes[k]) == pytest.approx(1, abs=1e-4)
        assert float(np.linalg.norm(own)) == pytest.approx(1, abs=1e-5)
    assert values[0] >= values[1]


def test_sefa_of_some_layers_moves_only_them(tmp_path: Path) -> None:
    space = space_of(tmp_path, "stylegan2")
    (first,) = sefa(space, 1, torch.tensor(1.0), layers=[2, 3])
    assert float(first.vector[[0, 1, 4, 5]].abs().max()) == 0
    assert torch.equal(first.vector[2], first.vector[3])
    assert not torch.allclose(first.vector[2].abs(), sefa(space, 1, torch.tensor(1.0))[0].vector[2].abs(), atol=1e-3)


def test_principal_axes_of_a_known_covariance() -> None:
    codes = tied(20_000, 4, scale=torch.tensor([0.1, 3.0, 1.0, 0.3]))
    first, second = principal(codes, 2)
    torch.testing.assert_close(first.vector[0], torch.tensor([0, 3.0, 0, 0]), atol=0.06, rtol=0)
    torch.testing.assert_close(second.vector[0], torch.tensor([0, 0, 1.0, 0]), atol=0.06, rtol=0)
    assert torch.equal(first.vector[0], first.vector[2])


def test_principal_axes_of_codes_of_their_own() -> None:
    codes = torch.randn(5000, 2, 3, generator=torch.Generator().manual_seed(1))
    codes[:, 1, 2] *= 5
    (first,) = principal(codes, 1)
    wanted = torch.zeros(2, 3)
    wanted[1, 2] = 5
    torch.testing.assert_close(first.vector, wanted, atol=0.2, rtol=0)


def test_a_linear_score_is_found_through_correlated_codes() -> None:
    """The regression gives the score's gradient, not the direction in which codes happen to vary."""
    mixing = torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 1.0]])
    codes = tied(4000, 3) @ mixing
    gradient = torch.tensor([1.0, -1.0, 0.0])
    found = from_scores("wish", codes, codes[:, 0] @ gradient)
    unit = found.vector[0] / found.vector[0].norm()
    assert float(unit @ gradient / gradient.norm()) > 0.999
    deviation = (codes[:, 0] @ unit).std()
    assert float(found.vector[0].norm()) == pytest.approx(float(deviation), rel=1e-3)
    with pytest.raises(InputError, match="same in all pictures"):
        from_scores("wish", codes, torch.ones(4000))


def test_orthogonal_directions_leave_the_others_scores() -> None:
    a, b, c = (
        Direction(n, torch.randn(2, 5, generator=torch.Generator().manual_seed(i)), "label")
        for i, n in enumerate("abc")
    )
    left = orthogonal(a, [b, c])
    for other in (b, c):
        assert abs(float((left.vector * other.vector).sum())) < 1e-5
    # of two the closed form: a - (a.b / b.b) b
    by_hand = a.vector - (a.vector * b.vector).sum() / b.vector.square().sum() * b.vector
    torch.testing.assert_close(orthogonal(a, [b]).vector, by_hand)
    with pytest.raises(InputError, match="nothing is left of 'a'"):
        orthogonal(a, [Direction("twin", -2 * a.vector, "label")])


def test_a_networks_scores_lead_where_they_grow(tmp_path: Path) -> None:
    """Brightness of the picture, learnt from codes, brightens other pictures."""
    space = space_of(tmp_path, "stylegan2")
    (bright,) = learnt(space, lambda x: {"bright": x.mean((1, 2, 3))}, space.draw(range(400)))
    others = space.draw(range(1000, 1032))
    before, after = (space.show(others + k * bright.vector).mean((1, 2, 3)) for k in (0, 2))
    assert float((after > before).float().mean()) > 0.8
    assert float((after - before).mean()) > 0.5 * float(before.std())


def test_a_class_is_reached_from_every_other_and_left_along_one_way(tmp_path: Path) -> None:
    space = space_of(tmp_path, "biggan")
    a = toward_class(space, "a", range(60))
    inside, outside = (space.draw(range(100, 105), label) for label in (0, 1))
    torch.testing.assert_close(outside + a.at(outside), inside, atol=0.02, rtol=0)
    torch.testing.assert_close(inside + a.at(inside), inside, atol=0.02, rtol=0)
    torch.testing.assert_close(a.at(outside)[:, :, :3], torch.zeros(5, 3, 3), atol=0.02, rtol=0)  # the noise is kept
    torch.testing.assert_close(a.at(outside, 1.5), 1.5 * a.at(outside))
    torch.testing.assert_close(a.at(inside, -2.0), (-2 * a.vector).expand_as(inside))
    assert float((inside - outside).abs().max()) > 0.5


def test_the_way_to_a_class_depends_on_the_code() -> None:
    """Codes (z, 0) of one class and (0, z) of the other: their means are the same, no one vector leads anywhere."""

    def drawn(seeds: Sequence[int], label: int | None) -> Tensor:
        z = torch.cat([torch.randn(1, 3, generator=torch.Generator().manual_seed(s)) for s in seeds])
        both = torch.stack([z, 0 * z] if not label else [0 * z, z], 1).flatten(1)
        return both[:, None].expand(-1, 2, -1)

    space = Space("made", 2, 6, (8, 8), nn.Identity(), torch.device("cpu"), lambda _n, c: c, drawn, classes=("x", "y"))
    way, codes = toward_class(space, "y", range(2000)), drawn(range(5000, 5010), 0)
    assert float(way.vector.norm()) < 0.1 * float(way.at(codes).norm(dim=(1, 2)).mean())
    torch.testing.assert_close(codes + way.at(codes), drawn(range(5000, 5010), 1), atol=0.1, rtol=0)
    layered = torch.cat([codes[:, :1], drawn(range(5000, 5010), 1)[:, 1:]], 1)  # one layer is there already
    assert float(way.at(layered)[:, 1].abs().max()) < 0.1 < float(way.at(layered)[:, 0].abs().max())


def test_labels_lead_from_the_mean_of_all_others() -> None:
    rng = torch.Generator().manual_seed(2)
    labels = torch.arange(400) % 4
    offsets = torch.randn(4, 3, 5, generator=rng)
    codes = offsets[labels] + 0.01 * torch.randn(400, 3, 5, generator=rng)
    found = from_labels(("a", "b", "none here", "c"), codes, torch.tensor([0, 1, 3, 3])[labels])
    assert [(d.name, d.kind) for d in found] == [("a", "label"), ("b", "label"), ("c", "label")]
    torch.testing.assert_close(found[0].vector, offsets[0] - offsets[1:].mean(0), atol=5e-3, rtol=0)
    torch.testing.assert_close(found[2].vector, offsets[2:].mean(0) - offsets[:2].mean(0), atol=5e-3, rtol=0)
    assert not from_labels(("a", "b"), codes, torch.zeros(400, dtype=torch.long))


def test_files_of_directions(tmp_path: Path) -> None:
    space = space_of(tmp_path, "stylegan2")
    made = sefa(space, 2, torch.tensor(1.0))
    path = tmp_path / "d.safetensors"
    write_directions(path, made, "abc")
    back = read_directions(path, space, "abc")
    assert [d.name for d in back] == [d.name for d in made]
    for a, b in zip(back, made, strict=True):
        torch.testing.assert_close(a.vector, b.vector, rtol=1e-3, atol=1e-6)  # half precision, as other models
    assert [d.kind for d in back] == ["sefa", "sefa"]
    with pytest.raises(InputError, match="another generator"):
        read_directions(path, space, "abd")
    with pytest.raises(InputError, match="is a stylegan2 model, directions wanted"):
        read_directions(style_generator(tmp_path / "g.safetensors"), space, "abc")
    (tmp_path / "x").write_bytes(b"no")
    with pytest.raises(InputError, match="not a safetensors file"):
        read_directions(tmp_path / "x", space, "abc")
