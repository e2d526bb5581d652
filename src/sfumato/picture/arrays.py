"""Pictures that are already in memory: numpy arrays, torch tensors and Pillow pictures. No torch is imported here."""

import hashlib
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfumato.errors import InputError
from sfumato.picture.decode import Decoded, Native, check_size, check_still, finish, orientation_of, pillow_native

Array = NDArray[Any]


def is_tensor(source: object) -> bool:
    """Whether `source` is a torch tensor (there is none unless torch has been imported)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)


def tensor_to_array(tensor: Any) -> Array:
    """A torch tensor C x H x W, 1 x C x H x W or H x W as an H x W x C array on the CPU; InputError on other shapes."""
    shape = tuple(tensor.shape)
    if tensor.ndim == 4 and shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim == 2:
        tensor = tensor[None]
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 2, 3, 4):
        raise InputError(f"a tensor of shape {shape} is not one picture: 3 x H x W or 1 x 3 x H x W is expected")
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()  # numpy has no bfloat16
    return np.asarray(tensor.permute(1, 2, 0).numpy())


def from_array(array: Array, max_pixels: int) -> Decoded:
    """H x W or H x W x 1 to 4 (grey, grey + alpha, RGB, RGBA); bool, uint8, uint16, or floats in [0, 1].

    Floats count as 8 bits deep: most are 8-bit pictures divided by 255.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise InputError(f"an array of shape {array.shape} is not a picture: H x W, or H x W x 1 to 4, is expected")
    check_size(array.shape[1], array.shape[0], max_pixels)
    bits = 16 if array.dtype == np.uint16 else 8
    if array.dtype.kind == "f":
        array = unit_floats(array)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise InputError(f"an array of {array.dtype} is not a picture: uint8, uint16 or floats in [0, 1] are expected")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    array = array[..., None] if array.ndim == 2 else array
    alpha = array[..., -1] if array.shape[2] in (2, 4) else None
    values = array if alpha is None else array[..., :-1]
    native = Native(values, "gray" if values.shape[2] == 1 else "rgb", alpha, None)
    return finish(native)._replace(bits=bits)


def unit_floats(array: Array) -> NDArray[np.float32]:
    """Floats in [0, 1] as float32; InputError on NaN, infinity and values outside."""
    if not np.isfinite(array).all():
        raise InputError("the pixels contain NaN or infinity")
    low, high = float(array.min()), float(array.max())
    if low < -1e-5 or high > 1 + 1e-5:
        hint = ": divide by 255" if low >= 0 and 2 < high <= 255 else ""
        raise InputError(f"the pixels lie in [{low:.4g}, {high:.4g}] where [0, 1] is expected{hint}")
    return np.clip(array.astype(np.float32), 0, 1)


def array_hash(array: Array) -> str:
    """SHA-256 of shape, type and bytes."""
    digest = hashlib.sha256(f"{array.shape} {array.dtype.str} ".encode())
    digest.update(np.ascontiguousarray(array).data if array.size else b"")
    return digest.hexdigest()


def from_pillow(image: Image.Image, max_pixels: int) -> tuple[Decoded, str]:
    """A Pillow picture of any mode, turned upright, and the hash of its pixels."""
    check_size(*image.size, max_pixels)
    check_still(getattr(image, "n_frames", 1) if image.format != "MPO" else 1)
    try:
        image.load()
        native = pillow_native(image)._replace(orientation=orientation_of(image))
        decoded = finish(native)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"the Pillow picture cannot be decoded ({error})") from error
    return decoded, array_hash(native.values if native.alpha is None else np.dstack([native.values, native.alpha]))
