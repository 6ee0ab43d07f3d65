"""How exact a DFT and the product in its place are, each against NumPy's FFT in float64, on the same random rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from cmgan.export.lower.dft import Transform

_ROWS = 16


@dataclass(frozen=True)
class DftError:
    """Largest absolute difference, as a share of the largest absolute value."""

    product: float
    onnxruntime: float | None  # of the DFT node itself; None where ONNX Runtime is missing or cannot run it


def dft_error(
    transform: Transform, element_type: int, matrix: NDArray[Any], window: NDArray[np.float64] | None = None
) -> DftError:
    """The errors of `transform` on tensors of `element_type`, as a product with `matrix` in the matrix's type.

    Values are multiplied with `window` (N,) first, which `matrix` holds already.
    """
    dtype = helper.tensor_dtype_to_np_dtype(element_type)
    shape = (_ROWS, transform.size, transform.components)
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    windowed = x.astype(np.float64) * (1 if window is None else window[:, None])
    exact = _exact(transform, windowed)
    product = (x.reshape(_ROWS, -1).astype(matrix.dtype) @ matrix).astype(dtype)
    node = _node_in_onnxruntime(transform, element_type, windowed.astype(dtype))
    return DftError(
        relative_error(product.reshape(exact.shape), exact),
        None if node is None else relative_error(node.astype(np.float64) * transform.scale, exact),
    )


def relative_error(value: NDArray[Any], exact: NDArray[Any]) -> float:
    """Largest |value - exact| over largest |exact|, in float64; not a number where `value` is not finite."""
    exact = exact.astype(np.float64)
    largest = float(np.max(np.abs(exact), initial=0.0))
    return float(np.max(np.abs(value.astype(np.float64) - exact), initial=0.0)) / (largest or 1.0)


def _exact(transform: Transform, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """`transform` of `x` (rows, N, C) by NumPy, as (rows, K, D)."""
    signal = x[..., 0] if transform.components == 1 else x[..., 0] + 1j * x[..., 1]
    if transform.inverse and transform.onesided:
        return np.fft.irfft(signal, transform.length)[..., None] * transform.scale
    function = np.fft.ifft if transform.inverse else np.fft.rfft if transform.onesided else np.fft.fft
    spectrum = function(signal, transform.length) * transform.scale
    return np.stack([spectrum.real, spectrum.imag], axis=-1)


def _node_in_onnxruntime(transform: Transform, element_type: int, x: NDArray[Any]) -> NDArray[Any] | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    node = helper.make_node(
        "DFT", ["x", "length"], ["y"], inverse=int(transform.inverse), onesided=int(transform.onesided)
    )
    graph = helper.make_graph(
        [node],
        "dft",
        [helper.make_tensor_value_info("x", element_type, x.shape)],
        [helper.make_tensor_value_info("y", element_type, [None] * 3)],
        [helper.make_tensor("length", onnx.TensorProto.INT64, [], [transform.length])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        return np.asarray(session.run(None, {"x": x})[0])
    except Exception:  # ONNX Runtime raises its own classes, without a common base that is public
        return None
