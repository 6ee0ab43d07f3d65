"""Why a length, an axis or a size of an ONNX graph is not static, and what to do about it."""

from __future__ import annotations

import onnx

from cmgan.export.static_values import StaticValues
from cmgan.runtime.onnx.file import STANDARD_DOMAINS, names_used

_EXAMPLE = 512  # pixels: the size that an example gives to a free axis


class Reasons:
    """Looks back from a tensor to the inputs of the graph."""

    def __init__(self, graph: onnx.GraphProto, values: StaticValues) -> None:
        self._values = values
        self._inputs = {value.name for value in graph.input}
        self._defaults = {tensor.name for tensor in graph.initializer} & self._inputs
        self._producers = {name: node for node in graph.node for name in node.output if name}

    def of_value(self, name: str) -> str:
        """Why the value of `name` is not static; what helps stands after a semicolon."""
        if name in self._defaults:
            return f"{name!r} is the default of a graph input, which a caller may replace; {_constant(name)}"
        if name in self._inputs:
            return f"{name!r} is an input of the graph; {_constant(name)}"
        before = self._before(name)
        if free := self._free_input(before, through_sizes=True):
            return f"{name!r} is computed from a free size of the input {free!r}; {self._advice(free)}"
        given = next((n for n in before if n in self._inputs), None)
        if given in self._defaults:
            return f"{name!r} follows from the default of the graph input {given!r}; {_constant(given)}"
        if given is not None:
            return f"{name!r} follows from the values of the input {given!r}; export with a constant in its place"
        if name not in self._producers:
            return f"nothing gives {name!r} a value; the file is not a whole graph"
        return f"{name!r} is only computed when the graph runs; export with a constant in its place"

    def of_shape(self, name: str) -> str:
        """Why the shape of `name`, or one of its sizes, is not static."""
        before = self._before(name)
        for node in (self._producers[n] for n in before if n in self._producers):
            if node.domain not in STANDARD_DOMAINS and self._values.shape(node.output[0]) is None:
                operator = f"{node.domain}.{node.op_type}"
                return f"the operator {operator} does not say it; declare it in the file (value_info)"
        if free := self._free_input(before, through_sizes=False):
            return f"it follows from a free size of the input {free!r}; {self._advice(free)}"
        return "it is only known when the graph runs; export with fixed sizes"

    def _before(self, name: str) -> list[str]:
        """`name` and what it is computed from, nearest first."""
        found, pending = [], [name]
        seen = {name}
        while pending:
            current = pending.pop(0)
            found.append(current)
            if current in self._producers:
                operands = [n for n in names_used(self._producers[current]) if n and n not in seen]
                seen.update(operands)
                pending.extend(operands)
        return found

    def _free_input(self, before: list[str], *, through_sizes: bool) -> str | None:
        """The first input with a free size among `before`; of a value, only where a size is asked for."""
        sized = any(n in self._producers and self._producers[n].op_type in ("Shape", "Size") for n in before)
        if through_sizes and not sized:
            return None
        shapes = ((name, self._values.shape(name)) for name in before if name in self._inputs)
        return next((name for name, shape in shapes if shape is None or None in shape), None)

    def _advice(self, name: str) -> str:
        shape = self._values.shape(name)
        if shape is None:
            return f"give its shape: --shape {name}=1,3,{_EXAMPLE},{_EXAMPLE} (as it is)"
        sizes = [size or (1 if axis == 0 else _EXAMPLE) for axis, size in enumerate(shape)]
        return f"give its sizes, such as --shape {name}={','.join(map(str, sizes))}"


def _constant(name: str) -> str:
    return f"make {name!r} a constant of the file, an initializer that is no input"
