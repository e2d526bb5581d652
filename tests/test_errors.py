"""Options made from keywords: a wrong name gets the nearest right one."""

from dataclasses import dataclass

import pytest

from sfumato.errors import InputError, checked


@dataclass(frozen=True)
class Options:
    strength: float = 1.0
    radius: int = 4

    def check(self) -> None:
        if self.strength < 0:
            raise InputError("strength must not be negative")


def test_options_from_keywords() -> None:
    assert checked(Options, {"radius": 2}) == Options(1.0, 2)


def test_a_wrong_name_and_a_wrong_value() -> None:
    with pytest.raises(InputError, match=r"unknown option 'strenght': did you mean 'strength'"):
        checked(Options, {"strenght": 1})
    with pytest.raises(InputError, match="must not be negative"):
        checked(Options, {"strength": -1})
