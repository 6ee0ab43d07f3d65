"""What a bench found, and its files: JSON (versioned), CSV, Markdown; tables for the terminal. Nothing here prints."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cmgan.export.gate.tolerances import EXACT_DB
from cmgan.tables import Table, grid, markdown, page, sheet

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table as Grid

SCHEMA = 1

TABLES = {
    "error": "Error in the hole against eager, worst case, 8-bit levels",
    "speed": "Latency at batch 1, ms",
    "cost": "Pictures a second; load and first call, s; memory, MB",
}
MEASURED, FAILED, CANNOT = "measured", "failed parity", "cannot run"


@dataclass(frozen=True)
class Metric:
    """A number that rows have: its name in files and budgets, its title in tables, where it stands."""

    name: str
    title: str
    digits: int
    table: str  # one of TABLES, or none: in JSON and CSV only


def metrics(batches: Sequence[int]) -> list[Metric]:
    """Every number of a row, in the order of the tables."""
    throughput = [Metric(f"pictures_per_s_b{n}", f"batch {n}", 2, "cost") for n in batches]
    return [
        Metric("hole_max_levels", "max levels", 0, "error"),
        Metric("hole_mean_levels", "mean levels", 4, "error"),
        Metric("hole_equal", "equal", 5, "error"),
        Metric("hole_psnr_db", "PSNR dB", 1, "error"),
        Metric("p50_ms", "p50", 1, "speed"),
        Metric("p90_ms", "p90", 1, "speed"),
        Metric("p95_ms", "p95", 1, "speed"),
        Metric("p99_ms", "p99", 1, "speed"),
        Metric("min_ms", "min", 1, ""),
        Metric("calls", "calls", 0, ""),
        Metric("speedup_eager", "x eager", 2, "speed"),
        Metric("speedup_pytorch", "x torch", 2, "speed"),
        Metric("share_of_rate", "of rate", 2, "speed"),
        *throughput,
        Metric("load_s", "load", 2, "cost"),
        Metric("first_call_s", "first", 2, "cost"),
        Metric("peak_mb", "memory", 0, "cost"),
        Metric("size_mb", "file", 1, "cost"),
    ]


@dataclass(frozen=True)
class Row:
    """One engine. `metrics` holds what was measured of it; errors are in the hole, in 8-bit levels, against eager.

    `gate` says by which row of the parity tolerances it was judged, or that there is none for its precision.
    """

    name: str
    about: str
    precision: str
    pytorch: bool
    status: str  # measured, failed parity, cannot run
    reason: str  # why it is not measured, or what is missing of it
    gate: str
    metrics: dict[str, float]

    def cells(self, columns: Sequence[Metric]) -> list[str]:
        """Its numbers as text; a row without any shows its status in their place."""
        texts = [self._shown(metric) for metric in columns]
        return texts if set(texts) != {"-"} else [self.status, *texts[1:]]

    def _shown(self, metric: Metric) -> str:
        value = self.metrics.get(metric.name)
        if value is None:
            return "-"
        if metric.name == "hole_psnr_db" and value >= EXACT_DB:
            return "exact"
        return f"{value:.{metric.digits if value < 1000 else 0}f}"


@dataclass(frozen=True)
class Report:
    """A whole run. Speed-ups are ratios within it; times of different runs say little about each other."""

    model: dict[str, Any]  # name, resolution, trained, weights_sha256, parameters, flops
    environment: dict[str, Any]
    settings: dict[str, Any]  # how it was measured
    rates: dict[str, float]  # GFLOP/s of a product of 2048 square matrices, by type
    rows: tuple[Row, ...]
    schema: int = SCHEMA

    @property
    def batches(self) -> tuple[int, ...]:
        return tuple(self.settings["batches"])

    @property
    def title(self) -> str:
        """One line: which network, on what kind of machine."""
        trained = "" if self.model["trained"] else " (untrained)"
        machine = self.environment["gpu"] if self.settings["device"] != "cpu" else self.environment["cpu"]
        return f"{self.model['name']}{trained} on {machine}, {self.settings['threads']} threads"

    @property
    def notes(self) -> list[str]:
        """What has to be said below the tables."""
        rates = ", ".join(f"{rate:.0f} GFLOP/s in {kind}" for kind, rate in self.rates.items())
        forms = ", ".join(f"{form} {ms:.0f} ms" for form, ms in self.settings["form_ms"].items())
        lines = [
            "Times are of whole calls, NumPy arrays in and out, rows taking turns. x torch: against the fastest fp32 "
            "PyTorch row.",
            f"of rate: {self.model['flops'] / 1e9:.1f} GFLOP a picture, by the rate of products of 2048 square "
            f"matrices between the turns ({rates or 'not measured'}).",
            f"The PyTorch rows run the modulated convolution in {self.settings['form']} space ({forms}).",
        ]
        ungated = [f"{row.name} ({row.precision})" for row in self.rows if row.gate == "none"]
        if ungated:
            lines.append(f"Shown but not judged, as no tolerance is set for their precision: {', '.join(ungated)}.")
        return lines + [f"{row.name}: {row.status}: {row.reason}" for row in self.rows if row.reason]


def to_json(report: Report) -> str:
    return json.dumps(asdict(report), indent=2, allow_nan=False) + "\n"


def to_csv(report: Report) -> str:
    """One line a row; numbers in full, nothing where nothing was measured."""
    names = [metric.name for metric in metrics(report.batches)]
    facts = ("name", "precision", "status", "reason", "gate")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*facts, *names])
    for row in report.rows:
        writer.writerow([*(getattr(row, fact) for fact in facts), *(row.metrics.get(name, "") for name in names)])
    return text.getvalue()


def to_markdown(report: Report) -> str:
    lines = page(report.title, tables(report), report.notes)
    facts = [(key, ", ".join(map(str, v)) if isinstance(v, list) else str(v)) for key, v in report.environment.items()]
    return "\n".join([*lines, "", *markdown([("environment", ""), *facts])]) + "\n"


def tables(report: Report) -> list[tuple[str, Table]]:
    """Every table with its caption."""
    found: list[tuple[str, Table]] = []
    for name, caption in TABLES.items():
        columns = [metric for metric in metrics(report.batches) if metric.table == name]
        rows = [[row.name, *row.cells(columns)] for row in report.rows]
        found.append((caption, [["row", *(c.title for c in columns)], *rows]))
    return found


def render(report: Report) -> Group:
    """The report for the terminal."""
    dim = {number for number, row in enumerate(report.rows) if row.status != MEASURED}
    return sheet(report.title, [grid(caption, table, dim=dim) for caption, table in tables(report)], report.notes)


@dataclass(frozen=True)
class Figure:
    """One measured value, and the most that it is meant to be; of a rate, the least."""

    what: str
    value: float
    unit: str  # s, MB or /s
    limit: float

    @property
    def missed(self) -> bool:
        return self.value < self.limit if self.unit == "/s" else self.value > self.limit


def figure_table(title: str, figures: Sequence[Figure]) -> Grid:
    """Each figure beside what it is meant to be, for the terminal."""
    table = [["what", "measured", "meant to be"]]
    for figure in figures:
        bound = "at least" if figure.unit == "/s" else "at most"
        table.append([figure.what, f"{figure.value:.3g} {figure.unit}", f"{bound} {figure.limit:g} {figure.unit}"])
    return grid(title, table, bad={number for number, figure in enumerate(figures) if figure.missed})
