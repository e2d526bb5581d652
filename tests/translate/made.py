"""Small translators with weights by chance."""

from pathlib import Path
from typing import Any

import torch

from sfumato.models.registry import family
from sfumato.weights.files import save_model

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "transposed": ("cyclegan", {"blocks": 2, "upsampling": "transposed"}),
    "light": ("cyclegan", {"blocks": 2, "upsampling": "bilinear", "separable": True}),
    "onto": ("cyclegan", {"blocks": 1, "upsampling": "bilinear", "onto": True}),
    "simplify": ("cyclegan", {"blocks": 1, "upsampling": "bilinear", "onto": True, "simplify": 0.1}),
    "antialias": ("cyclegan", {"blocks": 2, "upsampling": "bilinear", "separable": True, "antialias": True}),
    "mask": ("cyclegan", {"blocks": 1, "upsampling": "nearest", "mask": True}),
    "unit": ("unit", {"blocks": 2, "shared_blocks": 1}),
    "apart": ("unit", {"blocks": 1, "shared_blocks": 0}),
    "through": ("unit", {"blocks": 2, "shared_blocks": 1, "onto": True}),
    "simple": ("unit", {"blocks": 2, "shared_blocks": 1, "onto": True, "simplify": 0.1}),
    "cut": ("cut", {"blocks": 1}),
}
"""Family, and what of its Config is not as in the paper."""


def write_model(folder: Path, name: str, **given: Any) -> Path:
    """A file of a translator whose layers really mix and shift."""
    kind, settings = SMALL[name]
    module = family(kind)
    config = module.Config(**{"resolution": 64, "channels": 6, "features": "", **settings, **given})
    torch.manual_seed(1)
    method = module.Method(config)
    networks = {k: n for k, n in method.networks().items() if k in method.averaged}
    with torch.no_grad():
        for network in networks.values():
            for p in network.parameters():
                p.copy_(torch.randn(p.shape) * (0.3 if p.ndim == 1 else 2 / p[0].numel() ** 0.5))
    path = folder / f"{name}.safetensors"
    save_model(path, kind, vars(config), networks, {}, dtype=torch.float32)
    return path


def landscape(height: int, width: int) -> torch.Tensor:
    """1 x 3 x H x W in [0, 1]: bright above, dark below, grain on top: no two tiles have the same statistics."""
    grain = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(2))
    rows, columns = torch.linspace(0.9, 0.1, height)[:, None], torch.linspace(0, 1, width)
    smooth = torch.stack([rows.expand(-1, width), rows * columns, (1 - rows) * (1 - columns)])[None]
    return (0.7 * smooth + 0.3 * grain * columns).clamp(0, 1)
