"""Where an array of another library lies, by the DLPack protocol (https://dmlc.github.io/dlpack/latest/)."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

CPU, CUDA = 1, 2  # DLDeviceType
_KINDS = {0: "i", 1: "u", 2: "f"}  # DLDataTypeCode, as NumPy calls them


class _Tensor(ctypes.Structure):
    """DLTensor, the start of a DLManagedTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


@dataclass(frozen=True)
class Lent:
    """An array that lies somewhere and is only looked at: valid as long as this object and the array live."""

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: tuple[int, int]  # DLDeviceType, index
    capsule: Any  # gives the array back when it is collected


def lent(array: Any, stream: int | None = None) -> Lent:
    """Look at a contiguous array; what was queued to write it is done before anything that follows on `stream`.

    Raises:
        ValueError: it speaks no DLPack, its element type is unusual, or it is not contiguous.
    """
    if not hasattr(array, "__dlpack__"):
        raise ValueError(f"{type(array).__name__} has no __dlpack__, so there is no way to its memory")
    capsule = array.__dlpack__(stream=stream)
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _Tensor.from_address(get(capsule, b"dltensor"))
    shape = tuple(tensor.shape[: tensor.ndim])
    if tensor.code not in _KINDS or tensor.lanes != 1:
        raise ValueError(f"an array of DLPack type {tensor.code}, {tensor.bits} bits, {tensor.lanes} lanes")
    if tensor.strides and not _contiguous(shape, tuple(tensor.strides[: tensor.ndim])):
        raise ValueError(f"an array of shape {shape} that is not contiguous; make a contiguous copy")
    dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
    device = (tensor.device_type, tensor.device_id)
    return Lent((tensor.data or 0) + tensor.byte_offset, shape, dtype, device, capsule)


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    wanted = (int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    return all(size == 1 or stride == want for size, stride, want in zip(shape, strides, wanted, strict=True))
