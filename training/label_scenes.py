#!/usr/bin/env python3
"""Label maps of painters' classes: photographs labelled by networks that know streets, things and skies.

    python training/label_scenes.py teach PHOTOS --seen seen.json --weights TEACHERS --out scenes/raw
    python training/label_scenes.py label PHOTOS --seen seen.json --drawn drawn.json --raw scenes/raw --out scenes/train
    python training/label_scenes.py camvid CAMVID/train CAMVID/trainannot --out scenes/train
    python training/label_scenes.py pairs PAIRS --named named.json --out scenes/train

`teach` runs three teachers on every photograph and keeps what they say; it is slow (two seconds a photograph on one
core) and goes on where it was interrupted. The teachers, as published:

- segmentation/deeplab_mobilenet_edgetpu_slim_cityscapes_quant.tflite, 19 classes of streets (Apache-2.0);
- segmentation/deeplabv3_mnv2_pascal_quant.tflite, 20 kinds of things (Apache-2.0);
- sky/skysegsmall_sim-opt-fp16.{param,bin}, the sky's matte (MIT).

By themselves they are wrong too often: a street's network sees roads in water and buildings in mountains. So a person
says first which classes a photograph holds (`seen.json`: {photograph: [classes]}; one that is not there is left out),
and `label` lets the teachers say only where they are. No teacher knows water: it is drawn as polygons (`drawn.json`:
{photograph: [[class, [[x, y], ...]], ...]} in shares of the sides, later ones on top, "ignore" for parts that are not
to be judged), as are boats and animals that the teachers miss. Edges then follow the photograph's (guided filter), and
what stays doubtful is ignored. Grass is vegetation; rock, sand, snow and floors are ground; bridges are buildings.

`camvid` maps the classes of CamVid, `pairs` the regions of published photo pairs, named by hand (`named.json`: {file of
labels: [[[r, g, b], class], ...]}).

It needs `pip install ai-edge-litert ncnn` for `teach`, which are no dependencies of sfumato.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from sfumato.picture.guided import guided_filter
from sfumato.picture.label_maps import snapped

CLASSES = ("sky", "water", "vegetation", "ground", "building", "person", "animal", "vehicle", "object")
COLORS = (
    (70, 130, 220), (30, 60, 160), (60, 140, 50), (150, 110, 70), (160, 160, 160),
    (220, 40, 60), (240, 160, 40), (130, 50, 170), (240, 220, 90),
)  # fmt: skip
IGNORE = 255
TEACHERS = {
    "street": "segmentation/deeplab_mobilenet_edgetpu_slim_cityscapes_quant.tflite",
    "things": "segmentation/deeplabv3_mnv2_pascal_quant.tflite",
    "sky": "sky/skysegsmall_sim-opt-fp16",
}
SIDE = 513
"""Pixels of the square that both DeepLabs see; a photograph is squeezed into it."""
SKY_SIDE = 384
THINGS = {"person", "animal", "vehicle", "object"}
"""Classes that only the second teacher knows well."""


class DeepLab:
    """The scores before the last enlargement, as bytes: 33 x 33 x classes."""

    def __init__(self, file: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.network = Interpreter(str(file), num_threads=1, experimental_preserve_all_tensors=True)
        self.network.allocate_tensors()
        self.input = self.network.get_input_details()[0]["index"]
        details = self.network.get_tensor_details()
        (scores,) = (d for d in details if d["name"].startswith("logits/semantic/BiasAdd") and len(d["shape"]) == 4)
        self.scores, (self.scale, _) = scores["index"], scores["quantization"]

    def __call__(self, picture: Image.Image) -> NDArray[np.uint8]:
        self.network.set_tensor(self.input, np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))[None])
        self.network.invoke()
        return np.asarray(self.network.get_tensor(self.scores)[0])


class Sky:
    """The matte, as bytes: 192 x 192."""

    def __init__(self, file: Path) -> None:
        import ncnn

        self.ncnn = ncnn
        self.network = ncnn.Net()
        self.network.opt.num_threads = 1
        self.network.load_param(str(file) + ".param")
        self.network.load_model(str(file) + ".bin")

    def __call__(self, picture: Image.Image) -> NDArray[np.uint8]:
        small = np.asarray(picture.resize((SKY_SIDE, SKY_SIDE), Image.Resampling.BICUBIC), np.float32) / 255
        small = (small - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
        run = self.network.create_extractor()
        planes = np.ascontiguousarray(small.transpose(2, 0, 1), np.float32)  # kept alive: ncnn.Mat only points at it
        run.input("input.1", self.ncnn.Mat(planes))
        _, found = run.extract("1959")
        matte = np.array(found).reshape(SKY_SIDE, SKY_SIDE)
        means = matte.reshape(SKY_SIDE // 2, 2, SKY_SIDE // 2, 2).mean((1, 3))
        return np.rint(means.clip(0, 1) * 255).astype(np.uint8)


def teach(args: argparse.Namespace) -> None:
    """What the teachers say of every photograph, one .npz each."""
    seen = json.loads(args.seen.read_text(encoding="utf-8"))
    args.out.mkdir(parents=True, exist_ok=True)
    street, things = (DeepLab(args.weights / TEACHERS[kind]) for kind in ("street", "things"))
    sky = Sky(args.weights / TEACHERS["sky"])
    for name, classes in seen.items():
        target = args.out / f"{Path(name).stem}.npz"
        if target.exists():
            continue
        with Image.open(args.photos / name) as file:
            picture = file.convert("RGB")
        said = {"street": street(picture)}
        if THINGS.intersection(classes):
            said["things"] = things(picture)
        if "sky" in classes:
            said["sky"] = sky(picture)
        partial = target.with_suffix(".part")
        with partial.open("wb") as out:
            np.savez(out, **said)
        partial.rename(target)


STREET = (3, 3, 4, 4, 4, 8, 8, 8, 2, None, 0, 5, 5, 7, 7, 7, 7, 7, 7)
"""Ours of the 19 street classes; terrain, the tenth, is grass or ground by its colour."""
TERRAIN = 9
THING = {5: (15,), 6: (3, 8, 10, 12, 13, 17), 7: (1, 2, 4, 6, 7, 14, 19), 8: (5, 9, 11, 16, 18, 20)}
"""The things' labels of ours."""
CAMVID = (0, 4, 8, 3, 3, 2, 8, 4, 7, 5, 7, IGNORE)
SURE = 0.6
"""Chance under which a pixel is ignored."""
MISSED = 0.005
"""Share of the picture under which a thing that is there was not found: the photograph is left out."""
SHORT = 320
"""Pixels of the short side that pictures are reduced to."""


