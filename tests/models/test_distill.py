from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato.features.sources import load_features
from sfumato.features.vgg import WIDTHS
from sfumato.models.distill import LAYERS, Config, Method, Student, blurred, relative
from sfumato.weights.files import save_model


class FakeData:
    def draw(self, rng: np.random.Generator, *, by_group: bool = False) -> int:
        return int(rng.integers(2, 250)) if by_group else 0

    def __getitem__(self, i: int) -> torch.Tensor:
        return torch.full((3, 40, 50), i, dtype=torch.uint8)


def test_the_student_has_the_teacher_s_geometry_and_after_its_maps_the_teacher_s_widths() -> None:
    torch.manual_seed(0)
    student = Student(Config(widths=(2, 3, 4, 5, 6)))
    found = student(torch.rand(2, 3, 32, 48))
    assert tuple(found) == LAYERS
    assert [tuple(f.shape) for f in found.values()] == [
        (2, c, 32 // s, 48 // s) for c, s in zip((2, 3, 4, 5, 6), (1, 2, 4, 8, 16), strict=True)
    ]
    assert [f.shape[1] for f in student.full(found).values()] == list(WIDTHS)


def test_the_exported_file_is_a_feature_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student, path = Student(Config(widths=(2, 3, 4, 5, 6))).eval(), tmp_path / "lite.safetensors"
    save_model(path, "distill", {}, {"student": student}, {}, dtype=torch.float32)
    network, pictures = load_features(path), torch.rand(1, 3, 32, 48)
    wanted = student.full(student(pictures))
    for layer, f in network(pictures, LAYERS).items():
        torch.testing.assert_close(f, wanted[layer], atol=1e-4, rtol=1e-4)
    assert network(pictures, ["relu3_2"])["relu3_2"].shape[1] == 4  # without a map: as it is
    assert network.name == "distill:lite.safetensors"


def test_the_default_needs_twelve_times_fewer_multiplications_and_three_megabytes() -> None:
    student = Student(Config())
    weights = sum(p.numel() for p in student.parameters())
    assert 2 * weights < 3e6

    def work(widths: tuple[int, ...]) -> float:
        counts, total, inputs = (2, 2, 4, 4, 1), 0.0, 3
        for block, (count, width) in enumerate(zip(counts, widths, strict=True)):
            for _ in range(count):
                total += 9 * inputs * width / 4**block
                inputs = width
        return total

    narrow = Config().widths
    maps = sum(n * w / 4**block for block, (n, w) in enumerate(zip(narrow, WIDTHS, strict=True)))
    assert work(WIDTHS) / (work(narrow) + maps) > 12


def test_relative_error_is_one_for_nothing_and_none_for_the_same() -> None:
    t = torch.randn(3, 4, 5, 5)
    assert relative(torch.zeros_like(t), t).item() == 1.0
    assert relative(t, t).item() == 0.0
    assert relative(1.5 * t, t).item() == pytest.approx(0.25)


def test_blurring_keeps_the_mean_of_blocks() -> None:
    x = torch.rand(3, 16, 16)
    assert blurred(x, 4).shape == x.shape
    assert blurred(x, 4).var() < 0.3 * x.var()
    torch.testing.assert_close(blurred(x, 1), x)


def test_samples_are_photographs_blends_and_noise_and_functions_of_the_generator() -> None:
    method = Method(Config())
    method.resolution = 32
    flat = blended = 0
    for seed in range(60):
        (x,) = method.sample({"data": FakeData()}, np.random.default_rng(seed))  # type: ignore[dict-item]
        (again,) = method.sample({"data": FakeData()}, np.random.default_rng(seed))  # type: ignore[dict-item]
        assert torch.equal(x, again)
        assert x.shape == (3, 32, 32)
        assert 0 <= x.min() <= x.max() <= 1
        flat += int(x.var() < 1e-6)  # a flat picture, or a blend of two
        blended += int(x.var() > 0.01)
    assert 30 < flat < 57
    assert blended > 3
