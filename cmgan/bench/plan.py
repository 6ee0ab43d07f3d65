"""What a bench is asked to do, checked before any work; then the model and the exported files that it needs."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cmgan.bench.report import CANNOT, FAILED, Report, metrics
from cmgan.bench.rows import BASELINE, KINDS, PRECISIONS, USUAL_FORMATS, RowKind, row_name
from cmgan.config import PRESETS, check_resolution, chosen_model
from cmgan.errors import BudgetError, CmganError, NumbersError, UsageError, needs
from cmgan.formats import FORMATS, format_of
from cmgan.runtime.engine import EngineInfo
from cmgan.runtime.open import open_engine
from cmgan.weights import bundled

if TYPE_CHECKING:
    from cmgan.export.source import Source


_PYTORCH_ROWS = tuple(kind.name for kind in KINDS.values() if kind.pytorch)


@dataclass(frozen=True)
class BenchRequest:
    """What to measure and for how long; `UsageError` for a value that makes no sense.

    `model` is a preset, a model folder or an exported file; None takes the preset of `resolution`. `artefacts` are
    exported files of the same weights. `formats` names PyTorch rows and formats of exported files, each of which is a
    row in each of `precisions`; empty means every PyTorch row that the device can have and the usual formats. Every row
    is called at least `iters` times and for `min_seconds` at batch 1, and with half as many pictures at each of the
    `batches`. `threads` 0 means one a physical core.
    """

    model: str | None = None
    resolution: int | None = None
    artefacts: tuple[Path, ...] = ()
    formats: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)  # of exported files
    batches: tuple[int, ...] = (1, 2, 4)
    iters: int = 20
    min_seconds: float = 5.0
    warmup: int = 2  # calls of each row that are not counted
    threads: int = 0
    device: str = "cpu"
    fail_if: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_whole("iters", self.iters, 1, 1_000_000)
        _check_whole("warmup", self.warmup, 0, 10_000)
        _check_whole("threads", self.threads, 0, 1024)
        for batch in self.batches:
            _check_whole("batch", batch, 1, 1024)
        if not self.batches or len(set(self.batches)) != len(self.batches):
            raise UsageError("bench_batch", f"batches {self.batches}: one or more different numbers are needed")
        seconds = self.min_seconds
        if isinstance(seconds, bool) or not math.isfinite(seconds) or not 0 <= seconds <= 3600:
            raise UsageError("bench_min_seconds", f"min-seconds is {seconds}; 0 to 3600 is possible")
        if unknown := [name for name in self.precisions if name not in PRECISIONS]:
            raise UsageError("precision", f"--precision {unknown[0]!r}: known are {', '.join(PRECISIONS)}")
        for name in self.formats:
            _check_row(name)
        _ = self.model_name, self.budgets

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """`fail_if`, parsed."""
        return tuple(parse_budget(text, self.rows, self.batches) for text in self.fail_if)

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows wanted, in the order of the table; the baseline is always among them."""
        able = {name for name in _PYTORCH_ROWS if self.device != "cpu" or not KINDS[name].gpu}
        named = {BASELINE, *self.formats} if self.formats else {*able, *USUAL_FORMATS}
        formats = {format_of(name).name for name in named.difference(_PYTORCH_ROWS)}
        exported = {row_name(format, precision) for format in formats for precision in self.precisions}
        return tuple(name for name in KINDS if name in exported | named.intersection(_PYTORCH_ROWS))

    @property
    def model_name(self) -> str:
        """The preset, folder or file that is meant."""
        return chosen_model(self.model, self.resolution)


def _check_row(name: str) -> None:
    if name in _PYTORCH_ROWS:
        return
    try:
        format_of(name)
    except UsageError:
        known = ", ".join((*_PYTORCH_ROWS, *FORMATS))
        message = f"no row is called {name!r}; there are {known} (--precision chooses that of exported files)"
        raise UsageError("bench_row", message) from None


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        message = f"{name} is {str(value)[:40]}; a whole number from {least} to {most} is needed"
        raise UsageError(f"bench_{name}", message)


_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?"
_EXPRESSION = re.compile(rf"\s*([\w-]+)\.(\w+)\s*(<=|>=|<|>)\s*({_NUMBER})\s*", re.ASCII)


@dataclass(frozen=True)
class Budget:
    """The bench fails when `row`'s `metric` compares so with `limit`."""

    text: str
    row: str
    metric: str
    comparison: str
    limit: float

    def missed(self, report: Report) -> str:
        """Why this budget is missed, or nothing. A row that was not measured misses every budget."""
        row = next((r for r in report.rows if r.name == self.row), None)
        if row is None or self.metric not in row.metrics:
            return f"{self.text}: not measured" + (f" ({row.reason})" if row and row.reason else "")
        value = row.metrics[self.metric]
        return f"{self.text}: it is {value:.4g}" if _COMPARISONS[self.comparison](value, self.limit) else ""


