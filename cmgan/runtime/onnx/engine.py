"""Runs exported ONNX files in ONNX Runtime. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cmgan.errors import MissingError, ModelError, about, needs
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.file_engine import Arrays, FileEngine
from cmgan.runtime.metadata import Metadata, is_ours
from cmgan.runtime.onnx.file import check_own_graph, load_onnx
from cmgan.runtime.signature import Signature, check_signature

if TYPE_CHECKING:
    import onnx

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxEngine(FileEngine):
    """An engine over an ONNX file that cmgan exported, pipeline or core graph. Safe to call from several threads."""

    def __init__(self, path: Path, options: EngineOptions | None = None) -> None:
        """
        Raises:
            ModelError: the file is not a whole ONNX file of cmgan's (see `cmgan.runtime.onnx.file`).
            MissingError: onnx or onnxruntime, or the device, is missing.
        """
        model = load_onnx(path)
        with about(path):
            check_own_graph(model)
            options = options or EngineOptions()
            metadata = _metadata(model, allow_foreign=options.allow_foreign)
            self._session = session(model, options)
        super().__init__(metadata, providers=self._session.get_providers())

    def _run(self, inputs: Arrays) -> np.ndarray:
        return self._session.run(None, inputs)[0]

    def _release(self) -> None:
        del self._session


def session(model: onnx.ModelProto, options: EngineOptions) -> Any:
    """An `onnxruntime.InferenceSession` over a model in memory.

    Raises:
        MissingError: onnxruntime, or the device asked for, is missing here.
        ModelError: onnxruntime refuses the model.
    """
    with needs("running an ONNX file", "cmgan[cpu]"):
        import onnxruntime
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.enable_mem_pattern = False  # planning all buffers at once takes a third more memory and saves no time
    settings.log_severity_level = 4  # what matters comes as an exception
    try:
        data = _bytes_with_external(model, settings)
        return onnxruntime.InferenceSession(data, settings, providers=_providers(options.device))
    except MissingError:
        raise
    except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own, without a common base
        reason = str(error).splitlines()[0]
        raise ModelError("onnx_refused", f"ONNX Runtime refuses it ({reason}); export it again") from error


def _bytes_with_external(model: onnx.ModelProto, settings: Any) -> bytes:
    """The model as bytes; what does not fit into one protobuf message goes beside it, in memory."""
    import onnxruntime
    from onnx import numpy_helper

    if model.ByteSize() < 2**31 - 1:
        return model.SerializeToString()
    small, names, values = type(model)(), [], []
    small.CopyFrom(model)
    for tensor in small.graph.initializer:
        if tensor.ByteSize() > 1024:
            names.append(tensor.name)
            values.append(onnxruntime.OrtValue.ortvalue_from_numpy(numpy_helper.to_array(tensor)))
            tensor.ClearField("raw_data")
            tensor.data_location = tensor.EXTERNAL
            tensor.external_data.add(key="location", value="in_memory")
    settings.add_external_initializers(names, values)
    return small.SerializeToString()


def _providers(device: str) -> list[Any]:
    import onnxruntime

    kind, _, index = device.partition(":")
    if kind not in _PROVIDERS or (index and not index.isdigit()):
        raise MissingError("device", f"device {device!r}: ONNX Runtime is run on cpu, cuda or cuda:N")
    if _PROVIDERS[kind] not in onnxruntime.get_available_providers():
        message = f"device {device!r}: this onnxruntime has no {_PROVIDERS[kind]}: pip install 'cmgan[gpu]'"
        raise MissingError("device", message)
    return [(_PROVIDERS[kind], {"device_id": int(index)})] if index else [_PROVIDERS[kind]]


def _metadata(model: onnx.ModelProto, *, allow_foreign: bool) -> Metadata:
    """What the file says about itself, after checking that its inputs and outputs agree; of a foreign file that is
    allowed, what can be read off them."""
    strings = {p.key: p.value for p in model.metadata_props}
    seen = _signature(model)
    if is_ours(strings):
        metadata = Metadata.from_strings(strings)
    else:
        side = seen.get("image", ("", ()))[1][1:2]
        z_dim = seen.get("z", ("", ()))[1]
        full = seen.get("image", ("", ()))[0] == "uint8"
        metadata = Metadata.assumed(side[0] if side else 0, z_dim[0] if z_dim else 0, "full" if full else "core")
    check_signature(seen, metadata)
    if not is_ours(strings) and not allow_foreign:
        raise ModelError("foreign_model", "was not exported by cmgan; --allow-foreign-model runs it all the same")
    return metadata


def _signature(model: onnx.ModelProto) -> Signature:
    names = {1: "float32", 2: "uint8"}  # onnx.TensorProto element types
    seen = {}
    for value in [*model.graph.input, *model.graph.output]:
        kind = value.type.tensor_type
        shape = tuple(d.dim_value for d in kind.shape.dim[1:])
        seen[value.name] = (names.get(kind.elem_type, f"type {kind.elem_type}"), shape)
    return seen
