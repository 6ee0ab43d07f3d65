"""The files of a report say what the report says."""

import csv
import io
import json
from dataclasses import asdict, replace

import numpy as np
from rich.console import Console

from cmgan.bench.measure import latency
from cmgan.bench.report import TABLES, metrics, render, to_csv, to_json, to_markdown
from tests.bench.reports import report


def test_percentiles_are_those_of_the_sorted_calls():
    seconds = np.random.default_rng(0).permutation(np.arange(1, 102) / 1e3)  # 1 to 101 ms: the p-th is at 1 + p
    figures = latency(list(seconds))
    assert [round(figures[f"p{p}_ms"], 9) for p in (50, 90, 95, 99)] == [51, 91, 96, 100]
    assert round(figures["min_ms"], 9) == 1
    assert figures["calls"] == 101
    assert figures["p90_ms"] == np.quantile(1e3 * seconds, 0.9)


def test_json_is_the_report():
    read = json.loads(to_json(report()))
    assert read["schema"] == 1
    assert read == json.loads(json.dumps(asdict(report())))
    assert read["rows"][0]["metrics"] == report().rows[0].metrics


def test_csv_has_every_number_in_full():
    wanted = report()
    lines = list(csv.DictReader(io.StringIO(to_csv(wanted))))
    assert [line["name"] for line in lines] == [row.name for row in wanted.rows]
    for line, row in zip(lines, wanted.rows, strict=True):
        assert (line["status"], line["reason"], line["precision"]) == (row.status, row.reason, row.precision)
        seen = {m.name: float(line[m.name]) for m in metrics(wanted.batches) if line[m.name]}
        assert seen == row.metrics


def test_markdown_has_every_shown_number_and_reason():
    wanted = report()
    text = to_markdown(wanted)
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    for name in TABLES:
        columns = [metric for metric in metrics(wanted.batches) if metric.table == name]
        assert ["row", *(metric.title for metric in columns)] in cells
        for row in wanted.rows:
            assert [row.name, *row.cells(columns)] in cells
    assert "no g++ \\| here" in text
    assert "large: max_abs is 90" in text


def test_a_row_without_figures_shows_its_status():
    wanted = report()
    speed = [metric for metric in metrics(wanted.batches) if metric.table == "speed"]
    cells = {row.name: row.cells(speed) for row in wanted.rows}
    assert cells["compile"][0] == "cannot run"
    assert cells["onnx"][0] == "failed parity"
    assert set(cells["onnx"][1:]) == {"-"}


def test_tables_fit_80_columns_and_lose_nothing():
    wanted = report()
    three = replace(wanted, settings=wanted.settings | {"batches": [1, 2, 4]})
    console = Console(width=80, file=io.StringIO(), legacy_windows=False)
    console.print(render(replace(three, rows=three.rows[:3])))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "\u2026" not in text  # nothing is cut
    for row in three.rows[:3]:
        for name in TABLES:
            shown = row.cells([metric for metric in metrics(three.batches) if metric.table == name])
            assert any([row.name, *shown] == line.split() for line in text.splitlines())


def test_notes_name_what_was_not_judged_and_what_failed():
    notes = "\n".join(report().notes)
    assert "eager-bf16 (bf16)" in notes
    assert "compile: cannot run: no g++" in notes
    assert "onnx: failed parity: large" in notes
