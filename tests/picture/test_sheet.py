"""Contact sheets."""

import numpy as np

from sfumato.picture.io import read_picture, write_picture
from sfumato.picture.sheet import contact_sheet, square

from .made import smooth


def test_every_picture_stands_in_its_cell(tmp_path):
    colors = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)]
    paths = []
    for k, color in enumerate(colors):
        paths.append(tmp_path / f"{k}.png")
        write_picture(paths[-1], np.full((10 + 7 * k, 30, 3), color, np.float32))
    rows = square(paths)
    assert [len(row) for row in rows] == [3, 2]
    contact_sheet(rows, tmp_path / "sheet.png", side=40)
    sheet = read_picture(tmp_path / "sheet.png").rgb
    assert sheet.shape == (80, 120, 3)
    for k, color in enumerate(colors):
        np.testing.assert_allclose(sheet[20 + 40 * (k // 3), 20 + 40 * (k % 3)], color, atol=0.01)
    np.testing.assert_array_equal(sheet[60, 100], 1)  # the cell that is left over
    np.testing.assert_array_equal(sheet[:4], 1)


def test_deep_pictures_are_shown_too(tmp_path):
    write_picture(tmp_path / "deep.png", smooth(30, 30), bits=16)
    contact_sheet([[tmp_path / "deep.png"]], tmp_path / "sheet.jpg", side=38)
    found = read_picture(tmp_path / "sheet.jpg").rgb[4:-4, 4:-4]
    assert np.abs(found - smooth(30, 30)).mean() < 0.02


def test_square():
    for count in range(1, 30):
        rows = square(list(range(count)))
        assert [path for row in rows for path in row] == list(range(count))
        assert len(rows) <= len(rows[0]) <= len(rows) + 1
