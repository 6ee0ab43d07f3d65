"""Folding of constant factors into DFT nodes: exporters write the normalisation of an FFT as a Mul or Div beside it."""

from __future__ import annotations

import math
from collections import Counter

import onnx

from cmgan.export.static_values import StaticValues
from cmgan.runtime.onnx.file import STANDARD_DOMAINS, names_used

_SAFE = 1e12  # a matrix times a factor between 1/_SAFE and _SAFE stays in float32's normal range


def fold_scales(graph: onnx.GraphProto, dfts: list[onnx.NodeProto], values: StaticValues) -> dict[str, float]:
    """Take every Mul or Div by a constant scalar that stands directly before or after one of `dfts` out of `graph`.

    Returns the factors by the name of the DFT's output, where there are any. The DFT's input and output take the names
    of what was scaled: the caller must scale the DFT itself.
    """
    uses = Counter(value.name for value in graph.output)
    for node in graph.node:
        uses.update(names_used(node))
    users = {name: node for node in graph.node for name in node.input}
    producers = {name: node for node in graph.node for name in node.output}
    folded: set[str] = set()
    factors: dict[str, float] = {}
    for dft in dfts:
        factor = 1.0
        while uses[dft.output[0]] == 1:
            user = users.get(dft.output[0])
            scale = _scale(user, dft.output[0], values)
            if user is None or not scale or user.output[0] in folded:
                break
            factor *= scale
            dft.output[0] = user.output[0]
            folded.add(user.output[0])
        while uses[dft.input[0]] == 1 and dft.input[0] not in folded:
            source = producers.get(dft.input[0])
            operand = next((name for name in source.input if _scale(source, name, values)), None) if source else None
            if operand is None:
                break
            factor *= _scale(source, operand, values)
            folded.add(dft.input[0])
            dft.input[0] = operand
        if factor != 1:
            factors[dft.output[0]] = factor
    for index in reversed(range(len(graph.node))):
        if graph.node[index].op_type in ("Mul", "Div") and folded.intersection(graph.node[index].output):
            del graph.node[index]
    return factors


def _scale(node: onnx.NodeProto | None, operand: str, values: StaticValues) -> float:
    """The factor by which `node` scales `operand`; 0 if it does anything else."""
    if node is None or node.op_type not in ("Mul", "Div") or node.domain not in STANDARD_DOMAINS:
        return 0.0
    if len(node.input) != 2 or len(node.output) != 1:
        return 0.0
    left, right = node.input
    shape = values.shape(operand)
    if shape is None or shape != values.shape(node.output[0]) or (node.op_type == "Div" and operand == right):
        return 0.0
    scalar = values.scalar(right if operand == left else left)
    if scalar is None or not 1 / _SAFE <= math.fabs(scalar) <= _SAFE:
        return 0.0
    return scalar if node.op_type == "Mul" else 1 / scalar
