"""The format `openvino`: an OpenVINO IR made from the ONNX graph, run on CPUs; its metadata stand beside it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from cmgan.export.gate.candidate import RAW, Candidate, Progress, Runner
from cmgan.export.gate.cases import Case, stacked
from cmgan.export.options import ExportOptions
from cmgan.export.source import Source
from cmgan.export.targets.int8 import int8_graph
from cmgan.export.trace import with_hot_weights, with_raw_output
from cmgan.files import write_atomically
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.file_engine import Arrays, graph_inputs
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.openvino.engine import Requests, compiled, load_openvino, weights_of
from cmgan.runtime.sidecar import sidecar_of, write_sidecar

IR = tuple[bytes, bytes]  # the XML and the weights


def build(source: Source, options: ExportOptions, progress: Progress) -> Candidate:
    """Trace the network and convert it. fp32 and bf16 have the same file; OpenVINO computes in the one that the
    metadata say. int8 is in the graph; there the convolutions' results stay as they are, which OpenVINO can do."""
    progress("tracing the network")
    options = replace(options, graph=replace(options.graph, forms="convolutions"))
    model, details = source.graph(options.graph), dict[str, Any]()
    if options.precision in ("int8", "auto"):

        def run_mix(mix: onnx.ModelProto) -> Runner:
            return runner(mix, ir_from_onnx(mix), options)

        model, details = int8_graph(source, options, run_mix, progress, outputs=False)
    progress("converting to OpenVINO")
    ir = ir_from_onnx(model)

    def write(path: Path, metadata: Metadata) -> tuple[Path, ...]:
        weights = weights_of(path)
        write_atomically(weights, ir[1])
        write_atomically(path, ir[0])
        write_sidecar(path, metadata, (path, weights))
        return weights, sidecar_of(path), path

    return Candidate(
        run=runner(model, ir, options),
        run_hot=lambda: _hot_runner(with_hot_weights(model, source.generator), options),
        write=write,
        details=details | {"openvino": load_openvino().__version__},
    )


def ir_from_onnx(model: onnx.ModelProto) -> IR:
    """Convert, and give the two files as bytes."""
    openvino = load_openvino()
    converted = openvino.Core().read_model(model.SerializeToString())
    with tempfile.TemporaryDirectory(prefix="cmgan-openvino-") as folder:
        xml = Path(folder, "model.xml")
        openvino.serialize(converted, xml, weights_of(xml))
        return xml.read_bytes(), weights_of(xml).read_bytes()


def runner(model: onnx.ModelProto, ir: IR, options: ExportOptions) -> Runner:
    """Runs cases through the very bytes of the artefact and, for the raw RGB that a pipeline keeps inside, through a
    twin that gives it."""
    pipeline = options.graph.pipeline
    running = EngineOptions(threads=options.threads)
    artefact = Requests(compiled(*ir, options.precision, running))
    twin = None
    if pipeline == "full":
        twin = Requests(compiled(*ir_from_onnx(with_raw_output(model)), options.precision, running))

    def run(cases: list[Case]) -> Arrays:
        inputs = graph_inputs(pipeline, *stacked(cases))
        outputs = artefact(inputs)
        return outputs if twin is None else outputs | {RAW: twin(inputs)[RAW]}

    return run


def _hot_runner(model: onnx.ModelProto, options: ExportOptions) -> Runner:
    return runner(model, ir_from_onnx(model), options)
