"""Every option of `edit`, declared once: Python keyword, command-line option and entry in the record."""

import math
from dataclasses import dataclass, field

from sfumato.errors import InputError, unknown

PLACES = ("w", "w+")


@dataclass(frozen=True)
class Inverting:
    """How hard to look. Where the brackets name a paper, the value is another: small generators bear longer steps."""

    where: str = "w+"
    """`w`: one code for all layers, easily edited; `w+`: a code a layer, closer to the picture."""
    steps: int = 200
    """Of descent on the codes; 0 takes the beginning."""
    rate: float = 0.05
    """Length of a step, in deviations of the codes."""
    perceptual: float = 0.3
    """Weight of the features' distance beside the pixels' mean square."""
    prior: float = 0.0005
    """Weight of the codes' mean square distance from their mean, in deviations."""
    spread: float = 0.002
    """Weight of what layers' codes differ by, likewise: what leaves W edits badly (Tov et al. 2021)."""
    noise: bool = False
    """Move the generator's noise too."""
    noise_weight: float = 0.05
    """Against a picture drawn in the noise [1e5]."""
    tune: int = 0
    """Steps of pivotal tuning after the codes are found [350]."""
    tune_rate: float = 0.001
    """[3e-4]"""
    locality: float = 0.1
    """Weight of the distance to the old generator's pictures near the pivot; PTI, equation 5."""
    seed: int = 0
    """Of the codes that tuning looks at."""

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""
        if self.where not in PLACES:
            raise unknown("latent space", self.where, PLACES)
        for name in ("steps", "tune"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100_000:
                raise InputError(f"{name} must be a whole number between 0 and 100000, not {value!r}")


@dataclass(frozen=True)
class EditOptions:
    """What to change, and where."""

    set: tuple[str, ...] = ()
    """Directions and how far to go: smile=+2 hair=-1; by name, sefa1, pca3, a class of the model, or a style
    channel, b16.conv0:12=3."""
    layers: str = ""
    """Layers that are changed, 8:12 for 8 to 11; all where left out."""
    add: float | None = None
    """Add this number to the codes of `layers` as they are."""
    mix: str = ""
    """Another picture, which gives the codes of `layers`."""
    only: tuple[str, ...] = ()
    """Where the picture may change: masks, or classes that the segmenter names; pixels outside stay as they are."""
    except_: tuple[str, ...] = field(default=(), metadata={"name": "except"})
    """Where it must not: masks or classes."""
    seamless: bool = True
    """Take off what a change does around `only` too (a paler skin), so that no border shows; not where the region is
    to turn with its surroundings, a part of the hair."""
    box: str = ""
    """The part that the generator knows, X,Y,W,H in pixels: a face. Where left out the largest middle part."""
    face: str = ""
    """A face that is found in a photograph, aligned and put back: a number, 1 is the largest, or `all`. Needs the extra
    `faces`."""
    whole: bool = False
    """Put the generator's own pixels there, for what is to go: hair, a mouth. Otherwise only what the change changes is
    added to the picture's."""
    directions: tuple[str, ...] = ()
    """Files of directions that --learn wrote."""
    encoder: str | None = None
    """A trained encoder of this generator (a file, a run) where the search begins. Left out, the one that is bundled
    for a bundled generator; an empty text for none."""
    features: str = "vgg-lite"
    """Network that judges likeness beside the pixels; pixels alone where empty."""
    segmenter: str = "scene"
    """A segmenter for `only` and `except`: a bundled name, a file of weights, a training run."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""

    def check(self) -> None:
        """Raises `InputError` for the first value that cannot be."""
        changes(self.set)
        box_of(self.box)
        if self.face and self.face != "all" and not (self.face.isdecimal() and int(self.face) > 0):
            raise InputError(f"a face is given by its number, 1 for the largest, or as all, not {self.face!r}")
        if self.face and self.box:
            raise InputError("give a box or a face, one of the two")
        if (self.add is not None or self.mix) and not self.layers:
            raise InputError("say which layers: --layers 8:12")
        if self.add is not None and not math.isfinite(self.add):
            raise InputError(f"add must be a number, not {self.add!r}")


def changes(texts: tuple[str, ...]) -> dict[str, float]:
    """{name: strength} of NAME=STRENGTH. Raises `InputError`."""
    found = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not equals or not name or not math.isfinite(value):
            raise InputError(f"a change is given as NAME=STRENGTH, smile=+2, not {text!r}")
        found[name] = value
    return found


def box_of(text: str) -> tuple[int, int, int, int] | None:
    """X, Y, W, H; None where nothing is given. Raises `InputError`."""
    if not text:
        return None
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"a box is given as X,Y,W,H in whole pixels, not {text!r}") from None
    if x < 0 or y < 0 or width < 8 or height < 8:
        raise InputError(f"a box lies inside the picture and is 8 pixels or more a side, not {text!r}")
    return x, y, width, height
