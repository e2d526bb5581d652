"""Pictures against the house's own reader, draws against their chances, crops against torch's resampling."""

import io
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sfumato.errors import InputError
from sfumato.picture.io import read_picture
from sfumato.picture.resize import fit_short_side, resize
from sfumato.train.data import Pictures, crop, crop_box, cut

DISPLAY_P3 = imagecodecs.cms_profile(
    "rgb", whitepoint=[0.3127, 0.3290], primaries=[0.680, 0.320, 0.265, 0.690, 0.150, 0.060], gamma=2.2
)


def smooth(height: int, width: int) -> np.ndarray:
    """H x W x 3 in [0.1, 0.9], no two corners alike."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return 0.1 + 0.8 * np.stack([x, y, (2 - x - y) / 2], -1)


def made(height: int, width: int, seed: int = 0) -> Image.Image:
    """A smooth picture with some texture, 8 bits."""
    noise = np.random.default_rng(seed).normal(0, 0.02, (height, width, 3))
    return Image.fromarray((np.clip(smooth(height, width) + noise, 0, 1) * 255).round().astype(np.uint8))


def saved(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def folder_of(path: Path, *names: str, height: int = 20, width: int = 24) -> Path:
    for i, name in enumerate(names):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        made(height, width, i).save(file)
    return path


def rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def as_house(path: Path, side: int) -> torch.Tensor:
    """What the verbs' reader and resampling make of a file, in 0..255."""
    rgb = torch.from_numpy(read_picture(path).rgb).permute(2, 0, 1)[None]
    small = fit_short_side(*rgb.shape[2:], min(side, *rgb.shape[2:]))
    return resize(rgb, *small)[0] * 255


def test_folder_zip_glob_and_list_hold_the_same_pictures(tmp_path: Path) -> None:
    names = ["b/sea/2.png", "a_1.png", "b/1.jpg", "c.JPEG"]
    root = folder_of(tmp_path / "set", *names)
    (root / "notes.txt").write_text("no picture")
    folder_of(root, ".hidden.png", ".cache/x.png")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in root.rglob("*"):
            archive.write(path, path.relative_to(root))
        archive.writestr("__MACOSX/b/._1.jpg", b"resource fork")
    folder = Pictures(root, side=16)
    assert folder.names == ["a_1.png", "b/1.jpg", "b/sea/2.png", "c.JPEG"]
    assert folder.groups == {".": [0, 3], "b": [1], "b/sea": [2]}
    assert folder[2].shape == (3, 16, 19)
    assert folder[2].dtype == torch.uint8
    listed = [p for p in root.rglob("*.*") if p.is_file() and p.relative_to(root).as_posix() in names]
    for other in (
        Pictures(tmp_path / "set.zip", side=16),
        Pictures(listed[::-1], side=16),
        Pictures(str(root / "**" / "*.*"), side=16),
    ):
        assert (other.names, other.sha256) == (folder.names, folder.sha256)
        assert all(torch.equal(other[i], folder[i]) for i in range(4))
    assert Pictures(root / "a_1.png", side=16).names == ["a_1.png"]
    made(40, 40).save(root / "b" / "1.jpg")
    assert Pictures(root, side=16).sha256 != folder.sha256  # sizes count too


def test_names_choose_a_part(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "x_1.png", "x_2.png", "y_1.png")
    part = Pictures(root, side=8, names=["y_1.png", "x_2.png"])
    assert part.names == ["x_2.png", "y_1.png"]
    with pytest.raises(InputError, match=r"lacks 'z_1.png' and 1 more"):
        Pictures(root, side=8, names=["x_1.png", "z_1.png", "z_2.png"])


def test_groups_by_prefix(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "w_5_1.png", "w_5_20.png", "w_6_3.png", "w_6_4.png", "ming_007_big.png", "ming_8.png")
    assert Pictures(root, side=8).groups == {"ming": [0, 1], "w_5": [2, 3], "w_6": [4, 5]}
    assert Pictures(folder_of(tmp_path / "plain", "one.png", "two.png"), side=8).groups == {"": [0, 1]}


