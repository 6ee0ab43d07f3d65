"""A TensorRT or TensorRT-RTX engine on its GPU. The only code that needs one; everything is checked before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cmgan.errors import ModelError, NumbersError, warn
from cmgan.runtime import cuda
from cmgan.runtime.file_engine import Arrays
from cmgan.runtime.tensorrt.dlpack import CUDA, Lent, lent
from cmgan.runtime.tensorrt.kernel_cache import read_cache, write_cache
from cmgan.runtime.tensorrt.library import new_log

Batches = tuple[int, int, int]  # least, usual, largest


class Session:
    """An engine made ready: buffers for its largest batch, pinned on the host, one stream, one batch size captured.

    TensorRT's work is captured here, copies included. TensorRT-RTX captures its own, and compiles its kernels at the
    first call with a batch size: the file `cache` keeps them for the next start. Safe to call from several threads.
    """

    def __init__(self, trt: Any, plan: bytes, batches: Batches, gpu: cuda.Gpu, cache: Path | None) -> None:
        """
        Raises:
            ModelError: the library refuses the engine.
            SystemRefusal: the GPU's memory is used up.
        """
        self._batches, self._gpu, self._cache = batches, gpu, cache
        self._lock = threading.Lock()
        self._log = new_log(trt)
        self._runtime = trt.Runtime(self._log)  # engine_host_code_allowed stays false
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            reason = self._log.errors[0] if self._log.errors else "no reason given"
            raise ModelError("engine_refused", f"{trt.__name__} refuses the engine ({reason}); export it again")
        self._jit: Any = None  # the cache of compiled kernels, of TensorRT-RTX
        self._saved = b""
        self._context = self._new_context(trt)
        self._stream = cuda.new_stream()
        self._tensors: dict[str, cuda.Tensor] = {}
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        self._inputs = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        for name in names:
            dtype = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))
            shape = (batches[2], *tuple(self._engine.get_tensor_shape(name))[1:])
            self._tensors[name] = cuda.Tensor(dtype, shape)
        self._graph: cuda.Graph | None = None
        self._size = 0  # of the batch that the context's shapes and addresses are set for; 0: none

    def run(self, inputs: Arrays) -> np.ndarray:
        """The graph's `output` for a batch of any size."""
        with self._lock:
            cuda.call("cudaSetDevice", self._gpu.index)  # a property of the thread
            return in_batches(self._batch, inputs, self._batches)

    def run_on_device(self, arrays: dict[str, Any]) -> None:
        """Let the graph read its inputs and write its `output` where they lie on this GPU; done when this returns.

        Args:
            arrays: by name, each contiguous and with `__dlpack__`; at least the least batch, at most the largest.

        Raises:
            ValueError: an array is not where, or not what, the graph needs.
        """
        with self._lock:
            cuda.call("cudaSetDevice", self._gpu.index)
            views = {name: lent(array, self._stream) for name, array in arrays.items()}
            self._check(views)
            self._size, self._graph = 0, None
            for name, view in views.items():
                self._context.set_tensor_address(name, view.pointer)
                if name in self._inputs:
                    self._context.set_input_shape(name, view.shape)
            self._execute()
            cuda.call("cudaStreamSynchronize", self._stream)

    def _new_context(self, trt: Any) -> Any:
        if not hasattr(trt, "IRuntimeCache"):
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        self._jit = config.create_runtime_cache()
        self._saved = read_cache(self._cache) if self._cache else b""
        if self._saved and not self._jit.deserialize(self._saved):
            warn("cache", f"{self._cache} is of another driver or GPU; kernels are compiled again")
        config.set_runtime_cache(self._jit)
        # Compile for the shape before it runs: kernels that are exchanged later would change the picture's last bits.
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return self._engine.create_execution_context(config)

    def _batch(self, inputs: Arrays) -> np.ndarray:
        n = len(inputs["image"])
        for name, values in inputs.items():
            self._tensors[name].host[:n] = values
        if self._size != n:
            self._prepare(n)
        elif self._graph:
            self._graph.launch(self._stream)
        else:
            self._queue(n)
        cuda.call("cudaStreamSynchronize", self._stream)
        return self._tensors["output"].host[:n].copy()

    def _prepare(self, n: int) -> None:
        """Set the shapes, run once outside of a capture, which TensorRT asks for, and then capture.

        A graph holds the state of the context it was captured from, so there is one at a time.
        """
        self._size, self._graph = 0, None
        for name, tensor in self._tensors.items():
            self._context.set_tensor_address(name, tensor.device)
            if name in self._inputs:
                self._context.set_input_shape(name, tensor.host[:n].shape)
        self._queue(n)
        cuda.call("cudaStreamSynchronize", self._stream)
        if self._jit is None:
            self._graph = cuda.Graph(lambda: self._queue(n), self._stream)
        elif self._cache:
            self._save_kernels(self._cache)
        self._size = n

    def _queue(self, n: int) -> None:
        for name in self._inputs:
            self._tensors[name].upload(n, self._stream)
        self._execute()
        self._tensors["output"].download(n, self._stream)

    def _execute(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            reason = self._log.errors[-1] if self._log.errors else "no reason given"
            raise NumbersError("engine_failed", f"the engine did not run on {self._gpu.name} ({reason})")

    def _save_kernels(self, cache: Path) -> None:
        kernels = bytes(self._jit.serialize())
        if kernels != self._saved:
            write_cache(cache, kernels)
            self._saved = kernels

    def _check(self, views: dict[str, Lent]) -> None:
        n = views["image"].shape[0]
        if not self._batches[0] <= n <= self._batches[2]:
            message = f"a batch of {n}; the engine takes {self._batches[0]} to {self._batches[2]} on the device"
            raise ValueError(message)
        for name, tensor in self._tensors.items():
            wanted = (tensor.host[:n].shape, tensor.host.dtype, (CUDA, self._gpu.index))
            seen = (views[name].shape, views[name].dtype, views[name].device)
            if seen != wanted:
                raise ValueError(f"{name} is (shape, type, device) {seen}; {wanted} is needed")


def in_batches(run: Callable[[Arrays], np.ndarray], inputs: Arrays, batches: Batches) -> np.ndarray:
    """Run an engine that takes `batches` on any number of rows: more are split, fewer are filled up with the last."""
    least, _, largest = batches
    outputs = []
    for start in range(0, len(inputs["image"]), largest):
        part = {name: values[start : start + largest] for name, values in inputs.items()}
        n = len(part["image"])
        if n < least:
            part = {name: np.concatenate([v, v[-1:].repeat(least - n, 0)]) for name, v in part.items()}
        outputs.append(run(part)[:n])
    return np.concatenate(outputs)
