"""What an ONNX graph says about its tensors without running: shapes, element types, integers that follow from them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
import onnx.shape_inference
from onnx import numpy_helper

from cmgan.errors import ModelError
from cmgan.runtime.onnx.file import STANDARD_DOMAINS

_SMALL = 1024  # bytes: shapes, axes and lengths are smaller; of larger tensors, the weights, only the shape counts
_INTEGER_TYPES = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
FLOAT_TYPES = (
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
)
_DEPTH = 64  # nodes: chains that exporters write between a shape and a length have about five

Integers = list[int | None]  # an integer scalar or vector; None where a value is not static


class StaticValues:
    """Shapes and small integer values of the main graph of `model`."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Raise `ModelError` when the graph is not consistent."""
        graph = model.graph
        inputs = {value.name for value in graph.input}
        # An initializer that is also an input is only a default, which the caller may replace.
        self._initializers = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in inputs}
        self._producers = {name: node for node in graph.node for name in node.output if name}
        skeleton = _skeleton(model)
        self._types = _inferred_types(skeleton)
        # onnx infers the shape of a DFT only where its length is a constant: those found here may settle further ones.
        while self._pin_lengths(skeleton):
            self._types = _inferred_types(skeleton)

    def element_type(self, name: str) -> int:
        """The `onnx.TensorProto` element type; UNDEFINED (0) if unknown."""
        return self._types[name].elem_type if name in self._types else onnx.TensorProto.UNDEFINED

    def shape(self, name: str) -> Integers | None:
        """The sizes of a tensor, None for the sizes that are not static; None if even the rank is unknown."""
        if name not in self._types or not self._types[name].HasField("shape"):
            return None
        return [size.dim_value if size.HasField("dim_value") else None for size in self._types[name].shape.dim]

    def integer(self, name: str) -> int | None:
        """The value of an integer scalar (or one-element tensor) if it is static, else None."""
        values = self._values(name, {}, _DEPTH)
        return values[0] if values and len(values) == 1 else None

    def scalar(self, name: str) -> float | None:
        """The value of a floating-point constant of one element, else None."""
        tensor = self._initializers.get(name)
        node = self._producers.get(name)
        if tensor is None and node is not None and node.op_type == "Constant":
            tensor = next((item.t for item in node.attribute if item.name == "value"), None)
        if tensor is None or math.prod(tensor.dims) != 1 or tensor.data_type not in FLOAT_TYPES:
            return None
        return float(_array(tensor).reshape(()))

    def _pin_lengths(self, skeleton: onnx.ModelProto) -> bool:
        """Make constants of the computed lengths and axes of DFT nodes that are static; False if there was none."""
        pinned = False
        for node in skeleton.graph.node:
            for position in range(1, len(node.input) if node.op_type == "DFT" else 0):
                name = node.input[position]
                producer = self._producers.get(name)
                value = self.integer(name) if producer and producer.op_type != "Constant" else None
                if value is not None:
                    node.input[position] = f"static length or axis {value} of {name}"
                    skeleton.graph.initializer.append(
                        numpy_helper.from_array(np.array(value, np.int64), node.input[position])
                    )
                    pinned = True
        return pinned

    def _values(self, name: str, known: dict[str, Integers | None], depth: int) -> Integers | None:
        """The values of `name`, computed once into `known`, where None also ends what would go in circles."""
        if name not in known:
            known[name] = None
            values = self._computed(name, known, depth) if depth else None
            known[name] = values if values is None or len(values) <= _SMALL else None
        return known[name]

    def _computed(self, name: str, known: dict[str, Integers | None], depth: int) -> Integers | None:
        if name in self._initializers:
            return _small_integers(self._initializers[name])
        node, shape = self._producers.get(name), self.shape(name)
        if node is None or node.domain not in STANDARD_DOMAINS or shape is None or len(shape) > 1:
            return None
        if node.op_type == "Constant":
            return _constant(node)
        attributes = {item.name: item.i for item in node.attribute}
        if node.op_type == "Shape" and len(node.input) == 1:
            sizes = self.shape(node.input[0])
            return None if sizes is None else sizes[attributes.get("start", 0) : attributes.get("end", len(sizes))]
        rule = _RULES.get(node.op_type)
        if rule is None or attributes.get("to", onnx.TensorProto.INT64) not in _INTEGER_TYPES:
            return None
        operands = [self._values(operand, known, depth - 1) if operand else [] for operand in node.input]
        found = [operand for operand in operands if operand is not None]
        try:
            return rule(found) if len(found) == len(operands) else None
        except (ValueError, IndexError):  # not as many operands as the operator takes
            return None


