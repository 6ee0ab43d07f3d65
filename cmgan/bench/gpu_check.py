"""Everything that only a GPU can tell: `python -m cmgan.bench.gpu_check --seconds 500 --only STAGE`.

Each stage is a process of its own, so that a kernel that hangs or breaks the device costs its stage and no more; each
result is on disk before the next is begun. A stage starts only if its time fits into what is left. Needs torch, triton
and a checkout; no network. `--rehearse` runs the same code on a CPU, small: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cmgan.bench.gpu_report import markdown, plot, winners_text
from cmgan.bench.kernels.plan import Plan, real, rehearsal
from cmgan.errors import MissingError
from cmgan.files import write_atomically
from cmgan.machine import environment

RESERVE = 5.0  # seconds that writing the report may take


@dataclass(frozen=True)
class Stage:
    """What is run, and the seconds it may take; `rest` takes all that is left."""

    name: str
    seconds: float
    rest: bool = False


STAGES = (
    Stage("numerics", 60),
    Stage("repeatability", 20),
    Stage("layers", 180),
    Stage("models", 120),
    Stage("compile", 60, rest=True),
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cmgan.bench.gpu_check", description=__doc__)
    parser.add_argument("--seconds", type=float, default=500, help="for all stages together")
    parser.add_argument("--only", choices=[s.name for s in STAGES], help="one stage; the others' results are kept")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs", "gpu-check"), help="folder for the results")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, small, to try the check itself")
    parser.add_argument("--stage", choices=[s.name for s in STAGES], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    plan = rehearsal(options.output) if options.rehearse else real(options.output)
    if options.stage:
        run_stage(plan, options.stage, options.seconds)
        return 0
    _require_device(plan)
    begun = time.monotonic()
    for stage in STAGES:
        if options.only in (None, stage.name):
            report = _stage_process(plan, stage, options.seconds - (time.monotonic() - begun) - RESERVE)
            print(f"{stage.name}: {report['status']}", flush=True)
            _write_report(plan)
    return 0 if all(r["status"] == "finished" and not r["failed"] for r in _reports(plan).values()) else 1


def run_stage(plan: Plan, name: str, seconds: float) -> None:
    """Run one stage in this process: a JSON line for each result, failures among them, until the time is over."""
    end = time.monotonic() + seconds
    with (plan.folder / f"{name}.jsonl").open("w") as file:
        for measure in _measurements(plan, name):
            begun = time.monotonic()
            try:
                record = measure()
            except Exception as error:  # the next may run: what fails is a result
                what = " ".join(str(getattr(v, "__name__", v)) for v in (*measure.args, *measure.keywords.values()))
                record = {"of": what.removeprefix(str(plan)).strip(), "passed": False}
                record["error_message"] = f"{type(error).__name__}: {str(error)[:400]}"
            print(json.dumps(record | {"took_s": round(time.monotonic() - begun, 2)}), file=file, flush=True)
            if time.monotonic() > end:
                print(json.dumps({"unfinished": f"the {seconds:.0f} s of the stage are over"}), file=file, flush=True)
                return


def _measurements(plan: Plan, name: str) -> Iterator[partial[dict[str, Any]]]:
    from cmgan.bench.kernels import layers, models, numerics

    stages = {
        "numerics": numerics.numerics,
        "repeatability": numerics.repeatability,
        "layers": layers.layers,
        "models": models.models,
        "compile": models.compiled,
    }
    return stages[name](plan)


def _stage_process(plan: Plan, stage: Stage, left: float) -> dict[str, Any]:
    """Run a stage in a child process, kill it when its time is over, and keep what became of it."""
    allowed = left if stage.rest else min(left, stage.seconds)
    report: dict[str, Any] = {"seconds": 0.0, "rehearsal": plan.rehearsal}
    if left < stage.seconds:
        report["status"] = f"not started: it needs {stage.seconds:.0f} s, {max(left, 0):.0f} s are left"
    else:
        command = [sys.executable, "-m", "cmgan.bench.gpu_check", "--stage", stage.name, "-o", str(plan.folder)]
        command += ["--seconds", str(0.85 * allowed)] + ["--rehearse"] * plan.rehearsal
        begun = time.monotonic()
        try:
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=allowed)
            last = (done.stderr.strip().splitlines() or ["no message"])[-1][:300]
            report["status"] = "finished" if done.returncode == 0 else f"died ({done.returncode}): {last}"
        except subprocess.TimeoutExpired:
            report["status"] = f"killed after {allowed:.0f} s"
        report["seconds"] = round(time.monotonic() - begun, 1)
    records = _records(plan.folder / f"{stage.name}.jsonl") if report["seconds"] else []
    if any("unfinished" in record for record in records):
        report["status"] = "out of time; some results are missing"
    report["results"] = [record for record in records if "unfinished" not in record]
    report["failed"] = sum(not record.get("passed", True) for record in report["results"])
    write_atomically(plan.folder / f"{stage.name}.json", json.dumps(report, indent=1).encode())
    return report


def _records(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a stage's file; a killed stage may leave half a line."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def _reports(plan: Plan) -> dict[str, dict[str, Any]]:
    paths = {stage.name: plan.folder / f"{stage.name}.json" for stage in STAGES}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def _write_report(plan: Plan) -> None:
    """What is there so far, whole: one JSON, one table, the winners and the plot."""
    reports, stamp = _reports(plan), environment(1)
    everything = {"rehearsal": plan.rehearsal, "environment": stamp, "stages": reports}
    write_atomically(plan.folder / "gpu-check.json", json.dumps(everything, indent=1).encode())
    write_atomically(plan.folder / "gpu-check.md", markdown(everything).encode())
    found = [r for r in reports.get("layers", {}).get("results", []) if "winner" in r]
    if found:
        write_atomically(plan.folder / "winners.json", winners_text(found, stamp).encode())
        plot(plan.folder / "roofline.png", found)


def _require_device(plan: Plan) -> None:
    import torch

    if not plan.rehearsal and not torch.cuda.is_available():
        raise MissingError(
            "cuda", "this check needs an NVIDIA GPU that PyTorch sees; --rehearse tries the check itself"
        )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingError as error:
        print(error.line(), file=sys.stderr)
        sys.exit(error.exit_code)
