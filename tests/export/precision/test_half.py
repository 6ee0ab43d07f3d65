"""Half precision graphs: what is held in 16 bits, what is not, and that it is still the same picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from cmgan.errors import NumbersError, UsageError
from cmgan.export.gate.candidate import Candidate
from cmgan.export.gate.prove import prove
from cmgan.export.options import ExportOptions
from cmgan.export.precision.half import in_half
from cmgan.export.precision.ranges import range_verdict
from cmgan.export.source import Source
from cmgan.export.targets.onnx import build, runner
from cmgan.export.trace import OnnxOptions, with_hot_weights
from cmgan.model.weights import resolve


@pytest.fixture(scope="module")
def traced(tiny_artefact) -> onnx.ModelProto:
    return onnx.load(tiny_artefact)


@pytest.fixture(scope="module")
def source(traced) -> Source:
    """Of the tiny model, whose trace exists already."""
    source = Source(resolve("tiny-64"))
    source._graphs[OnnxOptions()] = traced
    return source


@pytest.fixture(scope="module")
def half(source) -> onnx.ModelProto:
    return source.graph(OnnxOptions(precision="fp16"))


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """The element types that onnx infers, strictly: nodes whose inputs differ in type are an error there."""
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in [*graph.value_info, *graph.output]}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.mark.parametrize(("precision", "kind"), [("fp16", TensorProto.FLOAT16), ("bf16", TensorProto.BFLOAT16)])
def test_the_checker_accepts_it_and_convolutions_are_in_half(source, precision, kind):
    model = source.graph(OnnxOptions(precision=precision))
    onnx.checker.check_model(model, full_check=True)
    types = _types(model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv" and "generator/" not in node.name]
    assert convolutions  # those in the generator's own scope upsample the RGB
    assert all(types[name] == kind for node in convolutions for name in node.input)


def test_what_the_range_needs_stays_in_fp32(half):
    types = _types(half)
    for node in half.graph.node:
        vector = node.op_type in ("Gemm", "Sqrt", "Reciprocal", "Pow", "ReduceL2", "ReduceMean")
        if vector or node.name.startswith(("pipeline/", "generator/")):  # to-RGB and the pictures stand there
            assert types.get(node.output[0]) != TensorProto.FLOAT16, node.name


def test_inputs_outputs_and_names_stay(half, traced):
    assert list(half.graph.input) == list(traced.graph.input)
    assert list(half.graph.output) == list(traced.graph.output)
    assert {t.name for t in traced.graph.initializer} <= {t.name for t in half.graph.initializer}
    assert {n.name for n in traced.graph.node} <= {n.name for n in half.graph.node}


def test_node_names_say_the_module_and_are_unique(traced):
    names = [node.name for node in traced.graph.node]
    assert len(names) == len(set(names))
    assert {"encoder.stem/Conv_0", "encoder.blocks.0.conv/Conv_0", "cascades.0.attention.query/Conv_0"} <= set(names)


def test_the_gate_passes_fp16(source):
    candidate = build(source, ExportOptions(precision="fp16"), print)
    verdict = prove(candidate, source.cases, source.references, "fp16")
    assert verdict["range"].startswith("passed")
    assert sum("hot" in case for case in verdict["cases"]) >= 2


def test_the_fp32_graph_holds_nothing_in_fp16(source, traced):
    assert "not needed" in range_verdict(traced, source.generator, [])


@pytest.mark.check
def test_an_overflow_planted_in_the_network_is_refused_though_the_values_agree(source, half):
    """A spectral branch times 2^12 on its way in, its last weights divided by it: the same function, all but range."""
    planted = onnx.ModelProto()
    planted.CopyFrom(half)
    factors = {"enter.weight": 4096, "enter.bias": 4096, "spectral.bias": 4096, "leave.weight": 1 / 4096}
    for tensor in planted.graph.initializer:
        for name, factor in factors.items():
            if tensor.name == f"encoder.blocks.0.{name}":
                values = numpy_helper.to_array(tensor).astype(np.float32) * factor
                tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
    generator = source.generator
    candidate = Candidate(runner(planted), lambda: runner(with_hot_weights(planted, generator)), lambda *_: ())
    assert prove(candidate, source.cases, source.references, "fp16")["values"] == "passed"
    checked = replace(candidate, range=lambda: range_verdict(planted, generator, source.cases))
    with pytest.raises(NumbersError, match=r"encoder\.blocks\.0\.\S+ reaches"):
        prove(checked, source.cases, source.references, "fp16")


def test_kept_layers_stay_in_fp32(traced):
    kept = in_half(traced, "fp16", (r"encoder\.blocks\.1", "attention"))
    types = _types(kept)
    for node in kept.graph.node:
        if node.op_type == "Conv":
            wanted = any(name in node.name for name in ("encoder.blocks.1", "attention", "generator/"))
            assert (types[node.output[0]] == TensorProto.FLOAT) == wanted, node.name


@pytest.mark.parametrize(("pattern", "words"), [("nosuchlayer", "matches no layer"), ("(", "no regular expression")])
def test_patterns_that_match_nothing(traced, pattern, words):
    with pytest.raises(UsageError, match=words):
        in_half(traced, "fp16", ("encoder", pattern))


def test_half_precision_and_the_dft_operator_exclude_each_other():
    with pytest.raises(UsageError, match="overflows"):
        OnnxOptions(fft="dft", precision="fp16")


def test_bf16_is_not_offered_where_it_does_not_run():
    with pytest.raises(UsageError, match="bf16"):
        ExportOptions(format="onnx", precision="bf16")
