"""Graphs of the signatures that people have, a few operators each, and what NumPy says they paint."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(7)
WEIGHT = RNG.standard_normal((3, 4)).astype(np.float32)
BIAS = RNG.standard_normal(3).astype(np.float32)


def _model(nodes, inputs, outputs, constants, shapes):
    values = {name: np.asarray(value) for name, value in constants.items()}
    graph = helper.make_graph(
        [helper.make_node(op, ins.split(), outs.split(), **attributes) for op, ins, outs, attributes in nodes],
        "g",
        [helper.make_tensor_value_info(name, kind, shapes[name]) for name, kind in inputs],
        [helper.make_tensor_value_info(name, kind, shapes[name]) for name, kind in outputs],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


# The network (N, 4, H, W) -> (N, 3, H, W) in (0, 1): colours mixed, then a rectified half spectrum of every row.
NETWORK = [
    ("Conv", "x weight bias", "mixed", {}),
    ("Unsqueeze", "mixed last", "signal", {}),
    ("Shape", "mixed", "width", {"start": 3, "end": 4}),
    ("Squeeze", "width", "length", {}),
    ("DFT", "signal length axis", "spectrum", {"onesided": 1}),
    ("Relu", "spectrum", "rectified", {}),
    ("DFT", "rectified length axis", "back", {"inverse": 1, "onesided": 1}),
    ("Squeeze", "back last", "rows", {}),
    ("Sigmoid", "rows", "painted", {}),
]
CONSTANTS = {
    "weight": WEIGHT[:, :, None, None],
    "bias": BIAS,
    "last": np.array([-1], np.int64),
    "axis": np.int64(3),
    "one": np.float32(1),
    "byte": np.float32(255),
}


def network(x):
    """The same by NumPy, in float64."""
    mixed = np.einsum("oc,nchw->nohw", WEIGHT.astype(float), x) + BIAS[:, None, None]
    spectrum = np.fft.rfft(mixed)
    spectrum = np.maximum(spectrum.real, 0) + 1j * np.maximum(spectrum.imag, 0)
    return 1 / (1 + np.exp(-np.fft.irfft(spectrum, mixed.shape[-1])))


def lama(sizes=("H", "W"), *, scale=1, kept=False, names=("image", "mask"), batch=1, masks=True):
    """Picture and mask apart. `kept`: 1 is known; without `masks` the picture under the mask matters."""
    image, mask = names
    nodes = [("Sub", f"one {mask}", "other", {})]
    hole, known = ("other", mask) if kept else (mask, "other")
    nodes += [("Mul", f"{image} {known}" if masks else f"{image} one", "masked", {})]
    nodes += [("Concat", f"masked {hole}", "x", {"axis": 1}), *NETWORK]
    nodes += [("Mul", "painted byte" if scale == 255 else "painted one", "output", {})]
    shapes = {image: [batch, 3, *sizes], mask: [batch, 1, *sizes], "output": [batch, 3, *sizes]}
    inputs = [(image, TensorProto.FLOAT), (mask, TensorProto.FLOAT)]
    return _model(nodes, inputs, [("output", TensorProto.FLOAT)], CONSTANTS, shapes)


def lama_4(sizes=("H", "W")):
    """Masked picture and mask in one input."""
    shapes = {"x": ["N", 4, *sizes], "painted": ["N", 3, *sizes]}
    return _model(NETWORK, [("x", TensorProto.FLOAT)], [("painted", TensorProto.FLOAT)], CONSTANTS, shapes)


def migan(sizes=("H", "W"), *, hole=0):
    """Bytes in and out; the mask's other value is known, and known pixels are given back."""
    nodes = [
        ("Cast", "image", "levels", {"to": TensorProto.FLOAT}),
        ("Cast", "mask", "float_mask", {"to": TensorProto.FLOAT}),
        ("Div", "float_mask byte", "share", {}),
        ("Sub", "one share", "opposite", {}),
        ("Identity", "share" if hole == 0 else "opposite", "known", {}),
        ("Sub", "one known", "hole", {}),
        ("Div", "levels byte", "colours", {}),
        ("Mul", "colours known", "masked", {}),
        ("Concat", "masked hole", "x", {"axis": 1}),
        *NETWORK,
        ("Mul", "painted byte", "raised", {}),
        ("Round", "raised", "bytes", {}),
        ("Cast", "known", "is_known", {"to": TensorProto.BOOL}),
        ("Where", "is_known levels bytes", "composed", {}),
        ("Cast", "composed", "result", {"to": TensorProto.UINT8}),
    ]
    shapes = {"image": ["N", 3, *sizes], "mask": ["N", 1, *sizes], "result": ["N", 3, *sizes]}
    inputs = [("image", TensorProto.UINT8), ("mask", TensorProto.UINT8)]
    return _model(nodes, inputs, [("result", TensorProto.UINT8)], CONSTANTS, shapes)


def upscaler():
    """Super-resolution: a picture in, one of twice the size out."""
    shapes = {"image": [1, 3, "H", "W"], "output": [1, 3, "2H", "2W"]}
    constants = {"factors": np.array([1, 1, 2, 2], np.float32)}
    nodes = [("Resize", "image  factors", "output", {})]
    model = _model(nodes, [("image", TensorProto.FLOAT)], [("output", TensorProto.FLOAT)], constants, shapes)
    model.graph.node[0].input[:] = ["image", "", "factors"]
    return model


def painted(image, hole):
    """The picture that all of these paint, by NumPy: uint8 (N, H, W, 3) and bool (N, H, W)."""
    x = image.transpose(0, 3, 1, 2) / 255.0 * ~hole[:, None]
    output = np.rint(network(np.concatenate([x, hole[:, None]], 1)) * 255).transpose(0, 2, 3, 1)
    return np.where(hole[..., None], output, image).astype(np.uint8)


def save(model: onnx.ModelProto, path):
    path.write_bytes(model.SerializeToString())
    return path
