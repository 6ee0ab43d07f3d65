"""FFT lowering, a pass from ONNX to ONNX: every DFT node becomes Transpose, Reshape, MatMul with a constant, Reshape.

TensorRT and OpenVINO refuse or mistranslate the operator DFT, ONNX Runtime has it on the CPU only; all of them run
matrix products. Any network can be lowered, as long as the size of the transformed axis and the length are static.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import onnx.inliner
from onnx import numpy_helper

from cmgan.errors import ModelError, about
from cmgan.export.lower.dft import Transform
from cmgan.export.lower.error import DftError, dft_error
from cmgan.export.lower.float64 import graph_error
from cmgan.export.lower.node import DftNode, dft_name, is_dft, read_dft
from cmgan.export.lower.report import LoweredNode, LoweringReport
from cmgan.export.lower.rewriter import DftRewriter
from cmgan.export.lower.scales import fold_scales
from cmgan.export.static_values import StaticValues
from cmgan.files import check_target, write_atomically
from cmgan.runtime.onnx.file import ONNX_LIMIT, STANDARD_DOMAINS, all_nodes, load_onnx


def lower_fft(model: onnx.ModelProto) -> tuple[onnx.ModelProto, LoweringReport]:
    """A copy of `model` without DFT nodes, and what was replaced; without a DFT, an equal copy and an empty report.

    The same inputs, outputs and types; local functions that hold a DFT are inlined with all others. External data must
    have been loaded.

    Raises:
        ModelError: a DFT in a subgraph, without static size, length or axis, not as the operator is specified, or so
            long that the matrices pass a limit of 512 MiB.
    """
    lowered = onnx.ModelProto()
    lowered.CopyFrom(_inlined(model))
    _refuse_nested(lowered)
    dfts = [node for node in lowered.graph.node if is_dft(node)]
    if not dfts:
        return lowered, LoweringReport((), 0, 0)
    for node in dfts:
        if not node.input or len(node.output) != 1:
            raise ModelError("dft_invalid", f"the DFT {dft_name(node)!r} has no input or not one output")
    values = StaticValues(lowered)
    opset = next(entry.version for entry in lowered.opset_import if entry.domain in STANDARD_DOMAINS)
    rewriter = DftRewriter(lowered.graph)
    factors = fold_scales(lowered.graph, dfts, values)
    replaced = []
    for node in lowered.graph.node:
        if is_dft(node):
            replaced.append(read_dft(node, values, opset, factors.get(node.output[0], 1.0)))
            rewriter.replace(node, replaced[-1])
        else:
            rewriter.keep(node)
    rewriter.finish()
    nodes = _with_errors(lowered, replaced, rewriter.matrices)
    return lowered, LoweringReport(nodes, len(rewriter.matrices), rewriter.matrix_bytes)


def lower_file(source: Path, target: Path, *, overwrite: bool, compare: bool = False) -> LoweringReport:
    """Lower the ONNX file `source`, with its external data if it has any, into the one file `target`.

    With `compare` both graphs also run whole, against float64: seconds to minutes, and needs torch and ONNX Runtime.

    Raises:
        ModelError: `source` is no usable ONNX file, cannot be lowered or compared, or gives more than 2 GiB.
        MissingError: `compare` without torch or ONNX Runtime.
        UsageError, SystemRefusal: `target` cannot be written.
    """
    check_target(target, overwrite=overwrite)
    model = load_onnx(source, ONNX_LIMIT)
    with about(source):
        lowered, report = lower_fft(model)
        if compare:
            report = replace(report, graph=graph_error(model, lowered))
    if lowered.ByteSize() >= ONNX_LIMIT:
        message = f"{lowered.ByteSize()} bytes after lowering; one ONNX file holds {ONNX_LIMIT}"
        raise ModelError("onnx_too_large", message, file=source)
    write_atomically(target, lowered.SerializeToString())
    return report


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    if not any(is_dft(node) for function in model.functions for node in function.node):
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except (RuntimeError, ValueError) as error:
        raise ModelError("bad_graph", f"its local functions cannot be inlined ({error})") from error


def _refuse_nested(model: onnx.ModelProto) -> None:
    """Raise for a DFT that is not in the main graph, where nothing says that its shapes stay the same."""
    owners: list[onnx.NodeProto | onnx.FunctionProto] = [*model.graph.node, *model.functions]
    for owner in owners:
        for node in all_nodes(owner):
            if node is not owner and is_dft(node):
                kind = owner.op_type if isinstance(owner, onnx.NodeProto) else "the local function"
                message = (
                    f"the DFT {dft_name(node)!r} is inside {kind} {owner.name!r}; only the main graph can be lowered"
                )
                raise ModelError("dft_in_subgraph", message)


def _with_errors(
    lowered: onnx.ModelProto, dfts: list[DftNode], matrices: dict[tuple[Transform, int], str]
) -> tuple[LoweredNode, ...]:
    stored = {tensor.name: tensor for tensor in lowered.graph.initializer}
    errors: dict[tuple[Transform, int], DftError] = {}
    for dft in dfts:
        if (dft.transform, dft.element_type) not in errors:
            matrix = numpy_helper.to_array(stored[matrices[dft.transform, dft.product_type]])
            errors[dft.transform, dft.element_type] = dft_error(dft.transform, dft.element_type, matrix)
    return tuple(LoweredNode(dft, errors[dft.transform, dft.element_type]) for dft in dfts)
