"""The written IR: what OpenVINO alone makes of it, what the gate lets through, in which arithmetic it was proven."""

from __future__ import annotations

import numpy as np
import pytest

from cmgan.errors import MissingError, NumbersError, UsageError
from cmgan.export.artefact import export_model
from cmgan.export.gate.cases import stacked
from cmgan.export.gate.check import check_artefact
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.export.options import ExportOptions
from cmgan.export.targets import openvino as target
from cmgan.export.trace import OnnxOptions
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.open import open_engine
from cmgan.runtime.openvino.engine import Requests, compiled, facts, load_openvino, weights_of
from cmgan.runtime.sidecar import read_sidecar

HAS_BF16 = "BF16" in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def open_requests(ir):
    return Requests(compiled(*ir, "fp32", EngineOptions()))


@pytest.fixture(scope="module")
def exported(tiny_source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("openvino") / "tiny"
    return export_model(tiny_source, folder, ExportOptions(format="ov"))


def test_openvino_alone_paints_the_pictures_from_the_files(exported, tiny_source):
    """In one batch, which cmgan's engine never asks of it."""
    openvino = load_openvino()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.compile_model(openvino.Core().read_model(exported.file), "CPU", settings)
    image, mask, z = stacked(tiny_source.cases)
    wanted = np.concatenate([picture for picture, _ in tiny_source.references])
    output = model({"image": image, "mask": mask, "z": z})["output"]
    assert np.abs(output.astype(int) - wanted).max() <= TOLERANCES["fp32"].levels
    known = mask < 128
    np.testing.assert_array_equal(output[known], image[known])


def test_verdict_and_metadata(exported):
    metadata, files = read_sidecar(exported.file)
    assert set(files) == {"model.xml", "model.bin"}
    assert (metadata.format, metadata.precision, metadata.verdict["values"]) == ("openvino", "fp32", "passed")
    assert len([case for case in metadata.verdict["cases"] if "hot weights" in case]) == 4  # picture and raw
    assert "openvino" in metadata.details
    assert check_artefact(exported.file)["values"] == "passed"


def test_no_path_of_this_machine_is_in_the_file(exported, tmp_path):
    text = exported.file.read_text()
    assert "/tmp" not in text and str(tmp_path.parent) not in text


def test_a_planted_fault_fails_and_leaves_nothing(tiny_source, tmp_path, monkeypatch):
    """One weight of the IR, not of the twin: only the artefact's own picture shows it."""
    convert = target.ir_from_onnx

    def spoilt(model):
        xml, weights = convert(model)
        values = np.frombuffer(weights[: len(weights) // 4 * 4], np.float32).copy()
        values[len(values) // 2 : len(values) // 2 + 2000] *= 3
        return xml, values.tobytes() + weights[values.nbytes :]

    monkeypatch.setattr(target, "ir_from_onnx", spoilt)
    with pytest.raises(NumbersError, match="paints another picture"):
        export_model(tiny_source, tmp_path / "out", ExportOptions(format="openvino"))
    assert not (tmp_path / "out").exists()


def test_precisions_that_it_has_not():
    with pytest.raises(UsageError, match="fp16"):
        ExportOptions(format="openvino", precision="fp16")


@pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16 arithmetic")
def test_bf16_is_bf16(tiny_source, exported):
    """Of the same file; the gate of bf16, which the smallest network narrowly fails, is left out."""
    ir = exported.file.read_bytes(), weights_of(exported.file).read_bytes()
    model = compiled(*ir, "bf16", EngineOptions())
    assert facts(model)["arithmetic"] == "bf16"
    image, mask, z = stacked(tiny_source.cases[1:2])
    painted = [run({"image": image, "mask": mask, "z": z})["output"] for run in (Requests(model), open_requests(ir))]
    error = np.abs(painted[0].astype(int) - painted[1]).mean()
    # Not fp32 all the same, and no worse than bf16 is allowed to be: its tolerance is on [-1, 1], 127.5 levels.
    assert 100 * TOLERANCES["fp32"].mean_abs < error / 127.5 < TOLERANCES["bf16"].mean_abs


@pytest.mark.skipif(HAS_BF16, reason="this CPU has bf16 arithmetic")
def test_bf16_where_the_cpu_has_none(tiny_source, tmp_path):
    with pytest.raises(MissingError, match="AVX-512 BF16"):
        export_model(tiny_source, tmp_path / "out", ExportOptions(format="openvino", precision="bf16"))


@pytest.mark.check
def test_core_graph(tiny_source, tmp_path):
    options = ExportOptions(format="openvino", graph=OnnxOptions(pipeline="core"))
    made = export_model(tiny_source, tmp_path / "out", options)
    image, mask, z = stacked(tiny_source.cases[:2])
    wanted = np.concatenate([picture for picture, _ in tiny_source.references[:2]])
    output = open_engine(made.file)(image, mask, z)
    assert np.abs(output.astype(int) - wanted).max() <= TOLERANCES["fp32"].levels
    assert made.metadata.layout.startswith("NCHW")
