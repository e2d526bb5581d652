"""Pictures put together: ways between seeds as strips, GIFs and videos, traversals of codes as labelled grids."""

import io
import os
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sfumato.errors import InputError
from sfumato.generate.sampling import paint
from sfumato.models.sampler import Sampler, sheet
from sfumato.picture.io import check_output, write_picture
from sfumato.train.files import write_atomic

FRAME_MS = 60
SMALLEST_CELL = 48
"""Pixels a picture is wide on a labelled grid at least, so that the labels can be read."""
MARGIN = 18


def enlarged(picture: Tensor, scale: int) -> Tensor:
    """... x H x W with every pixel repeated."""
    return picture.repeat_interleave(scale, -2).repeat_interleave(scale, -1)


def between(sampler: Sampler, latents: Tensor, frames: int, *, closed: bool) -> Tensor:
    """`frames` pictures from every row to the next: the first of each pair, not the second unless it is the last way.

    A closed way comes back to the first row and does not repeat it.
    """
    stops = [*latents.split_with_sizes([1] * len(latents)), *([latents[:1]] if closed else [])]
    rows = []
    for first, last in pairwise(stops):
        steps = frames if closed else frames - 1
        rows += [sampler.blend(first, last, k / steps) for k in range(frames)]
    return paint(sampler, torch.cat(rows))


def write_strips(path: Path, pictures: Tensor, frames: int, scale: int, record: dict[str, Any]) -> None:
    """A row a way. Raises `InputError`."""
    check_output(path)
    write_picture(path, enlarged(sheet(pictures, frames), scale), record=record)


def write_gif(path: Path, pictures: Tensor, scale: int) -> None:
    """An animation that repeats for ever, whole or not at all. Raises `InputError`."""
    frames = [Image.fromarray(pixels(enlarged(p, scale))) for p in pictures]
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0, optimize=False)
    try:
        write_atomic(path, data.getvalue())
    except OSError as error:
        raise InputError(f"cannot write {os.fspath(path)!r}: {error.strerror or error}") from error


def write_mp4(path: Path, pictures: Tensor, scale: int) -> None:
    """The same as H.264 video, whole or not at all; an odd side is one pixel longer, as the format wants even ones.

    Raises `InputError`, also where the extra `video` is not installed.
    """
    av = video_library()
    frames = [pixels(enlarged(p, scale)) for p in pictures]
    height, width = frames[0].shape[:2]
    data = io.BytesIO()
    with av.open(data, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=Fraction(1000, FRAME_MS), options={"crf": "16"})
        stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
        for frame in frames:
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            file.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        file.mux(stream.encode())
    try:
        write_atomic(path, data.getvalue())
    except OSError as error:
        raise InputError(f"cannot write {os.fspath(path)!r}: {error.strerror or error}") from error


def video_library() -> Any:
    """PyAV. Raises `InputError` where it is not installed."""
    try:
        import av
    except ImportError:
        raise InputError("MP4 needs one more package: pip install 'sfumato[video]'; a GIF needs none") from None
    return av


def write_traversals(path: Path, sampler: Sampler, latents: Tensor, scale: int, record: dict[str, Any]) -> None:
    """A block a code: its name, the values above the columns, a row a seed. Raises `InputError`."""
    check_output(path)
    scale = max(scale, -(-SMALLEST_CELL // sampler.size[1]))
    blocks = []
    for code in sampler.codes:
        turned = torch.stack([sampler.turn(latents, code.name, value) for value in code.values], 1).flatten(0, 1)
        grid = enlarged(sheet(paint(sampler, turned), len(code.values)), scale)
        blocks.append(labelled(pixels(grid), code.name, code.labels))
    width = max(b.shape[1] for b in blocks)
    padded = [np.pad(b, ((0, 0), (0, width - b.shape[1]), (0, 0)), constant_values=255) for b in blocks]
    write_picture(path, np.concatenate(padded), record=record)


def labelled(grid: NDArray[np.uint8], title: str, labels: Sequence[str]) -> NDArray[np.uint8]:
    """A grid H x W x 3 of equal columns under its title and a label a column."""
    image = Image.new("RGB", (grid.shape[1], grid.shape[0] + 2 * MARGIN), "white")
    image.paste(Image.fromarray(grid), (0, 2 * MARGIN))
    draw, font, cell = ImageDraw.Draw(image), ImageFont.load_default(12), grid.shape[1] / len(labels)
    draw.text((4, 2), title, fill="black", font=font)
    for i, label in enumerate(labels):
        draw.text(((i + 0.5) * cell, MARGIN + 2), label, fill="black", font=font, anchor="ma")
    return np.asarray(image)


def pixels(picture: Tensor) -> NDArray[np.uint8]:
    """3 x H x W in [0, 1] as bytes H x W x 3."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
