"""What is inside an exported file: its operators, and its layers by cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from cmgan.formats import format_of_file
from cmgan.runtime.metadata import Metadata, is_ours
from cmgan.runtime.onnx.file import load_onnx
from cmgan.runtime.openvino.engine import weights_of
from cmgan.runtime.openvino.file import check_ir
from cmgan.runtime.sidecar import read_sidecar

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]
_ONNX_OPERATORS = {"Conv": "convolution", "ConvTranspose": "transposed", "MatMul": "product", "Gemm": "product"}
_IR_OPERATORS = {
    "Convolution": "convolution",
    "GroupConvolution": "convolution",
    "ConvolutionBackpropData": "transposed",
    "GroupConvolutionBackpropData": "transposed",
    "MatMul": "product",
}


@dataclass(frozen=True)
class Layer:
    """A node that costs arithmetic: the shape of its output, its multiplications and additions, at batch 1."""

    name: str
    operator: str
    output: Shape
    flops: int


@dataclass(frozen=True)
class Graph:
    """`operators` by number, most frequent first; `constants`, how many numbers the file holds; `layers` by cost."""

    operators: dict[str, int]
    constants: int
    layers: tuple[Layer, ...]

    @property
    def flops(self) -> int:
        return sum(layer.flops for layer in self.layers)


def inspect(path: Path) -> tuple[Metadata, Graph | None]:
    """The metadata of an exported file, and its graph where its format has one that can be read: ONNX and OpenVINO.

    Raises:
        ModelError: it is not what was exported.
    """
    format = format_of_file(path)
    if format is not None and format.name == "onnx":
        model = load_onnx(path)
        return Metadata.from_strings({p.key: p.value for p in model.metadata_props}), graph_of_onnx(model)
    metadata, files = read_sidecar(path)
    if metadata.format == "openvino":
        weights = files.get(weights_of(path).name, b"")
        check_ir(files[path.name], weights)
        return metadata, graph_of_ir(files[path.name])
    return metadata, None


def foreign_graph(path: Path) -> Graph | None:
    """The graph of an ONNX file that cmgan did not export; None for all others."""
    format = format_of_file(path)
    if format is None or format.name != "onnx":
        return None
    model = load_onnx(path)
    return None if is_ours({p.key: p.value for p in model.metadata_props}) else graph_of_onnx(model)


def graph_of_onnx(model: onnx.ModelProto) -> Graph:
    """Of an ONNX graph whose values have shapes; a dynamic size counts as 1."""
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    constants = sum(map(prod, shapes.values()))
    for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]:
        shapes[value.name] = tuple(d.dim_value or 1 for d in value.type.tensor_type.shape.dim)
    layers = []
    for node in model.graph.node:
        if kind := _ONNX_OPERATORS.get(node.op_type):
            first, weight, output = (shapes.get(name, ()) for name in (*node.input[:2], node.output[0]))
            layers.append(Layer(node.name, node.op_type, output, _flops(kind, first, weight[1:], output)))
    return _graph((node.op_type for node in model.graph.node), constants, layers)


def graph_of_ir(xml: bytes) -> Graph:
    """Of an OpenVINO IR, already checked; a dynamic size counts as 1."""
    nodes = list(ElementTree.fromstring(xml).iter("layer"))
    layers, constants = [], 0
    for node in nodes:
        operator = node.get("type", "")
        ports = [tuple(max(int(d.text or 1), 1) for d in port.iter("dim")) for port in node.iter("port")]
        if operator == "Const":
            constants += prod(ports[0])
        elif kind := _IR_OPERATORS.get(operator):
            first, weight, output = ports
            if kind == "product" and node.find("data[@transpose_a='true']") is not None:
                first = first[:-2] + first[:-3:-1]
            taps = weight[2:] if operator.startswith("Group") else weight[1:]
            layers.append(Layer(node.get("name", ""), operator, output, _flops(kind, first, taps, output)))
    return _graph((node.get("type", "") for node in nodes), constants, layers)


def _flops(kind: str, first: Shape, taps: Shape, output: Shape) -> int:
    """Operations of a node with that first input; `taps` are what one number is multiplied with, of a convolution."""
    if kind == "product":
        return 2 * prod(output) * (first[-1] if first else 0)
    return 2 * prod(first if kind == "transposed" else output) * prod(taps)


def _graph(operators: Iterable[str], constants: int, layers: list[Layer]) -> Graph:
    by_cost = sorted(layers, key=lambda layer: -layer.flops)
    return Graph(dict(Counter(operators).most_common()), constants, tuple(by_cost))