def softmax(scores: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """Chances K x H x W of a DeepLab's scores, which are bytes of 0.2015 each."""
    planes = torch.from_numpy(scores).permute(2, 0, 1)[None].float() * 0.2015
    return F.interpolate(planes, size, mode="bilinear", align_corners=True)[0].softmax(0)


def greenness(picture: Tensor) -> Tensor:
    """H x W in [0, 1] of a picture 3 x H x W: how much more green there is than red and blue."""
    red, green, blue = F.avg_pool2d(picture[None], 5, 1, 2)[0]
    return ((2 * green - red - blue) * 12 - 0.2).sigmoid()


def chances(picture: Tensor, said: dict[str, NDArray[np.uint8]], classes: set[int]) -> Tensor:
    """9 x H x W: what the teachers say of a photograph that holds these classes."""
    size = (picture.shape[1], picture.shape[2])
    street = softmax(said["street"], size)
    stuff = torch.zeros(len(CLASSES), *size)
    for label, ours in enumerate(STREET):
        if ours is not None:
            stuff[ours] += street[label]
    grass = greenness(picture) if 3 in classes else torch.ones(size)
    stuff[2] += street[TERRAIN] * grass
    stuff[3] += street[TERRAIN] * (1 - grass)
    found = torch.zeros(len(CLASSES), *size)
    left = torch.ones(size)
    if 0 in classes:
        matte = torch.from_numpy(said["sky"])[None, None].float() / 255
        found[0] = F.interpolate(matte, size, mode="bilinear", align_corners=False)[0, 0]
        left = left - found[0]
    kinds = sorted(classes & set(THING))
    if kinds:
        things = softmax(said["things"], size)
        any_thing = 1 - things[0]
        shares = torch.stack([things[list(THING[k])].sum(0) + 0.3 * stuff[k] for k in kinds]) + 1e-3
        for kind, share in zip(kinds, shares / shares.sum(0), strict=True):
            found[kind] = left * share * torch.maximum(any_thing, stuff[kind] * (kind in (5, 7)))
        left = left - found[kinds].sum(0)
    grounds = sorted(classes & {2, 3, 4})
    if grounds:
        shares = stuff[grounds] + 0.01
        found[grounds] = left * shares / shares.sum(0)
    return found


def polygons(drawn: list[tuple[str, list[list[float]]]], found: Tensor) -> Tensor:
    """The chances with what was drawn by hand laid over them; people, animals, vehicles and things stay in front."""
    height, width = found.shape[1:]
    for name, points in drawn:
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).polygon([(x * width, y * height) for x, y in points], fill=255)
        soft = torch.from_numpy(np.asarray(mask, np.float32).copy() / 255)[None, None]
        soft = F.avg_pool2d(F.avg_pool2d(F.pad(soft, (4, 4, 4, 4), mode="replicate"), 5, 1), 5, 1)[0, 0] * 0.97
        if name in ("water", "ground", "vegetation", "building"):
            soft = soft * (1 - found[5:].sum(0)).clamp(0, 1)
        found = found * (1 - soft)
        if name != "ignore":
            found[CLASSES.index(name)] += soft
    return found


