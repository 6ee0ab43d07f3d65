"""Operators, constants and cost of a graph, counted by hand and by two readers of the same network."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from cmgan.config import PRESETS
from cmgan.export.targets.openvino import ir_from_onnx
from cmgan.export.trace import OnnxOptions
from cmgan.model.count import count
from cmgan.runtime.inspect import graph_of_ir, graph_of_onnx
from cmgan.runtime.openvino.engine import load_openvino


def _constant(name: str, *shape: int):
    size = 1
    for side in shape:
        size *= side
    return helper.make_tensor(name, TensorProto.FLOAT, shape, [0.5] * size)


@pytest.fixture(scope="module")
def by_hand():
    """(N, 4, 8, 8) -> grouped 3x3 to 6 channels -> transposed, stride 2 -> flatten -> product."""
    nodes = [
        helper.make_node("Conv", ["x", "grouped"], ["a"], "conv", group=2, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "wide"], ["b"], "up", strides=[2, 2]),
        helper.make_node("MatMul", ["left", "b"], ["y"], "product"),
    ]
    shapes = {"x": ("N", 4, 8, 8), "a": ("N", 6, 8, 8), "b": ("N", 5, 16, 16), "y": ("N", 5, 3, 16)}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    weights = [_constant("grouped", 6, 2, 3, 3), _constant("wide", 6, 5, 2, 2), _constant("left", 3, 16)]
    graph = helper.make_graph(nodes, "g", [values["x"]], [values["y"]], weights, value_info=[values["a"], values["b"]])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


EXPECTED = {"conv": 2 * (6 * 8 * 8) * (2 * 9), "up": 2 * (6 * 8 * 8) * (5 * 4), "product": 2 * (5 * 3 * 16) * 16}


def test_onnx_by_hand(by_hand):
    graph = graph_of_onnx(by_hand)
    assert {layer.name: layer.flops for layer in graph.layers} == EXPECTED
    assert graph.constants == 6 * 2 * 9 + 6 * 5 * 4 + 3 * 16
    assert graph.operators == {"Conv": 1, "ConvTranspose": 1, "MatMul": 1}
    assert [layer.flops for layer in graph.layers] == sorted(EXPECTED.values(), reverse=True)


def test_ir_by_hand(by_hand):
    graph = graph_of_ir(ir_from_onnx(by_hand)[0])
    assert sorted(layer.flops for layer in graph.layers) == sorted(EXPECTED.values())


def test_a_transposed_product(tmp_path):
    openvino = load_openvino()
    a = openvino.opset13.parameter([7, 3], np.float32)
    b = openvino.opset13.constant(np.ones((7, 5), np.float32))
    model = openvino.Model([openvino.opset13.matmul(a, b, True, False)], [a])  # (3, 7) @ (7, 5)
    openvino.serialize(model, tmp_path / "m.xml")
    (layer,) = graph_of_ir((tmp_path / "m.xml").read_bytes()).layers
    assert (layer.output, layer.flops) == ((3, 5), 2 * 3 * 5 * 7)


def test_both_readers_agree_on_the_network(tiny_source):
    model = tiny_source.graph(OnnxOptions())
    graphs = graph_of_onnx(model), graph_of_ir(ir_from_onnx(model)[0])
    assert graphs[0].flops == graphs[1].flops
    assert all(len(layer.output) >= 2 for graph in graphs for layer in graph.layers)
    # The lowered graph joins and splits layers; its cost is that of the network to a few per cent.
    assert 0.7 < graphs[0].flops / count(PRESETS["tiny-64"])["all"].flops < 1.4
