"""Everything around a translation: size, memory, tiles, masks, the result and its record."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.device import choose_device
from sfumato.errors import InputError
from sfumato.layers.residual import CELL
from sfumato.memory import RESERVE, allowed
from sfumato.models.translator import LEAST, Direction, Translator, load_translator, whole_cells
from sfumato.picture.finish import Finish
from sfumato.picture.io import Picture, Source, read_picture
from sfumato.picture.record import new_record
from sfumato.picture.resize import fit_short_side, resize
from sfumato.picture.result import Result
from sfumato.picture.tiles import Span, Tile
from sfumato.segment.lazy import Segmenter
from sfumato.segment.where import selected
from sfumato.translate.options import TranslateOptions
from sfumato.translate.streamed import OUTWARDS, Streamed, crop_bytes, inner_bytes

WHOLE = 1 << 20
"""Pixels up to which a picture is translated as a whole, where memory allows it."""
LARGEST_TILE, SMALLEST_TILE = 512, 64
"""Side of a tile's core."""
Show = Callable[[int, int, tuple[int, int], dict[str, float]], None]
"""Is told steps made, and planned, the size, and nothing else: as `Reporter.show`."""


class Working:
    """A model ready for many pictures."""

    def __init__(self, model: str, options: TranslateOptions) -> None:
        """Raises `InputError` for a model that cannot be used, or has no way in that direction."""
        self.model, self.options = model, options
        self.device = choose_device(options.device)
        self.translator: Translator
        self.translator, self.sha256 = load_translator(model, self.device)
        self.direction: Direction = "b_to_a" if options.reverse else "a_to_b"
        if self.direction not in self.translator.directions:
            raise InputError(
                f"{model}: this model has no way back: leave reverse out"
                if options.reverse
                else f"{model}: this model holds the way back alone: add reverse"
            )

    def __call__(self, source: Source, show: Show | None = None) -> Result:
        """One picture, as `read_picture` takes it. Raises `InputError`."""
        picture, options = read_picture(source), self.options
        content = torch.from_numpy(picture.rgb).permute(2, 0, 1)[None]
        height, width = picture.height, picture.width
        if options.size != "original" and options.size < min(height, width):
            content = resize(content, *fit_short_side(height, width, options.size))
        segmenter, mask, read = Segmenter(options.segmenter, self.device), None, list[Picture]()
        if options.only or options.except_:
            size = (content.shape[2], content.shape[3])
            mask, read = selected(options.only, options.except_, size, lambda: segmenter(content).regions, picture.name)
        finish = Finish(content, mask, picture.bits)
        pixels, tile = self._painted(content, finish, show or (lambda *_: None))
        settings = {**asdict(options), "model": self.model, "direction": self.direction, "tile": tile}
        weights = {self.model: self.sha256} | segmenter.weights
        inputs = (picture, *read)
        record = new_record("translate", settings, list(inputs), weights)
        return Result(pixels, picture, record, inputs)

    @torch.inference_mode()
    def _painted(self, content: Tensor, finish: Finish, show: Show) -> tuple[NDArray[Any], int | None]:
        """The result, and the tile that it was painted in (None: as a whole)."""
        height, width = content.shape[2:]
        parts = self.translator.parts(self.direction)
        canvas = finish.canvas()
        filled = 0 if height % CELL == width % CELL == 0 else content.nbytes  # a copy with whole cells
        free = allowed(self.options.max_memory) - psutil.Process().memory_info().rss - RESERVE - canvas.nbytes - filled
        cost, pixels = crop_bytes(parts), max(height, LEAST) * max(width, LEAST)
        if self.options.tile is None and pixels <= WHOLE and cost * pixels <= free:
            made = self.translator.translate(content, self.direction)
            self._put(finish, canvas, made, Tile(Span(0, height, 0, height, True), Span(0, width, 0, width, True)))
            show(1, 1, (height, width), {})
            return canvas, None
        side = self.options.tile or tile_for(height, width, free - inner_bytes(parts, pixels), cost)
        streamed = Streamed(parts, whole_cells(content), side, self.device)
        for step in streamed.run(lambda made, tile: self._put(finish, canvas, made.float().cpu(), tile)):
            show(step, streamed.total, (height, width), {})
        return canvas, side

    def _put(self, finish: Finish, canvas: NDArray[Any], made: Tensor, tile: Tile) -> None:
        """A tile's core into the result, without what was added to fill cells."""
        height, width = finish.size
        core = made[:, :, : height - tile.y.start, : width - tile.x.start]
        if not bool(core.isfinite().all()):
            raise InputError(f"{self.model}: the network's result is not a number")
        rows, columns = (slice(s.start, s.start + n) for s, n in zip(tile, core.shape[2:], strict=True))
        if core.numel():
            finish.put(canvas, core, rows, columns)


def tile_for(height: int, width: int, free: float, cost: int) -> int:
    """Side of the largest tile whose crop fits into `free` bytes. Raises `InputError` that says what would."""
    side = int(math.sqrt(max(free, 0) / cost)) - 2 * OUTWARDS
    if side >= SMALLEST_TILE:
        return min(side // CELL * CELL, LARGEST_TILE)
    more = (SMALLEST_TILE + 2 * OUTWARDS) ** 2 * cost - free
    raise InputError(
        f"{width} x {height} pixels need {more / (1 << 20):.0f} MiB more memory than is allowed: "
        "allow more (--max-memory), or take a smaller --size"
    )
