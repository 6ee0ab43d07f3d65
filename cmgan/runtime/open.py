"""One door to every engine: a preset, a model folder or an exported file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cmgan.config import PRESETS
from cmgan.errors import ModelError, UsageError, needs
from cmgan.files import read_start, refuse_wrong_kind
from cmgan.formats import FORMATS, format_of_file, model_in
from cmgan.runtime.engine import Engine, EngineOptions
from cmgan.runtime.file_engine import FileEngine
from cmgan.runtime.null import NAME as NULL
from cmgan.runtime.null import NullEngine
from cmgan.weights import bundled


def open_engine(model: str | Path, options: EngineOptions | None = None) -> Engine:
    """The engine for what a user named: a model that comes with the package, an exported file, or `null`, which copies
    the picture; a preset (untrained) or a model folder, which both need torch; the folder of a training run or of one
    export.

    Raises:
        UsageError: it is no preset and there is no such file or folder.
        ModelError: it is there and unusable.
        MissingError: a package or the device is missing.
    """
    options = options or EngineOptions()
    path = Path(model)
    if str(model) in bundled():
        return open_artefact(bundled()[str(model)] / "model.onnx", options)
    if str(model) == NULL:
        return NullEngine()
    if str(model) in PRESETS:
        return _eager(str(model), options)
    path = model_in(path)
    if path.is_dir():
        return _eager(str(path), options)
    if format_of_file(path):
        return open_artefact(path, options)
    if path.exists():
        refuse_wrong_kind(read_start(path), path)
        suffixes = ", ".join(f.suffix for f in FORMATS.values())
        raise ModelError("not_a_model", f"is no model folder and no exported file ({suffixes})", file=path)
    known = ", ".join((*bundled(), *PRESETS, NULL))
    message = f"is no folder, no exported file and no model's name; known are {known}"
    raise UsageError("model", message, file=path)


def open_artefact(path: Path, options: EngineOptions | None = None) -> FileEngine:
    """The engine for an exported file; errors as for `open_engine`."""
    format = format_of_file(path)
    if format is None:
        suffixes = ", ".join(f.suffix for f in FORMATS.values())
        raise UsageError("artefact", f"is no exported file; their names end in {suffixes}", file=path)
    if options and (options.precision or options.kernels != "auto"):
        message = "is an exported file, whose precision was chosen at its export; leave --precision and --kernels out"
        raise UsageError("precision", message, file=path)
    return _engine_of(format.name)(path, options)


def _engine_of(format: str) -> Callable[[Path, EngineOptions | None], FileEngine]:
    """The class that runs artefacts of a format; its runtime is imported only now."""
    if format == "onnx":
        from cmgan.runtime.onnx.engine import OnnxEngine

        return OnnxEngine
    if format == "openvino":
        from cmgan.runtime.openvino.engine import OpenvinoEngine

        return OpenvinoEngine
    if format == "aoti":
        from cmgan.runtime.aoti import AotiEngine

        return AotiEngine
    assert format in ("trt", "trt-rtx"), format
    from cmgan.runtime.tensorrt.engine import TensorrtEngine

    return TensorrtEngine


def _eager(model: str, options: EngineOptions) -> Engine:
    with needs("a preset or a model folder (exported files do not)", "cmgan[torch]"):
        from cmgan.runtime.eager import eager_engine
    return eager_engine(model, options)
