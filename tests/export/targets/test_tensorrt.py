"""Engines built by TensorRT-RTX, which needs no GPU for that, and what is refused before or while building."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys

import numpy as np
import onnx
import pytest
import tensorrt_rtx
from onnx import TensorProto, helper, numpy_helper

from cmgan.errors import MissingError, ModelError, UsageError
from cmgan.export.artefact import export_model
from cmgan.export.gate.cases import load_cases
from cmgan.export.gate.check import check_artefact
from cmgan.export.options import ExportOptions
from cmgan.export.source import Source
from cmgan.export.targets.tensorrt import (
    _build_engine,
    engine_from_onnx,
    find_place,
    gpu_here,
    load_timings,
    new_monitor,
    supported_targets,
)
from cmgan.export.trace import OnnxOptions
from cmgan.files import sha256
from cmgan.model.weights import resolve
from cmgan.runtime.cuda import Gpu
from cmgan.runtime.sidecar import read_sidecar
from cmgan.runtime.tensorrt.kernel_cache import write_cache
from cmgan.runtime.tensorrt.library import library, new_log

SUPPORTED = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_120", "sm_121"]
RTX = ExportOptions(format="trt-rtx", target=("sm_89",))
ADA = Gpu(0, "RTX 4090", "sm_89", "13.0", "13.0")
HOPPER = Gpu(0, "H200", "sm_90", "13.0", "13.0")
NONE = MissingError("no_gpu", "no usable NVIDIA GPU here")

without_gpu = pytest.mark.skipif(isinstance(gpu_here(), Gpu), reason="about machines without a GPU")
needs_tensorrt = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt") is None, reason="needs TensorRT and a CUDA device"
)


# -- a small network, built in half a second -----------------------------------------------------------------------


def _model(node: onnx.NodeProto, *weights: onnx.TensorProto) -> bytes:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 16, 16]) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()


@pytest.fixture(scope="module")
def small() -> bytes:
    weight = np.random.default_rng(0).standard_normal((3, 3, 3, 3)).astype(np.float32)
    return _model(helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4), numpy_helper.from_array(weight, "w"))


def _built(model: bytes, options: ExportOptions = RTX, progress=lambda step: None) -> bytes:
    return engine_from_onnx(tensorrt_rtx, model, options, options.target, progress)


def test_the_same_graph_gives_the_same_bytes_and_nothing_is_printed(small, capfd):
    said: list[str] = []
    first = _built(small, progress=said.append)
    assert _built(small) == first
    assert capfd.readouterr() == ("", "")
    assert all(step.startswith("TensorRT-RTX: ") for step in said)
    assert any(step.endswith("100 %") for step in said) and len(set(said)) > 5


def test_options_reach_the_builder(small):
    plain = _built(small)
    both = ExportOptions(format="trt-rtx", target=("sm_89", "sm_120"))
    assert len(_built(small, both)) > len(plain), "code for two kinds of GPUs"
    assert _built(small, ExportOptions(format="trt-rtx", target=("sm_89",), batch_max=4)) != plain


_BUILD = """
import sys, tensorrt_rtx
from cmgan.export.options import ExportOptions
from cmgan.export.targets.tensorrt import engine_from_onnx
options = ExportOptions(format="trt-rtx", target=("sm_89",))
model = open(sys.argv[1], "rb").read()
engine_from_onnx(tensorrt_rtx, model, options, options.target, lambda step: print(step, flush=True))
print("built", flush=True)
"""


def test_ctrl_c_stops_a_build(tiny_artefact):
    command = [sys.executable, "-c", _BUILD, tiny_artefact]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as build:
        assert build.stdout.readline().startswith("TensorRT-RTX: ")
        build.send_signal(signal.SIGINT)
        rest, errors = build.communicate(timeout=60)
    assert build.returncode == -signal.SIGINT and errors.rstrip().endswith("KeyboardInterrupt")
    assert "built" not in rest


def test_a_build_that_is_told_to_stop_stops(small):
    """What Ctrl-C does: the monitor says no at the first step."""
    said, whole = list[str](), list[str]()
    monitor = new_monitor(tensorrt_rtx, said.append)
    monitor.go_on = False
    with pytest.raises(ModelError):
        _build_engine(tensorrt_rtx, small, RTX, RTX.target, monitor)
    _built(small, progress=whole.append)
    assert 0 < len(said) < len(whole)


def test_the_monitor_says_what_changes():
    said: list[str] = []
    monitor = new_monitor(tensorrt_rtx, said.append)
    monitor.phase_start("Building", None, 1000)
    assert all(monitor.step_complete("Building", step) for step in range(1000))
    monitor.phase_finish("Building")
    assert said == [f"building, {percent} %" for percent in range(101)]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (_model(helper.make_node("Det", ["x"], ["y"], name="odd")), r"node 'odd' \(Det\)"),
        (_model(helper.make_node("DFT", ["x"], ["y"], name="spectrum")), "spectrum.*--fft matmul"),
        (b"no graph", "cannot take the graph"),
    ],
)
def test_what_the_parser_refuses_is_named(model, reason, capfd):
    with pytest.raises(ModelError, match=reason) as refusal:
        _built(model)
    assert refusal.value.slug == "onnx_refused"
    assert capfd.readouterr() == ("", "")


def test_a_workspace_that_is_too_small_is_told(small):
    weight = numpy_helper.from_array(np.ones((64, 3, 3, 3), np.float32), "w")
    wide = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)
    values = [helper.make_tensor_value_info("x", 1, ["n", 3, 256, 256]), helper.make_tensor_value_info("y", 1, None)]
    graph = helper.make_graph([wide], "g", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()
    with pytest.raises(ModelError, match="workspace"):
        _built(model, ExportOptions(format="trt-rtx", target=("sm_89",), workspace=1, batch_max=64))


# -- where it runs ---------------------------------------------------------------------------------------------------


def test_targets_of_the_library():
    assert supported_targets(tensorrt_rtx) == SUPPORTED


@pytest.mark.parametrize(
    ("target", "here", "targets", "why"),
    [
        (("sm_89", "sm_120"), NONE, ("sm_89", "sm_120"), "no usable NVIDIA GPU"),
        (("sm_89", "sm_89"), NONE, ("sm_89",), "no usable NVIDIA GPU"),
        ((), ADA, ("sm_89",), ""),
        (("sm_120", "sm_89"), ADA, ("sm_120", "sm_89"), ""),
        (("sm_120",), ADA, ("sm_120",), "RTX 4090 is sm_89, and the engine is for sm_120"),
        (("sm_120",), HOPPER, ("sm_120",), "H200 is sm_90"),
    ],
)
def test_places_of_rtx_engines(target, here, targets, why):
    place = find_place(tensorrt_rtx, ExportOptions(format="trt-rtx", target=target), here)
    assert place.targets == targets
    assert place.gpu == (None if why else here)
    assert place.why.startswith(why) and bool(place.why) == bool(why)


@pytest.mark.parametrize(
    ("format", "target", "here", "error", "words"),
    [
        ("trt-rtx", (), NONE, UsageError, ["--target", *SUPPORTED]),
        ("trt-rtx", (), HOPPER, UsageError, ["H200 is sm_90", "--format trt", *SUPPORTED]),
        ("trt-rtx", ("sm_90",), NONE, UsageError, ["sm_90", *SUPPORTED]),
        ("trt-rtx", ("sm_89", "ada"), ADA, UsageError, ["--target ada", *SUPPORTED]),
        ("trt", (), NONE, MissingError, ["--format trt-rtx --target", "--format onnx"]),
    ],
)
def test_places_that_are_refused(format, target, here, error, words):
    with pytest.raises(error) as refusal:
        find_place(tensorrt_rtx, ExportOptions(format=format, target=target), here)
    assert all(word in refusal.value.line() for word in words)


def test_tensorrt_builds_for_the_gpu_that_is_here():
    assert find_place(tensorrt_rtx, ExportOptions(format="trt"), HOPPER).targets == ("sm_90",)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_tensorrt_that_is_not_installed():
    with pytest.raises(MissingError, match=r"TensorRT is not installed: pip install 'cmgan\[trt\]'"):
        library("trt")


@pytest.mark.parametrize(
    ("format", "options", "flag"),
    [
        ("trt-rtx", {"timing_cache": "x"}, "--timing-cache"),
        ("trt-rtx", {"builder_level": 3}, "--builder-level"),
        ("trt-rtx", {"calib_data": "x"}, "--calib-data"),
        ("trt", {"target": ("sm_89",)}, "--target"),
        ("onnx", {"target": ("sm_89",)}, "--target"),
        ("onnx", {"workspace": 64}, "--workspace"),
    ],
)
def test_flags_that_a_format_does_not_honour(format, options, flag):
    with pytest.raises(UsageError, match=f"{flag} means nothing to --format {format}"):
        ExportOptions(format=format, **options)


# -- timings ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: data[:-9], lambda data: bytes(data[::-1])])
def test_spoilt_timings_are_measured_again_with_one_warning(tmp_path, caplog, spoil):
    path = tmp_path / "cache" / "timings"
    write_cache(path, b"timings" * 99)
    path.write_bytes(spoil(path.read_bytes()))
    config = tensorrt_rtx.Builder(new_log(tensorrt_rtx)).create_builder_config()
    load_timings(config, path)
    assert config.get_timing_cache() is not None
    assert [record.slug for record in caplog.records if record.name == "cmgan"] == ["cache"]


# -- the network -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tiny_artefact) -> Source:
    """tiny-64, with the graph that was traced already."""
    return Source(resolve("tiny-64"), {OnnxOptions(): onnx.load(tiny_artefact)})


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory):
    """tiny-64 for one kind of GPU, batches of 1 and 2."""
    folder = tmp_path_factory.mktemp("rtx") / "out"
    steps: list[str] = []
    options = ExportOptions(format="trt-rtx", target=("sm_89",), batch_max=2)
    return export_model(source, folder, options, progress=steps.append), steps, options


@without_gpu
def test_an_engine_that_cannot_run_here(exported, source):
    made, steps, options = exported
    verdict = made.metadata.verdict
    assert made.file.name == "model.rtx" and made.bytes > made.file.stat().st_size > 2**20
    assert (verdict["values"], verdict["source"]) == ("not run here", "passed")
    assert "no usable NVIDIA GPU" in verdict["why"]
    assert {"float32", "uint8"} <= set(verdict), "the graph it is built from was compared"
    assert len(load_cases(made.parity_file).cases) == 4
    assert any(step.startswith("TensorRT-RTX: building engine") for step in steps)
    metadata, files = read_sidecar(made.file)
    assert files == {"model.rtx": made.file.read_bytes()}
    assert metadata.details == {
        "version": tensorrt_rtx.__version__,
        "targets": ["sm_89"],
        "batches": [1, 1, 2],
        "source_sha256": sha256(source.graph(options.onnx).SerializeToString()),
        "gpu": "",
        "driver": "",
        "cuda": "",
    }


@without_gpu
def test_checking_it_here_says_where_it_can_be_checked(exported):
    with pytest.raises(MissingError, match=r"model\.rtx: runs on an NVIDIA GPU of sm_89: .*parity\.npz"):
        check_artefact(exported[0].file)


@pytest.mark.check
@without_gpu
def test_small_in_fp16_for_two_kinds_of_gpus(tmp_path, capfd):
    from cmgan.cli.main import run

    words = "export --format trt-rtx --model small-512 --precision fp16 --target sm_89,sm_120 --batch-max 8"
    code = run([*words.split(), "-o", str(tmp_path / "out"), "--json", str(tmp_path / "report.json")])
    out, _ = capfd.readouterr()
    assert code == 0
    assert out.splitlines()[-1].startswith("not run here: no usable NVIDIA GPU")
    metadata, _ = read_sidecar(tmp_path / "out" / "model_fp16.rtx")
    assert metadata.details["targets"] == ["sm_89", "sm_120"] and metadata.details["batches"] == [1, 1, 8]
    assert metadata.precision == "fp16"
    assert json.loads((tmp_path / "report.json").read_text())["verdict"]["values"] == "not run here"


# -- with a GPU ------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("format", [pytest.param("trt", marks=needs_tensorrt), "trt-rtx"])
def test_an_engine_that_runs_here_passes_itself(source, tmp_path, format, precision):
    here = gpu_here()
    if format == "trt-rtx" and here.capability not in SUPPORTED:
        pytest.skip(f"TensorRT-RTX does not build for {here.capability}")
    options = ExportOptions(format=format, precision=precision, batch_max=4)
    made = export_model(source, tmp_path / "out", options)
    assert made.metadata.verdict["values"] == "passed"
    assert made.metadata.details["targets"] == [here.capability]
    assert check_artefact(made.file)["values"] == "passed"
