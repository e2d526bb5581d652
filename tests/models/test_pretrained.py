"""Networks of `transformers` as segmenters: a small SegFormer, written by the test in the package's own layout."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from sfumato.errors import InputError
from sfumato.models.predictor import load_predictor
from sfumato.models.pretrained import PAINTERS, is_pretrained, painters_class
from sfumato.segment.work import segmented

transformers = pytest.importorskip("transformers")
NAMES = ["wall", "sky", "tree", "sea", "house", "lamp", "plant;flora;plant life"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network of a few thousand weights for seven of ADE20K's classes."""
    made = tmp_path_factory.mktemp("pretrained") / "segformer"
    config = transformers.SegformerConfig(
        num_labels=len(NAMES), id2label=dict(enumerate(NAMES)), hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.SegformerForSemanticSegmentation(config).save_pretrained(made)
    return made


def test_chances_are_the_networks_summed_over_words_of_one_meaning(folder: Path) -> None:
    predictor, digest = load_predictor(folder)
    assert predictor.classes == ("sky", "water", "vegetation", "building", "object")
    pictures = torch.rand(2, 3, 70, 90, generator=torch.Generator().manual_seed(1))
    found = predictor.predict(pictures)
    network = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    with torch.no_grad():
        scores = network(pixel_values=(pictures - mean) / deviation).logits
    chances = F.interpolate(scores, (70, 90), mode="bilinear", align_corners=False).softmax(1)
    wanted = torch.stack([chances[:, k].sum(1) for k in ([1], [3], [2, 6], [0, 4], [5])], 1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    assert len(digest) == 64
    assert digest == load_predictor(folder)[1]


def test_it_parts_a_picture(folder: Path) -> None:
    predictor, _ = load_predictor(folder)
    seen = segmented(predictor, torch.rand(1, 3, 64, 96), size=64)
    assert seen.regions.weights.shape[1:] == (64, 96)
    assert set(seen.regions.names) <= set(PAINTERS)


def test_the_side_is_what_the_folder_says(folder: Path, tmp_path: Path) -> None:
    assert load_predictor(folder)[0].side == 512
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 640, "width": 320}}))
    assert load_predictor(copy)[0].side == 320


def test_weights_in_a_pickle_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded by transformers"):
        load_predictor(tmp_path)


def test_a_name_of_the_hub_without_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    class Offline:
        @staticmethod
        def from_pretrained(*_: object, **given: object) -> None:
            assert given["local_files_only"] is False
            assert given["use_safetensors"] is True
            raise OSError("we couldn't connect to the hub")

    monkeypatch.setattr(transformers, "AutoModelForSemanticSegmentation", Offline)
    with pytest.raises(InputError, match=r"hub:nobody/nothing: cannot be loaded .* connect"):
        load_predictor("hub:nobody/nothing")


def test_what_is_ours_stays_ours(tmp_path: Path) -> None:
    assert not is_pretrained("scene")
    assert not is_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 1, "family": "unet"}')
    assert not is_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "wanted"),
    {
        "traffic light": "object", "swimming pool": "water", "dirt track": "ground", "palm, palm tree": "vegetation",
        "pool table, billiard table, snooker table": "object", "motorcycle": "vehicle", "potted plant": "vegetation",
        "screen door, screen": "building", "airplane, aeroplane, plane": "vehicle", "person": "person",
        "crt screen": "object",
        "mountain, mount": "ground", "sky": "sky", "chest of drawers, chest, bureau": "object",
    }.items(),
)  # fmt: skip
def test_words_of_ade20k_cityscapes_and_voc(name: str, wanted: str) -> None:
    assert painters_class(name) == wanted