@pytest.mark.parametrize("size", [(64, 91), (300, 700), (801, 530)])
def test_jpeg_as_the_house_reads_it(tmp_path: Path, size: tuple[int, int]) -> None:
    made(*size).save(tmp_path / "a.jpg", quality=95)
    found, wanted = Pictures(tmp_path, side=64)[0], as_house(tmp_path / "a.jpg", 64)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().mean() < 0.6  # rounding to 8 bits alone is 0.25
    assert (found - wanted).abs().max() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((smooth(80, 120) * 255).astype(np.uint8)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    found, wanted = Pictures(tmp_path, side=24)[0], as_house(tmp_path / "a.jpg", 24)
    assert found.shape == wanted.shape == ((3, 24, 36) if orientation < 5 else (3, 36, 24))
    assert (found - wanted).abs().max() < 3


def test_colours_that_only_the_house_reads(tmp_path: Path) -> None:
    image = Image.fromarray((smooth(30, 40) * 255).astype(np.uint8))
    image.save(tmp_path / "a_p3.jpg", icc_profile=DISPLAY_P3, quality=95)
    image.convert("L").save(tmp_path / "b_grey.jpg", quality=95)
    image.convert("CMYK").save(tmp_path / "c_cmyk.jpg", quality=95)
    Image.fromarray((smooth(30, 40)[..., 0] * 65535).astype(np.uint16)).save(tmp_path / "d_deep.png")
    pictures = Pictures(tmp_path, side=64)
    for i, name in enumerate(pictures.names):
        assert (pictures[i] - as_house(tmp_path / name, 64)).abs().max() <= 1, name
    untagged = np.asarray(Image.open(tmp_path / "a_p3.jpg"), np.float32)
    assert np.abs(untagged - pictures[0].permute(1, 2, 0).numpy()).max() > 10  # the profile was used


def test_transparent_parts_lie_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, 4:, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    picture = Pictures(tmp_path, side=8)[0]
    assert (picture[:, :, :4] == 255).all()
    assert (picture[:, :, 4:] == 0).all()


def test_memory_is_bounded_and_the_least_used_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path, "abc.png", "def.png", "ghi.png", height=10, width=10)
    pictures = Pictures(tmp_path, side=10, limit_bytes=2 * 300)
    decoded, plain = list[str](), pictures._decoded
    monkeypatch.setattr(pictures, "_decoded", lambda entry: (decoded.append(entry.name), plain(entry))[1])
    for i in (0, 1, 0, 2, 0, 1, 2):
        pictures[i]
        assert pictures._cached_bytes == sum(p.nbytes for p in pictures._cache.values()) <= 600
    assert decoded == ["abc.png", "def.png", "ghi.png", "def.png", "ghi.png"]


def test_draws_by_group_follow_square_roots(tmp_path: Path) -> None:
    names = [f"{group}_{i}.png" for group, count in (("a", 1), ("b", 4), ("c", 25)) for i in range(count)]
    pictures = Pictures(folder_of(tmp_path, *names, height=2, width=2), side=2)
    count = 8000
    generator = rng(1)
    by_group = Counter(pictures.draw(generator, by_group=True) for _ in range(count))
    for group, share in (("a", 1 / 8), ("b", 2 / 8), ("c", 5 / 8)):
        each = share / len(pictures.groups[group])
        for i in pictures.groups[group]:  # within five deviations of a binomial count
            assert abs(by_group[i] - count * each) < 5 * (count * each * (1 - each)) ** 0.5
    flat = Counter(pictures.draw(generator) for _ in range(count))
    assert max(abs(flat[i] - count / 30) for i in range(30)) < 5 * (count / 30) ** 0.5


def test_a_bad_picture_is_stepped_over_counted_and_named(tmp_path: Path) -> None:
    names = [f"{g}_{i}.jpg" for g in "ab" for i in range(6)]
    folder_of(tmp_path, *names)
    whole = Pictures(tmp_path, side=8)
    before = [whole.draw(rng(2, i), by_group=i % 2 == 0) for i in range(200)]
    for name in ("a_5.jpg", "b_2.jpg", "b_3.jpg"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2] if name != "b_2.jpg" else b"")
    damaged = Pictures(tmp_path, side=8)
    after = [damaged.draw(rng(2, i), by_group=i % 2 == 0) for i in range(200)]
    assert {5, 8, 9} < set(before)
    for i, (index, wanted) in enumerate(zip(after, before, strict=True)):
        in_group = {5: 0, 8: 10, 9: 10}  # the group's first after its last
        in_all = {5: 6, 8: 10, 9: 10}
        assert index == (in_group if i % 2 == 0 else in_all).get(wanted, wanted)
    assert sorted(damaged.bad) == ["a_5.jpg", "b_2.jpg", "b_3.jpg"]
    assert "truncated" in damaged.bad["a_5.jpg"]
    assert damaged.bad["b_2.jpg"] == "the file is empty"
    with pytest.raises(InputError, match=r"a_5\.jpg: .*truncated"):
        damaged[5]


