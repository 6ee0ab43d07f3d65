"""STFT nodes of an ONNX graph as convolutions: a frame times a constant matrix, at every step along the signal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from cmgan.export.lower.dft import Transform
from cmgan.export.static_values import StaticValues

_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)  # runtimes have no convolution in double


@dataclass(frozen=True, eq=False)
class StftNode:
    """One STFT node, as far as its convolution needs it."""

    name: str
    transform: Transform  # of one frame
    step: int  # values between the starts of two frames
    window: NDArray[np.float64]  # (length,)
    element_type: int  # an onnx.TensorProto element type

    def kernel(self) -> NDArray[np.float64]:
        """The convolution's weights (bins * 2, components, length)."""
        transform = self.transform
        matrix = transform.matrix().reshape(transform.length, transform.components, -1) * self.window[:, None, None]
        return np.ascontiguousarray(matrix.transpose(2, 1, 0))


def read_stft(node: onnx.NodeProto, name: str, values: StaticValues) -> StftNode | str:
    """What `node` computes; where it cannot be a convolution, why (ONNX operator STFT, 17)."""
    source, step_input, window_input, length_input = [*node.input, "", "", "", ""][:4]
    onesided = next((bool(item.i) for item in node.attribute if item.name == "onesided"), True)
    shape, element_type = values.shape(source), values.element_type(source)
    components = shape[-1] if shape and len(shape) == 3 else None
    if element_type not in _TYPES:
        return f"its type is {TensorProto.DataType.Name(element_type).lower()}; lowered are float and the half types"
    if components not in (1, 2) or (onesided and components != 1):
        return f"its input {source!r} has not the static shape of a real (or two-sided complex) signal"
    step = values.integer(step_input)
    window = values.constant(window_input) if window_input else None
    if window_input and window is None:
        return f"its window {window_input!r} is not constant, or longer than 16384"
    length = values.integer(length_input) if length_input else None if window is None else window.size
    if step is None or length is None or step < 1 or length < 1:
        return "its step or its frame's length is not static"
    if window is None:
        window = np.ones(length)
    if window.shape != (length,):
        return f"its window has the shape {window.shape}, its frames {length} values"
    transform = Transform(length, length, components, False, onesided)
    return StftNode(name, transform, step, window.astype(np.float64), element_type)
