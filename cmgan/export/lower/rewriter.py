"""Replacing DFT and STFT nodes in an ONNX graph by products and convolutions with constant matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cmgan.errors import ModelError
from cmgan.export.lower.dft import Transform
from cmgan.export.lower.node import DftNode
from cmgan.export.lower.stft import StftNode
from cmgan.runtime.onnx.file import all_messages, names_used

MATRIX_LIMIT = 2**29  # bytes of all matrices of a file, which is to stay under the 2 GiB of one protobuf message


class DftRewriter:
    """Builds the lowered graph: `keep` or `replace` each node in order, then `finish`."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.matrices: dict[tuple[Transform, int], str] = {}  # transform and element type of the matrix -> initializer
        self.matrix_bytes = 0
        self._graph = graph
        self._nodes: list[onnx.NodeProto] = []
        # What goes when nothing uses it at the end: what something used at the start, and what is added.
        self._droppable = {name for node in graph.node for name in names_used(node)}
        self._taken = {name for message in all_messages(graph) for name in _names(message)}
        self._sizes: dict[tuple[int, ...], str] = {}
        # Output of a replaced node -> its product before the last Transpose and Cast, and that Transpose. A DFT of it
        # starts there: no pair of Transposes and no rounding to half stands between two axes of an FFT.
        self._products: dict[str, tuple[str, tuple[int, ...]]] = {}

    def keep(self, node: onnx.NodeProto) -> None:
        self._nodes.append(node)

    def replace(self, node: onnx.NodeProto, dft: DftNode) -> None:
        """Put the product that computes `dft` where `node` stands."""
        transform, rank = dft.transform, dft.rank
        half = dft.product_type != dft.element_type
        if node.input[0] in self._products:
            current, layout = self._products[node.input[0]]
        else:
            current, layout = node.input[0], tuple(range(rank))
            if half:
                current = self._add("Cast", [current], dft.name, to=dft.product_type)
        to_rows = (*(axis for axis in range(rank - 1) if axis != dft.axis), dft.axis, rank - 1)
        current = self._transposed(current, tuple(layout[axis] for axis in to_rows), dft)
        lead = (0,) * (rank - 2)  # 0 keeps a size, static or not
        current = self._add("Reshape", [current, self._size_constant(*lead, transform.matrix_shape[0])], dft.name)
        current = self._add("MatMul", [current, self._matrix(dft)], dft.name)
        sizes = self._size_constant(*lead, transform.bins, transform.output_components)
        product = self._add("Reshape", [current, sizes], dft.name)
        back = tuple(to_rows.index(axis) for axis in range(rank))
        current = self._transposed(product, back, dft)
        if half:
            current = self._add("Cast", [current], dft.name, to=dft.element_type)
        output = node.output[0]
        self._end_in(output)
        self._products[output] = (output if current == product else product), back

    def replace_stft(self, node: onnx.NodeProto, stft: StftNode) -> None:
        """Put the convolution that computes `stft` where `node` stands: signal (N, L, C) to (N, frames, bins, 2)."""
        transform, half = stft.transform, stft.element_type != TensorProto.FLOAT
        current = node.input[0]
        if half:
            current = self._add("Cast", [current], stft.name, to=TensorProto.FLOAT)
        current = self._add("Transpose", [current], stft.name, perm=(0, 2, 1))
        self._count_bytes(stft.name, transform, 4)
        kernel = self._constant(f"stft_{transform.length}", stft.kernel().astype(np.float32))
        current = self._add("Conv", [current, kernel], stft.name, strides=[stft.step])
        current = self._add("Transpose", [current], stft.name, perm=(0, 2, 1))
        sizes = self._size_constant(0, 0, transform.bins, 2)
        current = self._add("Reshape", [current, sizes], stft.name)
        if half:
            self._add("Cast", [current], stft.name, to=stft.element_type)
        self._end_in(node.output[0])

    def _end_in(self, output: str) -> None:
        self._nodes[-1].output[0] = output
        self._droppable.add(output)

    def finish(self) -> None:
        """Put the nodes into the graph, without what nothing uses any more."""
        graph = self._graph
        used = {value.name for value in [*graph.output, *graph.input]}
        kept = []
        for node in reversed(self._nodes):
            if self._droppable.intersection(node.output) and not used.intersection(node.output):
                continue
            used.update(names_used(node))
            kept.append(node)
        del graph.node[:]
        graph.node.extend(reversed(kept))
        for index in reversed(range(len(graph.initializer))):
            if graph.initializer[index].name in self._droppable - used:
                del graph.initializer[index]

    def _transposed(self, name: str, perm: tuple[int, ...], dft: DftNode) -> str:
        return name if perm == tuple(range(dft.rank)) else self._add("Transpose", [name], dft.name, perm=perm)

    def _add(self, op_type: str, inputs: list[str], stem: str, **attributes: Any) -> str:
        name = self._fresh(f"{stem}/{op_type}")
        self._nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        self._droppable.add(name)
        return name

    def _size_constant(self, *sizes: int) -> str:
        if sizes not in self._sizes:
            self._sizes[sizes] = self._constant("dft_sizes_" + "_".join(map(str, sizes)), np.array(sizes, np.int64))
        return self._sizes[sizes]

    def _matrix(self, dft: DftNode) -> str:
        key = dft.transform, dft.product_type
        if key not in self.matrices:
            dtype = helper.tensor_dtype_to_np_dtype(dft.product_type)
            self._count_bytes(dft.name, dft.transform, dtype.itemsize)
            stem = f"dft_{dft.transform.kind}_{dft.transform.length}".replace(" ", "_")
            self.matrices[key] = self._constant(stem, dft.transform.matrix().astype(dtype))
        return self.matrices[key]

    def _count_bytes(self, name: str, transform: Transform, itemsize: int) -> None:
        self.matrix_bytes += math.prod(transform.matrix_shape) * itemsize
        if self.matrix_bytes > MATRIX_LIMIT:
            message = f"the transform {name!r} of length {transform.length} brings the constant matrices to"
            raise ModelError("dft_too_long", f"{message} {self.matrix_bytes} bytes; the limit is {MATRIX_LIMIT}")

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
