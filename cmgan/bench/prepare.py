"""What stands before the first measurement: the model, its folder, the exported files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cmgan.bench.report import CANNOT, FAILED
from cmgan.bench.request import BenchRequest
from cmgan.bench.rows import KINDS, RowKind, row_name
from cmgan.config import PRESETS
from cmgan.errors import CmganError, NumbersError, UsageError, needs
from cmgan.formats import FORMATS
from cmgan.runtime.engine import EngineInfo
from cmgan.runtime.open import open_engine
from cmgan.weights import bundled

if TYPE_CHECKING:
    from cmgan.export.source import Source

Progress = Callable[[str], None]  # called with what is being done


@dataclass(frozen=True)
class Prepared:
    """The model in memory and on disk, and the exported files of the rows; `missing` says why a row has none: its
    status and the reason."""

    source: Source
    folder: Path
    artefacts: dict[str, Path]
    missing: dict[str, tuple[str, str]]


def prepare(request: BenchRequest, work: Path, progress: Progress) -> Prepared:
    """Load the model, and export what was not given, into the temporary folder `work`.

    Raises:
        UsageError: model, size and files do not fit together.
        ModelError, MissingError: the model or a file cannot be used.
    """
    with needs("the bench", "cmgan[cpu,export]"):
        from cmgan.export.source import Source
        from cmgan.model.weights import resolve, save_generator
    progress("loading the model")
    given = _given(request)
    name = request.model_name
    loaded = resolve(_preset_behind(given[Path(name)], name) if Path(name) in given else name)
    request.check_resolution(loaded.generator.config.resolution, name)
    for path, info in given.items():
        if info.weights_sha256 != loaded.digest:
            message = f"was not exported from {name}; give the model of its weights: --model FOLDER --artefact FILE"
            raise UsageError("other_weights", message, file=path)
    folder = bundled().get(name, Path(name))
    if not folder.is_dir():
        folder = work / "model"
        save_generator(loaded.generator, folder, trained=loaded.trained, licence=loaded.licence)
    artefacts = {row_name(info.format, info.precision): path for path, info in given.items()}
    prepared = Prepared(Source(loaded), folder, artefacts, {})
    for kind in (KINDS[row] for row in request.rows):
        if not kind.pytorch and kind.name not in artefacts:
            try:
                artefacts[kind.name] = _exported(kind, prepared.source, work, request, progress)
            except CmganError as error:
                status = FAILED if isinstance(error, NumbersError) else CANNOT
                prepared.missing[kind.name] = status, error.message
    return prepared


def _given(request: BenchRequest) -> dict[Path, EngineInfo]:
    """The exported files that the user named, and what they are."""
    name = request.model_name
    paths = list(request.artefacts)
    if name not in PRESETS and name not in bundled() and not Path(name).is_dir():
        paths.insert(0, Path(name))
    given = {path: open_engine(path).info for path in paths}
    for path, info in given.items():
        request.check_resolution(info.resolution, path.name)
        if row_name(info.format, info.precision) not in request.rows:
            message = f"is of the row {row_name(info.format, info.precision)}; the rows are {', '.join(request.rows)}"
            raise UsageError("bench_row", f"{message} (see --formats and --precision)", file=path)
    if len({(info.format, info.precision) for info in given.values()}) < len(given):
        raise UsageError("bench_artefact", "two files of one format and precision were given; a bench takes one")
    return given


def _preset_behind(info: EngineInfo, name: str) -> str:
    if info.trained or info.name not in PRESETS:
        message = "holds weights of its own; give the folder of its model: --model FOLDER --artefact FILE"
        raise UsageError("other_weights", message, file=name)
    return info.name


def _exported(kind: RowKind, source: Source, work: Path, request: BenchRequest, progress: Progress) -> Path:
    """Export the row's file; any `CmganError` is why there is none."""
    from cmgan.export.artefact import export_model
    from cmgan.export.options import ExportOptions

    format = FORMATS[kind.format]
    if kind.precision not in format.precisions:
        raise UsageError("precision", f"{format.name} has no {kind.precision}; it has {', '.join(format.precisions)}")
    largest = max(request.batches) if "batch_max" in format.flags else None
    options = ExportOptions(format=format.name, precision=kind.precision, batch_max=largest, advise=False)
    return export_model(source, work / kind.name, options, progress=lambda s: progress(f"{kind.name}: {s}")).file
