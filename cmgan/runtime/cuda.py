"""What engines need of the CUDA runtime, through NVIDIA's own `cuda-bindings`: small, and no torch beside it."""

from __future__ import annotations

import ctypes
import importlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmgan.errors import MissingError, SystemRefusal

_NO_MEMORY = {2}  # cudaErrorMemoryAllocation
# cudaErrorInitializationError, StubLibrary, InsufficientDriver, NoDevice, InvalidDevice, SystemDriverMismatch
_NO_DEVICE = {3, 34, 35, 100, 101, 803}


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine."""

    index: int
    name: str
    capability: str  # sm_89
    driver: str  # the newest CUDA that the driver knows: 13.0
    runtime: str  # the CUDA runtime in use


def gpu(device: str) -> Gpu:
    """The GPU that `device` names: "cuda", "cuda:1"; "cpu", the default of the commands, stands for the first.

    Raises:
        MissingError: there is no such GPU, no driver for it, or cuda-bindings is not installed.
    """
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise MissingError("device", f"device {device!r}: this engine runs on cuda or cuda:N")
    index = int(number or 0)
    call("cudaSetDevice", index)
    values = call("cudaGetDeviceProperties", index)
    name = values.name.split(b"\0")[0].decode(errors="replace")
    driver, runtime = call("cudaDriverGetVersion"), call("cudaRuntimeGetVersion")
    return Gpu(index, name, f"sm_{values.major}{values.minor}", _version(driver), _version(runtime))


def call(function: str, *arguments: Any) -> Any:
    """The result of a function of the CUDA runtime: nothing, a value, or a tuple.

    Raises:
        MissingError: there is no GPU, no driver for it, or cuda-bindings is not installed.
        SystemRefusal: the GPU's memory is used up, or CUDA refuses for another reason.
    """
    runtime = _runtime()
    error, *values = getattr(runtime, function)(*arguments)
    if int(error):
        if int(error) in _NO_DEVICE:
            raise MissingError("no_gpu", f"no usable NVIDIA GPU here ({error.name})")
        if int(error) in _NO_MEMORY:
            raise SystemRefusal("device_memory", "the memory of the GPU is used up; close what else runs there")
        raise SystemRefusal("cuda", f"CUDA refuses {function}: {error.name}")
    return values[0] if len(values) == 1 else tuple(values) or None


class Tensor:
    """Memory of the GPU for batches of a graph's input or output, with page-locked memory of the host beside it."""

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        size = int(np.prod(shape)) * dtype.itemsize
        self.device = int(call("cudaMalloc", size))
        weakref.finalize(self, _release, "cudaFree", self.device)
        pinned = int(call("cudaHostAlloc", size, 0))
        weakref.finalize(self, _release, "cudaFreeHost", pinned)
        self.host = np.frombuffer(memoryview((ctypes.c_uint8 * size).from_address(pinned)), dtype).reshape(shape)

    def upload(self, n: int, stream: int) -> None:
        """Queue the copy of the first `n` rows to the GPU."""
        self._copy(self.device, self.host.ctypes.data, n, "cudaMemcpyHostToDevice", stream)

    def download(self, n: int, stream: int) -> None:
        """Queue the copy of the first `n` rows from the GPU."""
        self._copy(self.host.ctypes.data, self.device, n, "cudaMemcpyDeviceToHost", stream)

    def _copy(self, to: int, source: int, n: int, kind: str, stream: int) -> None:
        call("cudaMemcpyAsync", to, source, self.host[:n].nbytes, memcpy_kind(kind), stream)


class Graph:
    """Work that was queued once on a stream and is launched again in one go."""

    def __init__(self, queue: Callable[[], None], stream: int) -> None:
        call("cudaStreamBeginCapture", stream, _runtime().cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            queue()
        finally:
            captured = call("cudaStreamEndCapture", stream)
        self._launched = call("cudaGraphInstantiate", captured, 0)
        call("cudaGraphDestroy", captured)
        weakref.finalize(self, _release, "cudaGraphExecDestroy", self._launched)

    def launch(self, stream: int) -> None:
        call("cudaGraphLaunch", self._launched, stream)


def memcpy_kind(name: str) -> Any:
    """`cudaMemcpyHostToDevice` and so on."""
    return getattr(_runtime().cudaMemcpyKind, name)


def new_stream() -> int:
    """A stream of its own, which does not wait for the default one (1: cudaStreamNonBlocking)."""
    return int(call("cudaStreamCreateWithFlags", 1))


def _runtime() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        message = "cuda-bindings, which reaches the GPU, is not installed: pip install cuda-bindings"
        raise MissingError("cuda_bindings", message) from None


def _release(function: str, handle: Any) -> None:
    getattr(_runtime(), function)(handle)  # what it answers no longer matters


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