def parse_budget(text: str, rows: Sequence[str], batches: Sequence[int]) -> Budget:
    """Read `ROW.METRIC>NUMBER` (or <, >=, <=).

    Raises:
        UsageError: it is no such expression, or names a row or a metric that a bench of `rows` and `batches` has not.
    """
    match = _EXPRESSION.fullmatch(text)
    if not match:
        raise UsageError("budget", f"--fail-if {text[:60]!r}: ROW.METRIC>NUMBER is needed, such as 'onnx.p50_ms>12'")
    row, metric, comparison, limit = match.groups()
    if row not in rows:
        raise UsageError("budget", f"--fail-if {text[:60]!r}: no row {row!r}; there are {', '.join(rows)}")
    known = [m.name for m in metrics(batches)]
    if metric not in known:
        raise UsageError("budget", f"--fail-if {text[:60]!r}: no metric {metric!r}; there are {', '.join(known)}")
    return Budget(text.strip(), row, metric, comparison, float(limit))


def check_budgets(report: Report, budgets: Iterable[Budget]) -> None:
    """Raise `BudgetError`, naming each with the value seen, when one is missed."""
    missed = [reason for budget in budgets if (reason := budget.missed(report))]
    if missed:
        raise BudgetError("budget_missed", f"{len(missed)} missed: " + "; ".join(missed))


Progress = Callable[[str], None]  # called with what is being done


@dataclass(frozen=True)
class Prepared:
    """The model in memory and on disk, and the exported files of the rows; `missing` says why a row has none: its
    status and the reason."""

    source: Source
    folder: Path
    artefacts: dict[str, Path]
    missing: dict[str, tuple[str, str]]


def prepare(request: BenchRequest, work: Path, progress: Progress) -> Prepared:
    """Load the model, and export what was not given, into the temporary folder `work`.

    Raises:
        UsageError: model, size and files do not fit together.
        ModelError, MissingError: the model or a file cannot be used.
    """
    with needs("the bench", "cmgan[cpu,export]"):
        from cmgan.export.source import Source
        from cmgan.model.weights import resolve, save_generator
    progress("loading the model")
    given = _given(request)
    name = request.model_name
    loaded = resolve(_preset_behind(given[Path(name)], name) if Path(name) in given else name)
    check_resolution(request.resolution, loaded.generator.config.resolution, name)
    for path, info in given.items():
        if info.weights_sha256 != loaded.digest:
            message = f"was not exported from {name}; give the model of its weights: --model FOLDER --artefact FILE"
            raise UsageError("other_weights", message, file=path)
    folder = bundled().get(name, Path(name))
    if not folder.is_dir():
        folder = work / "model"
        save_generator(loaded.generator, folder, trained=loaded.trained, licence=loaded.licence)
    artefacts = {row_name(info.format, info.precision): path for path, info in given.items()}
    prepared = Prepared(Source(loaded), folder, artefacts, {})
    for kind in (KINDS[row] for row in request.rows):
        if not kind.pytorch and kind.name not in artefacts:
            try:
                artefacts[kind.name] = _exported(kind, prepared.source, work, request, progress)
            except CmganError as error:
                status = FAILED if isinstance(error, NumbersError) else CANNOT
                prepared.missing[kind.name] = status, error.message
    return prepared


def _given(request: BenchRequest) -> dict[Path, EngineInfo]:
    """The exported files that the user named, and what they are."""
    name = request.model_name
    paths = list(request.artefacts)
    if name not in PRESETS and name not in bundled() and not Path(name).is_dir():
        paths.insert(0, Path(name))
    given = {path: open_engine(path).info for path in paths}
    for path, info in given.items():
        check_resolution(request.resolution, info.resolution, path.name)
        if row_name(info.format, info.precision) not in request.rows:
            message = f"is of the row {row_name(info.format, info.precision)}; the rows are {', '.join(request.rows)}"
            raise UsageError("bench_row", f"{message} (see --formats and --precision)", file=path)
    if len({(info.format, info.precision) for info in given.values()}) < len(given):
        raise UsageError("bench_artefact", "two files of one format and precision were given; a bench takes one")
    return given


def _preset_behind(info: EngineInfo, name: str) -> str:
    if info.trained or info.name not in PRESETS:
        message = "holds weights of its own; give the folder of its model: --model FOLDER --artefact FILE"
        raise UsageError("other_weights", message, file=name)
    return info.name


def _exported(kind: RowKind, source: Source, work: Path, request: BenchRequest, progress: Progress) -> Path:
    """Export the row's file; any `CmganError` is why there is none."""
    from cmgan.export.artefact import export_model
    from cmgan.export.options import ExportOptions

    format = FORMATS[kind.format]
    if kind.precision not in format.precisions:
        raise UsageError("precision", f"{format.name} has no {kind.precision}; it has {', '.join(format.precisions)}")
    largest = max(request.batches) if "batch_max" in format.flags else None
    options = ExportOptions(format=format.name, precision=kind.precision, batch_max=largest, advise=False)
    return export_model(source, work / kind.name, options, progress=lambda s: progress(f"{kind.name}: {s}")).file
