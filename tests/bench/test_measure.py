"""Whole benches of the smallest network: parity comes first, reasons stay, ratios are right."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from cmgan.bench.measure import Contender, Outcome, run_bench, start, take_turns
from cmgan.bench.plan import BenchRequest
from cmgan.bench.rows import KINDS, Setting
from cmgan.config import PRESETS
from cmgan.errors import ModelError, UsageError
from cmgan.export.gate.cases import parity_cases, stacked
from cmgan.formats import FORMATS
from cmgan.model.count import count
from cmgan.model.weights import resolve, save_generator

QUICK = {"iters": 2, "min_seconds": 0.0, "warmup": 0, "threads": 1, "resolution": 64}


@pytest.fixture(scope="module")
def healthy(tiny_artefact) -> Outcome:
    request = BenchRequest(model=str(tiny_artefact), formats=("onnx",), batches=(1, 3), **QUICK)
    return run_bench(request)


@pytest.fixture(scope="module")
def faulty(tiny_artefact, tmp_path_factory) -> Outcome:
    """An artefact with one bias moved, and a torch.compile that has no compiler."""
    model = onnx.load(tiny_artefact)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("start_global.bias"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(0.5), tensor.name))
    path = tmp_path_factory.mktemp("bench") / "faulty.onnx"
    onnx.save(model, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXX", "no-such-compiler")
        return run_bench(BenchRequest(artefacts=(path,), formats=("onnx", "compile"), batches=(1,), **QUICK))


def test_measured_rows_have_every_figure(healthy):
    eager, exported = healthy.report.rows
    assert (eager.name, eager.status, exported.name, exported.status) == ("eager", "measured", "onnx", "measured")
    for row in (eager, exported):
        assert all(np.isfinite(value) for value in row.metrics.values())
        assert row.metrics["p50_ms"] >= row.metrics["min_ms"] > 0
        assert row.metrics["p50_ms"] <= row.metrics["p90_ms"] <= row.metrics["p95_ms"] <= row.metrics["p99_ms"]
        assert row.metrics["calls"] >= QUICK["iters"]
        assert row.metrics["pictures_per_s_b3"] > 0
        assert row.gate == "fp32"


def test_ratios_are_of_this_run(healthy):
    eager, exported = (row.metrics for row in healthy.report.rows)
    flops = count(PRESETS["tiny-64"])["all"].flops
    assert eager["speedup_eager"] == eager["speedup_pytorch"] == 1
    assert exported["speedup_eager"] == eager["p50_ms"] / exported["p50_ms"]
    share = flops / (exported["p50_ms"] / 1e3) / (healthy.report.rates["float32"] * 1e9)
    assert exported["share_of_rate"] == pytest.approx(share)
    assert exported["pictures_per_s_b1"] == 1e3 / exported["p50_ms"]


def test_form_of_the_baseline_is_the_faster_one(healthy):
    forms = healthy.report.settings["form_ms"]
    assert set(forms) == {"activation", "weight"}
    assert healthy.report.settings["form"] == min(forms, key=forms.get)


def test_size_and_memory_are_those_of_the_row(healthy, tiny_artefact):
    eager, exported = (row.metrics for row in healthy.report.rows)
    assert exported["size_mb"] == tiny_artefact.stat().st_size / 1e6
    # Without torch an engine takes less than PyTorch alone does.
    assert 20 < exported["peak_mb"] < eager["peak_mb"]


def test_a_row_that_paints_another_picture_is_failed_and_not_timed(faulty):
    row = faulty.report.rows[-1]
    assert (row.name, row.status) == ("onnx", "failed parity")
    assert "the limit" in row.reason
    assert row.metrics["hole_max_levels"] > 1
    assert not {"p50_ms", "speedup_eager", "speedup_pytorch", "share_of_rate"} & set(row.metrics)
    assert not np.array_equal(faulty.outputs["onnx"], faulty.reference)


def test_a_row_that_cannot_run_keeps_its_reason(faulty):
    row = faulty.report.rows[1]
    assert (row.name, row.status) == ("compile", "cannot run")
    assert "no no-such-compiler: install g++" in row.reason
    assert not row.metrics


def test_other_weights_are_refused(tiny_artefact):
    request = BenchRequest(model="small-256", artefacts=(tiny_artefact,), formats=("onnx",))
    with pytest.raises(UsageError, match="was not exported from small-256"):
        run_bench(request)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        run_bench(BenchRequest(model=str(tmp_path / "none.onnx")))


def test_other_resolution_is_refused(tiny_artefact):
    with pytest.raises(UsageError, match="--res 256: .*works at 64"):
        run_bench(BenchRequest(model=str(tiny_artefact), resolution=256))


def test_a_dying_engine_gives_a_reason_and_takes_no_other_with_it(tiny_artefact, tmp_path):
    setting = Setting(tmp_path, tiny_artefact, "activation", 1, "cpu")
    arrays = stacked(parity_cases(64, 64)[:1])
    dying, living = (Contender(KINDS["onnx"], setting) for _ in range(2))
    try:
        for contender in (dying, living):
            start(contender, arrays)
        assert dying.worker
        dying.worker._process.kill()
        times = take_turns([dying, living], arrays, calls=2, seconds=0, warmup=0)
    finally:
        living.close()
    assert dying.status == "cannot run"
    assert "ended by signal 9" in dying.reason
    assert [len(block) for block in times] == [0, 2]


def test_missing_row_file_keeps_the_library_s_words(tmp_path):
    contender = Contender(KINDS["onnx"], Setting(tmp_path, tmp_path / "none.onnx", "activation", 1, "cpu"))
    start(contender, stacked(parity_cases(64, 64)[:1]))
    assert (contender.status, contender.reason) == ("cannot run", "no such file")


@pytest.mark.check
def test_a_compiled_row_leaves_nothing_beside_the_model(tmp_path):
    model = tmp_path / "tiny"
    save_generator(resolve("tiny-64").generator, model, trained=False, licence="MIT")
    outcome = run_bench(BenchRequest(model=str(model), formats=("compile",), batches=(1,), **QUICK))
    assert [row.status for row in outcome.report.rows] == ["measured"] * 2
    assert list(tmp_path.iterdir()) == [model]


@pytest.mark.check
def test_without_a_file_the_model_is_exported():
    """Every format and precision in a row of its own, judged by its own tolerances."""
    formats, precisions = ("onnx", "openvino"), ("fp32", "bf16")
    report = run_bench(BenchRequest(formats=formats, precisions=precisions, batches=(1,), **QUICK)).report
    rows = {row.name: row for row in report.rows}
    assert [rows[name].status for name in ("eager", "onnx", "openvino")] == ["measured"] * 3
    half = rows["openvino-bf16"]  # the smallest network may fail its gate, a processor may not have it
    assert half.precision == "bf16" and (half.status == "measured" or half.reason)
    if half.status == "measured":
        assert half.gate == "bf16" and half.metrics["share_of_rate"] > 0


def test_a_format_without_a_precision_is_a_row_that_says_so(tiny_artefact, monkeypatch):
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], precisions=("fp32",)))
    request = BenchRequest(
        model=str(tiny_artefact), formats=("onnx",), precisions=("fp32", "int8"), batches=(1,), **QUICK
    )
    row = run_bench(request).report.rows[-1]
    assert (row.name, row.precision, row.status) == ("onnx-int8", "int8", "cannot run")
    assert row.reason == "onnx has no int8; it has fp32"
