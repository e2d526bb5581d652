"""Pack folders of pictures into zips small enough to travel: JPEG, bounded short side, bounded bytes.

    python training/pack.py PHOTOS PAINTINGS --out packed --side 288 --limit 26

PHOTOS becomes packed/photos.zip and so on; names keep their stems, so a split by names still holds when given the
names as packed. `--limit` is MiB a zip: the quality falls from 88 in steps until it fits.
"""

import argparse
import io
import zipfile
from pathlib import Path

from PIL import Image, ImageOps

KINDS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def packed(path: Path, side: int, quality: int) -> bytes:
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    scale = min(1.0, side / min(picture.size))
    size = (round(picture.width * scale), round(picture.height * scale))
    out = io.BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(out, "JPEG", quality=quality, optimize=True)
    own = path.read_bytes()
    return own if scale == 1 and path.suffix == ".jpg" and len(own) <= out.tell() else out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=288, help="largest short side in pixels")
    parser.add_argument("--limit", type=float, default=26, help="MiB a zip")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for folder in given.folders:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in KINDS)
        for quality in range(88, 40, -6):
            target = given.out / f"{folder.name}.zip"
            with zipfile.ZipFile(target, "w") as archive:
                for path in files:
                    name = path.relative_to(folder).with_suffix(".jpg")
                    archive.writestr(str(name), packed(path, given.side, quality))
            if target.stat().st_size <= given.limit * 2**20:
                break
        print(f"{target}: {len(files)} pictures, quality {quality}, {target.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
