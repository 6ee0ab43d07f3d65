"""Inpainting graphs of others: told for what they are, run with the right habits, or refused by what was seen."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from cmgan.errors import ModelError, NumbersError, UsageError
from cmgan.inpaint.inpainter import Inpainter, InpaintOptions
from cmgan.inpaint.strategies import STRATEGIES
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.open import open_engine
from tests.runtime.foreign_graphs import lama, lama_4, migan, painted, save, upscaler

GRAPHS = {
    "lama to 1": (lama(), "lama", 1, 0),
    "lama to 255": (lama(scale=255), "lama", 1, 0),
    "lama, 1 is known": (lama(kept=True), "lama", 0, 1),
    "lama, fixed": (lama((32, 32)), "lama", 1, 0),
    "lama, other names": (lama(names=("l_image_", "b")), "lama", 1, 0),
    "lama in four channels": (lama_4(), "lama-4", 1, 0),
    "migan": (migan(), "migan", 0, 255),
    "migan, 255 is the hole": (migan(hole=255), "migan", 255, 0),
}
OPTIONS = EngineOptions(resolution=32, threads=1)


@pytest.fixture(params=GRAPHS)
def known(request, tmp_path):
    model, *wanted = GRAPHS[request.param]
    return open_engine(save(model, tmp_path / "misleading_name.onnx"), OPTIONS), wanted


def batch(count=3, side=32):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    mask = (rng.random((count, side, side)) < 0.4).astype(np.uint8) * 200
    return image, mask, np.zeros((count, 0), np.float32)


def test_it_is_known_and_paints_what_numpy_paints(known):
    engine, (name, hole, kept) = known
    assert (engine.signature.name, engine.signature.hole, engine.signature.known) == (name, hole, kept)
    assert (engine.info.resolution, engine.info.z_dim, engine.info.name) == (32, 0, name)
    image, mask, z = batch()
    output = engine(image, mask, z)
    wanted = painted(image, mask >= 128)
    np.testing.assert_array_equal(output[mask < 128], image[mask < 128])
    assert np.abs(output.astype(int) - wanted).max() <= 1 and (output != image)[mask >= 128].mean() > 0.9


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_pictures_of_any_size(known, strategy):
    image = np.random.default_rng(2).integers(0, 256, (75, 101, 3), dtype=np.uint8)
    hole = np.zeros((75, 101), bool)
    hole[11:50, 40:97] = True
    output = Inpainter(known[0], InpaintOptions(strategy, crop_margin=4))(image, hole)
    np.testing.assert_array_equal(output[~hole], image[~hole])
    assert (output != image)[hole].mean() > 0.9


def test_free_sizes_have_a_resolution(tmp_path):
    path = save(lama(), tmp_path / "a.onnx")
    assert open_engine(path).info.resolution == 512
    assert open_engine(path, EngineOptions(resolution=256)).info.resolution == 256
    with pytest.raises(UsageError, match="--res 64: the model works at 32 x 32 only"):
        open_engine(save(lama((32, 32)), tmp_path / "b.onnx"), EngineOptions(resolution=64))


def test_it_says_why_and_that_nothing_is_proven(tmp_path, caplog):
    engine = open_engine(save(lama(kept=True), tmp_path / "a.onnx"), OPTIONS)
    assert caplog.text.count("not proven") == 1
    assert "image float32 (1, 3, H, W), mask float32 (1, 1, H, W)" in engine.signature.why
    assert "where the mask is 0 has no influence" in engine.signature.why


def classifier():
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 224, 224])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["data", "axes"], ["scores"], keepdims=0)],
        "g",
        [data],
        [scores],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def negative():
    """Values from -255 to 0."""
    model = lama(scale=255)
    model.graph.node[-1].input[1] = "minus"
    model.graph.initializer.append(helper.make_tensor("minus", TensorProto.FLOAT, [], [-255.0]))
    return model


REFUSED = {
    "a classifier": (classifier(), r"data float32 \(N, 3, 224, 224\) -> scores float32 \(N, 3\)"),
    "super-resolution": (upscaler(), r"image float32 \(1, 3, H, W\) -> output float32 \(1, 3, 2H, 2W\)"),
    "swapped names": (lama(names=("mask", "image")), r"names contradict shapes: mask float32 \(1, 3, H, W\)"),
    "a mask that hides nothing": (lama(masks=False), "the picture matters under the mask and outside it alike"),
    "another range": (negative(), "gives -196 to -71.5 in a probe run"),
    "no square": (lama((32, 48)), "32 x 48; squares are needed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_inpainting_graph_is_refused_by_what_was_seen(name, tmp_path):
    model, words = REFUSED[name]
    with pytest.raises(ModelError, match=words) as refusal:
        open_engine(save(model, tmp_path / "lama.onnx"), OPTIONS)
    assert refusal.value.slug == "signature" and refusal.value.file == tmp_path / "lama.onnx"


def test_the_user_may_know_better(tmp_path):
    path = save(lama(masks=False), tmp_path / "a.onnx")
    engine = open_engine(path, EngineOptions(resolution=32, signature="lama"))
    assert engine.signature.hole == 1
    with pytest.raises(ModelError, match="which is not --signature migan"):
        open_engine(path, EngineOptions(signature="migan"))
    with pytest.raises(UsageError, match="known are lama, lama-4, migan"):
        open_engine(path, EngineOptions(signature="mat"))


def test_numbers_that_are_not_finite(tmp_path):
    engine = open_engine(save(lama(), tmp_path / "a.onnx"), OPTIONS)
    image, mask, z = batch()
    engine._session = type("Broken", (), {"run": lambda self, *_: [np.full((1, 3, 32, 32), np.nan, np.float32)]})()
    with pytest.raises(NumbersError, match="not finite in 3 of 3"):
        engine(image, mask, z)
