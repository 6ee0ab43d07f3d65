"""Export: build, prove, and only then give it a name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cmgan
from cmgan.errors import needs
from cmgan.export.gate.candidate import RAW, Candidate, Progress
from cmgan.export.gate.cases import parity_file_of, save_cases
from cmgan.export.gate.prove import prove
from cmgan.export.options import ExportOptions
from cmgan.export.source import Source
from cmgan.export.targets import Builder, builder_of
from cmgan.files import atomic_files, check_target
from cmgan.model.weights import LoadedModel
from cmgan.runtime.metadata import Metadata


@dataclass(frozen=True)
class Export:
    """What an export wrote, and the verdict of its gate."""

    file: Path
    parity_file: Path
    metadata: Metadata
    bytes: int


def export_model(
    model: LoadedModel | Source,
    folder: Path,
    options: ExportOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = lambda step: None,
) -> Export:
    """Export in `folder`: the artefact, its sidecar where the format needs one, and the `NAME.parity.npz`
    that `cmgan check` reads. A `Source` that is given shares its graphs between formats.

    Raises:
        UsageError: the folder's parent does not exist, or the file does and `overwrite` is not given.
        MissingError: what builds or runs the format is not installed.
        NumbersError: the artefact does not paint what the model paints; nothing is written.
    """
    options = options or ExportOptions()
    target = folder / options.file_name
    check_folder(folder, target, overwrite=overwrite)
    source = model if isinstance(model, Source) else Source(model)
    candidate = _builder(options)(source, options, progress)
    progress("painting with the eager model")
    references = source.references
    verdict = prove(candidate, source.cases, references, options.precision, progress)
    metadata = _metadata(source.loaded, options, candidate, verdict)
    folder.mkdir(exist_ok=True)
    with atomic_files(folder) as work:
        files = candidate.write(work / target.name, metadata)
        size = sum(file.stat().st_size for file in files)
        kept = [raw[0] if options.graph.pipeline == "core" else picture[0] for picture, raw in references]
        save_cases(parity_file_of(work / target.name), source.cases, kept, source.loaded.digest)
    return Export(target, parity_file_of(target), metadata, size)


def check_folder(folder: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse an export that cannot be written, before any work."""
    check_target(target if folder.is_dir() else folder, overwrite=overwrite)


def _builder(options: ExportOptions) -> Builder:
    with needs(f"--format {options.kind.name}", f"cmgan[export,{options.kind.extra}]"):
        return builder_of(options.kind.name)


def _metadata(loaded: LoadedModel, options: ExportOptions, candidate: Candidate, verdict: dict[str, Any]) -> Metadata:
    config, graph = loaded.generator.config, options.graph
    return Metadata(
        format=options.kind.name,
        name=config.name,
        version=cmgan.__version__,
        resolution=config.resolution,
        z_dim=config.z_dim,
        pipeline=graph.pipeline,
        precision=options.precision,
        fft=graph.fft,
        trained=loaded.trained,
        licence=loaded.licence,
        weights_sha256=loaded.digest,
        raw=RAW,
        verdict=verdict,
        layout="NHWC uint8 RGB" if graph.pipeline == "full" else "NCHW float32 RGB in [-1, 1]",
        details=candidate.details,
    )
