"""Pictures of a report: latency bars, latency against error, and where the errors lie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cmgan.bench.measure import Outcome
from cmgan.bench.report import MEASURED, Report, Row

# Okabe and Ito's colours, which people with any colour vision tell apart.
_PYTORCH, _EXPORTED = "#E69F00", "#0072B2"
_IDENTICAL_DB = 99.0  # where a row stands that paints the very same bytes


def plot_latency(path: Path, report: Report) -> None:
    """p50 as bars, fastest first, with p50 to p95 as whiskers and the speed-up written beside them."""
    rows = sorted((r for r in report.rows if r.status == MEASURED), key=lambda r: -r.metrics["p50_ms"])
    with _figure(path, (8, 1.7 + 0.5 * len(rows))) as figure:
        axes = figure.add_subplot()
        p50 = np.array([r.metrics["p50_ms"] for r in rows])
        above = np.array([r.metrics["p95_ms"] for r in rows]) - p50
        colours = [_colour(row) for row in rows]
        axes.barh(range(len(rows)), p50, xerr=[0 * p50, above], color=colours, height=0.62, capsize=3)
        for y, row in enumerate(rows):
            text = f"{row.metrics['p50_ms']:.0f} ms"
            if "speedup_eager" in row.metrics:
                text += f"  ({row.metrics['speedup_eager']:.2f}x)"
            axes.annotate(text, (row.metrics["p95_ms"], y), (8, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(rows)), [r.name for r in rows])
        axes.set_xlim(0, 1.28 * float((p50 + above).max()))
        axes.set_xlabel("latency at batch 1, ms: p50, whisker to p95 (speed-up against eager)")
        _title(axes, report)
        _legend(axes)


def plot_latency_error(path: Path, report: Report) -> None:
    """Each row at its p50 and its worst PSNR in the hole: up and to the left is better."""
    rows = [r for r in report.rows if r.status == MEASURED]
    with _figure(path, (8, 5)) as figure:
        axes = figure.add_subplot()
        for row in rows:
            x, y = row.metrics["p50_ms"], min(row.metrics["hole_psnr_db"], _IDENTICAL_DB)
            axes.scatter(x, y, s=70, color=_colour(row), marker="o" if row.pytorch else "D", zorder=3)
        _labels(axes, rows)
        axes.margins(0.2, 0.15)
        axes.set_xlim(left=0)
        axes.set_xlabel("latency at batch 1, p50, ms")
        axes.set_ylabel(f"worst PSNR in the hole, dB ({_IDENTICAL_DB:.0f}: the same bytes)")
        axes.grid(alpha=0.3)
        _title(axes, report)
        _legend(axes)


def plot_errors(path: Path, outcome: Outcome) -> None:
    """What eager painted, and beside it where and by how many levels every row differs."""
    outputs = {name: output for name, output in outcome.outputs.items() if name != "eager"}
    hole = outcome.case.mask >= 128
    errors = {name: _difference(output, outcome.reference) for name, output in outputs.items()}
    panels = 2 + len(errors)
    columns = min(panels, 3)
    lines = -(-panels // columns)
    with _figure(path, (3.4 * columns + 0.8, 3.5 * lines + 0.6)) as figure:
        figure.suptitle(f"{outcome.report.title}: case {outcome.case.name!r}", fontsize=11)
        grid = figure.subplots(lines, columns, squeeze=False)
        given = np.where(hole[..., None], np.uint8(255), outcome.case.image)
        for axes, (name, picture) in zip(
            grid.flat, [("given (hole white)", given), ("eager", outcome.reference)], strict=False
        ):
            axes.imshow(picture)
            axes.set_title(name, fontsize=10)
        scale = _Levels(max((int(error.max()) for error in errors.values()), default=1))
        shown = None
        for axes, (name, error) in zip(grid.flat[2:], errors.items(), strict=False):
            shown = axes.imshow(error, cmap="cividis", norm=scale.norm, interpolation="nearest")
            axes.set_title(f"{name}: at most {error.max()}", fontsize=10)
        for axes in grid.flat:
            axes.set_axis_off()
        if shown is not None:
            bar = figure.colorbar(shown, ax=grid, label="difference from eager, 8-bit levels", shrink=0.8)
            bar.set_ticks(scale.middles, labels=scale.names)


def _difference(output: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(R, R): the largest difference of the three colours, in levels."""
    return np.abs(output.astype(np.int16) - reference.astype(np.int16)).max(2)


class _Levels:
    """One colour a level for the first four, then wider steps, so that one level stays visible beside a hundred."""

    def __init__(self, largest: int) -> None:
        from matplotlib.colors import BoundaryNorm

        steps = [0, 1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256]
        edges = steps[: next(i for i, edge in enumerate(steps) if edge > max(largest, 1)) + 1]
        pairs = list(zip(edges, edges[1:], strict=False))
        self.norm = BoundaryNorm(edges, 256)
        self.middles = [(low + high) / 2 for low, high in pairs]
        self.names = [str(low) if high == low + 1 else f"{low}-{high - 1}" for low, high in pairs]


def _labels(axes: Any, rows: list[Row]) -> None:
    """Names beside the points; points of one height take turns above and below, so that names do not meet."""
    for i, row in enumerate(sorted(rows, key=lambda r: r.metrics["p50_ms"])):
        x, y = row.metrics["p50_ms"], min(row.metrics["hole_psnr_db"], _IDENTICAL_DB)
        below = i % 2
        offset = (0, -10 if below else 10)
        vertical = "top" if below else "bottom"
        axes.annotate(row.name, (x, y), offset, textcoords="offset points", ha="center", va=vertical)


def _colour(row: Row) -> str:
    return _PYTORCH if row.pytorch else _EXPORTED


def _legend(axes: Any) -> None:
    from matplotlib.patches import Patch

    kinds = {"PyTorch": _PYTORCH, "exported": _EXPORTED}
    axes.legend(handles=[Patch(color=colour, label=kind) for kind, colour in kinds.items()], frameon=False)


def _title(axes: Any, report: Report) -> None:
    axes.set_title(report.title, fontsize=11)


@contextmanager
def _figure(path: Path, inches: tuple[float, float]) -> Iterator[Any]:
    """A figure that is drawn without a display and written as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained")
    FigureCanvasAgg(figure)
    yield figure
    figure.savefig(path, format="png", dpi=130)
