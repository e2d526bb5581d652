"""Foreign CycleGAN generators: written here in the original layout, converted, and painting what the formulas say.

The reference is the published arithmetic in float64 on the numbers under their original names.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato import cli
from sfumato.errors import InputError
from sfumato.models.cyclegan import Translator
from sfumato.models.cyclegan_foreign import convert
from sfumato.weights.files import load_model

Weights = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


def weights(blocks: int = 2, n: int = 4, *, transposed: bool = True, dropout: bool = False) -> Weights:
    """A generator's state under the official names."""
    made: Weights = {}

    def conv(key: str, outputs: int, inputs: int, side: int) -> None:
        made[f"{key}.weight"] = torch.randn(outputs, inputs, side, side) * 0.3
        made[f"{key}.bias"] = torch.randn(outputs if "T" not in key else inputs) * 0.3

    conv("model.1", n, 3, 7)
    conv("model.4", 2 * n, n, 3)
    conv("model.7", 4 * n, 2 * n, 3)
    for i in range(blocks):
        conv(f"model.{10 + i}.conv_block.1", 4 * n, 4 * n, 3)
        conv(f"model.{10 + i}.conv_block.{6 if dropout else 5}", 4 * n, 4 * n, 3)
    places = (0, 3, 7) if transposed else (2, 7, 11)
    for place, (inputs, outputs) in zip(places, ((4 * n, 2 * n), (2 * n, n)), strict=False):
        key = f"model.{10 + blocks + place}"
        conv(key, outputs, inputs, 3)
        if transposed:
            made[f"{key}.weight"] = made[f"{key}.weight"].transpose(0, 1).contiguous()
    conv(f"model.{10 + blocks + places[2]}", 3, n, 7)
    return made


def paint(w: Weights, x: Tensor, enlarge: str = "transposed") -> Tensor:
    """The network of the paper's appendix, plainly; N x 3 x H x W in [-1, 1]."""
    w = {k: v.double() for k, v in w.items()}
    layers = sorted({int(k.split(".")[1]) for k in w})
    blocks = [i for i in layers if any(k.startswith(f"model.{i}.conv_block") for k in w)]
    first, down1, down2, up1, up2, last = [i for i in layers if i not in blocks]

    def own(key: Any) -> tuple[Tensor, Tensor]:
        return w[f"model.{key}.weight"], w[f"model.{key}.bias"]

    def norm(y: Tensor) -> Tensor:
        mean = y.mean((2, 3), keepdim=True)
        return (y - mean) / (((y - mean) ** 2).mean((2, 3), keepdim=True) + 1e-5).sqrt()

    def reflected(y: Tensor, reach: int) -> Tensor:
        return F.pad(y, (reach,) * 4, "reflect")

    y = norm(F.conv2d(reflected(x.double(), 3), *own(first))).clamp_min(0)
    for key in (down1, down2):
        y = norm(F.conv2d(y, *own(key), stride=2, padding=1)).clamp_min(0)
    for i in blocks:
        second = 5 if f"model.{i}.conv_block.5.weight" in w else 6
        inner = norm(F.conv2d(reflected(y, 1), *own(f"{i}.conv_block.1"))).clamp_min(0)
        y = y + norm(F.conv2d(reflected(inner, 1), *own(f"{i}.conv_block.{second}")))
    for key in (up1, up2):
        if enlarge == "transposed":
            y = F.conv_transpose2d(y, *own(key), stride=2, padding=1, output_padding=1)
        else:
            y = F.conv2d(reflected(F.interpolate(y, scale_factor=2, mode=enlarge), 1), *own(key))
        y = norm(y).clamp_min(0)
    return torch.tanh(F.conv2d(reflected(y, 3), *own(last)))


def saved(w: dict[str, Any], name: str = "latest_net_G.pth", *, new: bool = True) -> Path:
    torch.save(w, name, _use_new_zipfile_serialization=new)
    return Path(name)


def gap(direction: Any, w: Weights, enlarge: str = "transposed") -> float:
    """Largest difference of pictures in [0, 1]."""
    pictures = torch.rand(2, 3, 12, 20)
    wanted = (paint(w, 2 * pictures - 1, enlarge) + 1) / 2
    assert wanted.std() > 0.05
    return float((Translator.load("out.safetensors").translate(pictures, direction) - wanted).abs().max())


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("blocks", [0, 2])
def test_an_official_generator_paints_what_the_formulas_say(new: bool, blocks: int) -> None:
    w = weights(blocks)
    made = convert(saved(w, new=new), "out.safetensors")
    assert (made.config.channels, made.config.blocks, made.config.upsampling) == (4, blocks, "transposed")
    assert (made.directions, made.notes) == (("a_to_b",), ())
    assert gap("a_to_b", w) < 1e-5
    assert load_model("out.safetensors").about["files"]["a_to_b"]["file"] == "latest_net_G.pth"


