"""The format `aoti`: the lowered network, compiled to native code by PyTorch's AOTInductor."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
import torch._inductor
from torch._inductor.exc import CppCompileError, InvalidCxxCompiler
from torch._inductor.utils import fresh_cache

from cmgan.errors import MissingError
from cmgan.export.candidate import Candidate, Progress, Runner
from cmgan.export.cases import Case, stacked
from cmgan.export.lowering import Lowered, example_inputs, hot_layers
from cmgan.export.onnx import RAW
from cmgan.export.options import ExportOptions
from cmgan.export.source import Source
from cmgan.export.tolerances import HOT
from cmgan.runtime.aoti_engine import built_for, load_package, run_package
from cmgan.runtime.file_engine import Arrays, graph_inputs
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.sidecar import sidecar_of, write_sidecar

_CONFIG = {
    "cpp.dynamic_threads": True,  # as many as PyTorch has when it runs, not when it was compiled
    "aot_inductor.precompile_headers": False,  # pays for a second package only
}


def build(source: Source, options: ExportOptions, progress: Progress) -> Candidate:
    """Trace and compile.

    Raises:
        MissingError: there is no C++ compiler that works.
    """
    pipeline = options.graph.pipeline
    progress("tracing the network")
    lowered = Lowered(source.generator, pipeline, options.graph.fft)
    program = _traced(lowered)
    progress("compiling, a minute or more")
    package = _compiled(program)
    hot = {
        f"generator.{layer}.{part}": lowered.generator.get_parameter(f"{layer}.{part}") * HOT
        for layer in hot_layers(source.generator)
        for part in ("weight", "bias")
    }
    return Candidate(
        run=_runner(package, pipeline),
        run_hot=lambda: _runner(package, pipeline, hot),
        write=lambda path, metadata: _write(package, path, metadata),
        details=built_for("cpu") | {"threads": "as many as PyTorch is set to"},
    )


def _traced(lowered: Lowered) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=1024)
    example = example_inputs(lowered.generator, lowered.pipeline)
    with torch.no_grad():
        return torch.export.export(lowered, example, dynamic_shapes=({0: batch}, {0: batch}, {0: batch}))


def _compiled(program: torch.export.ExportedProgram) -> bytes:
    """The package. What the compiler leaves behind goes with a folder of its own."""
    file = io.BytesIO()
    try:
        with tempfile.TemporaryDirectory(prefix="cmgan-aoti-") as folder, fresh_cache(dir=folder), _quiet():
            torch._inductor.aoti_compile_and_package(program, package_path=file, inductor_configs=_CONFIG)
    except (InvalidCxxCompiler, CppCompileError) as error:
        reason = str(error).splitlines()[0][:120]
        message = f"--format aoti compiles C++ code, and that fails here ({reason}): apt-get install g++"
        raise MissingError("compiler", message) from error
    return file.getvalue()


def _runner(package: bytes, pipeline: str, constants: dict[str, torch.Tensor] | None = None) -> Runner:
    """Runs cases through the package, loaded anew; `constants` replace those of their names."""
    loaded = load_package(package, "cpu")
    if constants:
        loaded.load_constants(constants, check_full_update=False)
    names = ("output", RAW) if pipeline == "full" else ("output",)

    def run(cases: list[Case]) -> Arrays:
        return dict(zip(names, run_package(loaded, graph_inputs(pipeline, *stacked(cases)), "cpu"), strict=True))

    return run


def _write(package: bytes, path: Path, metadata: Metadata) -> tuple[Path, ...]:
    path.write_bytes(package)
    write_sidecar(path, metadata, (path,))
    return sidecar_of(path), path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's remarks on its own internals."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
