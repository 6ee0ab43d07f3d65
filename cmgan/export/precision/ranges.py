"""Does every value that an artefact holds in fp16 stay in its range?

No comparison on a CPU tells: ONNX Runtime computes fp16 graphs in fp32 inside, where a sum of 128,000 is kept that is
infinite in fp16. The graph is therefore run in fp32, and its values are looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cmgan.errors import NumbersError
from cmgan.export.gate.cases import Case, stacked
from cmgan.export.gate.prove import HOT_CASES
from cmgan.export.gate.tolerances import FP16_LIMIT
from cmgan.export.static_values import StaticValues
from cmgan.export.trace import pipeline_of, with_hot_weights
from cmgan.model.generator import Generator
from cmgan.runtime.file_engine import Arrays, graph_inputs


def range_verdict(model: onnx.ModelProto, generator: Generator, cases: list[Case]) -> str:
    """The verdict on a graph of `generator`, with plain and with hot weights; nothing to do if it holds no fp16.

    Raises:
        NumbersError: a value or weight held in fp16 exceeds `FP16_LIMIT`.
    """
    if not _held_in_fp16(model):
        return "not needed: nothing is held in fp16"
    inputs = [graph_inputs(pipeline_of(model), *stacked([case])) for case in cases if case.name in HOT_CASES]
    plain = check_range(model, inputs, "plain weights")
    hot = check_range(with_hot_weights(model, generator), inputs, "hot weights")
    return f"passed: {plain}; {hot}"


def check_range(model: onnx.ModelProto, inputs: list[Arrays], kind: str) -> str:
    """Run an fp16 graph on each of the inputs; `kind` says in the verdict and in messages what graph it is.

    Raises:
        NumbersError: naming the node that exceeds `FP16_LIMIT`.
    """
    largest = largest_in_fp16(model, inputs)
    node, value = max(largest.items(), key=lambda item: np.inf if np.isnan(item[1]) else item[1])
    if not value <= FP16_LIMIT:
        message = f"{node} reaches {value:.6g} ({kind}); the limit for what is held in fp16 is {FP16_LIMIT:,}"
        raise NumbersError("range", f"{message}; --keep-fp32 '{node.split('/')[0]}' keeps its layer in fp32")
    return f"{node} reaches {value:.6g} of {FP16_LIMIT:,} ({kind})"


def largest_in_fp16(model: onnx.ModelProto, inputs: list[Arrays]) -> dict[str, float]:
    """The largest magnitude of what each node gives in fp16, and of each fp16 initializer, by name, were it fp32."""
    largest = {tensor.name: _magnitude(tensor) for tensor in _constants_in_fp16(model)}
    wide, watched = _with_extremes(model)
    running = _session(wide)
    for arrays in inputs:
        extremes = np.abs(np.array(running.run(None, arrays)[len(model.graph.output) :], np.float32))
        for node, pair in zip(watched, extremes.reshape(-1, 2), strict=True):
            largest[node] = float(np.maximum(largest.get(node, 0.0), pair.max()))  # NaN stays NaN
    return largest


def _with_extremes(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The graph in fp32 that also gives the least and the largest of every value held in fp16, and the node of each.

    They are taken inside the graph, right behind the value, so that one run's memory is enough.
    """
    held = _held_in_fp16(model)
    wide = in_fp32(model)
    nodes, watched = list(wide.graph.node), []
    del wide.graph.node[:]
    for node in nodes:
        wide.graph.node.append(node)
        for name in held.intersection(node.output):
            watched.append(node.name)
            for operator in ("ReduceMin", "ReduceMax"):
                extreme = f"{name}.{operator}"
                wide.graph.node.append(helper.make_node(operator, [name], [extreme], keepdims=0))
                wide.graph.output.append(helper.make_tensor_value_info(extreme, TensorProto.FLOAT, []))
    return wide, watched


def _session(model: onnx.ModelProto) -> Any:
    """Without optimisation, which costs more than it saves here, and in an order that frees values early."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    settings.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def in_fp32(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an fp16 graph that holds everything in float32; the weights keep their rounding."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in _constants_in_fp16(copy):
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for node in copy.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    del copy.graph.value_info[:]  # types that hold no longer
    return copy


def _constants_in_fp16(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    return [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT16]


def _held_in_fp16(model: onnx.ModelProto) -> set[str]:
    """The names of the values that nodes give."""
    static = StaticValues(model)
    names = {name for node in model.graph.node for name in node.output}
    return {name for name in names if static.element_type(name) == TensorProto.FLOAT16}


def _magnitude(tensor: onnx.TensorProto) -> float:
    return float(np.abs(numpy_helper.to_array(tensor).astype(np.float32)).max(initial=0))
