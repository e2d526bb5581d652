"""The verb `translate`: a picture of one domain as one of another. Torch comes with the work.

from sfumato.translate import translate
translate("photo.jpg", model="runs/ink", output="out.png")
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.errors import checked
from sfumato.translate.options import TranslateOptions

if TYPE_CHECKING:
    from sfumato.picture.io import Source
    from sfumato.picture.result import Result
    from sfumato.translate.work import Working

__all__ = ["TranslateOptions", "prepare", "translate"]


def prepare(model: str | os.PathLike[str], **given: Any) -> "Working":
    """A model ready for many pictures: call it with one after the other. Arguments and errors as `translate`."""
    options = checked(TranslateOptions, given)
    from sfumato.translate.work import Working

    return Working(os.fspath(model), options)


def translate(
    picture: "Source", *, model: str | os.PathLike[str], output: str | Path | None = None, **given: Any
) -> "Result":
    """A picture as a model's other domain would have it: a photograph as a painting, without pairs to learn from.

    Args:
        picture: whatever `read_picture` takes.
        model: a bundled model's name, a file of weights or the folder of a training run (cyclegan, unit, cut).
        output: a file to write, with the record of how it was made.
        given: fields of `TranslateOptions` by name.

    Returns:
        `Result`: the picture as an array, Pillow picture or tensor, and its record.

    Raises:
        InputError: whatever cannot be used, in one sentence.
    """
    done = prepare(model, **given)(picture)
    if output is not None:
        done.save(output)
    return done
