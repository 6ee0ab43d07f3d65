"""Does every value that an artefact holds in fp16 stay in its range?

No comparison on a CPU tells: ONNX Runtime computes fp16 graphs in fp32 inside, where a sum of 128,000 is kept that is
infinite in fp16. The graph is therefore run in fp32, and its values are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cmgan.errors import NumbersError
from cmgan.export.cases import Case, stacked
from cmgan.export.static_values import StaticValues
from cmgan.export.tolerances import FP16_LIMIT
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.file_engine import Arrays, graph_inputs
from cmgan.runtime.onnx_engine import session


def check_range(model: onnx.ModelProto, cases: Iterable[Case], pipeline: str, kind: str) -> str:
    """Run an fp16 graph on the cases, each alone; `kind` says in messages which weights it has.

    Returns:
        The verdict: the largest value, the node that gives it and the limit.

    Raises:
        NumbersError: a value or weight held in fp16 exceeds `FP16_LIMIT`.
    """
    inputs = [graph_inputs(pipeline, *stacked([case])) for case in cases]
    largest = largest_in_fp16(model, inputs)
    node, value = max(largest.items(), key=lambda item: item[1])
    if not value <= FP16_LIMIT:
        message = f"{node} reaches {value:.6g} with {kind} weights; the limit for what is held in fp16 is {FP16_LIMIT}"
        raise NumbersError("range", f"{message}; --keep-fp32 '{node.split('/')[0]}' keeps its layer out")
    return f"{value:.6g} of {FP16_LIMIT} ({node}, {kind} weights)"


def largest_in_fp16(model: onnx.ModelProto, inputs: list[Arrays]) -> dict[str, float]:
    """The largest magnitude of what each node gives in fp16, and of each fp16 initializer, by name, were it fp32.

    Every value is reduced to its maximum inside the graph, so that no more than one run's memory is needed.
    """
    held = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    largest = {name: _magnitude(numpy_helper.to_array(tensor)) for name, tensor in held.items()}
    wide = in_fp32(model)
    static = StaticValues(model)
    watched: dict[str, str] = {}  # name of a maximum -> node
    for node in model.graph.node:
        for position, name in enumerate(node.output):
            if static.element_type(name) == TensorProto.FLOAT16:
                watched[_add_maximum(wide, name, f"{len(watched)}")] = (
                    f"{node.name}:{position}" if position else node.name
                )
    wide.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in watched)
    running = session(wide, EngineOptions())
    for arrays in inputs:
        maxima = running.run(list(watched), arrays)
        for node_name, value in zip(watched.values(), maxima, strict=True):
            largest[node_name] = float(np.maximum(largest.get(node_name, 0.0), value))  # NaN stays NaN
    return largest


def in_fp32(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an fp16 graph that holds everything in float32; the weights keep their rounding."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for node in copy.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    del copy.graph.value_info[:]  # types that hold no longer
    return copy


def _add_maximum(model: onnx.ModelProto, name: str, number: str) -> str:
    magnitude, maximum = f"magnitude {number}", f"maximum {number}"
    model.graph.node.append(helper.make_node("Abs", [name], [magnitude]))
    model.graph.node.append(helper.make_node("ReduceMax", [magnitude], [maximum], keepdims=0))
    return maximum


def _magnitude(values: np.ndarray) -> float:
    return float(np.abs(values.astype(np.float32)).max(initial=0.0))
