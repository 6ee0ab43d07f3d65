"""The exported graph: what any runtime finds in it, and what the gate in front of it lets through."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cmgan.config import PRESETS
from cmgan.errors import ModelError, NumbersError, UsageError
from cmgan.export.artefact import export_model
from cmgan.export.gate.candidate import Candidate
from cmgan.export.gate.cases import load_cases, parity_cases, save_cases, stacked
from cmgan.export.gate.check import check_artefact
from cmgan.export.gate.prove import prove
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.export.options import ExportOptions
from cmgan.export.source import eager_outputs
from cmgan.export.targets.onnx import runner
from cmgan.export.trace import OnnxOptions, onnx_from_generator, with_hot_weights
from cmgan.model.decoder import MaskedAttention
from cmgan.model.initialise import seeded_generator
from cmgan.model.layers import Noise
from cmgan.model.weights import LoadedModel, resolve
from cmgan.runtime.metadata import Metadata


@pytest.fixture(scope="module")
def model(tiny_artefact) -> onnx.ModelProto:
    return onnx.load(tiny_artefact)


@pytest.fixture(scope="module")
def tiny():
    return seeded_generator(PRESETS["tiny-64"])


@pytest.fixture(scope="module")
def traced(tiny) -> onnx.ModelProto:
    """A second export of the same weights, without metadata."""
    return onnx_from_generator(tiny, OnnxOptions())


@pytest.fixture(scope="module")
def cases():
    return parity_cases(64, 64)


@pytest.fixture(scope="module")
def references(tiny, cases):
    return [eager_outputs(tiny, [case]) for case in cases]


def _proved(model, generator, cases, references):
    candidate = Candidate(runner(model), lambda: runner(with_hot_weights(model, generator)), lambda path, metadata: ())
    return prove(candidate, cases, references, "fp32")


def test_the_checker_accepts_it(tiny_artefact):
    onnx.checker.check_model(str(tiny_artefact), full_check=True)


def test_plain_onnxruntime_runs_any_batch(tiny_artefact, tiny, cases):
    session = onnxruntime.InferenceSession(str(tiny_artefact), providers=["CPUExecutionProvider"])
    for batch in (1, 2, 3, 5):
        image, mask, z = stacked(cases[:batch])
        output = session.run(None, {"image": image, "mask": mask, "z": z})[0]
        wanted, _ = eager_outputs(tiny, cases[:batch])
        assert output.dtype == np.uint8 and output.shape == wanted.shape
        assert np.abs(output.astype(int) - wanted).max() <= TOLERANCES["fp32"].levels
        np.testing.assert_array_equal(output[mask < 128], image[mask < 128])


def test_no_operator_that_engines_lack(model):
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"DFT", "STFT", "If", "Loop", "Scan"}
    assert not any(name.startswith("Random") for name in operators)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert not model.functions


def test_every_convolution_has_constant_weights(model):
    constants = {tensor.name for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert convolutions
    assert all(node.input[1] in constants for node in convolutions)


def test_nothing_of_the_machine_is_left_in_the_file(tiny_artefact):
    data = tiny_artefact.read_bytes()
    for trace in (b"site-packages", b".py", b"/tmp", b"pkg.torch"):
        assert trace not in data


def test_the_batch_is_the_only_dynamic_axis(model):
    for value in [*model.graph.input, *model.graph.output]:
        first, *rest = value.type.tensor_type.shape.dim
        assert first.dim_param == "batch"
        assert all(d.dim_value for d in rest)


def test_the_metadata_say_what_it_is(model):
    metadata = Metadata.from_strings({p.key: p.value for p in model.metadata_props})
    assert metadata.schema == 1
    assert metadata.resolution == 64 and metadata.z_dim == 64
    assert metadata.mask_rule == "hole = value >= 128"
    assert metadata.trained is False
    assert metadata.weights_sha256 == resolve("tiny-64").digest
    assert metadata.verdict["values"] == "passed"
    assert metadata.verdict["float32"]["hole_max_abs"] <= TOLERANCES["fp32"].max_abs
    assert sum("hot" in case for case in metadata.verdict["cases"]) >= 2


@pytest.mark.check
def test_two_exports_are_the_same_bytes(traced, model):
    assert [n.op_type for n in traced.graph.node] == [n.op_type for n in model.graph.node]
    assert traced.graph.SerializeToString(deterministic=True) == model.graph.SerializeToString(deterministic=True)


@pytest.mark.check
def test_core_graph(tiny, tmp_path, cases):
    made = export_model(
        resolve("tiny-64"), tmp_path / "core", ExportOptions(graph=OnnxOptions(pipeline="core", opset=18))
    )
    model = onnx.load(made.file)
    assert {e.domain: e.version for e in model.opset_import}[""] == 18
    session = onnxruntime.InferenceSession(str(made.file), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32)
    mask = (np.random.default_rng(1).random((2, 1, 64, 64)) < 0.4).astype(np.float32)
    z = np.random.default_rng(2).standard_normal((2, 64)).astype(np.float32)
    with torch.inference_mode():
        wanted = tiny(*(torch.from_numpy(a) for a in (image, mask, z))).numpy()
    output = session.run(["output"], {"image": image, "mask": mask, "z": z})[0]
    assert np.abs(output - wanted).max() <= TOLERANCES["fp32"].max_abs
    assert check_artefact(made.file)["values"] == "passed"


@pytest.mark.check
def test_dft_graph_keeps_the_operator(tiny, cases, references):
    model = onnx_from_generator(tiny, OnnxOptions(fft="dft"))
    assert sum(node.op_type == "DFT" for node in model.graph.node) > 0
    assert _proved(model, tiny, cases, references)["values"] == "passed"


@pytest.mark.parametrize(("opset", "fft"), [(17, "matmul"), (99, "matmul"), (18, "dft")])
def test_opsets_that_are_not_offered(opset, fft):
    with pytest.raises(UsageError, match=f"opset {opset}"):
        OnnxOptions(opset=opset, fft=fft)


@pytest.mark.parametrize(("option", "known"), [("pipeline", "full, core"), ("fft", "matmul, dft")])
def test_graphs_that_are_not_offered(option, known):
    with pytest.raises(UsageError, match=f"--{option} 'half': known are {known}"):
        OnnxOptions(**{option: "half"})


def _parses(path: Path) -> bool:
    """Whether TensorRT-RTX, which needs no GPU for that, takes the file for a strongly typed network."""
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.ERROR)
    network = trt.Builder(logger).create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parsed = trt.OnnxParser(network, logger).parse(path.read_bytes())
    return bool(parsed) and (network.num_inputs, network.num_outputs) == (3, 1)


def test_tensorrt_rtx_parses_it(tiny_artefact):
    assert _parses(tiny_artefact)


def test_openvino_paints_the_same_picture(tiny_artefact, cases, references):
    import openvino

    compiled = openvino.Core().compile_model(str(tiny_artefact), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for case, (wanted, _) in zip(cases, references, strict=True):
        image, mask, z = stacked([case])
        output = compiled({"image": image, "mask": mask, "z": z})["output"]
        assert np.abs(output.astype(int) - wanted).max() <= TOLERANCES["fp32"].levels


# -- the gate --------------------------------------------------------------------------------------------------------


def _without_attention(generator):
    for module in generator.modules():
        if isinstance(module, MaskedAttention):
            module.gain.zero_()


def _without_noise(generator):
    for module in generator.modules():
        if isinstance(module, Noise):
            module.strength.zero_()


def _swapped_axis(generator):
    generator.cascades[1].spatial_block.affine_hidden.weight.copy_(
        generator.cascades[1].spatial_block.affine_hidden.weight.transpose(2, 3).clone()
    )


def _one_weight_off(generator):
    generator.encoder.blocks[0].global_to_global.spectrum.weight[0, 0].mul_(1.05)


@pytest.mark.parametrize("plant", [_without_attention, _without_noise, _swapped_axis, _one_weight_off])
def test_a_planted_fault_fails_the_gate(plant, tiny, traced, cases):
    """Graph and model differ by the fault; which of the two has it is all one to a comparison."""
    faulty = copy.deepcopy(tiny)
    with torch.no_grad():
        plant(faulty)
    references = [eager_outputs(faulty, [case]) for case in cases]
    with pytest.raises(NumbersError, match="paints another picture") as refusal:
        _proved(traced, faulty, cases, references)
    assert refusal.value.exit_code == 7


def test_hot_weights_touch_the_demodulated_styles_and_scales_only(tiny, traced):
    hot = with_hot_weights(traced, tiny)
    pairs = zip(traced.graph.initializer, hot.graph.initializer, strict=True)
    changed = {a.name: (a, b) for a, b in pairs if a.raw_data != b.raw_data}
    assert not any(".rgb." in name for name in changed)
    blocks = len(PRESETS["tiny-64"].scales)
    layers = 3 * blocks - 1  # the finest scale has no second global layer
    assert len(changed) == 2 * (layers + 2 * blocks)  # weight and bias of each style, alpha and scale map
    for before, after in changed.values():
        np.testing.assert_array_equal(
            onnx.numpy_helper.to_array(after), onnx.numpy_helper.to_array(before) * np.float32(50)
        )


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    from cmgan.export import source

    def faulty(generator, options):
        spoilt = copy.deepcopy(generator)
        with torch.no_grad():
            _without_attention(spoilt)
        return onnx_from_generator(spoilt, options)

    monkeypatch.setattr(source, "onnx_from_generator", faulty)
    with pytest.raises(NumbersError):
        export_model(resolve("tiny-64"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_check_finds_a_changed_weight(tiny_folder, tmp_path):
    model = onnx.load(tiny_folder / "model.onnx")
    weight = next(t for t in model.graph.initializer if t.name.endswith("affine_hidden.weight"))
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.1)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "model.onnx")
    shutil.copy(tiny_folder / "model.onnx.parity.npz", tmp_path)
    assert check_artefact(tiny_folder / "model.onnx")["values"] == "passed"
    with pytest.raises(NumbersError, match="eager model painted"):
        check_artefact(tmp_path / "model.onnx")


# -- the presets that people use -------------------------------------------------------------------------------------


def _check_verdict(made) -> None:
    verdict, tolerance = made.metadata.verdict, TOLERANCES["fp32"]
    assert verdict["float32"]["hole_max_abs"] <= tolerance.max_abs
    assert verdict["float32"]["hole_mean_abs"] <= tolerance.mean_abs
    assert verdict["uint8"]["hole_max_abs"] <= tolerance.levels
    assert verdict["uint8"]["hole_equal"] >= tolerance.equal
    assert made.parity_file.stat().st_size <= 8e6
    assert json.loads({p.key: p.value for p in onnx.load(made.file).metadata_props}["cmgan.verdict"]) == verdict


@pytest.mark.check
def test_small_512(tmp_path):
    """Parity, plain ONNX Runtime at several batches, and TensorRT-RTX's parser."""
    made = export_model(resolve("small-512"), tmp_path / "out")
    _check_verdict(made)
    session = onnxruntime.InferenceSession(str(made.file), providers=["CPUExecutionProvider"])
    cases = parity_cases(512, 512)
    for batch in (1, 2, 3):
        image, mask, z = stacked(cases[:batch])
        output = session.run(None, {"image": image, "mask": mask, "z": z})[0]
        np.testing.assert_array_equal(output[mask < 128], image[mask < 128])
        assert (output[mask >= 128] != image[mask >= 128]).any()
    assert _parses(made.file)


