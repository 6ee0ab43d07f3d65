"""Half precision as a property of the graph: which values are held in 16 bits, and casts where the types meet.

Engines that are strongly typed, as TensorRT is, compute in the types that they find in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cmgan.errors import UsageError
from cmgan.export.static_values import StaticValues

HALF_TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}

# What stays in float32: the pipeline around the network, and to-RGB with its sums, which nothing demodulates or clamps.
# Vectors (the codes, the mapping, styles, demodulation) do too: they cost nothing, and their squares overflow.
_KEPT_SCOPES = re.compile(r"(pipeline|generator)/")
_KEPT_OPERATORS = frozenset({"Pow", "ReduceL2", "ReduceMean", "Softmax"})
_BF16_OPSET = 22  # convolutions take bf16 from here on
_MAP_RANK = 3  # values of this rank and more are maps


def in_half(model: onnx.ModelProto, precision: str, keep_fp32: tuple[str, ...] = ()) -> onnx.ModelProto:
    """A copy of an fp32 graph of `cmgan.export.trace` whose maps, and the weights that meet them, are fp16 or bf16.

    Inputs, outputs and the names of values, nodes and initializers stay.

    Args:
        keep_fp32: regular expressions; nodes whose name one of them is found in stay in fp32.

    Raises:
        UsageError: an expression matches nothing, or is none.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if precision == "bf16":
        _raise_opset(copy)
    kept = matching_nodes(copy, keep_fp32)
    static = StaticValues(copy)
    half_nodes = {node.name for node in copy.graph.node if node.name not in kept and _may_be_half(node, static)}
    _Halves(copy, static, HALF_TYPES[precision]).rewrite(half_nodes)
    return copy


def matching_nodes(model: onnx.ModelProto, patterns: tuple[str, ...]) -> set[str]:
    """The names of the nodes that one of the regular expressions is found in; see `in_half` for errors."""
    names = [node.name for node in model.graph.node]
    found: set[str] = set()
    for pattern in patterns:
        try:
            matches = {name for name in names if re.search(pattern, name)}
        except re.error as error:
            raise UsageError("keep_fp32", f"--keep-fp32 {pattern!r} is no regular expression ({error})") from None
        if not matches:
            layers = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
            message = f"--keep-fp32 {pattern!r} matches no layer; their names begin with {layers}"
            raise UsageError("keep_fp32", message)
        found |= matches
    return found


def _raise_opset(model: onnx.ModelProto) -> None:
    """Of the operators in our graphs, versions up to the newest offered differ by the types that they take alone."""
    for entry in model.opset_import:
        entry.version = max(entry.version, _BF16_OPSET)


def _may_be_half(node: onnx.NodeProto, static: StaticValues) -> bool:
    if _KEPT_SCOPES.match(node.name) or node.op_type in _KEPT_OPERATORS:
        return False
    if node.op_type == "Cast":
        return False
    return all(
        static.element_type(name) == TensorProto.FLOAT and len(static.shape(name) or ()) >= _MAP_RANK
        for name in node.output
    )


class _Halves:
    """One rewriting of a graph, in place: nodes in order, each given its inputs in the type it computes in."""

    def __init__(self, model: onnx.ModelProto, static: StaticValues, half: int) -> None:
        self.graph, self.static, self.half = model.graph, static, half
        self.types: dict[str, int] = {}  # of what has been changed, by name
        self.in_other_type: dict[str, str] = {}  # name -> the same value in the other type
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}

    def rewrite(self, half_nodes: set[str]) -> None:
        nodes = list(self.graph.node)
        self._halve_constants(nodes, half_nodes)
        del self.graph.node[:]
        for node in nodes:
            wanted = self.half if node.name in half_nodes else TensorProto.FLOAT
            for position, name in enumerate(node.input):
                if self._type(name) not in (wanted, 0):
                    self.graph.node.extend(self._cast(name, wanted))
                    node.input[position] = self.in_other_type[name]
            self.graph.node.append(node)
            if node.name in half_nodes:
                self.types |= dict.fromkeys(node.output, self.half)
        for value in self.graph.value_info:
            if value.name in self.types:
                value.type.tensor_type.elem_type = self.types[value.name]

    def _type(self, name: str) -> int:
        """The type of a value if it is a floating-point one that this rewriting may change, else 0."""
        if name in self.types:
            return self.types[name]
        known = self.constants[name].data_type if name in self.constants else self.static.element_type(name)
        return known if known == TensorProto.FLOAT else 0

    def _halve_constants(self, nodes: list[onnx.NodeProto], half_nodes: set[str]) -> None:
        """Those that only half nodes use, in place; of the others a copy where a half node uses them too."""
        halved = {name for node in nodes if node.name in half_nodes for name in node.input}
        elsewhere = {name for node in nodes if node.name not in half_nodes for name in node.input}
        for name in [name for name in self.constants if name in halved and self._type(name)]:
            tensor = self.constants[name]
            values = _rounded(numpy_helper.to_array(tensor), self.half)
            if name in elsewhere:
                self.in_other_type[name] = f"{name}.half"
                self.graph.initializer.append(numpy_helper.from_array(values, self.in_other_type[name]))
            else:
                tensor.CopyFrom(numpy_helper.from_array(values, name))
                self.types[name] = self.half

    def _cast(self, name: str, to: int) -> Iterator[onnx.NodeProto]:
        """A node that makes `name` in the other type, where there is none yet."""
        if name not in self.in_other_type:
            other = f"{name}.{'half' if to == self.half else 'fp32'}"
            self.in_other_type[name] = other
            yield helper.make_node("Cast", [name], [other], f"{other}/Cast", to=to)


def _rounded(values: np.ndarray, half: int) -> np.ndarray:
    with np.errstate(over="ignore"):  # what overflows is for the range check to find
        return values.astype(helper.tensor_dtype_to_np_dtype(half))
