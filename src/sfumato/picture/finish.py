"""What is done to what a verb painted before it is the result: range, colours kept, mask; patch by patch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.picture.icc import bands

LARGE = 1 << 24
"""Pixels up to which a result is kept as float32; a larger one as integers of the file's depth."""


@dataclass(frozen=True, eq=False)
class Finish:
    """Pointwise, so that it goes patch by patch: a large picture is never held in floats as a whole."""

    content: Tensor
    """1 x 3 x H x W in [0, 1]."""
    mask: Tensor | None
    """1 x 1 x H x W in [0, 1]: how much of the work is seen."""
    bits: int
    """8 or 16: depth of the file."""
    colors: Callable[[Tensor, Tensor], Tensor] | None = None
    """Pointwise, of what was painted and the content: what was painted with the content's colours."""

    @property
    def size(self) -> tuple[int, int]:
        return self.content.shape[2], self.content.shape[3]

    def canvas(self) -> NDArray[Any]:
        """Room for the whole result, H x W x 3: float32 in [0, 1], or full-range integers of a very large one."""
        height, width = self.size
        kind = np.float32 if height * width <= LARGE else np.uint16 if self.bits == 16 else np.uint8
        return np.zeros((height, width, 3), kind)

    def put(self, canvas: NDArray[Any], painted: Tensor, rows: slice, columns: slice) -> None:
        """Finish a patch 1 x 3 x h x w, which lies at `rows` and `columns`, and write it there."""
        content = self.content[:, :, rows, columns].to(painted.device)
        picture = painted.clamp(0, 1)
        if self.colors is not None:
            picture = self.colors(picture, content)
        if self.mask is not None:  # exact outside the mask, soft at its edge
            mask = self.mask[:, :, rows, columns].to(painted.device)
            picture = torch.where(mask > 0, content + mask * (picture - content), content)
        patch = picture[0].permute(1, 2, 0).float().cpu().numpy()
        if canvas.dtype != np.float32:
            patch = np.rint(patch * float(np.iinfo(canvas.dtype).max))
        canvas[rows, columns] = patch

    def whole(self, picture: Tensor) -> NDArray[Any]:
        """The result of a whole picture 1 x 3 x H x W."""
        canvas = self.canvas()
        for rows in bands(*self.size):
            self.put(canvas, picture[:, :, rows], rows, slice(None))
        return canvas
