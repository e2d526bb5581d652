"""What commands over several pictures share: where each goes, and that one bad picture does not stop the others."""

from pathlib import Path

import pytest

from sfumato.cli_flags import one_by_one, targets_of
from sfumato.errors import InputError


def name(photo: Path) -> str:
    return f"{photo.stem}-x.png"


def test_where_pictures_go(tmp_path: Path) -> None:
    a, b = Path("p/a.jpg"), Path("q/b.jpg")
    assert targets_of([a], False, None, name) == {a: Path("p/a-x.png")}
    assert targets_of([a], False, Path("o.png"), name) == {a: Path("o.png")}
    assert targets_of([a], False, Path("folder"), name) == {a: Path("folder/a-x.png")}
    assert targets_of([a, b], True, tmp_path, name) == {a: tmp_path / "a-x.png", b: tmp_path / "b-x.png"}
    with pytest.raises(InputError, match=r"2 pictures cannot all become 'o\.png'"):
        targets_of([a, b], True, Path("o.png"), name)
    with pytest.raises(InputError, match="several pictures would become"):
        targets_of([a, Path("q/a.png")], True, tmp_path, name)


def test_one_bad_picture_among_three() -> None:
    done = list[str]()

    def work(photo: Path) -> None:
        if photo.name == "b":
            raise InputError("b is no picture")
        done.append(photo.name)

    with pytest.raises(InputError, match=r"1 of 3 pictures failed:\s+b is no picture"):
        one_by_one([Path("a"), Path("b"), Path("c")], work, many=True)
    assert done == ["a", "c"]
    with pytest.raises(InputError, match=r"^b is no picture$"):
        one_by_one([Path("b")], work, many=False)
