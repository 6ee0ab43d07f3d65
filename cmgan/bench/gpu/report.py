"""What a command has found so far, on disk after every measurement: a killed run still reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmgan.bench.gpu.plan import Record
from cmgan.files import write_atomically

Table = Callable[[list[Record]], list[str]]  # the Markdown lines of the records that were measured

_SHOWN = ("gpu", "date", "commit", "torch", "triton", "python", "os")  # of the environment
UNFINISHED = "it was killed"  # what a report says until its run says better


class Report:
    """`COMMAND.json` and `COMMAND.md` in a folder. Partial until `finish` is told otherwise."""

    def __init__(self, command: str, folder: Path, stamp: dict[str, Any], *, rehearsal: bool, table: Table) -> None:
        self.command, self.folder, self.stamp, self.rehearsal = command, folder, stamp, rehearsal
        self._table = table
        self.records: list[Record] = []
        self.rates: dict[str, float] = {}
        self.total = 0  # measurements that there are
        self.partial = UNFINISHED
        self.current = "the start"

    @property
    def failures(self) -> list[Record]:
        return [record for record in self.records if not record["passed"]]

    @property
    def complete(self) -> bool:
        return not self.partial

    def begin(self, name: str) -> None:
        self.current = name
        self.write()

    def add(self, name: str, record: Record) -> None:
        self.records.append({"name": name, "passed": True, **record})

    def finish(self, partial: str = "") -> None:
        """`partial` is why not everything was measured."""
        self.partial = partial
        self.write()

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            "command": self.command,
            "complete": self.complete,
            "partial": self.partial,
            "rehearsal": self.rehearsal,
            "measurements": self.total,
            "environment": self.stamp,
            "rates": self.rates,
            "records": self.records,
        }
        write_atomically(self.folder / f"{self.command}.json", (json.dumps(content, indent=1) + "\n").encode())
        write_atomically(self.folder / f"{self.command}.md", self.markdown().encode())

    def markdown(self) -> str:
        """The report for people: what it is worth, what failed by name, then the table."""
        lines = [
            f"# gpu-check {self.command}",
            "",
            ", ".join(f"{k} {self.stamp[k]}" for k in _SHOWN if k in self.stamp),
        ]
        if self.rehearsal:
            lines += ["", "**A rehearsal on a CPU: no figure here is a measurement.**"]
        done = f"{len(self.records)} of {self.total} measurements"
        if self.complete:
            lines += ["", f"Complete: {done}, {len(self.failures)} failed."]
        else:
            lines += ["", f"**Partial**: {done}, {len(self.failures)} failed; {self.partial} at: {self.current}."]
        if self.rates:
            product, copy = self.rates["flops"] / 1e12, self.rates["bandwidth"] / 1e12
            lines += ["", f"Measured here: bf16 products {product:.3g} TFLOP/s, copies {copy:.3g} TB/s."]
        if self.failures:
            lines += ["", "## Failed", "", *(f"- {r['name']}: {r.get('error', 'off')}" for r in self.failures)]
        table = self._table([r for r in self.records if "error" not in r])
        return "\n".join([*lines, *([""] if table else []), *table]) + "\n"


def row(*cells: object) -> str:
    """A line of a Markdown table; floats with three digits, None as a dash."""
    texts = ("-" if c is None else f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells)
    return f"| {' | '.join(texts)} |"


def header(*names: str) -> list[str]:
    return [row(*names), "|" + " --- |" * len(names)]
