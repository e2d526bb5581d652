"""The verb `edit`: change one thing in a picture, by a trained generator. Torch comes with the work.

from sfumato.edit import Editor
editor = Editor("runs/faces")
editor("photo.png", set=("smile=+2",)).save("out.png")
latent = editor.encode("photo.png")
latent[:, 8:12] += 0.5
picture = editor.decode(latent)
"""

import os
from typing import TYPE_CHECKING, Any

from sfumato.edit.options import EditOptions, Inverting

if TYPE_CHECKING:
    from sfumato.edit.editor import Editor
    from sfumato.picture.io import Source
    from sfumato.picture.result import Result

__all__ = ["EditOptions", "Editor", "Inverting", "edit"]

Model = str | os.PathLike[str]


def edit(picture: "Source", *, model: Model, output: Model | None = None, **given: Any) -> "Result":
    """One picture changed.

    Args:
        picture: whatever `read_picture` takes.
        model: a generator: a bundled model's name, a file of weights or the folder of a training run.
        output: a picture to write.
        given: fields of `EditOptions` and `Inverting` by name.

    Raises:
        InputError: whatever cannot be used, in one sentence.
    """
    from sfumato.edit.editor import Editor

    made = Editor(model, **given)(picture)
    if output is not None:
        made.save(output)  # type: ignore[arg-type]
    return made


def __getattr__(name: str) -> Any:
    if name != "Editor":
        raise AttributeError(f"module 'sfumato.edit' has no attribute {name!r}")
    from sfumato.edit.editor import Editor

    return Editor
