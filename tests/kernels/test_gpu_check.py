"""The GPU check, rehearsed on a CPU: it goes on after failures and keeps every result and its time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton has no package for this platform")

import torch

from cmgan.bench import gpu_check, gpu_report
from cmgan.bench.kernels.plan import PAPER_LAYERS, rehearsal
from cmgan.bench.kernels.roofline import floor_us, table
from cmgan.errors import MissingError
from cmgan.kernels.winners import load_winners


def check(folder, *arguments):
    command = [sys.executable, "-m", "cmgan.bench.gpu_check", "--rehearse", "-o", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done, json.loads((folder / "gpu-check.json").read_text())


@pytest.mark.check
def test_a_rehearsal_of_all_stages(tmp_path):
    done, report = check(tmp_path, "--seconds", "900")
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [stage.name for stage in gpu_check.STAGES]
    stages = report["stages"]
    assert {name: stage["status"] for name, stage in stages.items()} == dict.fromkeys(stages, "finished")
    # There is no GPU, so the generator on kernels fails, and everything behind it is still measured.
    failed = [r["of"] for stage in stages.values() for r in stage["results"] if not r["passed"]]
    assert failed == ["tiny-64 float32 triton False", "tiny-64 float32 triton True"] and done.returncode == 1
    assert len(load_winners(tmp_path / "winners.json")) == len(stages["layers"]["results"]) == 8
    text = (tmp_path / "gpu-check.md").read_text()
    assert "no figure here is a measurement" in text and "MissingError" in text
    assert (tmp_path / "roofline.png").stat().st_size > 1000


def test_a_stage_that_does_not_fit_is_not_started(tmp_path):
    done, report = check(tmp_path, "--seconds", "20", "--only", "layers")
    assert done.returncode == 1 and "not started: it needs 180 s" in report["stages"]["layers"]["status"]


def measurements(monkeypatch, folder, *functions):
    def named(function):
        return gpu_check.partial(function)

    monkeypatch.setattr(gpu_check, "_measurements", lambda plan, name: map(named, functions))
    plan = rehearsal(folder)
    return plan


def test_results_are_kept_one_by_one_and_failures_are_results(tmp_path, monkeypatch):
    def good():
        return {"passed": True}

    def broken():
        raise RuntimeError("of its own")

    plan = measurements(monkeypatch, tmp_path, good, broken, good)
    gpu_check.run_stage(plan, "numerics", 60)
    records = gpu_check._records(tmp_path / "numerics.jsonl")
    assert [r["passed"] for r in records] == [True, False, True] and "of its own" in records[1]["error_message"]
    gpu_check.run_stage(plan, "numerics", 0)  # its time is over after the first
    records = gpu_check._records(tmp_path / "numerics.jsonl")
    assert len(records) == 2 and "unfinished" in records[1]


def test_half_a_line_of_a_killed_stage_is_left_out(tmp_path):
    path = tmp_path / "layers.jsonl"
    path.write_text('{"passed": true}\n{"pas')
    assert gpu_check._records(path) == [{"passed": True}]
    assert gpu_check._records(tmp_path / "missing") == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_real_check_is_refused(tmp_path):
    with pytest.raises(MissingError, match="--rehearse"):
        gpu_check.main(["-o", str(tmp_path)])


def test_the_table_leaves_out_ways_that_failed():
    result = {"kind": "same", "batch": 1, "channels_in": 64, "channels_out": 64, "side": 512, "dtype": "bfloat16"}
    result |= {"floor_us": 24.5, "passed": True, "winner": {"name": "fold", "us": 30.0, "path": "fold", "tile": None}}
    result["ways"] = {"fold": {"us": 30.0, "passed": True}, "eager": {"us": 20.0, "passed": False}}
    everything = {"rehearsal": False, "environment": {}, "stages": {}}
    stage = {"status": "finished", "seconds": 1, "failed": 0, "results": [result]}
    text = gpu_report.markdown({**everything, "stages": {"layers": stage}})
    assert "| 1 | same 64 to 64 @ 512 | 24.5 | - | - | - | 30.0 | - | fold | 1.22 |" in text


def test_the_roofline_of_known_layers():
    """64 channels at 512 x 512, by hand: 19.3 GFLOP at 790 TFLOP/s; 8 at 4 x 4: the weights at 4.3 TB/s."""
    assert floor_us(1, 64, 64, 512) == pytest.approx(2 * 512**2 * 9 * 64**2 / 790e12 * 1e6)
    assert floor_us(1, 512, 512, 4) == pytest.approx((2 * 9 * 512**2 + 4 * 16 * 512) / 4.3e12 * 1e6)
    assert floor_us(1, 64, 32, 8, up=True) < floor_us(1, 64, 32, 8)
    assert len(table().splitlines()) == 2 + 2 * len(PAPER_LAYERS)


def test_the_documentation_shows_the_table_that_the_command_prints():
    page = Path(__file__).parents[2] / "docs" / "kernels.md"
    assert table() in page.read_text()
