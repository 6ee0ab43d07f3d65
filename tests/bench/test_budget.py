"""`--fail-if`: what it reads, what it refuses, what it fails."""

import pytest

from cmgan.bench.plan import check_budgets, parse_budget
from cmgan.errors import BudgetError, UsageError
from tests.bench.reports import report

ROWS = ("eager", "eager-channels-last", "eager-bf16", "compile", "onnx")


def parsed(text: str):
    return parse_budget(text, ROWS, (1, 2))


@pytest.mark.parametrize(
    "text",
    ["", "onnx", "onnx.p50_ms", "onnx.p50_ms>", "onnx.p50_ms=12", "onnx.p50_ms>nan", "p50_ms>12", "a>b", "x.y>1;"],
)
def test_malformed_expressions(text):
    with pytest.raises(UsageError, match="ROW.METRIC>NUMBER is needed"):
        parsed(text)


def test_unknown_names_are_listed():
    with pytest.raises(UsageError, match="no row 'onxx'; there are eager, "):
        parsed("onxx.p50_ms>12")
    with pytest.raises(UsageError, match="no metric 'p51_ms'; there are .*p50_ms.*pictures_per_s_b2"):
        parsed("onnx.p51_ms>12")
    with pytest.raises(UsageError, match="no metric 'pictures_per_s_b4'"):
        parsed("onnx.pictures_per_s_b4<1")


@pytest.mark.parametrize(
    ("text", "missed"),
    [
        ("eager-channels-last.speedup_eager<1.25", False),  # it is exactly 1.25
        ("eager-channels-last.speedup_eager<=1.25", True),
        ("eager-channels-last.speedup_eager > 1.25", False),
        (" eager-channels-last.speedup_eager>=1.25", True),
        ("eager.min_ms>499", True),
        ("eager.min_ms>5.01e2", False),
    ],
)
def test_each_comparison(text, missed):
    assert bool(parsed(text).missed(report())) is missed


def test_rows_without_the_figure_miss_every_budget():
    assert parsed("compile.p50_ms>1e9").missed(report()) == "compile.p50_ms>1e9: not measured (no g++ | here)"
    assert "not measured" in parsed("onnx.speedup_eager<0").missed(report())


def test_all_missed_budgets_are_named_and_none_passes():
    check_budgets(report(), [parsed("eager.min_ms>501")])
    with pytest.raises(BudgetError) as caught:
        check_budgets(report(), [parsed("eager.min_ms>1"), parsed("eager.calls>5"), parsed("eager.min_ms>501")])
    assert caught.value.exit_code == 10
    assert caught.value.message == "2 missed: eager.min_ms>1: it is 500; eager.calls>5: it is 10"
