"""Budgets for continuous integration: `--fail-if 'onnx.p50_ms>12'`."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cmgan.bench.report import Report, metrics
from cmgan.errors import BudgetError, UsageError

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
