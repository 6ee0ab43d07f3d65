"""The bench: parity first, then the clock. A row is started, judged, and takes turns with the others."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from cmgan.bench.plan import BenchRequest, Prepared, Progress, prepare
from cmgan.bench.process import RowFailure, Worker
from cmgan.bench.report import CANNOT, FAILED, MEASURED, Report, Row
from cmgan.bench.rows import BASELINE, FORMS, KINDS, RowKind, Setting
from cmgan.errors import MissingError
from cmgan.export.gate.cases import Case, stacked
from cmgan.export.gate.parity import compare, summary
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.machine import environment, physical_cores
from cmgan.runtime.sidecar import files_of

if TYPE_CHECKING:
    from cmgan.export.source import Source


TURNS = 10  # rows take turns, so that a slow spell of the machine hits all of them
_PERCENTILES = (50, 90, 95, 99)
Arrays = tuple[np.ndarray, ...]


@dataclass
class Contender:
    """A row on its way through the bench. It has a worker while it can be measured."""

    kind: RowKind
    setting: Setting
    precision: str = ""
    status: str = MEASURED
    reason: str = ""
    gate: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    output: np.ndarray | None = None  # the picture of the case that is shown
    worker: Worker | None = None

    @property
    def running(self) -> bool:
        return self.worker is not None

    def stop(self, status: str, reason: str) -> None:
        self.status, self.reason = status, reason
        self.close()

    def row(self) -> Row:
        kind = self.kind
        return Row(
            kind.name, kind.about, self.precision, kind.pytorch, self.status, self.reason, self.gate, self.metrics
        )

    def close(self) -> None:
        if self.worker:
            self.worker.close()
        self.worker = None


def start(contender: Contender, arrays: Arrays) -> None:
    """Open the engine in a process of its own; cold start, peak memory and size of its file go to the metrics."""
    worker = contender.worker = Worker(contender.setting)
    try:
        info, load_s = worker.ask("open", contender.kind.name, contender.setting)
        _, first_call_s = worker.ask("paint", *arrays)
        worker.ask("paint", *arrays)
        peak = worker.ask("peak_memory")
    except RowFailure as failure:
        contender.stop(CANNOT, str(failure))
        return
    contender.precision = info.precision
    contender.metrics |= {"load_s": load_s, "first_call_s": first_call_s, "peak_mb": peak / 1e6}
    contender.metrics["size_mb"] = _size(contender.setting) / 1e6


def _size(setting: Setting) -> int:
    """Bytes of the exported file with those beside it that it needs, or of the model folder's weights."""
    files = files_of(setting.artefact) if setting.artefact else list(Path(setting.folder).glob("*.safetensors"))
    return sum(file.stat().st_size for file in files)


def judge(contender: Contender, cases: Sequence[Case], references: Sequence[np.ndarray], kept: str) -> None:
    """Compare its pictures with eager's; one that fails the gate of its precision is stopped.

    Args:
        references: uint8 (1, R, R, 3) for each case.
        kept: the case whose picture is kept.
    """
    assert contender.worker
    gate = "fp16" if contender.precision == "tf32" else contender.precision  # of the same mantissa
    tolerance = TOLERANCES.get(gate)
    contender.gate = gate if tolerance else "none"
    comparisons = []
    try:
        for case, reference in zip(cases, references, strict=True):
            output, _ = contender.worker.ask("paint", *stacked([case]))
            comparisons.append(compare(case.name, reference, output, case.mask[None] >= 128))
            if case.name == kept:
                contender.output = output[0]
    except RowFailure as failure:
        contender.stop(CANNOT, str(failure))
        return
    problem = next((c.problem for c in comparisons if c.problem), "")
    if not problem:
        worst = summary(comparisons)["uint8"]
        contender.metrics |= {
            "hole_max_levels": worst["hole_max_abs"],
            "hole_mean_levels": worst["hole_mean_abs"],
            "hole_equal": worst["hole_equal"],
            "hole_psnr_db": worst["hole_psnr"],
        }
    failures = [c.failure(tolerance) for c in comparisons] if tolerance else []
    if problem or any(failures):
        contender.stop(FAILED, problem or next(filter(None, failures)))


def faster_form(settings: dict[str, Setting], arrays: Arrays, warmup: int) -> tuple[str, dict[str, float]]:
    """Which form of the modulated convolution PyTorch runs faster at batch 1, and the least milliseconds of each.

    Raises:
        RowFailure: PyTorch cannot run the model.
    """
    forms = [Contender(KINDS["eager"], settings[form]) for form in FORMS]
    try:
        for contender in forms:
            start(contender, arrays)
            if not contender.running:
                raise RowFailure(contender.reason)
        times = take_turns(forms, arrays, calls=TURNS, seconds=0, warmup=warmup)
    finally:
        for contender in forms:
            contender.close()
    # A pause of the machine can only add to a time: for so few calls the least says more than the median.
    milliseconds = {form: 1e3 * min(block) for form, block in zip(FORMS, times, strict=True)}
    return min(milliseconds, key=milliseconds.__getitem__), milliseconds


def take_turns(
    contenders: Sequence[Contender],
    arrays: Arrays,
    *,
    calls: int,
    seconds: float,
    warmup: int,
    after_turn: Callable[[], None] = lambda: None,
) -> list[list[float]]:
    """The seconds of at least `calls` calls of each contender, in blocks, one contender after the other.

    One that fails is given its reason and has no times.
    """
    times: list[list[float]] = [[] for _ in contenders]
    turns = min(TURNS, calls)
    for turn in range(turns):
        for contender, block in zip(contenders, times, strict=True):
            if not contender.worker:
                continue
            try:
                for _ in range(0 if turn else warmup):
                    contender.worker.ask("paint", *arrays)
                block += contender.worker.ask("block", arrays, math.ceil(calls / turns), seconds / turns)
            except RowFailure as failure:
                block.clear()
                status = contender.status if "p50_ms" in contender.metrics else CANNOT
                contender.stop(status, f"batch {len(arrays[0])}: {failure}")
        after_turn()
    return times


def latency(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles (linear between neighbours), least and number of the calls."""
    milliseconds = 1e3 * np.asarray(seconds)
    values = {f"p{p}_ms": float(np.percentile(milliseconds, p)) for p in _PERCENTILES}
    return values | {"min_ms": float(milliseconds.min()), "calls": len(seconds)}


def throughput(contenders: Sequence[Contender], arrays: Arrays, calls: int, seconds: float, progress: Progress) -> None:
    """Pictures a second at the batch of `arrays`, from the median call."""
    batch = len(arrays[0])
    progress(f"measuring: batch {batch}")
    able = [c for c in contenders if c.running and c.kind.any_batch]
    for contender, times in zip(able, take_turns(able, arrays, calls=calls, seconds=seconds, warmup=1), strict=True):
        if times:
            contender.metrics[f"pictures_per_s_b{batch}"] = batch / median(times)


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
