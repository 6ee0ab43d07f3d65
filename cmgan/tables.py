"""Tables of text, for Markdown files and for the terminal. Nothing here prints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table as Grid

Table = Sequence[Sequence[str]]  # rows of cells, the heads first; the first column is the rows' name


def markdown(table: Table) -> list[str]:
    """The lines of a Markdown table: names to the left, the rest to the right."""
    heads, *rows = table
    rule = ["---", *("---:" for _ in heads[1:])]
    return ["| " + " | ".join(map(_cell, row)) + " |" for row in (heads, rule, *rows)]


def page(title: str, tables: Sequence[tuple[str, Table]], notes: Sequence[str]) -> list[str]:
    """The lines of a Markdown page: a title, tables with their captions, notes."""
    lines = [f"# {title}", ""]
    for caption, table in tables:
        lines += [f"{caption}:", "", *markdown(table), ""]
    return lines + [f"- {_cell(note)}" for note in notes]


def grid(caption: str, table: Table, *, dim: Collection[int] = (), bad: Collection[int] = ()) -> Grid:
    """A table for the terminal, narrow enough for 80 columns; `dim` and `bad` are numbers of rows, from 0."""
    from rich import box
    from rich.table import Table as Grid

    heads, *rows = table
    made = Grid(title=caption, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    for index, head in enumerate(heads):
        made.add_column(head, justify="right" if index else "left", no_wrap=True)
    for number, row in enumerate(rows):
        made.add_row(*row, style="bold red" if number in bad else "dim" if number in dim else None)
    return made


def sheet(title: str, grids: Sequence[Grid], notes: Sequence[str]) -> Group:
    """A whole report for the terminal: a title, tables, notes."""
    from rich.console import Group
    from rich.text import Text

    spaced = [part for table in grids for part in (Text(), table)]
    return Group(Text(title, style="bold"), *spaced, Text(), *(Text(f"- {note}") for note in notes))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
