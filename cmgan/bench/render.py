"""A report on the screen. Nothing here prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cmgan.bench.figures import Figure
from cmgan.bench.report import MEASURED, TABLES, Report, metrics

# Narrow enough for 80 columns.
_PLAIN: dict[str, Any] = {"title_justify": "left", "box": box.SIMPLE_HEAD, "show_edge": False, "padding": (0, 0, 0, 1)}


def render(report: Report) -> Group:
    """The tables of a report, and the notes below them."""
    tables = [part for name in TABLES for part in (Text(), table(report, name))]
    return Group(Text(report.title, style="bold"), *tables, Text(), *(Text(f"- {note}") for note in report.notes))


def table(report: Report, which: str) -> Table:
    """One of the tables of `report.TABLES`."""
    columns = [metric for metric in metrics(report.batches) if metric.table == which]
    grid = Table(title=TABLES[which], **_PLAIN)
    grid.add_column("row", no_wrap=True)
    for metric in columns:
        grid.add_column(metric.title, justify="right", no_wrap=True)
    for row in report.rows:
        grid.add_row(row.name, *row.cells(columns), style=None if row.status == MEASURED else "dim")
    return grid


def figure_table(title: str, figures: Sequence[Figure]) -> Table:
    """Each figure beside what it is meant to be."""
    grid = Table(title=title, **_PLAIN)
    grid.add_column("what")
    grid.add_column("measured", justify="right")
    grid.add_column("meant to be", justify="right")
    for figure in figures:
        bound = "at least" if figure.unit == "/s" else "at most"
        grid.add_row(
            figure.what,
            f"{figure.value:.3g} {figure.unit}",
            f"{bound} {figure.limit:g} {figure.unit}",
            style="bold red" if figure.missed else None,
        )
    return grid
