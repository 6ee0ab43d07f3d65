"""The folder of a bench: figures for programs, tables for people, plots."""

from __future__ import annotations

import datetime
from pathlib import Path

from cmgan.bench.measure import Outcome
from cmgan.bench.plots import plot_errors, plot_latency, plot_latency_error
from cmgan.bench.report import MEASURED, to_csv, to_json, to_markdown
from cmgan.files import atomic_folder


def default_folder() -> Path:
    """`runs/bench/<UTC time>`; its parents are made."""
    parent = Path("runs", "bench")
    parent.mkdir(parents=True, exist_ok=True)
    return parent / datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")


def write_outcome(outcome: Outcome, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write `bench.json`, `bench.csv`, `bench.md` and the plots into a new folder, whole or not at all.

    Raises:
        UsageError: the parent does not exist, or the folder does and `overwrite` is not given.
        SystemRefusal: it cannot be written.
    """
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        for name, text in (
            ("bench.json", to_json(outcome.report)),
            ("bench.csv", to_csv(outcome.report)),
            ("bench.md", to_markdown(outcome.report)),
        ):
            (temporary / name).write_text(text, encoding="utf-8")
        if any(row.status == MEASURED for row in outcome.report.rows):
            plot_latency(temporary / "latency.png", outcome.report)
            plot_latency_error(temporary / "latency-error.png", outcome.report)
        plot_errors(temporary / "error.png", outcome)
    return sorted(folder.iterdir())
