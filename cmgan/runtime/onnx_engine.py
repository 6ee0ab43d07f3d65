"""Runs exported ONNX files in ONNX Runtime. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cmgan.errors import MissingError, ModelError
from cmgan.runtime.engine import EngineOptions, check_inputs
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.onnx_file import check_own_graph, load_onnx

if TYPE_CHECKING:
    import onnx

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxEngine:
    """An engine over an ONNX file that cmgan exported, pipeline or core graph. Safe to call from several threads."""

    def __init__(self, path: Path, options: EngineOptions | None = None) -> None:
        """
        Raises:
            ModelError: the file is not a whole ONNX file of cmgan's (see `cmgan.runtime.onnx_file`).
            MissingError: onnx or onnxruntime, or the device, is missing.
        """
        model = load_onnx(path)
        try:
            check_own_graph(model)
            self.metadata = Metadata.from_strings({p.key: p.value for p in model.metadata_props})
            _check_signature(model, self.metadata)
            self._session = session(model, options or EngineOptions())
        except ModelError as error:
            raise ModelError(error.slug, error.message, file=path) from error
        self.info = self.metadata.engine_info(providers=self._session.get_providers())

    def __call__(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray:
        """See `cmgan.runtime.engine.Engine`."""
        output = self.output(image, mask, z)
        if self.metadata.pipeline == "full":
            return output
        painted = np.rint((output.clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
        return np.where((mask >= 128)[..., None], painted, image)

    def output(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray:
        """What the graph gives for the arguments of a call: the picture, or of a core graph the raw RGB, float32
        (N, 3, R, R)."""
        check_inputs(self.info, image, mask, z)
        feed = graph_inputs(self.metadata.pipeline, image, mask, z)
        return self._session.run(None, feed)[0]


def graph_inputs(pipeline: str, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> dict[str, np.ndarray]:
    """The arguments of an engine's call as inputs of a pipeline graph (full) or a core graph."""
    if pipeline == "full":
        return {"image": image, "mask": mask, "z": z}
    levels = np.ascontiguousarray(image.transpose(0, 3, 1, 2)).astype(np.float32)
    return {"image": levels / 127.5 - 1, "mask": (mask[:, None] >= 128).astype(np.float32), "z": z}


def session(model: onnx.ModelProto, options: EngineOptions) -> Any:
    """An `onnxruntime.InferenceSession` over a model in memory.

    Raises:
        MissingError: onnxruntime, or the device asked for, is missing here.
        ModelError: onnxruntime refuses the model.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingError("onnxruntime", "onnxruntime is not installed: pip install 'cmgan[cpu]'") from None
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.enable_cpu_mem_arena = options.arena
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


def _check_signature(model: onnx.ModelProto, metadata: Metadata) -> None:
    """The inputs and outputs are those that the metadata promise."""
    side, full = metadata.resolution, metadata.pipeline == "full"
    uint8, float32 = 2, 1  # onnx.TensorProto
    wanted = {
        "image": (uint8, (side, side, 3)) if full else (float32, (3, side, side)),
        "mask": (uint8, (side, side)) if full else (float32, (1, side, side)),
        "z": (float32, (metadata.z_dim,)),
        "output": (uint8, (side, side, 3)) if full else (float32, (3, side, side)),
    }
    seen = {}
    for value in [*model.graph.input, *model.graph.output]:
        kind = value.type.tensor_type
        seen[value.name] = (kind.elem_type, tuple(d.dim_value for d in kind.shape.dim[1:]))
    if seen != wanted:
        message = (
            f"has inputs and outputs {sorted(seen)} unlike those of its metadata, {sorted(wanted)}; export it again"
        )
        raise ModelError("signature", message)
