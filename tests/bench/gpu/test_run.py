"""The GPU check, rehearsed on a CPU: whatever happens, a report is left, and what is wrong is named."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("triton", reason="Triton has no package for this platform")

import torch

from cmgan.bench.gpu import clock, layers
from cmgan.bench.gpu.plan import Measurement, rehearsal
from cmgan.bench.gpu.roofline import Rates, Shape, floor_us, shapes
from cmgan.bench.gpu.run import COMMANDS, run
from cmgan.errors import ModelError
from cmgan.kernels.choose import load_winners

SMALL = (Shape("same", 8, 8, 4), Shape("up", 16, 8, 8), Shape("rgb", 8, 3, 4), Shape("halve", 8, 8, 4))


def command(name, folder, *arguments):
    return [sys.executable, "-m", "cmgan.bench.gpu", name, "--rehearse", "-o", str(folder), *arguments]


def report(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.check
@pytest.mark.parametrize("name", COMMANDS)
def test_a_rehearsal_is_complete(name, tmp_path):
    done = subprocess.run(command(name, tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = report(tmp_path, name)
    assert found["complete"] and len(found["records"]) == found["measurements"] > 0
    assert done.stdout.strip() == (tmp_path / f"{name}.md").read_text().strip()
    assert "no figure here is a measurement" in done.stdout and "Partial" not in done.stdout
    files = list(tmp_path.iterdir())
    assert len(files) <= 4 and all(file.is_file() for file in files)


def test_a_killed_run_leaves_what_it_had(tmp_path):
    with subprocess.Popen(command("layers", tmp_path), stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 120
        while not (tmp_path / "layers.json").exists() or len(report(tmp_path, "layers")["records"]) < 2:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    found = report(tmp_path, "layers")
    assert not found["complete"] and len(found["records"]) >= 2
    text = (tmp_path / "layers.md").read_text()
    assert "**Partial**" in text and "it was killed at: " in text
    assert not (tmp_path / "winners.json").exists()


def test_one_told_to_end_prints_its_report(tmp_path):
    with subprocess.Popen(command("layers", tmp_path), stdout=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "layers.json").exists():
            time.sleep(0.02)
        process.terminate()
        assert "**Partial**" in process.communicate()[0]
    assert process.returncode == 1


def test_a_wrong_way_and_a_raising_one_fail_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(layers, "shapes", lambda name: SMALL)
    right = layers.to_rgb
    monkeypatch.setattr(layers, "to_rgb", lambda *arguments: right(*arguments) * 1.5)

    def broken(*arguments):
        raise RuntimeError("of its own")

    monkeypatch.setattr(layers, "modconv2d", broken)
    assert run("layers", rehearsal(), tmp_path, 600) == 1
    failed = {r["name"]: r["error"] for r in report(tmp_path, "layers")["records"] if not r["passed"]}
    assert failed == {
        f"{name}, batch {n}": f"fused ({why})"
        for name, why in (("same 8 to 8 @ 4", "RuntimeError: of its own"), ("rgb 8 to 3 @ 4", "off"))
        for n in (1, 2)
    }
    assert "rgb 8 to 3 @ 4, batch 1: fused (off)" in capsys.readouterr().out
    with pytest.raises(ModelError, match="partial"):
        load_winners(tmp_path / "winners.json")


def test_a_complete_table_can_be_adopted(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "shapes", lambda name: SMALL)
    assert run("layers", rehearsal(), tmp_path, 600) == 0
    winners = load_winners(tmp_path / "winners.json")
    assert {(layer.arch, layer.batch) for layer in winners} == {(0, 1), (0, 2)}


def fake_command(monkeypatch, *measured):
    room = type("Room", (), {"table": staticmethod(lambda records: [])})
    room.measurements = staticmethod(lambda plan, rates: [Measurement(f.__name__, f) for f in measured])
    monkeypatch.setitem(COMMANDS, "fake", room)


def test_what_fails_is_a_result_and_the_next_runs(tmp_path, monkeypatch, capsys):
    def good():
        return {}

    def broken():
        raise RuntimeError("of its own")

    fake_command(monkeypatch, good, broken, good)
    assert run("fake", rehearsal(), tmp_path, 60) == 1
    assert [r["passed"] for r in report(tmp_path, "fake")["records"]] == [True, False, True]
    assert "- broken: RuntimeError: of its own" in capsys.readouterr().out
    assert run("fake", rehearsal(), tmp_path, -1) == 1
    assert "the time was over" in report(tmp_path, "fake")["partial"]


def test_after_a_lost_device_nothing_more_is_tried(tmp_path, monkeypatch):
    def good():
        return {}

    fake_command(monkeypatch, good, good)

    def lost(plan):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(clock, "wait", lost)
    monkeypatch.setattr("cmgan.bench.gpu.roofline.measured_rates", lambda plan: Rates(1.0, 1.0))
    assert run("fake", rehearsal(), tmp_path, 60) == 1
    found = report(tmp_path, "fake")
    assert len(found["records"]) == 1 and "the device is lost" in found["partial"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_real_check_is_refused(tmp_path):
    line = [part for part in command("kernels", tmp_path) if part != "--rehearse"]
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 5 and done.stderr.count("\n") == 1 and "--rehearse" in done.stderr


def test_the_floor_of_known_layers():
    """64 channels at 512 x 512, by hand: 19.3 GFLOP at 790 TFLOP/s; 8 at 4 x 4: the weights at 4.3 TB/s."""
    rates = Rates(790e12, 4.3e12)
    assert floor_us(Shape("same", 64, 64, 512), 1, rates) == pytest.approx(2 * 512**2 * 9 * 64**2 / 790e12 * 1e6)
    coarse = floor_us(Shape("same", 512, 512, 4), 1, rates)
    assert coarse == pytest.approx((2 * 9 * 512**2 + 6 * 16 * 512) / 4.3e12 * 1e6)


def test_every_scale_has_its_layers():
    found = list(shapes("paper-512"))
    assert len(found) == 8 + 3 * 7
    assert Shape("up", 128, 64, 512) in found and Shape("same", 64, 64, 512) in found
    assert Shape("halve", 64, 64, 256) in found


def test_ways_are_timed_in_turns():
    order = []
    found = clock.compare({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rehearsal())
    assert all(timing.us > 0 for timing in found.values())
    assert order[2:10] == ["a", "b"] * 4  # behind one call each to warm up
