"""What an ONNX graph says about its tensors without running: shapes, element types, values that follow from them.

Everything follows from inputs, constants and operators, node by node, each by onnx's own shape inference. What a file
declares about inner tensors (`value_info`) may be wrong and is used only where an operator says nothing of its output.
Small values whose operands are static are computed by onnx's reference implementation, whatever the operator.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from cmgan.errors import ModelError
from cmgan.runtime.onnx.file import STANDARD_DOMAINS, names_used

_SMALL = 2**16  # bytes: shapes, lengths and windows are smaller; of larger tensors, the weights, only the shape counts
FLOAT_TYPES = (
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
)
# What may be computed of a vector that is known in part, as the shape of a tensor with a free batch: operators that
# move its elements, and those that give one element for each.
_MOVING = {
    *("Cast", "Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile"),
    *("Transpose", "Unsqueeze"),
}
_ELEMENTWISE = {"Abs", "Add", "Div", "Max", "Min", "Mod", "Mul", "Neg", "Sub"}

Integers = list[int | None]  # None where a value is not static


@dataclass(frozen=True)
class _Value:
    """An array of which the elements `known` (bool, same shape) are static; the others hold 1."""

    array: NDArray[Any]
    known: NDArray[np.bool_]

    @property
    def whole(self) -> bool:
        return bool(self.known.all())


class StaticValues:
    """Shapes and small values of the main graph of `model`."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Raise `ModelError` for a constant that is not consistent."""
        graph = model.graph
        self._model = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
        self._opset = max((e.version for e in model.opset_import if e.domain in STANDARD_DOMAINS), default=1)
        self._functions = {(function.domain, function.name): function for function in model.functions}
        self._hints = {value.name: value.type for value in [*graph.value_info, *graph.output]}
        self._types = {value.name: value.type for value in graph.input}
        self._values: dict[str, _Value] = {}
        # From IR 4 on an initializer that is also an input is only a default, which the caller may replace; before,
        # every initializer had to be an input.
        inputs = set(self._types) if model.ir_version >= 4 else set()
        for tensor in graph.initializer:
            self._types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
            if tensor.name not in inputs:
                self._keep_constant(tensor.name, tensor)
        for node in graph.node:
            self._infer(node)

    def element_type(self, name: str) -> int:
        """The `onnx.TensorProto` element type; UNDEFINED (0) if unknown."""
        return self._types[name].tensor_type.elem_type if name in self._types else onnx.TensorProto.UNDEFINED

    def shape(self, name: str) -> Integers | None:
        """The sizes of a tensor, None for the sizes that are not static; None if even the rank is unknown."""
        kind = self._types.get(name, onnx.TypeProto()).tensor_type
        if not kind.HasField("shape"):
            return None
        return [d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in kind.shape.dim]

    def type(self, name: str) -> onnx.TypeProto | None:
        """Element type and shape, as far as they follow; None if nothing is known."""
        return self._types.get(name)

    def integer(self, name: str) -> int | None:
        """The value of an integer scalar (or one-element tensor) if it is static, else None."""
        array = self.constant(name)
        return int(array.item()) if array is not None and array.size == 1 and array.dtype.kind in "iu" else None

    def scalar(self, name: str) -> float | None:
        """The value of a floating-point constant of one element, else None."""
        array = self.constant(name)
        is_float = self.element_type(name) in FLOAT_TYPES
        return float(array.item()) if array is not None and array.size == 1 and is_float else None

    def constant(self, name: str) -> NDArray[Any] | None:
        """The values of a tensor of at most 64 KiB, if all of them are static."""
        value = self._values.get(name)
        return value.array if value is not None and value.whole else None

    def _infer(self, node: onnx.NodeProto) -> None:
        """Types of the outputs of `node`, and their values if they are small and static."""
        if node.op_type == "Constant" and node.domain in STANDARD_DOMAINS and node.attribute:
            if node.attribute[0].name == "value" and node.output:
                tensor = node.attribute[0].t
                self._types[node.output[0]] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
                self._keep_constant(node.output[0], tensor)
                return
        operands = list(dict.fromkeys(name for name in names_used(node) if name))
        inferred = self._inferred(node, operands)
        for name in filter(None, node.output):
            hint = self._hints.get(name)
            if name in inferred and inferred[name].tensor_type.HasField("shape"):
                self._types[name] = inferred[name]
            elif hint is not None or name in inferred:
                self._types[name] = inferred[name] if hint is None else hint
        self._compute(node, operands)

    def _inferred(self, node: onnx.NodeProto, operands: list[str]) -> dict[str, onnx.TypeProto]:
        """The types that onnx infers for a graph of `node` alone."""
        model = self._graph_of(node)
        for name in operands:
            value = self._values.get(name)
            if value is not None and value.whole:
                model.graph.initializer.append(numpy_helper.from_array(value.array, name))
            elif value is not None and value.array.ndim == 1 and value.array.dtype == np.int64:
                _add_partial(model.graph, name, value)
            elif name in self._types:
                model.graph.input.append(onnx.ValueInfoProto(name=name, type=self._types[name]))
        model.graph.node.append(node)
        try:
            graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, TypeError):
            return {}
        return {value.name: value.type for value in graph.value_info}

    def _compute(self, node: onnx.NodeProto, operands: list[str]) -> None:
        if node.domain not in STANDARD_DOMAINS or len(operands) != len({*filter(None, node.input)}):
            return  # an operator of others, or one with a subgraph
        if node.op_type in ("Shape", "Size"):
            self._compute_size(node)
            return
        if not _is_function_of_inputs(node, self._opset) or not all(map(self._is_small, filter(None, node.output))):
            return
        values = {name: self._values[name] for name in operands if name in self._values}
        if len(values) < len(operands):
            return
        if all(value.whole for value in values.values()):
            for name, array in self._evaluated(node, {n: v.array for n, v in values.items()}).items():
                self._values[name] = _Value(array, np.ones(array.shape, bool))
        elif node.op_type in _MOVING | _ELEMENTWISE:
            self._compute_in_part(node, values)

    def _compute_in_part(self, node: onnx.NodeProto, values: dict[str, _Value]) -> None:
        arrays = self._evaluated(node, {name: value.array for name, value in values.items()})
        if node.op_type in _ELEMENTWISE:
            known = np.logical_and.reduce(np.broadcast_arrays(*(value.known for value in values.values())))
            masks: dict[str, NDArray[np.bool_]] = dict.fromkeys(arrays, np.asarray(known, bool))
        else:
            moved = node.input if node.op_type == "Concat" else node.input[:1]
            if not all(values[name].whole for name in node.input if name and name not in moved):
                return
            flags = {n: v.known.astype(v.array.dtype) if n in moved else v.array for n, v in values.items()}
            masks = {name: mask.astype(bool) for name, mask in self._evaluated(node, flags).items()}
        for name, array in arrays.items():
            if name in masks and masks[name].shape == array.shape:
                self._values[name] = _Value(np.where(masks[name], array, 1).astype(array.dtype), masks[name])

    def _compute_size(self, node: onnx.NodeProto) -> None:
        sizes = self.shape(node.input[0]) if len(node.input) == 1 and len(node.output) == 1 else None
        if sizes is None:
            return
        if node.op_type == "Size":
            whole = [size for size in sizes if size is not None]
            if len(whole) == len(sizes):
                self._values[node.output[0]] = _Value(np.array(math.prod(whole), np.int64), np.array(True))
            return
        attributes = {item.name: item.i for item in node.attribute}
        sizes = sizes[attributes.get("start", 0) : attributes.get("end", len(sizes))]
        known = np.array([size is not None for size in sizes], bool)
        self._values[node.output[0]] = _Value(np.array([1 if s is None else s for s in sizes], np.int64), known)

    def _evaluated(self, node: onnx.NodeProto, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs of `node` alone by onnx's reference implementation; nothing where that fails."""
        model = self._graph_of(node)
        model.graph.node.append(node)
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
        names = [name for name in node.output if name]
        model.graph.output.extend(onnx.ValueInfoProto(name=name, type=self._types[name]) for name in names)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results = ReferenceEvaluator(model).run(None, {})
        except Exception:  # noqa: BLE001 - whatever a foreign node makes onnx's reference code raise
            return {}
        found = zip(names, map(np.asarray, results), strict=True)
        return {name: array for name, array in found if array.nbytes <= _SMALL and array.dtype.kind != "O"}

    def _graph_of(self, node: onnx.NodeProto) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        model.graph.name = "node"
        if (node.domain, node.op_type) in self._functions:
            model.functions.extend(self._functions.values())
        return model

    def _is_small(self, name: str) -> bool:
        """Whether a result is certain to be small: an operator is not run to find out."""
        shape, kind = self.shape(name), self.element_type(name)
        if shape is None or kind in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
            return False
        sizes = [size for size in shape if size is not None]
        return len(sizes) == len(shape) and 8 * math.prod(sizes) <= _SMALL

    def _keep_constant(self, name: str, tensor: onnx.TensorProto) -> None:
        if tensor.data_type == onnx.TensorProto.STRING or tensor.ByteSize() > 2 * _SMALL:
            return
        try:
            array = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError("bad_graph", f"the constant {name!r} is not consistent ({error})") from error
        if array.nbytes <= _SMALL:
            self._values[name] = _Value(array, np.ones(array.shape, bool))


def _add_partial(graph: onnx.GraphProto, name: str, value: _Value) -> None:
    """Give `graph` the vector `name`, known in part, in a way that onnx's data propagation sees through: each unknown
    element is the size of a tensor of one free axis."""
    parts = []
    for index, known in enumerate(value.known):
        part = f"{name}/part/{index}"
        parts.append(part)
        if known:
            graph.initializer.append(numpy_helper.from_array(value.array[index : index + 1], part))
        else:
            free = helper.make_tensor_value_info(f"{part}/free", onnx.TensorProto.FLOAT, [None])
            graph.input.append(free)
            graph.node.append(helper.make_node("Shape", [free.name], [part]))
    graph.node.append(helper.make_node("Concat", parts, [name], axis=0))


def _is_function_of_inputs(node: onnx.NodeProto, opset: int) -> bool:
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return False
    return bool(schema.node_determinism == schema.NodeDeterminism.Deterministic)  # type: ignore[attr-defined]
