"""A face in a photograph as a generator of aligned faces knows it: an upright square around eyes and mouth.

The square is FFHQ's: Karras et al. 2018, "Progressive Growing of GANs", appendix C, of the middles of eyes and mouth.
It may be turned and may reach beyond the picture, which is mirrored there. Positions are x, y in pixels; (0, 0) is the
picture's corner and (0.5, 0.5) the middle of its first pixel.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.picture.resize import resize, resize_signed

ACROSS, DOWN = 2.0, 1.8
"""Half the square's side, at least: in distances between the eyes, and from the eyes to the mouth."""
LOWER = 0.1
"""How far below the eyes its middle lies, in distances from the eyes to the mouth."""
MARGIN = 0.5
"""Of a face's box on each side, where eyes and mouth are not to be seen apart."""

Point = tuple[float, float]
"""X, Y."""


class Frame(NamedTuple):
    """A rectangle in a picture, turned by any angle; u and v in [-1, 1] are inside, at centre + u across + v down."""

    centre: Point
    across: Point
    """From the centre to the middle of the right side."""
    down: Point
    """To the middle of the lower side; across and down are at right angles."""

    @property
    def sides(self) -> tuple[float, float]:
        """Height and width in pixels."""
        return 2 * math.hypot(*self.down), 2 * math.hypot(*self.across)

    @property
    def corners(self) -> tuple[Point, ...]:
        """Upper left, lower left, lower right, upper right."""
        (x, y), (ax, ay), (dx, dy) = self
        return tuple((x + u * ax + v * dx, y + u * ay + v * dy) for u, v in ((-1, -1), (-1, 1), (1, 1), (1, -1)))


def ffhq(left_eye: Point, right_eye: Point, mouth: Point, proportions: tuple[int, int] = (1, 1)) -> Frame:
    """The frame of a face.

    Args:
        left_eye: the one on the picture's left.
        right_eye: the other.
        mouth: its middle.
        proportions: a generator's height and width; the frame's width is FFHQ's.
    """
    eyes = (right_eye[0] - left_eye[0], right_eye[1] - left_eye[1])
    middle = ((left_eye[0] + right_eye[0]) / 2, (left_eye[1] + right_eye[1]) / 2)
    chin = (mouth[0] - middle[0], mouth[1] - middle[1])
    x, y = eyes[0] + chin[1], eyes[1] - chin[0]  # between the eyes' line and the right angle to the face's
    half = max(ACROSS * math.hypot(*eyes), DOWN * math.hypot(*chin)) / max(math.hypot(x, y), 1e-9)
    x, y = x * half, y * half
    tall = proportions[0] / proportions[1]
    return Frame((middle[0] + LOWER * chin[0], middle[1] + LOWER * chin[1]), (x, y), (-y * tall, x * tall))


def around(box: tuple[float, float, float, float], proportions: tuple[int, int] = (1, 1)) -> Frame:
    """An upright frame around a face's box X, Y, W, H, with a margin."""
    x, y, w, h = box
    tall = proportions[0] / proportions[1]
    half = (0.5 + MARGIN) * max(w, h / tall)
    return Frame((x + w / 2, y + h / 2), (half, 0.0), (0.0, half * tall))


def cut_out(picture: Tensor, frame: Frame, size: tuple[int, int]) -> Tensor:
    """What the frame shows of a picture 1 x 3 x H x W in [0, 1], upright, at `size`; antialiased."""
    height, width = size
    finer = max(1, math.ceil(max(a / b for a, b in zip(frame.sides, size, strict=True))))
    across, down = ((torch.arange(finer * n) + 0.5) / (finer * n) * 2 - 1 for n in (width, height))
    (x, y), (ax, ay), (dx, dy) = frame
    u, v = across[None, :], down[:, None]
    places = torch.stack([x + u * ax + v * dx, y + u * ay + v * dy], -1)
    scale = torch.tensor([picture.shape[3], picture.shape[2]])
    seen = F.grid_sample(
        picture, (2 * places / scale - 1)[None], mode="bicubic", padding_mode="reflection", align_corners=False
    )
    return resize(seen.clamp(0, 1), height, width)


class Footprint(NamedTuple):
    """The pixels of a picture that a frame may cover, and where in the frame they are."""

    rows: slice
    columns: slice
    inside: Tensor
    """1 x h x w x 2: u and v of their middles."""


def footprint(frame: Frame, size: tuple[int, int]) -> Footprint:
    """Of a picture of `size`, H and W; slices are empty where the frame lies outside."""
    height, width = size
    xs, ys = zip(*frame.corners, strict=True)
    columns = slice(max(0, math.floor(min(xs))), max(0, min(width, math.ceil(max(xs)))))
    rows = slice(max(0, math.floor(min(ys))), max(0, min(height, math.ceil(max(ys)))))
    (x, y), (ax, ay), (dx, dy) = frame
    to_x = torch.arange(columns.start, max(columns.start, columns.stop))[None, :] + 0.5 - x
    to_y = torch.arange(rows.start, max(rows.start, rows.stop))[:, None] + 0.5 - y
    u = (to_x * ax + to_y * ay) / (ax * ax + ay * ay)
    v = (to_x * dx + to_y * dy) / (dx * dx + dy * dy)
    return Footprint(rows, columns, torch.stack([u, v], -1)[None])


def feather(inside: Tensor, edge: float) -> Tensor:
    """1 x 1 x h x w: 1 in the frame, falling to 0 towards its border over `edge` of its sides, 0 outside."""
    room = (1 - inside.abs()).clamp(min=0) / (2 * edge)
    return room.clamp(max=1).prod(-1)[:, None]


def laid(values: Tensor, frame: Frame, inside: Tensor, *, signed: bool) -> Tensor:
    """A frame's picture 1 x 3 x h x w, or a difference of two where `signed`, at positions of the photograph."""
    height, width = (max(1, min(a, round(b))) for a, b in zip(values.shape[2:], frame.sides, strict=True))
    fitted = resize_signed(values, height, width) if signed else resize(values, height, width)
    return F.grid_sample(
        fitted, inside, mode="bilinear" if signed else "bicubic", padding_mode="border", align_corners=False
    )
