"""The bench: parity first, then the clock."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from cmgan.bench.environment import environment, physical_cores
from cmgan.bench.measure import Arrays, Contender, faster_form, judge, latency, start, take_turns, throughput
from cmgan.bench.prepare import Prepared, Progress, prepare
from cmgan.bench.report import MEASURED, Report
from cmgan.bench.request import BenchRequest
from cmgan.bench.rows import BASELINE, FORMS, KINDS, Setting
from cmgan.bench.worker import RowFailure
from cmgan.errors import MissingError
from cmgan.export.gate.cases import Case, stacked

if TYPE_CHECKING:
    from cmgan.export.source import Source

SHOWN = "large"  # the case whose pictures are kept for the heat map
_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}  # precisions whose convolutions run in a type of their own


@dataclass(frozen=True, eq=False)
class Outcome:
    """The report, and the pictures behind its heat map: uint8 (R, R, 3) of eager and of every row that painted."""

    report: Report
    case: Case
    reference: np.ndarray
    outputs: dict[str, np.ndarray]


def run_bench(request: BenchRequest, progress: Progress = lambda step: None) -> Outcome:
    """Measure the rows that `request` asks for.

    Raises:
        UsageError: model, size and files do not fit together.
        ModelError: the model or a file is unusable.
        MissingError: PyTorch, or the device for the baseline, is missing. Other rows keep their reasons.
    """
    threads = request.threads or physical_cores()
    with tempfile.TemporaryDirectory(prefix="cmgan-bench-") as name, ExitStack() as stack:
        prepared = prepare(request, Path(name), progress)
        cases = prepared.source.cases
        settings = {form: Setting(prepared.folder, None, form, threads, request.device) for form in FORMS}
        progress("choosing the faster form of the modulated convolution")
        try:
            form, form_ms = faster_form(settings, stacked(cases[:1]), request.warmup)
        except RowFailure as failure:
            raise MissingError("bench_baseline", f"the PyTorch model cannot run: {failure}") from None
        contenders = _contenders(request, prepared, settings[form])
        for contender in contenders:
            stack.callback(contender.close)
        reference = _check(contenders, prepared.source, progress)
        rates = _measure(contenders, request, cases, progress)
    model = _model_facts(prepared)
    _rate(contenders, model["flops"], rates)
    report = Report(
        model=model,
        environment=environment(threads),
        settings={
            "iters": request.iters,
            "min_seconds": request.min_seconds,
            "warmup": request.warmup,
            "batches": list(request.batches),
            "device": request.device,
            "threads": threads,
            "form": form,
            "form_ms": form_ms,
        },
        rates=rates,
        rows=tuple(contender.row() for contender in contenders),
    )
    outputs = {c.kind.name: c.output for c in contenders if c.output is not None}
    return Outcome(report, next(c for c in cases if c.name == SHOWN), reference, outputs)


def _contenders(request: BenchRequest, prepared: Prepared, setting: Setting) -> list[Contender]:
    contenders = []
    for name in request.rows:
        kind, artefact = KINDS[name], prepared.artefacts.get(name)
        own = Setting(setting.folder, artefact, setting.form, setting.threads, setting.device)
        contender = Contender(kind, own, kind.precision)
        if not kind.pytorch and artefact is None:
            contender.stop(*prepared.missing[name])
        contenders.append(contender)
    return contenders


def _check(contenders: Sequence[Contender], source: Source, progress: Progress) -> np.ndarray:
    """Start every row and judge its pictures; the reference of the case that is shown."""
    progress("painting with the eager model")
    cases, references = source.cases, [picture for picture, _ in source.references]
    for contender in contenders:
        if contender.status == MEASURED:
            progress(f"starting: {contender.kind.name}")
            start(contender, stacked(cases[:1]))
        if contender.running:
            progress(f"comparing: {contender.kind.name}")
            judge(contender, cases, references, SHOWN)
    return next(r[0] for c, r in zip(cases, references, strict=True) if c.name == SHOWN)


def _measure(
    contenders: Sequence[Contender], request: BenchRequest, cases: list[Case], progress: Progress
) -> dict[str, float]:
    """Latency and throughput of the rows that passed, and the machine's rates while the latencies were taken."""
    progress("measuring: batch 1")
    running = [c for c in contenders if c.running]
    rates: defaultdict[str, list[float]] = defaultdict(list)

    def measure_products() -> None:
        for dtype, rate in _product_rates(running, request.device).items():
            rates[dtype].append(rate)

    times = take_turns(
        running,
        stacked(cases[:1]),
        calls=request.iters,
        seconds=request.min_seconds,
        warmup=request.warmup,
        after_turn=measure_products,
    )
    for contender, seconds in zip(running, times, strict=True):
        if seconds:
            contender.metrics |= latency(seconds)
            if 1 in request.batches:
                contender.metrics["pictures_per_s_b1"] = 1e3 / contender.metrics["p50_ms"]
    for batch in (n for n in request.batches if n > 1):
        calls = math.ceil(request.iters / (2 * batch))
        throughput(running, _batch(cases, batch), calls, request.min_seconds / 2, progress)
    return {dtype: median(seen) for dtype, seen in rates.items()}


def _batch(cases: list[Case], size: int) -> Arrays:
    return stacked([cases[i % len(cases)] for i in range(size)])


def _product_rates(contenders: Iterable[Contender], device: str) -> dict[str, float]:
    """GFLOP/s of a matrix product in each type that the running rows compute in, with the rows' threads."""
    dtypes = dict.fromkeys(_DTYPES[c.precision] for c in contenders if c.running and c.precision in _DTYPES)
    pytorch = next((c for c in contenders if c.worker and c.kind.pytorch), None)
    if pytorch is None or pytorch.worker is None:
        return {}
    return {dtype: pytorch.worker.ask("rate", dtype, device) / 1e9 for dtype in dtypes}


def _rate(contenders: Sequence[Contender], flops: int, rates: dict[str, float]) -> None:
    """Speed-ups against the baseline and the fastest fp32 PyTorch row, and the share of the machine's rate."""
    timed = [c for c in contenders if "p50_ms" in c.metrics]
    eager = next((c.metrics["p50_ms"] for c in timed if c.kind.name == BASELINE), None)
    plain = [c for c in timed if c.kind.pytorch and not c.kind.kernels and c.precision == "fp32"]
    fastest = min((c.metrics["p50_ms"] for c in plain), default=None)
    for contender in timed:
        p50 = contender.metrics["p50_ms"]
        if eager:
            contender.metrics["speedup_eager"] = eager / p50
        if fastest:
            contender.metrics["speedup_pytorch"] = fastest / p50
        if rate := rates.get(_DTYPES.get(contender.precision, "")):
            contender.metrics["share_of_rate"] = flops / (p50 / 1e3) / (rate * 1e9)


def _model_facts(prepared: Prepared) -> dict[str, Any]:
    from cmgan.model.count import count

    loaded = prepared.source.loaded
    config = loaded.generator.config
    cost = count(config)["all"]
    return {
        "name": config.name,
        "resolution": config.resolution,
        "trained": loaded.trained,
        "weights_sha256": loaded.digest,
        "parameters": cost.parameters,
        "flops": cost.flops,
    }
