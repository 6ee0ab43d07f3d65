"""`cmgan lower` on files, from the command line."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from cmgan.export.gate.tolerances import TOLERANCES
from tests.tolerances import tolerance


def _spectrum(length: int | None) -> onnx.ModelProto:
    """y = DFT of x over its second axis, complex, of a static or an unknown size."""
    size = length or "size"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", size, 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", size, 2])
    axis = numpy_helper.from_array(np.int64(1), "axis")
    node = helper.make_node("DFT", ["x", "", "axis"], ["y"], name="spectrum")
    graph = helper.make_graph([node], "g", [x], [y], [axis])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_file_is_lowered_and_reported(call, tmp_path):
    onnx.save(_spectrum(15), tmp_path / "in.onnx")
    ending = call("lower", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx", "--json", tmp_path / "report.json")
    assert ending.code == 0, ending
    assert "spectrum" in ending.out and "15" in ending.out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["schema"] == 1 and report["nodes"][0]["name"] == "spectrum"
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((4, 15, 1), dtype=np.float32)
    wanted = np.fft.fft(x[..., 0].astype(np.float64))
    seen = session.run(None, {"x": x})[0]
    assert np.abs(seen[..., 0] + 1j * seen[..., 1] - wanted).max() <= tolerance("dft_float") * np.abs(wanted).max()
    assert not any(node.op_type == "DFT" for node in onnx.load(tmp_path / "out.onnx").graph.node)


def test_what_cannot_be_lowered_is_named(refused, tmp_path):
    onnx.save(_spectrum(None), tmp_path / "in.onnx")
    ending = refused(4, "lower", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx")
    assert ending.slug == "dft_not_static" and "spectrum" in ending.err


@pytest.mark.parametrize(
    "data", [b"", b"plain text", b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_what_is_no_onnx_file(refused, tmp_path, data):
    (tmp_path / "in.onnx").write_bytes(data)
    refused(4, "lower", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx")


def test_the_target_is_not_replaced_unasked(refused, call, tmp_path):
    onnx.save(_spectrum(8), tmp_path / "in.onnx")
    (tmp_path / "out.onnx").write_bytes(b"precious")
    assert refused(2, "lower", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx").slug == "output_exists"
    assert call("lower", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx", "--overwrite").code == 0


@pytest.mark.check
def test_an_exported_dft_graph_can_be_lowered_afterwards(call, tmp_path):
    assert call("export", "--model", "tiny-64", "--fft", "dft", "-o", tmp_path / "dft").code == 0
    assert call("lower", tmp_path / "dft/model.onnx", "-o", tmp_path / "lowered.onnx").code == 0
    before, after = (_claims(tmp_path / name) for name in ("dft/model.onnx", "lowered.onnx"))
    assert before["fft"] == "dft" and before["verdict"]["values"] == "passed" and before["weights_sha256"]
    assert after["fft"] == "matmul" and after["verdict"]["values"] == "not proven" and not after["weights_sha256"]
    session = onnxruntime.InferenceSession(str(tmp_path / "lowered.onnx"), providers=["CPUExecutionProvider"])
    with np.load(tmp_path / "dft/model.onnx.parity.npz") as cases:
        inputs = {name: cases[name] for name in ("image", "mask", "z")}
        output, wanted = session.run(["output"], inputs)[0], cases["output"]
    assert np.abs(output.astype(int) - wanted).max() <= TOLERANCES["fp32"].levels


def _claims(path):
    strings = {p.key.removeprefix("cmgan."): p.value for p in onnx.load(path).metadata_props}
    return {name: json.loads(strings[name]) for name in ("fft", "verdict", "weights_sha256")}


def test_a_free_size_is_given_by_name(call, refused, tmp_path):
    onnx.save(_spectrum(None), tmp_path / "in.onnx")
    for text in ("x", "x=", "x=1,b,1", "=1,2"):
        assert refused(2, "lower", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx", "--shape", text).slug == "shape"
    ending = call("lower", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx", "--shape", "x=4,15,1")
    assert ending.code == 0 and "loaded and run once" in ending.out, ending
    x = np.random.default_rng(0).standard_normal((4, 15, 1), dtype=np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    seen = session.run(None, {"x": x})[0]
    wanted = np.fft.fft(x[..., 0].astype(np.float64))
    assert np.abs(seen[..., 0] + 1j * seen[..., 1] - wanted).max() <= tolerance("dft_float") * np.abs(wanted).max()


def test_what_stays_is_named(call, tmp_path):
    model = _spectrum(8)
    node = helper.make_node("Rfft", ["x"], ["z"], name="contributed", domain="com.microsoft", signal_ndim=1)
    del model.graph.node[:]
    model.graph.node.append(node)
    model.graph.output[0].name = "z"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, tmp_path / "in.onnx")
    ending = call("lower", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx", "--json", tmp_path / "report.json")
    assert ending.code == 0 and "com.microsoft.Rfft 'contributed'" in ending.out, ending
    assert json.loads((tmp_path / "report.json").read_text())["left"][0]["name"] == "contributed"
