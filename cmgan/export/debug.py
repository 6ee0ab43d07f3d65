"""Where a graph goes wrong: the first node whose values are not the reference's, found with Polygraphy's comparator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from cmgan.errors import ModelError, UsageError, needs
from cmgan.export.gate.cases import parity_cases, stacked
from cmgan.export.gate.tolerances import NODE_SNR
from cmgan.export.options import ExportOptions
from cmgan.export.source import Source
from cmgan.export.static_values import StaticValues
from cmgan.export.trace import OnnxOptions, pipeline_of
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.file_engine import Arrays, graph_inputs
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.onnx.engine import session
from cmgan.runtime.onnx.file import load_onnx

_CHUNK = 2**26  # bytes of one graph's values that are kept at a time
_NOTHING = 1e-6  # values below count as zero: what is left of sums that cancel
_CASES = ("large", "noise")


@dataclass(frozen=True)
class Divergence:
    """A node whose output differs from the reference's, while those of all nodes before it do not.

    `snr` is the power of the reference by that of the difference, in decibels; `limit` the least that passes.
    """

    node: str
    op_type: str
    output: str
    snr: float
    limit: float

    def __str__(self) -> str:
        seen = f"{self.snr:.1f} dB above the difference, {self.limit:.0f} dB is the least"
        return f"{self.node} ({self.op_type}) is the first node that diverges: its output {self.output} is {seen}"


def first_divergence(
    reference: onnx.ModelProto, candidate: onnx.ModelProto, inputs: list[Arrays], limit: float
) -> Divergence | None:
    """Run both graphs in ONNX Runtime and compare all values that have a name in common, in the candidate's order.

    Args:
        reference: the graph as it should be; of another precision, it has the same names.
        candidate: the graph in question.
        inputs: of both, by name.
        limit: the least signal-to-noise ratio, decibels.

    Returns:
        The first node that is below the limit; None where no node is.

    Raises:
        ModelError: the graphs have no values in common, or ONNX Runtime refuses one.
        MissingError: Polygraphy or ONNX Runtime is missing.
    """
    for names in _chunks(reference, candidate):
        found = _worst(reference, candidate, names, inputs, limit)
        for node in candidate.graph.node:
            for name in node.output:
                if not found.get(name, math.inf) >= limit:  # NaN is below, too
                    return Divergence(node.name, node.op_type, name, found[name], limit)
    return None


def divergence_of_file(path: Path, source: Source) -> Divergence | None:
    """The first node of an exported ONNX file that diverges from the fp32 graph of the model that it was made of.

    Raises:
        UsageError: the artefact is no ONNX file, or was exported from other weights.
        ModelError: the file is unusable.
        MissingError: as for `first_divergence`.
    """
    if path.suffix != ".onnx":
        message = "is no ONNX file, and --debug-layers looks into ONNX graphs; export one with --format onnx"
        raise UsageError("debug_layers", message, file=path)
    candidate = load_onnx(path)
    metadata = Metadata.from_strings({p.key: p.value for p in candidate.metadata_props})
    if metadata.weights_sha256 != source.loaded.digest:
        message = f"was exported from other weights than those of {source.generator.config.name}; name its --model"
        raise UsageError("debug_layers", message, file=path)
    opset = next(entry.version for entry in candidate.opset_import if not entry.domain)
    if metadata.precision not in NODE_SNR:
        message = f"is {metadata.precision}; --debug-layers looks into {', '.join(NODE_SNR)}"
        raise UsageError("debug_layers", message, file=path)
    reference = source.graph(OnnxOptions(metadata.pipeline, metadata.fft, opset))
    return divergence(reference, candidate, metadata.precision)


def explanation(source: Source, options: ExportOptions) -> str:
    """Why an export that was refused does not paint the same picture, as far as its graph tells.

    Raises:
        MissingError: as for `first_divergence`.
    """
    found = divergence(source.graph(options.graph), source.graph(options.onnx), options.precision)
    return str(found) if found else "in its ONNX graph no node diverges, so what is built from the graph does"


def check_debuggable(options: ExportOptions) -> None:
    """Raise `UsageError` for an export that `explanation` cannot look into."""
    if options.kind.name == "aoti" or options.precision not in NODE_SNR:
        seen = f"--format {options.kind.name} --precision {options.precision}"
        raise UsageError("debug_layers", f"--debug-layers looks into ONNX graphs in {', '.join(NODE_SNR)}, not {seen}")


def divergence(reference: onnx.ModelProto, candidate: onnx.ModelProto, precision: str) -> Divergence | None:
    """`first_divergence` of two graphs of ours on two of the gate's cases."""
    shapes = StaticValues(reference)
    size, z_dim = (int((shapes.shape(name) or [0])[-1] or 0) for name in ("mask", "z"))
    cases = [case for case in parity_cases(size, z_dim) if case.name in _CASES]
    inputs = [graph_inputs(pipeline_of(reference), *stacked([case])) for case in cases]
    return first_divergence(reference, candidate, inputs, NODE_SNR[precision])


def _chunks(reference: onnx.ModelProto, candidate: onnx.ModelProto) -> Iterator[list[str]]:
    """The names of the values that both graphs compute, in the candidate's order, `_CHUNK` bytes of them at a time."""
    computed = {name for node in reference.graph.node for name in node.output if name}
    names = [name for node in candidate.graph.node for name in node.output if name in computed]
    if not names:
        raise ModelError("not_comparable", "has no value in common with the reference; export it again")
    shapes = StaticValues(reference)
    chunk: list[str] = []
    room = _CHUNK
    for name in names:
        bytes = 4 * math.prod(size or 1 for size in shapes.shape(name) or ())
        if chunk and bytes > room:
            yield chunk
            chunk, room = [], _CHUNK
        chunk.append(name)
        room -= bytes
    yield chunk


def _worst(
    reference: onnx.ModelProto, candidate: onnx.ModelProto, names: list[str], inputs: list[Arrays], limit: float
) -> dict[str, float]:
    """The least signal-to-noise ratio of each of the values over the inputs; of another shape, minus infinity."""
    with needs("--debug-layers", "cmgan[export]"):
        from polygraphy.backend.onnx import modify_outputs
        from polygraphy.backend.onnxrt import OnnxrtRunner
        from polygraphy.comparator import Comparator, SnrCompareFunc
        from polygraphy.logger import G_LOGGER

    def runner(model: onnx.ModelProto, name: str) -> Any:
        marked = modify_outputs(model, outputs=names, copy=True)
        return OnnxrtRunner(session(marked, EngineOptions()), name=name)

    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        runners = [runner(reference, "reference"), runner(candidate, "candidate")]
        results = Comparator.postprocess(Comparator.run(runners, data_loader=inputs), _in_float32)
        (accuracy,) = Comparator.compare_accuracy(results, compare_func=SnrCompareFunc(snr_threshold=limit))
    worst: dict[str, float] = {}
    for by_name in accuracy["reference", "candidate"]:
        for name, result in by_name.items():
            snr = getattr(result, "snr", -math.inf)
            worst[name] = float(np.minimum(worst.get(name, math.inf), snr))  # NaN stays NaN
    return worst


def _in_float32(values: Any) -> Any:
    """Polygraphy's outputs of one run, with truth values and fp16, whose squares overflow, as float32."""
    for name, value in values.items():
        wide = value.astype(np.float32)
        values[name] = np.where(np.abs(wide) < _NOTHING, np.float32(0), wide)
    return values
