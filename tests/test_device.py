"""Devices and precisions by name."""

import pytest
import torch

from sfumato import device
from sfumato.device import choose_device, choose_precision, has_bfloat16
from sfumato.errors import InputError

CPU = torch.device("cpu")


def test_devices() -> None:
    assert choose_device("cpu") == CPU
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == best


@pytest.mark.parametrize("name", ["cdua", "gpu", "", "cpux"])
def test_an_unknown_device_is_shown_the_nearest(name: str) -> None:
    with pytest.raises(InputError, match=r"unknown device .* did you mean"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda:77", "cuda:x", "cpu:-3", "cuda:", "mps:5"])
def test_a_device_that_is_not_here(name: str) -> None:
    with pytest.raises(InputError, match="not to be had"):
        choose_device(name)


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_precision("float32", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    for has, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(device, "has_bfloat16", lambda _, has=has: has)
        assert choose_precision("auto", CPU) == dtype


def test_bfloat16_is_for_processors_that_have_it() -> None:
    flags = ""
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            flags = file.read()
    except OSError:
        pytest.skip("no /proc/cpuinfo here")
    assert has_bfloat16(CPU) == ("avx512_bf16" in flags or "amx_bf16" in flags)
