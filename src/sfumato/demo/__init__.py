"""The verb `demo`: bundled photographs in the styles of bundled paintings (credits: CREDITS.md beside this file)."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from sfumato.picture.sheet import contact_sheet
from sfumato.progress import Reporter
from sfumato.stylize import iter_stylize

PAIRS = (("astronaut", "starry_night"), ("pavilion", "village_street"), ("cat", "great_wave"))


def bundled(kind: str, name: str) -> Path:
    """A bundled picture; `kind` is "photos" or "paintings"."""
    return Path(str(resources.files("sfumato"))) / "demo" / kind / f"{name}.jpg"


def run_demo(folder: Path, size: int, reporter: Callable[[str], Reporter]) -> list[Path]:
    """Stylize the pairs at a short side of `size` into `folder`; prints each path and the sheet's when it is there."""
    made, rows = list[Path](), []
    for photo, painting in PAIRS:
        target = folder / f"{photo}-{painting}.png"
        with reporter(f"{photo} as {painting}") as progress:
            work = iter_stylize(bundled("photos", photo), bundled("paintings", painting), size=size)
            work.check_output(target)
            for iterate in work:
                progress.show(iterate.step, iterate.total, iterate.size, iterate.losses)
        result = work.result()
        result.save(target)
        print(target, flush=True)
        made.append(target)
        rows.append((bundled("photos", photo), bundled("paintings", painting), target))
    sheet = folder / "sheet.png"
    contact_sheet(rows, sheet)
    print(sheet, flush=True)
    return [*made, sheet]
