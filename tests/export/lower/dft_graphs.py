"""ONNX graphs with DFT nodes, and what NumPy says they compute."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


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


FLOAT = TensorProto.FLOAT
TYPES = {
    TensorProto.FLOAT: "dft_float",
    TensorProto.DOUBLE: "dft_double",
    TensorProto.FLOAT16: "dft_float16",
    TensorProto.BFLOAT16: "dft_bfloat16",
}


def run(model, feeds):
    """The outputs in ONNX Runtime; bfloat16, which its CPU provider lacks, by ONNX's reference implementation."""
    if model.graph.input[0].type.tensor_type.elem_type == TensorProto.BFLOAT16:
        return ReferenceEvaluator(model).run(None, feeds)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, feeds)


def share(value, exact):
    assert value.shape == exact.shape and value.size
    return np.max(np.abs(value.astype(np.float64) - exact)) / np.max(np.abs(exact))


def random(shape, element_type=FLOAT):
    return np.random.default_rng(0).standard_normal(shape).astype(helper.tensor_dtype_to_np_dtype(element_type))


def chain(nodes, constants, output="y", rank=4, shape=("N", 6, 8, 1), element_type=FLOAT, more_inputs=(), **more):
    inputs = [info("x", element_type, shape), *more_inputs]
    return graph_model(nodes, inputs, [info(output, element_type, [None] * rank)], constants, **more)


def in_a_branch():
    node = helper.make_node("DFT", ["x"], ["inner"], name="hidden")
    branch = helper.make_graph([node], "branch", [], [info("inner", FLOAT, [None] * 4)])
    condition = helper.make_node("If", ["flag"], ["y"], name="choice", then_branch=branch, else_branch=branch)
    return chain([condition], [helper.make_tensor("flag", TensorProto.BOOL, [], [True])])


def free_length():
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "two"], ["width"]),
        helper.make_node("DFT", ["x", "width", "one"], ["y"]),
    ]
    return chain(nodes, [integer("two", 2), integer("one", 1)], shape=("N", 6, "W", 1))


def overridable_length():
    node, constants = dft("x", "y", 20, length=5)
    model = chain([node], constants)
    model.graph.input.append(info("y_length", TensorProto.INT64, []))
    return model
