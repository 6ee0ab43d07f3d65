"""What a bench refuses before any work."""

import math

import pytest

from cmgan.bench.plan import BenchRequest
from cmgan.bench.rows import KINDS
from cmgan.errors import UsageError


@pytest.mark.parametrize("iters", [0, -3, math.nan, 1e99, 2.5, True])
def test_impossible_iterations(iters):
    with pytest.raises(UsageError, match="iters is .*whole number from 1 to 1000000"):
        BenchRequest(iters=iters)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf, 1e99])
def test_impossible_seconds(seconds):
    with pytest.raises(UsageError, match="min-seconds is .*0 to 3600"):
        BenchRequest(min_seconds=seconds)


@pytest.mark.parametrize("batches", [(), (0,), (1, -2), (2, 2), (5000,)])
def test_impossible_batches(batches):
    with pytest.raises(UsageError, match="batch"):
        BenchRequest(batches=batches)


def test_unknown_row_is_named_with_the_list():
    with pytest.raises(UsageError, match="'onxx'.*eager, .*compile, .*onnx, "):
        BenchRequest(formats=("onxx",))


def test_resolution_without_a_preset():
    with pytest.raises(UsageError, match="--res 300: there are presets for 64, 256, 512"):
        BenchRequest(resolution=300)


def test_resolution_that_is_not_the_models():
    with pytest.raises(UsageError, match="--res 256: tiny-64 works at 64"):
        BenchRequest(model="tiny-64", resolution=256)


def test_resolution_chooses_the_preset():
    assert BenchRequest(resolution=64).model_name == "tiny-64"
    assert BenchRequest(model="paper-512", resolution=512).model_name == "paper-512"


def test_baseline_is_always_there_and_rows_keep_their_order():
    assert BenchRequest(formats=("onnx", "compile")).rows == ("eager", "compile", "onnx")
    pytorch, usual = ("eager", "eager-channels-last", "eager-bf16", "compile"), ("onnx", "openvino")
    assert BenchRequest().rows == (*pytorch, *usual)
    gpu = tuple(name for name, kind in KINDS.items() if kind.gpu)
    assert {"eager-tf32", "triton", "triton-bf16-graph", "compile-bf16-max"} < set(gpu)
    assert BenchRequest(device="cuda").rows == (*pytorch, *gpu, *usual)
    assert BenchRequest(formats=("triton",)).rows == ("eager", "triton")


def test_every_format_has_a_row_for_every_precision():
    request = BenchRequest(formats=("ov", "onnx"), precisions=("bf16", "fp32", "int8"))
    exported = ("onnx", "onnx-bf16", "onnx-int8", "openvino", "openvino-bf16", "openvino-int8")
    assert request.rows == ("eager", *exported)
    assert {KINDS[row].precision for row in exported} == {"fp32", "bf16", "int8"}
    assert BenchRequest(formats=("eager-bf16",)).rows == ("eager", "eager-bf16")


def test_unknown_precision_is_named_with_the_list():
    with pytest.raises(UsageError, match="'half': known are fp32, fp16, bf16, int8"):
        BenchRequest(precisions=("fp32", "half"))
