"""Faults planted in a graph: the node that has one is named, and no other."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cmgan.cli.main import run
from cmgan.errors import ModelError, UsageError
from cmgan.export.debug import check_debuggable, divergence_of_file, first_divergence
from cmgan.export.gate.cases import parity_cases, stacked
from cmgan.export.gate.tolerances import NODE_SNR
from cmgan.export.options import ExportOptions
from cmgan.export.precision.half import in_half
from cmgan.export.source import Source
from cmgan.model.weights import resolve

LIMIT = NODE_SNR["fp32"]


@pytest.fixture(scope="module")
def reference(tiny_artefact) -> onnx.ModelProto:
    return onnx.load(tiny_artefact)


@pytest.fixture(scope="module")
def inputs():
    return [dict(zip(("image", "mask", "z"), stacked(parity_cases(64, 64)[1:2]), strict=True))]


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _change_weight(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    """Of one convolution alone: its weight is copied before one value is changed."""
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] += np.abs(values).max()
    model.graph.initializer.append(numpy_helper.from_array(values, "changed"))
    node.input[1] = "changed"


def _change_slope(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    node.attribute[0].f = 0.25


def _nodes(model: onnx.ModelProto, operator: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == operator]


@pytest.mark.parametrize("plant", [("Conv", _change_weight), ("LeakyRelu", _change_slope)], ids=lambda plant: plant[0])
@pytest.mark.parametrize("place", [0, 0.5, -1], ids=["first", "middle", "last"])
def test_a_planted_fault_is_named(reference, inputs, plant, place):
    operator, change = plant
    faulty = _copy(reference)
    nodes = _nodes(faulty, operator)
    node = nodes[place if isinstance(place, int) else int(place * len(nodes))]
    change(faulty, node)
    found = first_divergence(reference, faulty, inputs, LIMIT)
    assert found is not None
    assert (found.node, found.op_type, found.output) == (node.name, operator, node.output[0])
    assert found.snr < LIMIT and node.name in str(found)


def test_the_same_graph_does_not_diverge(reference, inputs):
    assert first_divergence(reference, _copy(reference), inputs, LIMIT) is None


def test_half_precision_alone_is_no_fault_but_one_in_it_is(reference, inputs):
    half = in_half(reference, "fp16")
    assert first_divergence(reference, half, inputs, NODE_SNR["fp16"]) is None
    node = _nodes(half, "LeakyRelu")[-1]
    _change_slope(half, node)
    found = first_divergence(reference, half, inputs, NODE_SNR["fp16"])
    assert found is not None and found.node == node.name


def _chain(*operators: str) -> onnx.ModelProto:
    """x -> operator -> operator ...; values are called after their place."""
    names = ["x", *(f"value_{i}" for i in range(len(operators)))]
    nodes = [
        helper.make_node(operator, [names[i]], [names[i + 1]], f"node_{i}") for i, operator in enumerate(operators)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in (names[0], names[-1])]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("wrong", range(3))
def test_a_chain(wrong):
    operators = ["Relu", "Exp", "Tanh"]
    faulty = [*operators[:wrong], "Softplus", *operators[wrong + 1 :]]
    x = [{"x": np.array([1, 2, -1, 0.5], np.float32)}]
    found = first_divergence(_chain(*operators), _chain(*faulty), x, LIMIT)
    assert found is not None
    assert (found.node, found.op_type) == (f"node_{wrong}", "Softplus")


def test_not_a_number_diverges():
    x = [{"x": np.array([1, 2, -1, 0.5], np.float32)}]
    found = first_divergence(_chain("Abs", "Tanh"), _chain("Log", "Tanh"), x, LIMIT)
    assert found is not None and found.node == "node_0" and math.isnan(found.snr)


def test_graphs_without_common_names():
    other = _chain("Relu")
    other.graph.node[0].output[0] = other.graph.output[0].name = "other"
    with pytest.raises(ModelError, match="no value in common"):
        first_divergence(_chain("Relu"), other, [], LIMIT)


@pytest.mark.check
def test_a_file_is_compared_with_the_model_that_it_was_made_of(tiny_artefact, reference, tmp_path, capfd):
    source = Source(resolve("tiny-64"))
    assert divergence_of_file(tiny_artefact, source) is None
    faulty = _copy(reference)
    node = _nodes(faulty, "Conv")[7]
    _change_weight(faulty, node)
    onnx.save(faulty, tmp_path / "model.onnx")
    found = divergence_of_file(tmp_path / "model.onnx", source)
    assert found is not None and found.node == node.name
    assert run(["check", str(tmp_path / "model.onnx"), "--debug-layers", "--model", "tiny-64"]) == 7
    assert f"{node.name} (Conv) is the first node that diverges" in capfd.readouterr().err
    entry = next(p for p in faulty.metadata_props if p.key == "cmgan.weights_sha256")
    entry.value = '"0"'
    onnx.save(faulty, tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="other weights"):
        divergence_of_file(tmp_path / "model.onnx", source)


def test_what_it_cannot_look_into(tmp_path):
    with pytest.raises(UsageError, match="no ONNX file"):
        divergence_of_file(tmp_path / "model.pt2", Source(resolve("tiny-64")))
    with pytest.raises(UsageError, match="--format aoti"):
        check_debuggable(ExportOptions(format="aoti"))
