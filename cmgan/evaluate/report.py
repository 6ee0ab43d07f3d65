"""What an evaluation found, and its texts: JSON (versioned) and Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cmgan.evaluate.bootstrap import CONFIDENCE, RESAMPLES, Estimate
from cmgan.evaluate.metrics import MOST_DB, Metric
from cmgan.tables import Table, grid, page, sheet

if TYPE_CHECKING:
    from rich.console import Group

SCHEMA = 1

MODEL = "model"  # the name of its rows beside those of the baselines
EVERY = "all"  # the bin of all pairs


@dataclass(frozen=True)
class Row:
    """A method on the pairs of one bin of hole ratios.

    `scores` are means over pairs; `against` holds, for the model only, baseline -> metric -> the mean difference, model
    minus baseline, pair by pair; `sets` the distances of sets of features, which have no interval.
    """

    method: str
    bin: str
    pairs: int
    pictures: int
    scores: dict[str, Estimate]
    against: dict[str, dict[str, Estimate]]
    sets: dict[str, float]


@dataclass(frozen=True)
class Report:
    """A whole evaluation. `pairs` holds every pair's own numbers."""

    model: dict[str, Any]  # format, name, resolution, precision, trained, weights_sha256
    settings: dict[str, Any]  # images, masks, by_name, seed, set_sha256, extractors
    metrics: tuple[Metric, ...]  # of pairs, in the order of the tables
    rows: tuple[Row, ...]
    pairs: tuple[dict[str, Any], ...]  # picture, mask, hole (share), scores: method -> metric -> number
    schema: int = SCHEMA

    def row(self, method: str, bin: str = EVERY) -> Row:
        """The one row of that method and bin."""
        return next(row for row in self.rows if (row.method, row.bin) == (method, bin))

    @property
    def title(self) -> str:
        """One line: what was judged, on what."""
        trained = "" if self.model["trained"] else ", untrained"
        whole = self.row(MODEL)
        what = f"{self.model['name']} ({self.model['format']}, {self.model['precision']}{trained})"
        return f"{what} on {whole.pairs} fillings of {whole.pictures} pictures at {self.model['resolution']}"

    @property
    def notes(self) -> list[str]:
        """What has to be said below the tables."""
        lines = [
            f"In brackets: {CONFIDENCE:.0%} interval of the mean, percentile bootstrap over pictures with "
            f"{RESAMPLES} resamples. With few pictures such intervals are too narrow.",
            f"PSNR counts {MOST_DB:.0f} dB where nothing differs. L1 is in 8-bit levels.",
        ]
        extractors = self.settings["extractors"]
        lines += [f"{name}: {about}." for name, about in extractors.items()]
        if extractors and "lpips" not in extractors:
            lines.append("No LPIPS: its weights were not given (--extractor lpips:FILE); these are other features.")
        if self.row(MODEL).sets:
            if "inception" not in extractors:
                lines.append(
                    "No FID as it is published: Inception's weights were not given (--extractor inception:FILE); "
                    "fid_* is the same distance in other features."
                )
            lines.append(
                "FID, P-IDS and U-IDS depend on the number of samples (thousands are usual) and on the extractor: "
                "compare them within this report only. P-IDS and U-IDS need more fillings than there are features."
            )
        return lines


def to_json(report: Report) -> str:
    document = asdict(report)
    for row, source in zip(document["rows"], report.rows, strict=True):
        row["scores"] = _estimates(source.scores)
        row["against"] = {name: _estimates(found) for name, found in source.against.items()}
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _estimates(found: dict[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: estimate._asdict() for name, estimate in found.items()}


def to_markdown(report: Report) -> str:
    return "\n".join(page(report.title, tables(report), report.notes)) + "\n"


def render(report: Report) -> Group:
    """The report for the terminal."""
    return sheet(report.title, [grid(caption, table) for caption, table in tables(report)], report.notes)


def tables(report: Report) -> list[tuple[str, Table]]:
    """Every table with its caption."""
    whole = [row for row in report.rows if row.bin == EVERY]
    found = [("Means over all fillings", _scores(report, whole))]
    if report.row(MODEL).against:
        found.append(
            ("Model minus baseline, filling by filling; * better, and the interval excludes zero", _differences(report))
        )
    if any(row.sets for row in whole):
        found.append(("Distances of sets", _sets(whole)))
    found.append(("By share of the picture that the hole covers", _bins(report)))
    return found


def _scores(report: Report, rows: Sequence[Row]) -> Table:
    heads = ["", *(row.method for row in rows)]
    return [heads, *([m.title, *(_shown(row.scores[m.name], m.digits) for row in rows)] for m in report.metrics)]


def _differences(report: Report) -> Table:
    against = report.row(MODEL).against
    return [["", *against], *([m.title, *(_judged(of[m.name], m) for of in against.values())] for m in report.metrics)]


def _sets(rows: Sequence[Row]) -> Table:
    heads = ["", *(row.method for row in rows)]
    return [heads, *([name.replace("_", " "), *(f"{row.sets[name]:.3f}" for row in rows)] for name in rows[0].sets)]


def _bins(report: Report) -> Table:
    """Means only."""
    heads = ["hole", "fillings", "method", *(metric.title for metric in report.metrics)]
    return [heads] + [
        [row.bin, str(row.pairs), row.method, *(f"{row.scores[m.name].mean:.{m.digits}f}" for m in report.metrics)]
        for row in report.rows
        if row.bin != EVERY
    ]


def better(difference: Estimate, metric: Metric) -> bool:
    """Whether a difference is an improvement whose interval excludes zero."""
    if difference.low is None or difference.high is None:
        return False
    return difference.low > 0 if metric.higher_is_better else difference.high < 0


def _judged(difference: Estimate, metric: Metric) -> str:
    text = _shown(difference, metric.digits, sign="+")
    return f"{text} *" if better(difference, metric) else text


def _shown(estimate: Estimate, digits: int, sign: str = "") -> str:
    mean, low, high = (None if x is None else f"{x:{sign}.{digits}f}" for x in estimate)
    return str(mean) if low is None else f"{mean} [{low}, {high}]"
