"""The format `onnx`: the traced graph itself, metadata inside, run by ONNX Runtime."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import onnx

from cmgan.export.gate.candidate import Candidate, Progress, Runner
from cmgan.export.gate.cases import Case, stacked
from cmgan.export.options import ExportOptions
from cmgan.export.precision.ranges import range_verdict
from cmgan.export.source import Source
from cmgan.export.targets.int8 import int8_graph
from cmgan.export.trace import pipeline_of, with_hot_weights, with_raw_output
from cmgan.files import atomic_path, write_atomically
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.file_engine import Arrays, graph_inputs
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.onnx.engine import session
from cmgan.runtime.onnx.file import ONNX_LIMIT


def build(source: Source, options: ExportOptions, progress: Progress) -> Candidate:
    """Trace the network, and lower its precision."""
    progress("tracing the network")
    model, details = source.graph(options.onnx), dict[str, Any]()
    if options.precision in ("int8", "auto"):
        model, details = int8_graph(source, options, partial(runner, threads=options.threads), progress)

    def write(path: Path, metadata: Metadata) -> tuple[Path, ...]:
        for key, value in metadata.to_strings().items():
            model.metadata_props.add(key=key, value=value)
        return save_onnx(model, path)

    return Candidate(
        run=runner(model, options.threads),
        run_hot=lambda: runner(with_hot_weights(model, source.generator), options.threads),
        write=write,
        range=lambda: range_verdict(model, source.generator, source.cases),
        details=details,
    )


def runner(model: onnx.ModelProto, threads: int = 0) -> Runner:
    """Runs cases through the graph in ONNX Runtime, on the CPU; 0 `threads` are as many as it likes."""
    pipeline = pipeline_of(model)
    running = session(with_raw_output(model), EngineOptions(threads=threads))
    names = [output.name for output in running.get_outputs()]

    def run(cases: list[Case]) -> Arrays:
        return dict(zip(names, running.run(None, graph_inputs(pipeline, *stacked(cases))), strict=True))

    return run


def save_onnx(model: onnx.ModelProto, target: Path, limit: int = ONNX_LIMIT) -> tuple[Path, ...]:
    """Write the model to one file; if that had `limit` bytes or more, its weights go to `NAME.data` beside it.

    Returns:
        The files written, `target` last.
    """
    if model.ByteSize() < limit:
        write_atomically(target, model.SerializeToString())
        return (target,)
    data = target.with_name(f"{target.name}.data")
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    onnx.external_data_helper.convert_model_to_external_data(graph, location=data.name)
    with atomic_path(data) as temporary, open(temporary, "wb") as file:
        for tensor in graph.graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                onnx.external_data_helper.set_external_data(tensor, data.name, file.tell(), len(tensor.raw_data))
                file.write(tensor.raw_data)
                tensor.ClearField("raw_data")
    write_atomically(target, graph.SerializeToString())
    return data, target
