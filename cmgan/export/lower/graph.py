"""Around the nodes that are lowered: shapes that are given, what a changed file may still say, what stays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

import onnx

from cmgan.errors import UsageError
from cmgan.export.lower.report import LeftNode
from cmgan.export.static_values import StaticValues
from cmgan.runtime.metadata import PREFIX
from cmgan.runtime.onnx.file import STANDARD_DOMAINS, all_nodes

Shapes = Mapping[str, Sequence[int]]  # of inputs, by name

_FOURIER = re.compile(r"fft|dft|stft")
_NOT_PROVEN = {"values": "not proven", "why": "its graph was rewritten by cmgan lower after it was exported"}


def is_operator(node: onnx.NodeProto, name: str) -> bool:
    """Whether `node` is ONNX's own operator of that name."""
    return node.op_type == name and node.domain in STANDARD_DOMAINS


def with_shapes(model: onnx.ModelProto, shapes: Shapes) -> None:
    """Fix the inputs named in `shapes`, in place.

    Raises:
        UsageError: there is no such input, or it has another rank or size.
    """
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in initializers}
    for name, sizes in shapes.items():
        if name not in inputs:
            raise UsageError("shape", f"--shape {name}: the file has the inputs {', '.join(inputs)}")
        shape = inputs[name].type.tensor_type.shape
        has = [axis.dim_value if axis.dim_value > 0 else None for axis in shape.dim]
        fits = len(has) == len(sizes) and all(a in (None, b) for a, b in zip(has, sizes, strict=True))
        if not fits or any(size < 1 for size in sizes):
            wanted = ",".join(map(str, sizes))
            seen = ", ".join(axis.dim_param or str(axis.dim_value or "?") for axis in shape.dim)
            raise UsageError("shape", f"--shape {name}={wanted}: the input is ({seen}); free sizes can be given")
        for axis, size in zip(shape.dim, sizes, strict=True):
            axis.dim_value = size


def restate(model: onnx.ModelProto, values: StaticValues) -> None:
    """Let the file declare of its inner tensors and outputs what follows from its inputs, in place of what it did."""
    graph = model.graph
    taken = {value.name for value in [*graph.input, *graph.output]}
    del graph.value_info[:]
    for node in graph.node:
        for name in node.output:
            kind = values.type(name)
            if name and name not in taken and kind is not None:
                graph.value_info.append(onnx.ValueInfoProto(name=name, type=kind))
    for value in graph.output:
        sizes = values.shape(value.name)
        dims = value.type.tensor_type.shape.dim
        if sizes is not None and len(dims) == len(sizes):
            for dim, size in zip(dims, sizes, strict=True):
                if size is not None:
                    dim.dim_value = size
                elif not dim.HasField("dim_param"):
                    dim.ClearField("dim_value")


def without_claims(model: onnx.ModelProto, left: tuple[LeftNode, ...]) -> None:
    """Take back what the metadata of a file of ours say of the graph as it was: form, verdict, digest."""
    claims = {
        "fft": "dft" if left else "matmul",
        "verdict": _NOT_PROVEN,
        "weights_sha256": "",
    }
    for entry in model.metadata_props:
        key = entry.key.removeprefix(PREFIX)
        if entry.key.startswith(PREFIX) and key in claims:
            entry.value = json.dumps(claims[key])


def fourier_left(model: onnx.ModelProto, why: Mapping[str, str]) -> tuple[LeftNode, ...]:
    """The Fourier operators in the file, whatever their domain; `why` by the name of the node, where it is known."""
    return tuple(_left(model, why))


def _left(model: onnx.ModelProto, why: Mapping[str, str]) -> Iterator[LeftNode]:
    owners: list[onnx.NodeProto | onnx.FunctionProto] = [*model.graph.node, *model.functions]
    for owner in owners:
        for node in all_nodes(owner):
            if not _FOURIER.search(node.op_type.lower()):
                continue
            name = node.name or next(iter(node.output), "")
            standard = node.domain in STANDARD_DOMAINS
            operator = node.op_type if standard else f"{node.domain}.{node.op_type}"
            if node is not owner:
                kind = owner.op_type if isinstance(owner, onnx.NodeProto) else "the local function"
                yield LeftNode(name, operator, f"inside {kind} {owner.name!r}; only the main graph is lowered")
            else:
                yield LeftNode(name, operator, why.get(name, f"an operator of {node.domain or 'ONNX'}, not lowered"))
