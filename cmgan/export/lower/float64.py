"""Whole ONNX graphs in float64, to judge float32 and half results by: ONNX's reference implementation, with torch's
convolutions, since the reference ones take minutes on a network of usual size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_conv import Conv as ReferenceConv
from onnx.reference.ops.op_conv_transpose import ConvTranspose as ReferenceConvTranspose

from cmgan.errors import MissingError, ModelError, needs
from cmgan.export.lower.error import relative_error
from cmgan.export.lower.trial import random_feeds
from cmgan.export.static_values import FLOAT_TYPES
from cmgan.runtime.onnx.file import all_messages

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class GraphError:
    """Largest difference from the input graph in float64, as a share of the largest value; the worst output counts."""

    lowered: float  # the lowered file in ONNX Runtime
    original: float | None  # the input file in ONNX Runtime; None if that cannot run it


def graph_error(original: onnx.ModelProto, lowered: onnx.ModelProto) -> GraphError:
    """Run both graphs on the same random inputs, float ones uniform in [0, 1), and compare with float64.

    Raises:
        MissingError: torch or ONNX Runtime is not installed.
        ModelError: the graph cannot be run: an operator without reference implementation, sizes that do not fit.
    """
    feeds = random_feeds(original)
    try:
        exact = evaluate_float64(original, feeds)
        result = _in_onnxruntime(lowered, feeds)
    except (MissingError, ModelError):
        raise
    except Exception as error:  # whatever a foreign graph makes onnx's reference code or ONNX Runtime raise
        raise ModelError("not_comparable", f"the whole graph cannot be run for comparison ({error})") from error
    try:
        before = _worst(_in_onnxruntime(original, feeds), exact)
    except Exception:  # the input file need not run: that may be why it is lowered
        before = None
    return GraphError(_worst(result, exact), before)


def evaluate_float64(model: onnx.ModelProto, feeds: Arrays) -> list[NDArray[Any]]:
    """The outputs of `model` with every floating-point tensor and cast in float64; the model itself stays as it is."""
    double = onnx.ModelProto()
    double.CopyFrom(model)
    for message in all_messages(double):
        if isinstance(message, TensorProto) and message.data_type in FLOAT_TYPES:
            message.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(message).astype(np.float64), message.name))
        elif isinstance(message, onnx.NodeProto) and message.op_type == "Cast":
            for attribute in message.attribute:
                if attribute.name == "to" and attribute.i in FLOAT_TYPES:
                    attribute.i = TensorProto.DOUBLE
    wide = {
        value.name: feeds[value.name].astype(np.float64)
        if value.type.tensor_type.elem_type in FLOAT_TYPES
        else feeds[value.name]
        for value in model.graph.input
        if value.name in feeds
    }
    return list(ReferenceEvaluator(double, new_ops=_torch_operators()).run(None, wide))


def _torch_operators() -> list[type[OpRun]]:
    """Conv and ConvTranspose of pictures by torch, in the type of their input; anything unusual by onnx."""
    with needs("comparing whole graphs", "cmgan[torch]"):
        import torch
        from torch.nn import functional

    def tensors(*arrays: Any) -> list[Any]:
        return [None if array is None else torch.tensor(array) for array in arrays]

    class Conv(ReferenceConv):
        def _run(self, X: Any, W: Any, B: Any = None, **options: Any) -> Any:  # type: ignore[override, unused-ignore]
            if X.ndim != 4 or options.get("auto_pad") not in (None, "NOTSET"):
                return super()._run(X, W, B, **options)  # type: ignore[no-untyped-call, unused-ignore]
            top, left, bottom, right = options.get("pads") or (0, 0, 0, 0)
            x, w, b = tensors(np.pad(X, [(0, 0), (0, 0), (top, bottom), (left, right)]), W, B)
            strides, dilations = options.get("strides") or 1, options.get("dilations") or 1
            return (functional.conv2d(x, w, b, strides, 0, dilations, options.get("group") or 1).numpy(),)

    class ConvTranspose(ReferenceConvTranspose):
        def _run(self, X: Any, W: Any, B: Any = None, **options: Any) -> Any:  # type: ignore[override, unused-ignore]
            pads = options.get("pads") or [0, 0, 0, 0]
            named = options.get("auto_pad") not in (None, "NOTSET") or options.get("output_shape")
            if X.ndim != 4 or pads[:2] != pads[2:] or named:
                return super()._run(X, W, B, **options)  # type: ignore[no-untyped-call, unused-ignore]
            x, w, b = tensors(X, W, B)
            strides, dilations = options.get("strides") or 1, options.get("dilations") or 1
            extra, group = options.get("output_padding") or 0, options.get("group") or 1
            return (functional.conv_transpose2d(x, w, b, strides, pads[:2], extra, group, dilations).numpy(),)

    return [Conv, ConvTranspose]


def _in_onnxruntime(model: onnx.ModelProto, feeds: Arrays) -> list[NDArray[Any]]:
    with needs("comparing", "cmgan[cpu]"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def _worst(values: list[NDArray[Any]], exact: list[NDArray[Any]]) -> float:
    if [value.shape for value in values] != [value.shape for value in exact]:
        raise ModelError("not_comparable", "the outputs have other shapes than in float64")
    return max(relative_error(value, wanted) for value, wanted in zip(values, exact, strict=True))
