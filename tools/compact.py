"""Half the bytes for the same function: constants that are float16 values times one factor are stored as such.

Weights that come from float16 files are, after the gains are folded in, still float16 values times the gain. Runtimes
compute the product once, when they load the file.
"""

from __future__ import annotations

import itertools

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cmgan.model.functional import GAIN
from cmgan.model.generator import Generator
from cmgan.model.layers import FullyConnected, Noise

_LEAST = 256  # values: smaller constants are not worth three nodes
_ULP = 2.0**-23  # of float32, relative: what folding a gain in two steps may round by
_FACTORS = (1.0, GAIN, 1 / GAIN, 2.0, 0.5, 4.0, 0.25)  # what lowering multiplies constants by, besides their gains


def compact(model: onnx.ModelProto, generator: Generator) -> onnx.ModelProto:
    """A copy whose large constants are stored in float16 where that changes none by more than one unit in the last
    place: a Cast and a Mul give them back in float32, under their old names.

    Args:
        model: an exported graph in float32.
        generator: what it was exported from, its weights float16 values.
    """
    scales = _scales(generator)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept, nodes = [], []
    for tensor in copy.graph.initializer:
        scale = _scale_of(numpy_helper.to_array(tensor), scales) if tensor.data_type == onnx.TensorProto.FLOAT else None
        if scale is None:
            kept.append(tensor)
            continue
        name = tensor.name
        half = (numpy_helper.to_array(tensor).astype(np.float64) / scale).astype(np.float16)
        kept.append(numpy_helper.from_array(half, f"{name}.half"))
        kept.append(numpy_helper.from_array(np.array(scale, np.float32), f"{name}.scale"))
        nodes.append(helper.make_node("Cast", [f"{name}.half"], [f"{name}.single"], to=onnx.TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}.single", f"{name}.scale"], [name]))
    nodes += copy.graph.node
    del copy.graph.initializer[:], copy.graph.node[:]
    copy.graph.initializer.extend(kept)
    copy.graph.node.extend(nodes)
    return copy


def _scales(generator: Generator) -> list[float]:
    """Every factor that lowering can have put in front of a weight."""
    modules = list(generator.modules())
    gains = {1.0} | {gain for module in modules if isinstance(gain := getattr(module, "gain", None), float)}
    rates = {1.0} | {float(module.lr_multiplier) for module in modules if isinstance(module, FullyConnected)}
    strengths = {module.strength.item() * GAIN for module in modules if isinstance(module, Noise)} - {0.0}
    products = {a * b * c for a, b, c in itertools.product(gains, rates, _FACTORS)}
    return sorted(products) + sorted(strengths)


def _scale_of(values: np.ndarray, scales: list[float]) -> float | None:
    flat = values[values != 0].astype(np.float64)
    if values.size < _LEAST or not flat.size:
        return None
    return next((scale for scale in scales if _fits(flat[:64], scale) and _fits(flat, scale)), None)


def _fits(values: np.ndarray, scale: float) -> bool:
    with np.errstate(over="ignore"):
        rounded = (values / scale).astype(np.float16).astype(np.float64) * scale
    return bool((np.abs(rounded - values) <= np.abs(values) * _ULP).all())
