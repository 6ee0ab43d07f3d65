"""What a DFT node of an ONNX graph computes, by the operator's versions 17 and 20."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto

from cmgan.errors import ModelError
from cmgan.export.lower.dft import Transform
from cmgan.export.lower.reasons import Reasons
from cmgan.export.static_values import FLOAT_TYPES, StaticValues
from cmgan.runtime.onnx.file import STANDARD_DOMAINS


@dataclass(frozen=True)
class DftNode:
    """One DFT node, as far as its product needs it."""

    name: str  # or, where the node has none, that of its output
    transform: Transform
    axis: int  # of the input, counted from the front
    rank: int  # of the input, with the axis of components
    element_type: int  # an onnx.TensorProto element type

    @property
    def type_name(self) -> str:
        return TensorProto.DataType.Name(self.element_type).lower()

    @property
    def product_type(self) -> int:
        """Of matrix and product. Half types hold neither the factors (to 10^-3 each) nor the sums: float32 for them."""
        return TensorProto.DOUBLE if self.element_type == TensorProto.DOUBLE else TensorProto.FLOAT


def is_dft(node: onnx.NodeProto) -> bool:
    return node.op_type == "DFT" and node.domain in STANDARD_DOMAINS


def dft_name(node: onnx.NodeProto) -> str:
    return node.name or next(iter(node.output), "")


def read_dft(node: onnx.NodeProto, values: StaticValues, reasons: Reasons, opset: int, scale: float = 1.0) -> DftNode:
    """What `node` computes in a graph of operator set `opset`, times the constant `scale`.

    Raises:
        ModelError: its size, length or axis is not static, or it is not as the operator is specified.
    """
    name = dft_name(node)
    attributes = {item.name: item.i for item in node.attribute}
    source, length_input, axis_input = [*node.input, "", "", ""][:3]
    shape, element_type = values.shape(source), values.element_type(source)
    if shape is None or len(shape) < 2:
        raise _not_static(name, f"the shape of its input {source!r} is not known: {reasons.of_shape(source)}")
    if element_type not in FLOAT_TYPES:
        raise _invalid(name, f"input type {TensorProto.DataType.Name(element_type)}; it takes floating-point types")
    # The default axis is 1 in operator set 17, where it is an attribute, and -2 since 20, where it is an input.
    axis = attributes.get("axis", 1) if opset < 20 else values.integer(axis_input) if axis_input else -2
    if axis is None:
        raise _not_static(name, f"its axis {reasons.of_value(axis_input)}")
    rank = len(shape)
    if not (-rank <= axis <= -2 or 0 <= axis <= rank - 2):
        raise _invalid(name, f"axis {axis} of an input of rank {rank}; allowed are 0 to {rank - 2} and {-rank} to -2")
    axis %= rank
    size, components = shape[axis], shape[-1]
    if size is None or components is None:
        free = f"axis {axis if size is None else rank - 1} of its input {source!r} has no static size"
        raise _not_static(name, f"{free}: {reasons.of_shape(source)}")
    inverse, onesided = bool(attributes.get("inverse", 0)), bool(attributes.get("onesided", 0))
    length = 2 * (size - 1) if inverse and onesided else size
    if length_input:
        given = values.integer(length_input)
        if given is None:
            raise _not_static(name, f"its length {reasons.of_value(length_input)}")
        length = given
    if components not in (1, 2) or (onesided and components != 1 + inverse):
        wanted = "2" if onesided and inverse else "1" if onesided else "1 or 2"
        raise _invalid(name, f"{components} components in its input's last axis; this kind takes {wanted}")
    if size < 1 or length < 1:
        raise _invalid(name, f"length {length} over an axis of size {size}; both must be at least 1")
    return DftNode(name, Transform(size, length, components, inverse, onesided, scale), axis, rank, element_type)


def _not_static(name: str, reason: str) -> ModelError:
    return ModelError("dft_not_static", f"the DFT {name!r} cannot be lowered: {reason}")


def _invalid(name: str, reason: str) -> ModelError:
    return ModelError("dft_invalid", f"the DFT {name!r} is not as specified: {reason}")
