"""A one-pass network small enough for tests: random weights that make strong strokes."""

from pathlib import Path

import torch

from sfumato.models.onepass import Config
from sfumato.models.onepass_networks import Generator, StyleEncoder
from sfumato.stylize.painter import Painter
from sfumato.weights.files import load_model, save_model

SMALL = Config(widths=(4, 6, 8, 8), blocks=1, code=8, style_widths=(4, 6, 8, 8, 8))


def networks(seed: int = 0, config: Config = SMALL) -> tuple[Generator, StyleEncoder]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Generator(config).eval(), StyleEncoder(config).eval()


def weights(path: Path, seed: int = 0, config: Config = SMALL, strokes: float = 1.0) -> Path:
    """A file of such weights, in float32; without `strokes` colours are all that changes."""
    generator, encoder = networks(seed, config)
    with torch.no_grad():
        generator.paint.weight.mul_(strokes)
    fields = {"widths": config.widths, "blocks": config.blocks, "code": config.code}
    fields["style_widths"] = config.style_widths
    both = {"generator": generator, "style_encoder": encoder}
    save_model(path, "onepass", fields, both, {"steps": 0}, torch.float32)
    return path


def painter(path: Path, seed: int = 0) -> Painter:
    return Painter(load_model(str(weights(path, seed)), "onepass"), torch.device("cpu"))
