"""What overflows in fp16 is found although a CPU computes on."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from cmgan.errors import NumbersError
from cmgan.export.gate.tolerances import FP16_LIMIT
from cmgan.export.precision.ranges import check_range, largest_in_fp16


def _convolutions(first: float, second: float) -> onnx.ModelProto:
    """x (N, 4, 1, 1) -> Conv of `first` -> LeakyRelu -> Conv of `second`, held in fp16."""
    weights = {"first": np.full((1, 4, 1, 1), first, np.float16), "second": np.full((1, 1, 1, 1), second, np.float16)}
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], "enter/Cast_0", to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["half", "first"], ["sum"], "wide/Conv_0"),
        helper.make_node("LeakyRelu", ["sum"], ["active"], "wide/LeakyRelu_0", alpha=0.2),
        helper.make_node("Conv", ["active", "second"], ["small"], "narrow/Conv_0"),
        helper.make_node("Cast", ["small"], ["y"], "leave/Cast_0", to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1, 1, 1])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_an_overflow_that_the_cpu_hides_is_refused():
    model, x = _convolutions(1000, 0.001), np.full((1, 4, 1, 1), 32, np.float32)
    with np.errstate(over="ignore"):
        assert np.isinf((x.astype(np.float16) * np.float16(1000)).sum(dtype=np.float16))
    exact = 4 * 32 * 1000 * np.float64(np.float16(0.001))
    assert np.float16(_run(model, x).item()) == np.float16(exact)  # the values agree all the same
    with pytest.raises(NumbersError, match=re.escape("wide/Conv_0 reaches 128000 (planted); the limit")) as refusal:
        check_range(model, [{"x": x}], "planted")
    assert "32,752" in refusal.value.message and "--keep-fp32 'wide'" in refusal.value.message


def test_what_stays_in_range_passes_with_its_largest_value():
    model, x = _convolutions(100, 0.01), np.full((1, 4, 1, 1), 32, np.float32)
    assert "wide/Conv_0 reaches 12800 of 32,752" in check_range(model, [{"x": x}], "plain")


@pytest.mark.parametrize(("factor", "passes"), [(1.0, True), (1.001, False)])
def test_the_limit_itself_is_the_last_that_passes(factor, passes):
    model, x = _convolutions(1, 1), np.full((1, 4, 1, 1), FP16_LIMIT / 4 * factor, np.float32)
    if passes:
        check_range(model, [{"x": x}], "plain")
    else:
        with pytest.raises(NumbersError):
            check_range(model, [{"x": x}], "plain")


def test_every_input_counts_and_the_sign_does_not():
    model = _convolutions(1000, 0.001)
    calm, negative = np.ones((1, 4, 1, 1), np.float32), np.full((1, 4, 1, 1), -32, np.float32)
    largest = largest_in_fp16(model, [{"x": calm}, {"x": negative}, {"x": calm}])
    assert largest["wide/Conv_0"] == 128000
    assert "leave/Cast_0" not in largest  # it gives fp32


def test_weights_that_fp16_cannot_hold_are_refused():
    with np.errstate(over="ignore"):
        model = _convolutions(1e6, 1e-6)
    with pytest.raises(NumbersError, match="first reaches inf"):
        check_range(model, [{"x": np.zeros((1, 4, 1, 1), np.float32)}], "plain")
