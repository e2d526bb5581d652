"""The verb `generate`: pictures that were never taken, from a trained generator. Torch comes with the work.

from sfumato.generate import generate
generate("runs/dcgan", count=64, seed=1, output="sheet.png")
"""

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.errors import InputError, checked
from sfumato.generate.options import GenerateOptions

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.models.sampler import Sampler

__all__ = ["GenerateOptions", "Generated", "generate", "traverse", "walk"]

Model = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Generated:
    """Pictures and how they were made."""

    pictures: "Tensor"
    """N x 3 x H x W in [0, 1]."""
    seeds: tuple[int, ...]
    """A seed each."""
    columns: int
    """Pictures side by side on a sheet."""
    options: GenerateOptions
    record: dict[str, Any]

    def save(self, output: Model) -> list[Path]:
        """A sheet where `output` names a picture; else a folder with a file a picture, named by its seed.

        Raises `InputError` for a path that cannot be written.
        """
        from sfumato.generate.shown import enlarged
        from sfumato.models.sampler import sheet
        from sfumato.picture.io import write_picture

        target = Path(output)
        if target.suffix and not target.is_dir():
            write_picture(target, enlarged(sheet(self.pictures, self.columns), self.options.scale), record=self.record)
            return [target]
        width, made = len(str(max(self.seeds))), list[Path]()
        for i, (seed, picture) in enumerate(zip(self.seeds, self.pictures, strict=True)):
            several = f"-{i % self.columns}" if self.options.class_ == "all" else ""
            made.append(target / f"seed-{seed:0{width}d}{several}.png")
            one = {**self.record, "settings": {**self.record["settings"], "seed": seed, "count": 1}}
            write_picture(made[-1], enlarged(picture, self.options.scale), record=one)
        return made


def generate(model: Model, *, output: Model | None = None, **given: Any) -> Generated:
    """Pictures of a trained generator.

    Args:
        model: a bundled model's name, a file of weights or the folder of a training run.
        output: a picture to write the sheet to, or a folder for single pictures.
        given: fields of `GenerateOptions` by name.

    Raises:
        InputError: whatever cannot be used, in one sentence.
    """
    import torch

    from sfumato.generate.sampling import class_number, paint

    options, sampler, record = prepared(model, given)
    if output is not None and Path(output).suffix and not Path(output).is_dir():
        from sfumato.picture.io import check_output

        check_output(output)
    seeds = [options.seed + i for i in range(options.count)]
    if options.class_ == "all" and sampler.classes:
        count = len(sampler.classes)
        by_class = [sampler.draw(seeds, truncation=options.truncation, label=k) for k in range(count)]
        latents = torch.stack(by_class, 1).flatten(0, 1)
        seeds, columns = [seed for seed in seeds for _ in range(count)], count
    else:
        label = class_number(sampler, options.class_)
        latents = sampler.draw(seeds, truncation=options.truncation, label=label)
        columns = options.columns or math.ceil(len(seeds) ** 0.5)
    made = Generated(paint(sampler, latents), tuple(seeds), columns, options, record)
    if output is not None:
        made.save(output)
    return made


def walk(model: Model, output: Model, *, frames: int = 12, **given: Any) -> Path:
    """A way through the pictures of `count` seeds, `frames` from each to the next: a strip a pair, a GIF or an MP4.

    GIF and MP4 go on from the last seed to the first. Raises `InputError`, before any work where the output cannot be.
    """
    from sfumato.generate.sampling import class_number
    from sfumato.generate.shown import between, video_library, write_gif, write_mp4, write_strips
    from sfumato.picture.io import check_output

    options, sampler, record = prepared(model, {"count": 4, **given})
    if options.count < 2 or not 2 <= frames <= 1000:
        raise InputError("a walk needs at least two seeds and 2 to 1000 frames between them")
    target, seeds = Path(output), [options.seed + i for i in range(options.count)]
    kind = target.suffix.lower()
    if kind == ".mp4":
        video_library()
    elif kind != ".gif":
        check_output(target)
    label = class_number(sampler, options.class_)
    latents = sampler.draw(seeds, truncation=options.truncation, label=label)
    if kind in (".gif", ".mp4"):
        write = write_gif if kind == ".gif" else write_mp4
        write(target, between(sampler, latents, frames, closed=True), options.scale)
    else:
        write_strips(target, between(sampler, latents, frames, closed=False), frames, options.scale, record)
    return target


def traverse(model: Model, output: Model, **given: Any) -> Path:
    """What every named code of a model does (InfoGAN): a labelled row a seed, a column a value. Raises `InputError`."""
    from sfumato.generate.shown import write_traversals

    options, sampler, record = prepared(model, {"count": 5, **given})
    if not sampler.codes:
        raise InputError("this model has no named codes to turn: an infogan has")
    seeds = [options.seed + i for i in range(options.count)]
    latents = sampler.draw(seeds, truncation=options.truncation)
    write_traversals(Path(output), sampler, latents, options.scale, record)
    return Path(output)


def prepared(model: Model, given: dict[str, Any]) -> "tuple[GenerateOptions, Sampler, dict[str, Any]]":
    """Options checked, the model loaded, the record begun."""
    options = checked(GenerateOptions, given)
    from sfumato.device import choose_device
    from sfumato.generate.sampling import load_sampler
    from sfumato.picture.record import new_record

    sampler, digest = load_sampler(model, choose_device(options.device))
    return options, sampler, new_record("generate", asdict(options), [], {os.fspath(model): digest})
