"""FFT lowering, a pass from ONNX to ONNX: every DFT node becomes Transpose, Reshape, MatMul with a constant, Reshape;
an STFT node becomes a convolution with constant weights.

TensorRT and OpenVINO refuse or mistranslate the operator DFT, ONNX Runtime has it on the CPU only; all of them run
matrix products. Any network can be lowered, as long as the size of the transformed axis and the length are static.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from onnx import numpy_helper

from cmgan.errors import ModelError, about, warn
from cmgan.export.lower.error import DftError, dft_error
from cmgan.export.lower.float64 import graph_error
from cmgan.export.lower.graph import Shapes, fourier_left, is_operator, restate, with_shapes, without_claims
from cmgan.export.lower.node import DftNode, dft_name, is_dft, read_dft
from cmgan.export.lower.reasons import Reasons
from cmgan.export.lower.report import LoweredNode, LoweringReport
from cmgan.export.lower.rewriter import DftRewriter
from cmgan.export.lower.scales import fold_scales
from cmgan.export.lower.stft import StftNode, read_stft
from cmgan.export.lower.trial import try_once
from cmgan.export.static_values import StaticValues
from cmgan.files import check_target, write_atomically
from cmgan.runtime.onnx.file import ONNX_LIMIT, STANDARD_DOMAINS, all_nodes, load_onnx


def lower_fft(model: onnx.ModelProto, shapes: Shapes | None = None) -> tuple[onnx.ModelProto, LoweringReport]:
    """A copy of `model` without DFT nodes, and what was replaced; without one, an equal copy and an empty report.

    The same inputs, outputs and types; local functions are inlined. External data must have been loaded. Fourier
    operators inside subgraphs and those of other domains stay, and the report names them.

    Args:
        model: any ONNX model.
        shapes: the whole shapes of inputs that are to be fixed, by name.

    Raises:
        UsageError: `shapes` names no input, or contradicts it.
        ModelError: a DFT without static size, length or axis, not as the operator is specified, or so long that the
            matrices pass a limit of 512 MiB.
    """
    lowered = onnx.ModelProto()
    lowered.CopyFrom(_inlined(model))
    with_shapes(lowered, shapes or {})
    dfts = [node for node in lowered.graph.node if is_dft(node)]
    stfts = [node for node in lowered.graph.node if is_operator(node, "STFT")]
    for node in dfts:
        if not node.input or len(node.output) != 1:
            raise ModelError("dft_invalid", f"the DFT {dft_name(node)!r} has no input or not one output")
    if not dfts and not stfts:
        if shapes:
            restate(lowered, StaticValues(lowered))
        return lowered, LoweringReport((), 0, 0, fourier_left(lowered, {}))
    return lowered, _lowered_in_place(lowered, dfts)


def lower_file(
    source: Path, target: Path, *, overwrite: bool, compare: bool = False, shapes: Shapes | None = None
) -> LoweringReport:
    """Lower the ONNX file `source`, with its external data if it has any, into the one file `target`, which has been
    loaded and run once in ONNX Runtime before it has its name; where it could not, there is a warning.

    With `compare` both graphs also run whole, against float64: seconds to minutes, and needs torch.

    Raises:
        ModelError: `source` is no usable ONNX file, cannot be lowered or compared, or gives more than 2 GiB.
        MissingError: `compare` without torch or ONNX Runtime.
        UsageError, SystemRefusal: `target` cannot be written, `shapes` do not fit.
    """
    check_target(target, overwrite=overwrite)
    model = load_onnx(source, ONNX_LIMIT)
    with about(source):
        lowered, report = lower_fft(model, shapes)
        original = onnx.ModelProto()
        original.CopyFrom(model)
        with_shapes(original, shapes or {})
        report = replace(report, trial=try_once(original, lowered))
        if compare:
            report = replace(report, graph=graph_error(original, lowered))
    if lowered.ByteSize() >= ONNX_LIMIT:
        message = f"{lowered.ByteSize()} bytes after lowering; one ONNX file holds {ONNX_LIMIT}"
        raise ModelError("onnx_too_large", message, file=source)
    write_atomically(target, lowered.SerializeToString())
    if report.trial and report.trial.problem:
        warn("not_run", f"the file could not be run here, before lowering or after it: {report.trial.problem}")
    return report


def _lowered_in_place(model: onnx.ModelProto, dfts: list[onnx.NodeProto]) -> LoweringReport:
    values = StaticValues(model)
    reasons = Reasons(model.graph, values)
    opset = next(entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS)
    rewriter = DftRewriter(model.graph)
    factors = fold_scales(model.graph, dfts, values)
    replaced: list[DftNode | StftNode] = []
    why: dict[str, str] = {}
    for node in model.graph.node:
        if is_dft(node):
            dft = read_dft(node, values, reasons, opset, factors.get(node.output[0], 1.0))
            rewriter.replace(node, dft)
            replaced.append(dft)
        elif is_operator(node, "STFT") and isinstance(stft := read_stft(node, dft_name(node), values), StftNode):
            rewriter.replace_stft(node, stft)
            replaced.append(stft)
        else:
            if is_operator(node, "STFT"):
                why[dft_name(node)] = str(stft)
            rewriter.keep(node)
    rewriter.finish()
    left = fourier_left(model, why)
    if replaced:
        restate(model, StaticValues(model))
        without_claims(model, left)
    return LoweringReport(_with_errors(model, replaced, rewriter), len(rewriter.matrices), rewriter.matrix_bytes, left)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    if not any(is_dft(node) or is_operator(node, "STFT") for f in model.functions for node in all_nodes(f)):
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except (RuntimeError, ValueError) as error:
        raise ModelError("bad_graph", f"its local functions cannot be inlined ({error})") from error


def _with_errors(
    model: onnx.ModelProto, replaced: list[DftNode | StftNode], rewriter: DftRewriter
) -> tuple[LoweredNode, ...]:
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    errors: dict[object, DftError] = {}
    nodes = []
    for node in replaced:
        if isinstance(node, StftNode):
            transform = node.transform
            matrix = node.kernel().transpose(2, 1, 0).reshape(transform.matrix_shape).astype(np.float32)
            error = dft_error(transform, node.element_type, matrix, node.window)
            nodes.append(LoweredNode(DftNode(node.name, transform, 1, 3, node.element_type), error, node.step))
            continue
        key = node.transform, node.element_type
        if key not in errors:
            name = rewriter.matrices[node.transform, node.product_type]
            errors[key] = dft_error(*key, numpy_helper.to_array(stored[name]))
        nodes.append(LoweredNode(node, errors[key]))
    return tuple(nodes)