@pytest.mark.check
def test_paper_256(tmp_path):
    _check_verdict(export_model(resolve("paper-256"), tmp_path / "out"))


def test_epsilons_are_kept(traced, tiny, cases):
    """Where a sum of squares is zero nothing else keeps the result finite: here that of z."""
    still = [replace(case, z=np.zeros_like(case.z)) for case in cases[:1]]
    picture, raw = eager_outputs(tiny, still)
    outputs = runner(traced)(still)
    assert np.abs(outputs["raw"] - raw).max() <= TOLERANCES["fp32"].max_abs
    np.testing.assert_array_equal(outputs["output"], picture)


# -- the proof beside the file ---------------------------------------------------------------------------------------


@pytest.mark.check
def test_a_second_artefact_in_the_folder_leaves_the_first_its_proof(tiny_folder, tmp_path):
    """Of other weights: the second export must not condemn the first file."""
    folder = tmp_path / "both"
    shutil.copytree(tiny_folder, folder)
    other = LoadedModel(seeded_generator(PRESETS["tiny-64"], 5), trained=False, licence="", digest="f" * 64)
    export_model(other, folder, ExportOptions(precision="fp16"))
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.onnx", "model.onnx.parity.npz", "model_fp16.onnx", "model_fp16.onnx.parity.npz"}
    assert check_artefact(folder / "model.onnx")["values"] == "passed"
    assert check_artefact(folder / "model_fp16.onnx")["values"] == "passed"


def test_the_proof_of_another_model_is_named_as_such(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "out")
    proof = load_cases(tmp_path / "out/model.onnx.parity.npz")
    cases = parity_cases(64, 64)
    outputs = [np.zeros((64, 64, 3), np.uint8)] * len(cases)
    save_cases(tmp_path / "out/model.onnx.parity.npz", cases, outputs, "0123456789abcdef")
    words = f"another model .weights 0123456789ab.; model.onnx has weights {proof.weights_sha256[:12]}"
    with pytest.raises(ModelError, match=words):
        check_artefact(tmp_path / "out/model.onnx")
    (tmp_path / "out/model.onnx.parity.npz").unlink()
    with pytest.raises(ModelError, match="has no model.onnx.parity.npz beside it"):
        check_artefact(tmp_path / "out/model.onnx")