def test_a_group_all_bad_gives_way_and_a_set_all_bad_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, "a_0.png", "b_0.png", "b_1.png")
    for name in ("b_0.png", "b_1.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    pictures = Pictures(tmp_path, side=8)
    assert {pictures.draw(rng(3, i), by_group=True) for i in range(40)} == {0}
    (tmp_path / "a_0.png").write_text("words")
    with pytest.raises(InputError, match=r"none of its 3 pictures can be read \(a_0\.png: not a picture"):
        Pictures(tmp_path, side=8).draw(rng(4))


def test_bad_sources(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("words")
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 and then nothing")
    for source, reason in (
        (tmp_path, "no pictures in it"),
        (str(tmp_path / "*.png"), "no pictures in it"),
        ([], "a list of 0 pictures: no pictures in it"),
        (tmp_path / "gone", "no such folder, zip or picture"),
        ([tmp_path / "gone.png"], "no such picture"),
        (tmp_path / "no.zip", "not a readable zip"),
    ):
        with pytest.raises(InputError, match=reason):
            Pictures(source, side=8)
    with pytest.raises(InputError, match="short side of 0 pixels"):
        Pictures(folder_of(tmp_path, "a.png"), side=0)


def test_bombs_and_damaged_zips_are_bad_pictures(tmp_path: Path) -> None:
    good, flipped = saved(made(20, 20), "PNG"), bytearray(saved(made(20, 20), "BMP"))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("a.png", good)
        archive.writestr("b.bmp", bytes(flipped))
        archive.writestr("c.jpg", saved(made(200, 200), "JPEG"))
        archive.writestr("d.bmp", bytes(3_000_000))
    data = (tmp_path / "set.zip").read_bytes()
    (tmp_path / "set.zip").write_bytes(data.replace(bytes(flipped[60:90]), bytes(30)))
    pictures = Pictures(tmp_path / "set.zip", side=8, max_pixels=10_000)
    assert {pictures.draw(rng(5, i)) for i in range(30)} == {0}
    assert "CRC" in pictures.bad["b.bmp"]
    assert "more pixels than the limit of 10,000" in pictures.bad["c.jpg"]
    assert "3,000,000 bytes are more" in pictures.bad["d.bmp"]


def test_samples_do_not_depend_on_cache_or_threads(tmp_path: Path) -> None:
    root = folder_of(tmp_path, *(f"{g}_{i}.jpg" for g in "abc" for i in range(5)), height=30, width=40)
    (root / "b_1.jpg").write_bytes(b"broken")

    def samples(pictures: Pictures, threads: int) -> torch.Tensor:
        def one(i: int) -> torch.Tensor:
            generator = rng(6, i)
            return crop(pictures[pictures.draw(generator, by_group=True)], generator, size=12)

        with ThreadPoolExecutor(threads) as pool:
            return torch.stack(list(pool.map(one, range(150))))

    wanted = samples(Pictures(root, side=24), 1)
    small = Pictures(root, side=24, limit_bytes=3 * 24 * 32 * 3)
    for pictures in (Pictures(root, side=24, limit_bytes=0), small, small):
        assert torch.equal(samples(pictures, 8), wanted)
        assert list(pictures.bad) == ["b_1.jpg"]


@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.integers(1, 300),
    st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).map(lambda s: (min(s), max(s))),
    st.integers(0, 2**32),
)
def test_crops_are_squares_inside_and_not_enlarged(
    height: int, width: int, size: int, scale: tuple[float, float], seed: int
) -> None:
    box = crop_box(height, width, rng(seed), size=size, scale=scale)
    rows, columns = box.height * height, box.width * width
    assert rows == pytest.approx(columns)
    assert rows == pytest.approx(round(rows))
    assert 0 <= box.top <= box.top + box.height <= 1 + 1e-12
    assert 0 <= box.left <= box.left + box.width <= 1 + 1e-12
    short = min(height, width)
    assert rows > min(size, short) - 0.51
    assert rows < max(scale[1] * short, min(size, short), 1) + 0.51


def test_crop_boxes_use_their_whole_range() -> None:
    boxes = [crop_box(100, 150, rng(7, i), size=20, scale=(0.5, 1.0)) for i in range(2000)]
    sides = np.array([b.height * 100 for b in boxes])
    assert sides.min() < 51
    assert sides.max() > 99
    assert sides.mean() == pytest.approx(75, abs=5 * 14.5 / 2000**0.5)
    free = [b for b in boxes if b.height < 0.9]
    room = np.array([(b.top / (1 - b.height), b.left / (1 - b.width)) for b in free])
    assert np.allclose(room.mean(0), 0.5, atol=0.05)
    assert (room.min(0) < 0.02).all()
    assert (room.max(0) > 0.98).all()
    assert np.mean([b.flip for b in boxes]) == pytest.approx(0.5, abs=0.06)
    assert not any(crop_box(100, 150, rng(7, i), size=20, flip=False).flip for i in range(50))


