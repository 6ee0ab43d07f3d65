"""An evaluation on the screen. Nothing here prints."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cmgan.evaluate.report import Report, tables


def render(report: Report) -> Group:
    """The tables of a report, and the notes below them."""
    grids = [part for caption, content in tables(report) for part in (Text(), _grid(caption, content))]
    return Group(Text(report.title, style="bold"), *grids, Text(), *(Text(f"- {note}") for note in report.notes))


def _grid(caption: str, content: list[list[str]]) -> Table:
    heads, *lines = content
    grid = Table(title=caption, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    for index, head in enumerate(heads):
        grid.add_column(head, justify="right" if index else "left", no_wrap=True)
    for line in lines:
        grid.add_row(*line)
    return grid
