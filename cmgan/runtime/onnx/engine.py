"""Runs exported ONNX files in ONNX Runtime. No torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cmgan.errors import MissingError, ModelError, about, needs, warn
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.file_engine import Arrays, FileEngine
from cmgan.runtime.metadata import Metadata, is_ours
from cmgan.runtime.onnx.file import check_foreign_graph, check_own_graph, load_onnx
from cmgan.runtime.signature import check_signature, promised
from cmgan.runtime.signatures import Port, identify

if TYPE_CHECKING:
    import onnx

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxEngine(FileEngine):
    """An engine over an ONNX file: one that cmgan exported, pipeline or core graph, or a foreign one of a signature in
    `cmgan.runtime.signatures`. Safe to call from several threads."""

    def __init__(self, path: Path, options: EngineOptions | None = None) -> None:
        """
        Raises:
            ModelError: the file is not a whole ONNX file (see `cmgan.runtime.onnx.file`), or no inpainting graph.
            MissingError: onnx or onnxruntime, or the device, is missing.
            UsageError: `options` contradict it.
        """
        model = load_onnx(path)
        options = options or EngineOptions()
        signature = None
        with about(path):
            metadata = _own_metadata(model)
            if metadata is not None:
                check_own_graph(model)
                self._session = session(model, options)
            else:
                check_foreign_graph(model)
                self._session = session(model, options)
                signature = identify(*ports(model), self._foreign_run, options.signature, options.resolution)
                metadata = replace(Metadata.assumed(signature.resolution, 0, signature.name), name=signature.name)
            if not metadata.version:
                what = signature.about if signature else f"a {metadata.pipeline} graph of cmgan's"
                warn("foreign", f"{path.name} was not exported by cmgan: taken for {what}, not proven")
        super().__init__(metadata, signature, providers=self._session.get_providers())

    def _run(self, inputs: Arrays) -> np.ndarray:
        if self.signature is None:
            return self._session.run(None, inputs)[0]
        if self.signature.batch is None:
            return self._foreign_run(inputs)
        size = self.signature.batch
        count = len(next(iter(inputs.values())))
        parts = [{k: v[i : i + size] for k, v in inputs.items()} for i in range(0, count, size)]
        return np.concatenate([self._foreign_run(part) for part in parts])

    def _foreign_run(self, inputs: Arrays) -> np.ndarray:
        try:
            return self._session.run(None, inputs)[0]
        except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own, without a common base
            sizes = ", ".join("x".join(map(str, array.shape)) for array in inputs.values())
            reason = " ".join(str(error).split())[:120]
            raise ModelError(
                "foreign_run", f"does not run on inputs of {sizes} ({reason}); try another --res"
            ) from error

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


def ports(model: onnx.ModelProto) -> tuple[list[Port], list[Port]]:
    """The inputs, without those that have a default, and the outputs of a graph."""
    defaults = {tensor.name for tensor in model.graph.initializer}
    inputs = [_port(value) for value in model.graph.input if value.name not in defaults]
    return inputs, [_port(value) for value in model.graph.output]


def _port(value: onnx.ValueInfoProto) -> Port:
    import onnx

    kind = value.type.tensor_type
    name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
    shape = tuple(d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in kind.shape.dim)
    return Port(value.name, "float32" if name == "float" else name, shape)


def _own_metadata(model: onnx.ModelProto) -> Metadata | None:
    """What the file says about itself, after checking that its inputs and outputs agree; of one that says nothing but
    has those of our graphs, what can be read off them. None: it is foreign."""
    strings = {p.key: p.value for p in model.metadata_props}
    inputs, outputs = ports(model)
    seen = {port.name: (port.type, port.shape[1:]) for port in [*inputs, *outputs]}
    if is_ours(strings):
        metadata = Metadata.from_strings(strings)
        check_signature(seen, metadata)
        return metadata
    kind, shape = seen.get("image", ("", ()))
    _, z = seen.get("z", ("", ()))
    if len(shape) != 3 or not all(isinstance(size, int) for size in (*shape, *z)):
        return None
    side = int(shape[1])
    metadata = Metadata.assumed(side, int(z[0]) if z else 0, "full" if kind == "uint8" else "core")
    return metadata if seen == promised(metadata) else None
