"""The verb `stylize`: a picture in the style of others.

Torch is imported when the work begins, not with this module, so that options can be read and refused at once.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.stylize.options import StylizeOptions

if TYPE_CHECKING:
    from sfumato.picture.io import Source
    from sfumato.picture.result import Result
    from sfumato.stylize.iterate import Iterate
    from sfumato.stylize.work import Stylizing

__all__ = ["Iterate", "StylizeOptions", "Stylizing", "iter_stylize", "stylize"]


def iter_stylize(
    content: "Source",
    styles: "Source | Sequence[Source]",
    *,
    mask: "Source | Sequence[Source] | None" = None,
    style_masks: "Sequence[Source | None]" = (),
    regions: "Sequence[Source]" = (),
    style_for: "Mapping[str, Source] | None" = None,
    like: "str | Path | None" = None,
    options: StylizeOptions | None = None,
    **given: Any,
) -> "Stylizing":
    """Stylizing as an iterator of `Iterate` (step, losses, preview); `result()` works at any moment.

    Arguments as `stylize`. Closing the iterator, or just leaving it, stops the work and loses nothing.
    """
    from sfumato.stylize.work import Stylizing

    return Stylizing.prepare(content, styles, mask, style_masks, like, options, given, regions, style_for)


def stylize(
    content: "Source",
    styles: "Source | Sequence[Source]",
    *,
    output: "str | Path | None" = None,
    mask: "Source | Sequence[Source] | None" = None,
    style_masks: "Sequence[Source | None]" = (),
    regions: "Sequence[Source]" = (),
    style_for: "Mapping[str, Source] | None" = None,
    like: "str | Path | None" = None,
    options: StylizeOptions | None = None,
    **given: Any,
) -> "Result":
    """Paint `content` in the style of one or several pictures.

    Args:
        content: a path, the bytes of a file, a Pillow picture, an H x W x 3 array or a 3 x H x W tensor in [0, 1].
        styles: one of these or a sequence of them; it may be empty where `style_for` has some.
        output: a file to write, with the record of how it was made.
        mask: white where the picture may change (and where statistics are taken), black where it must not; or a mask
            for each style, which then goes there alone.
        style_masks: for each style, white where its statistics are taken; None for all of it.
        regions: pictures of regions in flat colours, of the content and of each style: equal colours belong together
            (turns `semantic` on).
        style_for: a style of its own for classes of the content, such as {"sky": "a.jpg"} (turns `semantic` on); with
            no other styles the rest of the picture stays as it is.
        like: a picture made earlier, whose recorded settings are used; `given` goes on top. Where `styles` is empty and
            `style_for` left out, its styles too; its masks and regions for the pictures that they were made for.
        options: all options at once; `given` goes on top.
        given: fields of `StylizeOptions` by name.

    Returns:
        `Result`: the picture as an array, Pillow picture or tensor, and its record.

    Raises:
        InputError: whatever cannot be used, in one sentence.
    """
    work = iter_stylize(
        content,
        styles,
        mask=mask,
        style_masks=style_masks,
        regions=regions,
        style_for=style_for,
        like=like,
        options=options,
        **given,
    )
    if output is not None:
        work.check_output(output)
    for _ in work:
        pass
    result = work.result()
    if output is not None:
        result.save(output)
    return result


def __getattr__(name: str) -> Any:
    if name == "Stylizing":
        from sfumato.stylize import work

        return getattr(work, name)
    if name == "Iterate":
        from sfumato.stylize.iterate import Iterate

        return Iterate
    raise AttributeError(name)
