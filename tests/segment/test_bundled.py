"""The bundled segmenter on bundled photographs: what chance or wrong weights would not find."""

import torch

from sfumato.demo import bundled
from sfumato.segment import DEFAULT, Segmenter
from sfumato.weights.registry import find

NAMES = ("sky", "water", "vegetation", "ground", "building", "person", "animal", "vehicle", "object")
"""The painters' classes, which `style.matching` relates by meaning."""


def test_what_is_where_in_the_demo_photographs() -> None:
    entry = find(DEFAULT)
    assert (entry.family, entry.size <= 4_000_000) == ("deeplab", True)
    segmenter = Segmenter(DEFAULT)
    found = {name: segmenter(bundled("photos", name)) for name in ("pavilion", "cat", "astronaut")}
    assert found["pavilion"].classes == NAMES
    landscape = found["pavilion"].labels
    sky, green = landscape == NAMES.index("sky"), landscape == NAMES.index("vegetation")
    rows = torch.arange(len(landscape))[:, None].expand_as(landscape) / len(landscape)
    assert sky[: len(sky) // 5].float().mean() > 0.75  # the roof takes the rest
    assert sky[-len(sky) // 5 :].float().mean() < 0.05
    assert green[-len(green) // 5 :].float().mean() > 0.6
    assert rows[sky].mean() < 0.4 < 0.6 < rows[green].mean()
    assert (found["cat"].labels == NAMES.index("animal")).float().mean() > 0.7
    middle = found["astronaut"].labels
    height, width = middle.shape
    middle = middle[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4]
    assert (middle == NAMES.index("person")).float().mean() > 0.7