def _skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` without its weights, which stand as inputs, so that a model of any size fits shape inference."""
    skeleton = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph = skeleton.graph
    graph.name = "skeleton"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    declared = {value.name for value in graph.input}
    for tensor in model.graph.initializer:
        if tensor.ByteSize() <= _SMALL:
            graph.initializer.append(tensor)
        elif tensor.name not in declared:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return skeleton


def _inferred_types(skeleton: onnx.ModelProto) -> dict[str, onnx.TypeProto.Tensor]:
    try:
        graph = onnx.shape_inference.infer_shapes(skeleton, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ModelError("bad_graph", f"the graph is not consistent ({error})") from error
    return {value.name: value.type.tensor_type for value in [*graph.value_info, *graph.input, *graph.output]}


def _small_integers(tensor: onnx.TensorProto) -> Integers | None:
    if tensor.data_type not in _INTEGER_TYPES or tensor.ByteSize() > _SMALL or len(tensor.dims) > 1:
        return None
    return [int(value) for value in _array(tensor).reshape(-1)]


def _array(tensor: onnx.TensorProto) -> np.ndarray:
    try:
        return numpy_helper.to_array(tensor)
    except ValueError as error:
        raise ModelError("bad_graph", f"the constant {tensor.name!r} is not consistent ({error})") from error


def _constant(node: onnx.NodeProto) -> Integers | None:
    item = node.attribute[0] if node.attribute else onnx.AttributeProto()
    if item.name == "value":
        return _small_integers(item.t)
    if item.name == "value_int":
        return [item.i]
    return list(item.ints) if item.name == "value_ints" else None


def _gather(operands: list[Integers]) -> Integers | None:
    data, indices = operands
    known = [index for index in indices if index is not None]
    in_range = len(known) == len(indices) and all(-len(data) <= index < len(data) for index in known)
    return [data[index] for index in known] if in_range else None


def _slice(operands: list[Integers]) -> Integers | None:
    data, *bounds = operands
    if any(bound is None for values in bounds for bound in values) or any(len(values) > 1 for values in bounds):
        return None
    start, end, _axis, step = [values[0] if values else None for values in bounds + [[]] * (4 - len(bounds))]
    return None if step == 0 else data[start:end:step]


def _elementwise(function: Callable[[int, int], int]) -> Callable[[list[Integers]], Integers | None]:
    def rule(operands: list[Integers]) -> Integers | None:
        left, right = operands
        size = max(len(left), len(right))
        pairs = zip(left * size if len(left) == 1 else left, right * size if len(right) == 1 else right, strict=True)
        return [None if a is None or b is None else function(a, b) for a, b in pairs]

    return rule


def _first(operands: list[Integers]) -> Integers | None:
    return operands[0]


# The operators that exporters put between a shape and a length; between scalars and vectors the reshaping ones keep
# the values.
_RULES: dict[str, Callable[[list[Integers]], Integers | None]] = {
    **dict.fromkeys(("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape"), _first),
    "Concat": lambda operands: sum(operands, []),
    "Gather": _gather,
    "Slice": _slice,
    "Add": _elementwise(lambda a, b: a + b),
    "Sub": _elementwise(lambda a, b: a - b),
    "Mul": _elementwise(lambda a, b: a * b),
}
