"""What FFT lowering did to a file, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cmgan.export.lower.error import DftError
from cmgan.export.lower.float64 import GraphError
from cmgan.export.lower.node import DftNode


@dataclass(frozen=True)
class LoweredNode:
    """A DFT node that was replaced, and how exact its product and it itself are."""

    dft: DftNode
    error: DftError

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """Name, kind, length, axis, matrix, errors against float64 as shares of the largest value."""
        transform = self.dft.transform
        length = (
            f"{transform.length}" if transform.length == transform.size else f"{transform.length} of {transform.size}"
        )
        matrix = "x".join(map(str, transform.matrix_shape))
        error = f"{self.error.product:.1e}{_beside(self.error.onnxruntime)}"
        return self.dft.name, f"{transform.kind}, {self.dft.type_name}", length, str(self.dft.axis), matrix, error


@dataclass(frozen=True)
class LoweringReport:
    """What was replaced, in the order of the graph; empty where there was nothing to lower."""

    nodes: tuple[LoweredNode, ...]
    matrix_count: int  # nodes that compute the same share a matrix
    matrix_bytes: int
    graph: GraphError | None = None  # of the whole graph, where that was asked for

    def summary(self) -> str:
        """One line: how much was replaced, at what cost, how exactly."""
        if not self.nodes:
            return "nothing to lower: the file has no DFT; the copy is equal"
        worst = max(node.error.product for node in self.nodes)
        before = max(
            (node.error.onnxruntime for node in self.nodes if node.error.onnxruntime is not None), default=None
        )
        size = f"{self.matrix_count} constant matrices of {self.matrix_bytes / 1e6:.1f} MB"
        line = (
            f"{len(self.nodes)} DFT nodes are products with {size}; largest error of one {worst:.1e}{_beside(before)}"
        )
        if self.graph is None:
            return line
        return f"{line}; of the whole graph {self.graph.lowered:.1e}{_beside(self.graph.original)}"

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON; errors are shares of the largest value, against float64."""
        return {
            "nodes": [
                {
                    "name": node.dft.name,
                    "kind": node.dft.transform.kind,
                    "type": node.dft.type_name,
                    "axis": node.dft.axis,
                    "size": node.dft.transform.size,
                    "length": node.dft.transform.length,
                    "scale": node.dft.transform.scale,
                    "matrix": list(node.dft.transform.matrix_shape),
                    "error": asdict(node.error),
                }
                for node in self.nodes
            ],
            "matrix_count": self.matrix_count,
            "matrix_bytes": self.matrix_bytes,
            "graph_error": None if self.graph is None else asdict(self.graph),
        }


def _beside(original: float | None) -> str:
    return "" if original is None else f" (DFT in ONNX Runtime: {original:.1e})"
