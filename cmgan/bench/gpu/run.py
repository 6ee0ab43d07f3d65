"""Run a command's measurements: each by name, none ending the others, all within the time given."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cmgan.bench.gpu import clock, kernels, layers, models, roofline, training
from cmgan.bench.gpu.plan import Measurement, Plan
from cmgan.bench.gpu.report import Report
from cmgan.machine import environment

COMMANDS: dict[str, Any] = {"kernels": kernels, "models": models, "layers": layers, "training": training}
FAILED = 1  # exit code: something is wrong, late or missing
_GRACE = 20.0  # seconds after the deadline in which a measurement may still end by itself


def run(command: str, plan: Plan, folder: Path, seconds: float) -> int:
    """Measure, report, print the report; 0 where everything was measured and nothing failed."""
    room = COMMANDS[command]
    report = Report(command, folder, environment(os.cpu_count() or 1), rehearsal=plan.rehearsal, table=room.table)
    deadline = time.monotonic() + seconds
    watchdog = threading.Timer(seconds + _GRACE, _give_up, [report, f"{seconds:.0f} s were over"])
    watchdog.daemon = True
    watchdog.start()
    before = signal.signal(signal.SIGTERM, lambda *_: _give_up(report, "it was told to end"))
    try:
        report.begin("the measured peaks")
        rates = roofline.measured_rates(plan)
        report.rates = {"flops": rates.flops, "bandwidth": rates.bandwidth}
        report.begin("the preparations")
        measurements = room.measurements(plan, rates)
        report.total = len(measurements)
        report.finish(_measure(measurements, report, plan, deadline))
    finally:
        watchdog.cancel()
        signal.signal(signal.SIGTERM, before)
    if hasattr(room, "conclude"):
        room.conclude(report)
    print(report.markdown())
    return 0 if report.complete and not report.failures else FAILED


def _measure(measurements: Iterable[Measurement], report: Report, plan: Plan, deadline: float) -> str:
    """Why not all of them were measured; empty where they were."""
    for measurement in measurements:
        if time.monotonic() > deadline:
            return "the time was over"
        report.begin(measurement.name)
        begun = time.monotonic()
        try:
            record = measurement.measure()
        except Exception as error:  # a failure is a result, and the next may run
            record = {"passed": False, "error": clock.error_line(error)}
        report.add(measurement.name, record | {"took_s": round(time.monotonic() - begun, 2)})
        try:
            clock.wait(plan)
        except Exception as error:  # CUDA's errors of this kind stay: nothing can run here any more
            return f"the device is lost ({clock.error_line(error)})"
    return ""


def _give_up(report: Report, why: str) -> None:
    """Report and end, whatever the other threads hang in."""
    report.finish(why)
    print(report.markdown(), flush=True)
    os._exit(FAILED)
