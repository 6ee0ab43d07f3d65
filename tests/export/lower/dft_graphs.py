"""ONNX graphs with DFT nodes, and what NumPy says they compute."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
from onnx import TensorProto, helper


def info(name, element_type, shape):
    return helper.make_tensor_value_info(name, element_type, shape)


def integer(name, value):
    return helper.make_tensor(name, TensorProto.INT64, np.shape(value), np.ravel(value))


def graph_model(nodes, inputs, outputs, constants=(), opset=20, functions=(), domains=()):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(constants))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))


def dft(source, target, opset, *, length=None, axis=None, **attributes):
    """A DFT node with constants for its length and axis, and those constants."""
    inputs, constants = [source], []
    if length is not None:
        inputs.append(f"{target}_length")
        constants.append(integer(inputs[-1], length))
    if axis is not None and opset >= 20:
        inputs = [*inputs, ""][:2] + [f"{target}_axis"]
        constants.append(integer(inputs[-1], axis))
    elif axis is not None:
        attributes["axis"] = axis
    return helper.make_node("DFT", inputs, [target], name=f"node_{target}", **attributes), constants


def single(shape, element_type, opset, **options):
    """One DFT from x to y."""
    node, constants = dft("x", "y", opset, **options)
    return graph_model(
        [node], [info("x", element_type, shape)], [info("y", element_type, [None] * len(shape))], constants, opset
    )


def every_variety(element_type, opset):
    """Every kind of DFT, over each axis of a real and a complex input (N, 13, 9, 16, C), whole, cut and padded, as
    written and by default, one output each."""
    nodes, outputs, constants = [], [], []
    for kind, axis, length in itertools.product(KINDS, (1, -3, -2, None), (None, 7, 24)):
        target = f"y{len(nodes)}"
        node, added = dft(kind["source"], target, opset, axis=axis, length=length, **kind["attributes"])
        nodes.append(node)
        constants += added
        outputs.append(info(target, element_type, [None] * 5))
    inputs = [info("real", element_type, ["N", 13, 9, 16, 1]), info("complex", element_type, ["N", 13, 9, 16, 2])]
    return graph_model(nodes, inputs, outputs, constants, opset)


KINDS = (
    {"source": "real", "attributes": {}},
    {"source": "real", "attributes": {"inverse": 1}},
    {"source": "real", "attributes": {"onesided": 1}},
    {"source": "complex", "attributes": {}},
    {"source": "complex", "attributes": {"inverse": 1}},
    {"source": "complex", "attributes": {"inverse": 1, "onesided": 1}},
)


def by_numpy(x, *, axis, length=None, inverse=0, onesided=0):
    """What the operator's specification says, with numpy.fft in float64."""
    x = x.astype(np.float64)
    signal = x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]
    axis %= x.ndim
    if inverse and onesided:
        return np.fft.irfft(signal, length, axis)[..., None]
    function = np.fft.ifft if inverse else np.fft.rfft if onesided else np.fft.fft
    spectrum = function(signal, length, axis)
    return np.stack([spectrum.real, spectrum.imag], axis=-1)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]
