"""sfumato: image style transfer and image editing.

    import sfumato
    sfumato.stylize("photo.jpg", "painting.jpg", output="out.png")

Verbs are loaded when they are used; importing sfumato imports no torch.
"""

from typing import TYPE_CHECKING, Any

from sfumato._version import __version__
from sfumato.compose import compose
from sfumato.edit import edit
from sfumato.errors import InputError
from sfumato.generate import generate  # now, or the packages would hide the verbs of their names
from sfumato.restore import restore
from sfumato.restore.colorize import colorize
from sfumato.restore.denoise import denoise
from sfumato.restore.inpaint import inpaint
from sfumato.segment import segment
from sfumato.stylize import StylizeOptions, iter_stylize, stylize
from sfumato.translate import translate

if TYPE_CHECKING:
    from sfumato.picture.io import Picture, read_picture, write_picture
    from sfumato.picture.record import read_record
    from sfumato.picture.regions import Regions
    from sfumato.picture.result import Result
    from sfumato.segment import Segmented

_HOMES = {
    "Picture": "sfumato.picture.io",
    "read_picture": "sfumato.picture.io",
    "write_picture": "sfumato.picture.io",
    "read_record": "sfumato.picture.record",
    "Regions": "sfumato.picture.regions",
    "Result": "sfumato.picture.result",
    "Segmented": "sfumato.segment",
}

__all__ = [
    "InputError",
    "Picture",
    "Regions",
    "Result",
    "Segmented",
    "StylizeOptions",
    "__version__",
    "colorize",
    "compose",
    "denoise",
    "edit",
    "generate",
    "inpaint",
    "iter_stylize",
    "read_picture",
    "read_record",
    "restore",
    "segment",
    "stylize",
    "translate",
    "write_picture",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sfumato' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