@pytest.mark.parametrize(("source", "size"), [((100, 100), (16, 32)), ((90, 200), (24, 16)), ((50, 300), (8, 32))])
def test_oblong_crops_have_their_proportions(source: tuple[int, int], size: tuple[int, int]) -> None:
    """The largest one touches two borders; what is cut has the size, and nothing is squeezed."""
    height, width = source
    whole = crop_box(height, width, rng(11), size=size, scale=(1, 1))
    assert max(whole.height, whole.width) == pytest.approx(1, abs=0.5 / min(source))
    for i in range(20):
        box = crop_box(height, width, rng(12, i), size=size, scale=(0.4, 1.0))
        assert box.height * height / (box.width * width) == pytest.approx(size[0] / size[1], rel=0.05)
        assert box.top + box.height <= 1 + 1e-12
        assert box.left + box.width <= 1 + 1e-12
    board = (torch.arange(width) % 256).to(torch.uint8).expand(3, height, width)  # a ramp from left to right
    found = crop(board, rng(13), size=size, scale=(1, 1), flip=False)
    assert found.shape == (3, *size)
    slope = (found[:, :, 1:] - found[:, :, :-1]).median() * 255
    assert slope.item() == pytest.approx(min(height / size[0], width / size[1]), rel=0.1)


@pytest.mark.parametrize("size", [12, 25, 40])
def test_crop_is_torchs_antialiased_bicubic(size: int) -> None:
    picture = torch.from_numpy(np.asarray(made(60, 50)).copy()).permute(2, 0, 1)
    for i in range(6):
        box = crop_box(60, 50, rng(8, i), size=size)
        top, left, side = round(box.top * 60), round(box.left * 50), round(box.height * 60)
        part = picture[None, :, top : top + side, left : left + side] / 255
        wanted = F.interpolate(part, (size, size), mode="bicubic", antialias=True)[0]
        wanted = wanted.flip(2) if box.flip else wanted
        found = crop(picture, rng(8, i), size=size)
        assert found.dtype == torch.float32
        assert found.is_contiguous()
        assert (found - wanted).abs().max() < 1.6 / 255  # both passes of Pillow round to 8 bits


def test_reducing_a_checkerboard_gives_grey() -> None:
    board = ((torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255).to(torch.uint8).expand(3, 64, 64)
    found = crop(board, rng(9), size=16, scale=(1, 1))[:, 2:-2, 2:-2]
    assert (found - 0.5).abs().max() < 0.02  # without antialiasing: black or white


def test_the_same_box_cuts_picture_and_mask(tmp_path: Path) -> None:
    labels = np.zeros((40, 64), np.uint8)
    labels[10:, 20:] = 3
    labels[25:, 40:] = 7
    folder_of(tmp_path / "pictures" / "x", "a.png")
    Image.fromarray(labels * 30).convert("RGB").save(tmp_path / "pictures" / "x" / "b.jpg", quality=98)
    (tmp_path / "masks" / "x").mkdir(parents=True)
    Image.fromarray(labels.repeat(2, 0).repeat(2, 1)).save(tmp_path / "masks" / "x" / "b.png")  # twice the size
    pictures = Pictures(tmp_path / "pictures", side=40)
    masks = Pictures(tmp_path / "masks", side=80, labels=True)
    assert masks.paired(pictures.names[0]) is None
    index = masks.paired(pictures.names[1])
    assert index == 0
    assert masks[index].unique().tolist() == [0, 3, 7]
    assert Pictures(tmp_path / "masks", side=31, labels=True)[0].unique().tolist() == [0, 3, 7]  # nothing mixed
    for i in range(8):
        box = crop_box(40, 64, rng(10, i), size=30)
        picture, mask = cut(pictures[1], box, 30), cut(masks[index], box, 30, labels=True)
        assert mask.dtype == torch.int64
        near = (picture[0] * 255 / 30 - mask).abs()
        assert (near < 0.5).float().mean() > 0.9  # all but the blurred edges
    soft = cut(masks[index], box, 30)
    assert soft.shape == (1, 30, 30)
    assert soft.max() <= 7 / 255 + 1e-6


def test_label_maps_that_are_none_are_bad(tmp_path: Path) -> None:
    made(8, 8).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(saved(made(8, 8).convert("L"), "PNG")[:-30])
    labels = Pictures(tmp_path, side=8, labels=True)
    with pytest.raises(InputError, match=r"a\.png: labels need one 8-bit channel"):
        labels[0]
    with pytest.raises(InputError, match=r"b\.png: cannot be read as a label map"):
        labels[1]
    assert len(labels.bad) == 2
