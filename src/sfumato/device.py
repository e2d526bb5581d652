"""Where and in which arithmetic the work is done."""

import torch

from sfumato.errors import InputError, unknown

KINDS = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> torch.device:
    """The device called `name`; 'auto' is a GPU where there is one. Raises `InputError`."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name.split(":")[0] not in KINDS:
        raise unknown("device", name, KINDS)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(f"device {name!r} is not to be had on this machine; 'auto' takes what there is") from None
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """float32, or bfloat16 where the processor computes in it (elsewhere it is emulated, a hundred times slower)."""
    if name == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 run on hardware for it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, check, bool)() for check in checks)
    return False