@pytest.mark.parametrize("nearest", [True, False])
def test_enlarged_first_and_then_convolved(nearest: bool) -> None:
    w = weights(transposed=False)
    made = convert(saved(w), "out.safetensors", nearest=nearest)
    enlarge = "nearest" if nearest else "bilinear"
    assert made.config.upsampling == enlarge
    assert gap("a_to_b", w, enlarge) < 1e-5
    assert [("bilinearly was taken" in n) for n in made.notes] == ([] if nearest else [True])


def test_both_directions_dropout_old_statistics_and_processes() -> None:
    there, back = weights(dropout=True), weights(dropout=True)
    old = {f"model.{i}.running_mean": torch.ones(4) for i in (2, 5)} | {"model.2.num_batches_tracked": torch.tensor(3)}
    one = saved({f"module.{k}": v for k, v in (there | old).items()}, "latest_net_G_A.pth")
    made = convert(one, "out.safetensors", back=saved(back, "latest_net_G_B.pth"))
    assert made.directions == ("a_to_b", "b_to_a")
    assert made.notes == ("it was trained with dropout, which is left out in use",)
    assert gap("a_to_b", there) < 1e-5
    assert gap("b_to_a", back) < 1e-5
    half = convert(one, "half.safetensors", half=True)
    assert half.config == made.config
    assert Path("half.safetensors").stat().st_size < 0.7 * Path("out.safetensors").stat().st_size / 2 + 5000


def changed(**change: Any) -> dict[str, Any]:
    return {k: v for k, v in (weights() | {k.replace("_", "."): v for k, v in change.items()}).items() if v is not None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"model.model.0.weight": torch.zeros(4, 3, 4, 4)}, "a U-Net"),
        (changed(model_2_weight=torch.ones(4)), r"normalisation has weights \(model\.2\.weight\): batch norm"),
        (changed(model_1_bias=None), r"model\.1\.bias is missing"),
        (changed(model_7_weight=torch.zeros(9, 8, 3, 3)), r"model\.7\.weight is 9 x 8 x 3 x 3, and should be 16 x 8"),
        (changed(model_7_bias=torch.zeros(16).long()), r"model\.7\.bias is of int64"),
        (changed(model_7_bias=torch.full((16,), torch.nan)), "NaN or infinite"),
        (
            changed(model_40_weight=torch.zeros(2, 2, 1, 1)),
            r"another architecture \(layers 1, 4, 7, 12, 15, 19, 40 and",
        ),
        (changed(model_attention=torch.zeros(2)), "holds 'model.attention', which a ResNet generator"),
        (changed(model_7_bias=3), "something else than tensors"),
        ({"model.1.weight": torch.zeros(0, 3, 7, 7)}, "another architecture"),
        ({"state": torch.zeros(2)}, "holds no generator of pytorch-CycleGAN"),
    ],
)
def test_other_files_are_refused(state: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        convert(saved(state), "out.safetensors")
    assert "\n" not in str(caught.value)
    assert not Path("out.safetensors").exists()


def test_other_blocks_and_another_way_back_are_refused() -> None:
    zeros = {k.replace("conv_block.5", "conv_block.4"): v for k, v in weights().items()}
    with pytest.raises(InputError, match="its blocks are of another kind"):
        convert(saved(zeros), "out.safetensors")
    with pytest.raises(InputError, match=r"b\.pth: a generator of another size or kind than a\.pth"):
        convert(saved(weights(), "a.pth"), "out.safetensors", back=saved(weights(3), "b.pth"))
    whole = Path("a.pth").read_bytes()
    Path("cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        convert("cut.pth", "out.safetensors")


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    saved(weights(transposed=False), "a.pth")
    saved(weights(transposed=False), "b.pth")
    assert cli.main(["convert", "a.pth", "--back", "b.pth", "--nearest", "-o", "g.safetensors"]) == 0
    assert capsys.readouterr().err == "wrote g.safetensors: cyclegan, a_to_b and b_to_a, 2 blocks, 4 channels\n"
    trap = b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x01x\x85R."
    Path("bad.pth").write_bytes(trap)
    Path("other.pth").write_bytes(b"")
    torch.save({"input.input": torch.zeros(2)}, "gan.pth")
    for words, says in (
        (["bad.pth"], "asks for 'os.mkdir'"),
        (["a.pth", "--back", "bad.pth"], "asks for 'os.mkdir'"),
        (["other.pth"], "empty"),
        (["gan.pth", "--back", "a.pth"], "--back and --nearest are for CycleGAN's generators"),
    ):
        assert cli.main(["convert", *words, "-o", "bad.safetensors"]) == 2
        text = capsys.readouterr().err
        assert says in text
        assert text.startswith("sfumato: ")
    assert not Path("x").exists()
    assert not Path("bad.safetensors").exists()