def label(args: argparse.Namespace) -> None:
    """Label maps of what the teachers said of photographs."""
    seen = json.loads(args.seen.read_text(encoding="utf-8"))
    drawn = json.loads(args.drawn.read_text(encoding="utf-8")) if args.drawn else {}
    for name, classes in seen.items():
        raw = args.raw / f"{Path(name).stem}.npz"
        if not raw.exists() or (args.out / "labels" / f"{raw.stem}.png").exists():
            continue
        with Image.open(args.photos / name) as file:
            image = reduced(file.convert("RGB"))
        picture = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        with np.load(raw) as said:
            found = chances(picture, dict(said), {CLASSES.index(c) for c in classes})
        found = polygons(drawn.get(name, []), found)
        there = found.amax((1, 2)) > 0
        found[there] = guided_filter(picture[None], found[None, there], radius=6, eps=1e-3)[0]
        best, labels = found.max(0)
        if any(((labels == CLASSES.index(c)) & (best >= SURE)).float().mean() < MISSED for c in classes if c in THINGS):
            continue  # else what the teachers overlooked would be learnt as what lies behind it
        write(args.out, name, image, torch.where(best < SURE, IGNORE, labels).numpy().astype(np.uint8))


def camvid(args: argparse.Namespace) -> None:
    """CamVid's eleven classes as ours."""
    table = np.full(256, IGNORE, np.uint8)
    table[: len(CAMVID)] = CAMVID
    for path in sorted(args.pictures.iterdir()):
        with Image.open(path) as file, Image.open(args.labels / f"{path.stem}.png") as map_:
            image = reduced(file.convert("RGB"))
            labels = table[np.asarray(map_.resize(image.size, Image.Resampling.NEAREST))]
        write(args.out, f"camvid_{path.name}", image, labels)


def pairs(args: argparse.Namespace) -> None:
    """Regions of photo pairs, given names by hand; regions without one are ignored."""
    for file, regions in json.loads(args.named.read_text(encoding="utf-8")).items():
        folder, stem = file.split("/")
        (path,) = (args.pairs / folder.removeprefix("seg_")).glob(f"{stem}.*")
        (map_path,) = (args.pairs / folder).glob(f"{stem}.*")
        with Image.open(path) as photo, Image.open(map_path) as map_:
            image = reduced(photo.convert("RGB"))
            colors = map_.convert("RGB").resize(image.size, Image.Resampling.NEAREST)
        palette = [tuple(color) for color, _ in regions]
        numbers = snapped(np.asarray(colors), palette, ignore=IGNORE, tolerance=40).labels
        table = np.full(256, IGNORE, np.uint8)
        table[: len(regions)] = [CLASSES.index(c) if c in CLASSES else IGNORE for _, c in regions]
        write(args.out, f"pair_{folder.removeprefix('seg_')}_{stem}.jpg", image, table[numbers])


def reduced(image: Image.Image) -> Image.Image:
    """With a short side of at most `SHORT` pixels."""
    factor = min(1.0, SHORT / min(image.size))
    size = (round(image.width * factor), round(image.height * factor))
    return image if factor == 1 else image.resize(size, Image.Resampling.LANCZOS)


def write(out: Path, name: str, picture: Image.Image, labels: NDArray[np.uint8]) -> None:
    """A picture, its label map and the class list; nothing where less than a fifth is labelled."""
    if (labels != IGNORE).mean() < 0.2:
        return
    for folder in ("pictures", "labels"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    colors = ", ".join(str(list(color)) for color in COLORS)
    names = ", ".join(f'"{name}"' for name in CLASSES)
    text = f"classes = [{names}]\ncolors = [{colors}]\nignore = {IGNORE}\n"
    (out / "classes.toml").write_text(text, encoding="utf-8")
    picture.save(out / "pictures" / f"{Path(name).stem}.png")
    Image.fromarray(labels).save(out / "labels" / f"{Path(name).stem}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    first = verbs.add_parser("teach", help="run the teachers")
    second = verbs.add_parser("label", help="make label maps of what they said")
    third = verbs.add_parser("camvid", help="map CamVid's labels")
    fourth = verbs.add_parser("pairs", help="map the regions of photo pairs")
    for part in (first, second):
        part.add_argument("photos", type=Path)
        part.add_argument("--seen", type=Path, required=True, help="JSON: {photograph: [classes that are in it]}")
    first.add_argument("--weights", type=Path, required=True)
    second.add_argument("--raw", type=Path, required=True, help="what `teach` wrote")
    second.add_argument("--drawn", type=Path, help="JSON: {photograph: [[class, [[x, y], ...]], ...]}")
    third.add_argument("pictures", type=Path)
    third.add_argument("labels", type=Path)
    fourth.add_argument("pairs", type=Path)
    fourth.add_argument("--named", type=Path, required=True)
    for part, run in ((first, teach), (second, label), (third, camvid), (fourth, pairs)):
        part.add_argument("--out", type=Path, required=True)
        part.set_defaults(run=run)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
