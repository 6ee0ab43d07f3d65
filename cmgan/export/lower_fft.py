"""FFT lowering, a pass from ONNX to ONNX: every DFT node becomes Transpose, Reshape, MatMul with a constant, Reshape.

TensorRT and OpenVINO refuse or mistranslate the operator DFT, ONNX Runtime has it on the CPU only; all of them run
matrix products. Any network can be lowered, as long as the size of the transformed axis and the length are static.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto, helper, numpy_helper

from cmgan.errors import ModelError
from cmgan.export.dft import Transform
from cmgan.export.static_values import StaticValues
from cmgan.files import check_target, write_atomically
from cmgan.runtime.onnx_file import ONNX_LIMIT, all_messages, load_onnx

MATRIX_LIMIT = 2**30  # bytes of all matrices of a file, which is to stay under the 2 GiB of one protobuf message
_DOMAINS = ("", "ai.onnx")
# Half types hold neither the factors (10^-3 each) nor the sums: their products run in float32.
_PRODUCT_TYPES: dict[int, int] = {
    TensorProto.FLOAT16: TensorProto.FLOAT,
    TensorProto.BFLOAT16: TensorProto.FLOAT,
    TensorProto.FLOAT: TensorProto.FLOAT,
    TensorProto.DOUBLE: TensorProto.DOUBLE,
}


@dataclass(frozen=True)
class LoweredNode:
    """One DFT node and what stands in its place."""

    name: str
    transform: Transform
    axis: int  # of the input, counted from the front
    rank: int  # of the input, with the axis of components
    element_type: int  # an onnx.TensorProto element type

    @property
    def product_type(self) -> int:
        return _PRODUCT_TYPES[self.element_type]


@dataclass(frozen=True)
class LoweringReport:
    """What `lower_fft` replaced, in the order of the graph."""

    nodes: tuple[LoweredNode, ...]
    matrix_count: int
    matrix_bytes: int


def lower_fft(model: onnx.ModelProto) -> tuple[onnx.ModelProto, LoweringReport]:
    """A copy of `model` without DFT nodes, and what was replaced; without a DFT, an equal copy and an empty report.

    The same inputs, outputs and types; local functions that hold a DFT are inlined with all others. External data must
    have been loaded.

    Raises:
        ModelError: a DFT in a subgraph, without static size, length or axis, not as the operator is specified, or so
            long that its matrices pass `MATRIX_LIMIT`.
    """
    lowered = onnx.ModelProto()
    lowered.CopyFrom(_inlined(model))
    _refuse_nested(lowered)
    found = {index for index, node in enumerate(lowered.graph.node) if _is_dft(node)}
    if not found:
        return lowered, LoweringReport((), 0, 0)
    values = StaticValues(lowered)
    opset = next(entry.version for entry in lowered.opset_import if entry.domain in _DOMAINS)
    rewriter = _Rewriter(lowered.graph)
    replaced = []
    for index, node in enumerate(lowered.graph.node):
        if index in found:
            replaced.append(_described(node, values, opset))
            rewriter.replace(node, replaced[-1])
        else:
            rewriter.keep(node)
    rewriter.finish()
    return lowered, LoweringReport(tuple(replaced), rewriter.matrix_count, rewriter.matrix_bytes)


def lower_file(source: Path, target: Path, *, overwrite: bool) -> LoweringReport:
    """Lower the ONNX file `source`, with its external data if it has any, into the one file `target`.

    Raises:
        ModelError: `source` is no usable ONNX file, cannot be lowered, or gives more than 2 GiB.
        UsageError, SystemRefusal: `target` cannot be written.
    """
    check_target(target, overwrite=overwrite)
    try:
        lowered, report = lower_fft(load_onnx(source, ONNX_LIMIT))
    except ModelError as error:
        raise ModelError(error.slug, error.message, file=source) from error
    if lowered.ByteSize() >= ONNX_LIMIT:
        message = f"{lowered.ByteSize()} bytes after lowering; one ONNX file holds {ONNX_LIMIT}"
        raise ModelError("onnx_too_large", message, file=source)
    write_atomically(target, lowered.SerializeToString())
    return report


def _is_dft(node: onnx.NodeProto) -> bool:
    return node.op_type == "DFT" and node.domain in _DOMAINS


def _name(node: onnx.NodeProto) -> str:
    return node.name or next(iter(node.output), "")


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    if not any(_is_dft(node) for function in model.functions for node in function.node):
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except (RuntimeError, ValueError) as error:
        raise ModelError("bad_graph", f"its local functions cannot be inlined ({error})") from error


def _refuse_nested(model: onnx.ModelProto) -> None:
    """Raise for a DFT that is not in the main graph, where nothing says that its shapes stay the same."""
    owners: list[onnx.NodeProto | onnx.FunctionProto] = [*model.graph.node, *model.functions]
    for owner in owners:
        for node in all_messages(owner):
            if isinstance(node, onnx.NodeProto) and node is not owner and _is_dft(node):
                kind = owner.op_type if isinstance(owner, onnx.NodeProto) else "the local function"
                message = f"the DFT {_name(node)!r} is inside {kind} {owner.name!r}; only the main graph can be lowered"
                raise ModelError("dft_in_subgraph", message)


def _described(node: onnx.NodeProto, values: StaticValues, opset: int) -> LoweredNode:
    """What `node` computes, by the rules of DFT-17 (axis: attribute, default 1) and DFT-20 (input, default -2)."""
    name = _name(node)
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    inputs = [*node.input, "", "", ""][:3]
    shape = values.shape(inputs[0])
    if shape is None or len(shape) < 2:
        raise _not_static(name, f"the shape of its input {inputs[0]!r} is not known")
    rank = len(shape)
    if opset >= 20:
        axis = values.integer(inputs[2]) if inputs[2] else -2
    else:
        axis = attributes.get("axis", 1)
    if axis is None:
        raise _not_static(name, f"its axis {inputs[2]!r} is computed when the graph runs")
    if not (-rank <= axis <= -2 or 0 <= axis <= rank - 2):
        raise _invalid(name, f"axis {axis} of an input of rank {rank}; allowed are 0 to {rank - 2} and {-rank} to -2")
    axis %= rank
    size, components = shape[axis], shape[-1]
    if size is None or components is None:
        raise _not_static(name, f"its input {inputs[0]!r} has no static size along axis {axis if size is None else -1}")
    inverse, onesided = bool(attributes.get("inverse", 0)), bool(attributes.get("onesided", 0))
    length = size
    if inputs[1]:
        given = values.integer(inputs[1])
        if given is None:
            raise _not_static(name, f"its length {inputs[1]!r} is computed when the graph runs")
        length = given
    elif inverse and onesided:
        length = 2 * (size - 1)
    if components not in (1, 2) or (onesided and components != 1 + inverse):
        raise _invalid(name, f"last axis of size {components}; real input has 1, complex 2, one-sided forward is real")
    if size < 1 or length < 1:
        raise _invalid(name, f"length {length} over an axis of size {size}; both must be at least 1")
    element_type = values.element_type(inputs[0])
    if element_type not in _PRODUCT_TYPES:
        raise _invalid(name, f"input type {TensorProto.DataType.Name(element_type)}; it takes floating-point types")
    return LoweredNode(name, Transform(size, length, components, inverse, onesided), axis, rank, element_type)


def _not_static(name: str, reason: str) -> ModelError:
    return ModelError("dft_not_static", f"the DFT {name!r} cannot be lowered: {reason}; export with fixed sizes")


def _invalid(name: str, reason: str) -> ModelError:
    return ModelError("dft_invalid", f"the DFT {name!r} is not as specified: {reason}")


class _Rewriter:
    """Collects the nodes and constants of the lowered graph, in order."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.matrix_count = 0
        self.matrix_bytes = 0
        self._graph = graph
        self._nodes: list[onnx.NodeProto] = []
        self._droppable: set[str] = set()  # tensors that go when nothing uses them: ours, and lengths and axes of DFTs
        self._taken = {name for message in all_messages(graph) for name in _names(message)}
        self._constants: dict[object, str] = {}
        # Output of a replaced node -> its product before the last Transpose and Cast, and that Transpose. A DFT of it
        # starts there: no pair of Transposes and no rounding to half stands between two axes of an FFT.
        self._products: dict[str, tuple[str, tuple[int, ...]]] = {}

    def keep(self, node: onnx.NodeProto) -> None:
        self._nodes.append(node)

    def replace(self, node: onnx.NodeProto, dft: LoweredNode) -> None:
        """Put the product that computes `dft` where `node` stands."""
        transform, rank = dft.transform, dft.rank
        half = dft.product_type != dft.element_type
        if node.input[0] in self._products:
            current, layout = self._products[node.input[0]]
        else:
            current, layout = node.input[0], tuple(range(rank))
            if half:
                current = self._add("Cast", [current], dft, to=dft.product_type)
        to_rows = (*(axis for axis in range(rank - 1) if axis != dft.axis), dft.axis, rank - 1)
        current = self._transposed(current, tuple(layout[axis] for axis in to_rows), dft)
        lead = (0,) * (rank - 2)  # 0 keeps a size, static or not
        current = self._add("Reshape", [current, self._sizes(*lead, transform.matrix_shape[0])], dft)
        current = self._add("MatMul", [current, self._matrix(dft)], dft)
        sizes = self._sizes(*lead, transform.bins, transform.output_components)
        product = self._add("Reshape", [current, sizes], dft)
        back = tuple(to_rows.index(axis) for axis in range(rank))
        current = self._transposed(product, back, dft)
        if half:
            current = self._add("Cast", [current], dft, to=dft.element_type)
        output = node.output[0]
        self._nodes[-1].output[0] = output
        self._droppable.update([output, *node.input[1:]])
        self._products[output] = (output if current == product else product), back

    def finish(self) -> None:
        """Put the nodes into the graph, without what nothing uses any more."""
        graph = self._graph
        used = {value.name for value in [*graph.output, *graph.input]}
        kept = []
        for node in reversed(self._nodes):
            if self._droppable.intersection(node.output) and not used.intersection(node.output):
                self._droppable.update(node.input)
            else:
                used.update(name for message in all_messages(node) for name in _names(message))
                kept.append(node)
        constants = [item for item in graph.initializer if item.name in used or item.name not in self._droppable]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(reversed(kept))
        graph.initializer.extend(constants)

    def _transposed(self, name: str, perm: tuple[int, ...], dft: LoweredNode) -> str:
        return name if perm == tuple(range(dft.rank)) else self._add("Transpose", [name], dft, perm=perm)

    def _add(self, op_type: str, inputs: list[str], dft: LoweredNode, **attributes: Any) -> str:
        name = self._fresh(f"{dft.name}/{op_type}")
        self._nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        self._droppable.add(name)
        return name

    def _sizes(self, *sizes: int) -> str:
        if sizes not in self._constants:
            self._constants[sizes] = self._constant("dft_sizes_" + "_".join(map(str, sizes)), np.array(sizes, np.int64))
        return self._constants[sizes]

    def _matrix(self, dft: LoweredNode) -> str:
        key = dft.transform, dft.product_type
        if key not in self._constants:
            dtype = helper.tensor_dtype_to_np_dtype(dft.product_type)
            self.matrix_count += 1
            self.matrix_bytes += math.prod(dft.transform.matrix_shape) * dtype.itemsize
            if self.matrix_bytes > MATRIX_LIMIT:
                message = f"the DFT {dft.name!r} of length {dft.transform.length} brings the constant matrices to"
                raise ModelError("dft_too_long", f"{message} {self.matrix_bytes} bytes; the limit is {MATRIX_LIMIT}")
            stem = f"dft_{dft.transform.kind}_{dft.transform.length}".replace(" ", "_")
            self._constants[key] = self._constant(stem, dft.transform.matrix().astype(dtype))
        return self._constants[key]

    def _constant(self, stem: str, value: np.ndarray) -> str:
        name = self._fresh(stem)
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _fresh(self, stem: str) -> str:
        name = stem
        number = 1
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name


def _names(message: object) -> list[str]:
    """The names of tensors that `message` itself defines or uses."""
    if isinstance(message, onnx.NodeProto):
        return [*message.input, *message.output]
    return [message.name] if isinstance(message, onnx.TensorProto | onnx.ValueInfoProto) else []
