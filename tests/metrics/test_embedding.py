"""Feature networks by name: what they compute, and that the name says which it was."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from sfumato.errors import InputError
from sfumato.features.sources import load_features
from sfumato.metrics.embedding import embed, load_embedding
from sfumato.models.classifier import Config, Method
from sfumato.weights.files import save_model


def classifier(path: Path) -> Path:
    torch.manual_seed(0)
    config = Config(resolution=8, channels=1, widths=(4,), hidden=6, classes=("a", "b", "c"))
    save_model(path, "classifier", asdict(config), Method(config).networks(), {}, dtype=torch.float32)
    return path


def test_vgg_is_relu5_4_averaged_with_the_poolings_it_was_trained_with() -> None:
    pictures = torch.rand(2, 3, 40, 32)
    embedding = load_embedding()
    wanted = load_features("vgg19", pooling="max")(pictures, ["relu5_4"])["relu5_4"].mean((2, 3))
    found = embed(embedding, pictures.split(1))
    assert found.features.shape == (2, 512)
    assert found.chances is None
    torch.testing.assert_close(found.features, wanted, rtol=1e-4, atol=1e-4)
    assert (embedding.name, embedding.title) == ("vgg19 relu5_4, mean over positions", "VGG")


def test_a_classifier_gives_its_features_and_chances_and_its_name(tmp_path: Path) -> None:
    for path, title in ((tmp_path / "digits.safetensors", "digits"), (tmp_path / "run" / "weights.safetensors", "run")):
        path.parent.mkdir(exist_ok=True)
        embedding = load_embedding(classifier(path))
        assert embedding.title == title
        pictures = torch.rand(3, 3, 8, 8)
        found = embed(embedding, [pictures])
        assert found.features.shape == (3, 6)
        assert found.chances is not None
        torch.testing.assert_close(found.chances.sum(1), torch.ones(3))
    assert load_embedding(tmp_path / "run").sha256 == embedding.sha256


def test_what_is_no_feature_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures to judge"):
        embed(load_embedding(classifier(tmp_path / "c.safetensors")), [])
    save_model(tmp_path / "other.safetensors", "onepass", {}, {"x": torch.nn.Linear(2, 2)}, {})
    with pytest.raises(InputError, match="is a onepass model, classifier wanted"):
        load_embedding(tmp_path / "other.safetensors")
