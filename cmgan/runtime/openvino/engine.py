"""Runs exported OpenVINO files (IR) on the CPU. No torch.

The graph's batch is open, but a model is compiled for one picture, and pictures run one by one: where all sizes are
known OpenVINO plans its buffers ahead, lets them overlap and writes kernels for them. Both time and memory are saved.

Compiled models are not cached: a cache holds native code's own data, would have to be guarded like an engine and is
larger than the weights; little time would be won.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from cmgan.errors import MissingError, ModelError, about, needs
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.file_engine import Arrays, FileEngine, signature_of
from cmgan.runtime.openvino.file import check_ir
from cmgan.runtime.sidecar import read_sidecar
from cmgan.runtime.signature import Signature, check_signature

# The type in which convolutions and products are computed, by the precision of the artefact. It is always pinned: left
# alone, OpenVINO computes in bf16 wherever the CPU can.
_ARITHMETIC = {"fp32": "f32", "bf16": "bf16", "int8": "bf16", "auto": "bf16"}  # the last two: of what is not int8
_OR_F32 = frozenset({"int8", "auto"})  # these promise no more than int8's accuracy: f32 where the CPU has no bf16


class OpenvinoEngine(FileEngine):
    """An engine over an OpenVINO IR that cmgan exported, pipeline or core graph. Safe to call from several threads."""

    def __init__(self, path: Path, options: EngineOptions | None = None) -> None:
        """
        Raises:
            ModelError: the file or its weights are not those that were exported (see `cmgan.runtime.openvino.file`).
            MissingError: openvino is missing, or the CPU cannot compute in the artefact's precision.
        """
        metadata, files = read_sidecar(path)
        weights = files.get(weights_of(path).name)
        if weights is None:
            raise ModelError("sidecar", f"its metadata name no {weights_of(path).name}; export again", file=path)
        with about(path):
            model = compiled(files[path.name], weights, metadata.precision, options or EngineOptions())
            check_signature(_signature(model), metadata)
        super().__init__(metadata, signature_of(metadata), **facts(model))
        self._requests = Requests(model)

    def _run(self, inputs: Arrays) -> np.ndarray:
        return self._requests(inputs)[self.signature.output if self.signature else "output"]

    def _release(self) -> None:
        self._requests.close()
        del self._requests


class Requests:
    """As many requests to a compiled model as it serves at once; a picture takes one, or waits for it."""

    def __init__(self, model: Any) -> None:
        self._free: SimpleQueue[Any] = SimpleQueue()
        self._names = [output.any_name for output in model.outputs]
        count = model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        for _ in range(count):
            self._free.put(model.create_infer_request())
        self._threads = ThreadPoolExecutor(count) if count > 1 else None
        self._map: Callable[..., Iterable[list[np.ndarray]]] = self._threads.map if self._threads else map

    def __call__(self, inputs: Arrays) -> Arrays:
        """The outputs by name, in arrays of their own, for inputs of any batch."""
        pictures = zip(*(array[:, None] for array in inputs.values()), strict=True)
        outputs = self._map(self._one, [dict(zip(inputs, picture, strict=True)) for picture in pictures])
        return dict(zip(self._names, map(np.concatenate, zip(*outputs, strict=True)), strict=True))

    def close(self) -> None:
        """End the threads; their requests end first."""
        if self._threads:
            self._threads.shutdown()

    def _one(self, inputs: Arrays) -> list[np.ndarray]:
        request = self._free.get()
        try:
            return list(request.infer(inputs).values())
        finally:
            self._free.put(request)


def weights_of(path: Path) -> Path:
    """The file of weights beside an IR's XML file."""
    return path.with_suffix(".bin")


def compiled(xml: bytes, weights: bytes, precision: str, options: EngineOptions) -> Any:
    """An `openvino.CompiledModel` of an IR in memory, for one picture, computing in `precision`.

    Raises:
        ModelError: it is no IR, or OpenVINO refuses it.
        MissingError: openvino is missing, or the device, or the CPU's arithmetic of that precision.
    """
    openvino = load_openvino()
    check_ir(xml, weights)
    if options.device != "cpu":
        raise MissingError("device", f"device {options.device!r}: exported OpenVINO files are run on cpu")
    if precision not in _ARITHMETIC:
        raise ModelError("precision", f"is of precision {precision}; OpenVINO runs {', '.join(_ARITHMETIC)}")
    core = openvino.Core()
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    arithmetic = "f32" if precision in _OR_F32 and not has_bf16 else _ARITHMETIC[precision]
    if arithmetic == "bf16" and not has_bf16:
        message = "OpenVINO computes in bf16 only on CPUs with AVX-512 BF16 or AMX, and this one has neither"
        raise MissingError("bf16", f"{message}: use --precision fp32")
    settings: dict[str, str | int] = {
        "INFERENCE_PRECISION_HINT": arithmetic,
        "PERFORMANCE_HINT": "THROUGHPUT" if options.throughput else "LATENCY",
        "CACHE_DIR": "",
    }
    if options.threads:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    with _refused():
        model = core.read_model(xml, weights)
        model.reshape({port: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
        return core.compile_model(model, "CPU", settings)


def load_openvino() -> Any:
    """The module `openvino`, which reports its import over the network unless its telemetry package is out of reach.

    Raises:
        MissingError: it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: as if not installed
    with needs("running an OpenVINO model", "cmgan[openvino]"):
        import openvino
    return openvino


def facts(model: Any) -> dict[str, Any]:
    """What a compiled model says about how it runs."""
    return {
        "openvino": load_openvino().__version__,
        "arithmetic": model.get_property("INFERENCE_PRECISION_HINT").to_string(),
        "streams": model.get_property("NUM_STREAMS"),
        "threads": model.get_property("INFERENCE_NUM_THREADS"),
    }


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # every exception of OpenVINO's is one
        reason = str(error).strip().splitlines()[-1]
        raise ModelError("openvino_refused", f"OpenVINO refuses it ({reason}); export it again") from error


def _signature(model: Any) -> Signature:
    ports = [*model.inputs, *model.outputs]
    return {
        port.any_name: (port.element_type.to_dtype().name, tuple(int(str(d)) for d in list(port.partial_shape)[1:]))
        for port in ports
    }
