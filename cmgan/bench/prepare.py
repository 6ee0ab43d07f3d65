"""What stands before the first measurement: the model, its folder, the exported files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cmgan.bench.request import BenchRequest
from cmgan.config import PRESETS
from cmgan.errors import MissingError, NumbersError, UsageError
from cmgan.runtime.engine import EngineInfo
from cmgan.runtime.open import open_engine

if TYPE_CHECKING:
    from cmgan.model.weights import LoadedModel

Progress = Callable[[str], None]  # called with what is being done


@dataclass(frozen=True)
class Prepared:
    """The model in memory and on disk, and the exported files of the rows; `missing` says why a row has none."""

    loaded: LoadedModel
    folder: Path
    artefacts: dict[str, Path]
    missing: dict[str, str]


def prepare(request: BenchRequest, work: Path, progress: Progress) -> Prepared:
    """Load the model, and export what was not given, into the temporary folder `work`.

    Raises:
        UsageError: model, size and files do not fit together.
        ModelError, MissingError: the model or a file cannot be used.
    """
    try:
        from cmgan.model.weights import resolve, save_generator
    except ImportError as error:
        message = f"bench compares with the PyTorch model, and {error.name} is missing: pip install 'cmgan[export]'"
        raise MissingError("torch", message) from None
    progress("loading the model")
    given = _given(request)
    name = request.model_name
    loaded = resolve(_preset_behind(given[Path(name)], name) if Path(name) in given else name)
    request.check_resolution(loaded.generator.config.resolution, name)
    for path, info in given.items():
        if info.weights_sha256 != loaded.digest:
            message = f"was not exported from {name}; give the model of its weights: --model FOLDER --artefact FILE"
            raise UsageError("other_weights", message, file=path)
    folder = Path(name)
    if not folder.is_dir():
        folder = work / "model"
        save_generator(loaded.generator, folder, trained=loaded.trained, licence=loaded.licence)
    artefacts = {info.format: path for path, info in given.items()}
    missing: dict[str, str] = {}
    if "onnx" in request.rows and "onnx" not in artefacts:
        _export_onnx(loaded, work, artefacts, missing, progress)
    return Prepared(loaded, folder, artefacts, missing)


def _given(request: BenchRequest) -> dict[Path, EngineInfo]:
    """The exported files that the user named, and what they are."""
    name = request.model_name
    paths = list(request.artefacts)
    if name not in PRESETS and not Path(name).is_dir():
        paths.insert(0, Path(name))
    given = {path: open_engine(path).info for path in paths}
    for path, info in given.items():
        request.check_resolution(info.resolution, path.name)
        if info.format not in request.rows:
            message = f"is of format {info.format}; the rows are {', '.join(request.rows)}"
            raise UsageError("bench_row", message, file=path)
    if len({info.format for info in given.values()}) < len(given):
        raise UsageError("bench_artefact", "two files of one format were given; a bench takes one of each")
    return given


def _preset_behind(info: EngineInfo, name: str) -> str:
    if info.trained or info.name not in PRESETS:
        message = "holds weights of its own; give the folder of its model: --model FOLDER --artefact FILE"
        raise UsageError("other_weights", message, file=name)
    return info.name


def _export_onnx(
    loaded: LoadedModel, work: Path, artefacts: dict[str, Path], missing: dict[str, str], progress: Progress
) -> None:
    try:
        from cmgan.export.artefact import export_model

        export = export_model(loaded, work / "onnx", progress=lambda step: progress(f"exporting to ONNX: {step}"))
        artefacts["onnx"] = export.file
    except ImportError as error:
        missing["onnx"] = f"{error.name} is not installed: pip install 'cmgan[cpu,export]'"
    except (MissingError, NumbersError) as error:
        missing["onnx"] = error.message
