"""The segmenter as `stylize` uses it: loaded when first asked, each picture looked at once."""

import torch
from torch import Tensor

from sfumato.stylize.semantic import Segmentation


class Segmenter:
    """Names the parts of pictures 1 x 3 x H x W in [0, 1].

    `source` is a bundled model's name, a file of weights or a run's folder. Raises `InputError`, when first called,
    for one that cannot be used.
    """

    def __init__(self, source: str, device: torch.device) -> None:
        self.source, self.device = source, device
        self.weights: dict[str, str] = {}
        self._seen: list[tuple[Tensor, Segmentation]] = []

    def __call__(self, picture: Tensor) -> Segmentation:
        for known, found in self._seen:
            if known is picture:
                return found
        from sfumato.segment import load_predictor, segmented

        predictor, digest = load_predictor(self.source, self.device)
        self.weights = {self.source: digest}
        self._seen.append((picture, Segmentation(*segmented(predictor, picture))))
        return self._seen[-1][1]
