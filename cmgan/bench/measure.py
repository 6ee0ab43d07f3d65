"""The measurements, in the order in which a row goes through them: start, judge, take turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from cmgan.bench.prepare import Progress
from cmgan.bench.report import CANNOT, FAILED, MEASURED, Row
from cmgan.bench.rows import FORMS, KINDS, RowKind, Setting
from cmgan.bench.worker import RowFailure, Worker
from cmgan.export.gate.cases import Case, stacked
from cmgan.export.gate.parity import compare, summary
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.runtime.sidecar import files_of

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
    tolerance = TOLERANCES.get(contender.precision)
    contender.gate = contender.precision if tolerance else "none"
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
