"""What FFT lowering did to a file, for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from cmgan.export.lower.error import DftError
from cmgan.export.lower.float64 import GraphError
from cmgan.export.lower.node import DftNode
from cmgan.export.lower.trial import Trial


@dataclass(frozen=True)
class LoweredNode:
    """A DFT or STFT node that was replaced, and how exact its product and it itself are."""

    dft: DftNode
    error: DftError
    step: int = 0  # of an STFT: values between two frames

    def cells(self) -> tuple[str, str, str, str, str]:
        """Kind, length, axis, matrix, errors against float64 as shares of the largest value."""
        transform = self.dft.transform
        length = (
            f"{transform.length}" if transform.length == transform.size else f"{transform.length} of {transform.size}"
        )
        if self.step:
            length = f"{transform.length} every {self.step}"
        matrix = "x".join(map(str, transform.matrix_shape))
        error = f"{self.error.product:.1e}{_beside(self.error.onnxruntime)}"
        kind = f"{'STFT, ' * bool(self.step)}{transform.kind}, {self.dft.type_name}"
        return kind, length, str(self.dft.axis), matrix, error


@dataclass(frozen=True)
class LeftNode:
    """A Fourier operator that stays in the file, and why."""

    name: str
    operator: str  # with its domain, where that is not ONNX's own
    why: str

    def __str__(self) -> str:
        return f"{self.operator} {self.name!r} ({self.why})"


@dataclass(frozen=True)
class LoweringReport:
    """What was replaced, in the order of the graph; empty where there was nothing to lower."""

    nodes: tuple[LoweredNode, ...]
    matrix_count: int  # nodes that compute the same share a matrix
    matrix_bytes: int
    left: tuple[LeftNode, ...] = ()
    graph: GraphError | None = None  # of the whole graph, where that was asked for
    trial: Trial | None = None  # of the file that was written

    def rows(self) -> list[tuple[str, ...]]:
        """A row for each kind of node: their names and the cells that they share."""
        names: dict[tuple[str, ...], list[str]] = {}
        for node in self.nodes:
            names.setdefault(node.cells(), []).append(node.dft.name)
        return [(_counted(equal), *cells) for cells, equal in names.items()]

    def summary(self) -> str:
        """One line: how much was replaced, at what cost, how exactly."""
        left = _named(self.left)
        if not self.nodes:
            return f"nothing was lowered{left or ': the file has no Fourier operator; the copy is equal'}"
        worst = max(node.error.product for node in self.nodes)
        before = max(
            (node.error.onnxruntime for node in self.nodes if node.error.onnxruntime is not None), default=None
        )
        counts = Counter("STFT" if node.step else "DFT" for node in self.nodes)
        what = " and ".join(f"{count} {operator} nodes" for operator, count in counts.items())
        size = f"{self.matrix_count} constant matrices of {self.matrix_bytes / 1e6:.1f} MB"
        line = f"{what} are products with {size}; largest error of one {worst:.1e}{_beside(before)}"
        if self.graph is not None:
            line += f"; of the whole graph {self.graph.lowered:.1e}{_beside(self.graph.original)}"
        return line + left

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON; errors are shares of the largest value, against float64."""
        return {
            "nodes": [
                {
                    "name": node.dft.name,
                    "operator": "STFT" if node.step else "DFT",
                    "kind": node.dft.transform.kind,
                    "type": node.dft.type_name,
                    "axis": node.dft.axis,
                    "size": node.dft.transform.size,
                    "length": node.dft.transform.length,
                    "step": node.step or None,
                    "scale": node.dft.transform.scale,
                    "matrix": list(node.dft.transform.matrix_shape),
                    "error": asdict(node.error),
                }
                for node in self.nodes
            ],
            "left": [asdict(node) for node in self.left],
            "matrix_count": self.matrix_count,
            "matrix_bytes": self.matrix_bytes,
            "graph_error": None if self.graph is None else asdict(self.graph),
            "run": None if self.trial is None else asdict(self.trial),
        }


def _named(left: tuple[LeftNode, ...]) -> str:
    if not left:
        return ""
    more = f" and {len(left) - 3} more" if len(left) > 3 else ""
    return f"; left as they are: {', '.join(map(str, left[:3]))}{more}"


def _counted(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _beside(original: float | None) -> str:
    return "" if original is None else f" (DFT in ONNX Runtime: {original:.1e})"
