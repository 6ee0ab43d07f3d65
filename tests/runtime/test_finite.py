"""Numbers that are not finite end in a refusal, whatever the engine, the graph, the strategy or the precision."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from cmgan.errors import NumbersError
from cmgan.export.gate.cases import parity_cases, stacked
from cmgan.export.targets.openvino import ir_from_onnx
from cmgan.export.trace import OnnxOptions
from cmgan.inpaint.inpainter import Inpainter, InpaintOptions
from cmgan.inpaint.strategies import STRATEGIES
from cmgan.runtime.eager import EagerEngine, EagerOptions, prepared
from cmgan.runtime.engine import refuse_non_finite
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.open import open_engine
from cmgan.runtime.openvino.engine import weights_of
from cmgan.runtime.sidecar import write_sidecar

LARGEST = 3e38  # of the layer that is scaled: its products are infinite in float32, and what becomes of them NaN
WEIGHT = "style.weight"  # of a graph
LAST = "cascades.4.rgb.weight"  # of the generator, whose gain keeps the other finite; nothing after it clamps


def overflowing(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with one layer scaled: infinities, and what becomes of them."""
    spoilt = copy.deepcopy(model)
    assert WEIGHT in {tensor.name for tensor in spoilt.graph.initializer}
    for tensor in spoilt.graph.initializer:
        if tensor.name == WEIGHT:
            values = onnx.numpy_helper.to_array(tensor)
            values = values / np.abs(values).max() * np.float32(LARGEST)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return spoilt


@pytest.fixture(scope="module")
def metadata(tiny_artefact):
    return Metadata.from_strings({p.key: p.value for p in onnx.load(tiny_artefact).metadata_props})


KINDS = [
    "onnx full",
    pytest.param("onnx core", marks=pytest.mark.check),
    "openvino full",
    pytest.param("openvino core", marks=pytest.mark.check),
    "eager",
]


@pytest.fixture(scope="module", params=KINDS)
def engine(request, tiny_source, metadata, tmp_path_factory):
    """An engine of each kind whose weights overflow."""
    folder = tmp_path_factory.mktemp("spoilt")
    kind, _, pipeline = request.param.partition(" ")
    if kind == "eager":
        generator = copy.deepcopy(tiny_source.generator)
        with torch.no_grad():
            weight = generator.get_parameter(LAST)
            weight.div_(weight.abs().max()).mul_(LARGEST)
        network = prepared(generator, "reference", EagerOptions())
        return EagerEngine(network, generator.config, trained=False, weights_sha256="")
    graph = overflowing(tiny_source.graph(OnnxOptions(pipeline=pipeline)))
    facts = replace(metadata, pipeline=pipeline, format=kind)
    if kind == "onnx":
        for key, value in facts.to_strings().items():
            graph.metadata_props.add(key=key, value=value)
        onnx.save(graph, folder / "model.onnx")
        return open_engine(folder / "model.onnx")
    path = folder / "model.xml"
    ir = ir_from_onnx(graph)
    path.write_bytes(ir[0])
    weights_of(path).write_bytes(ir[1])
    write_sidecar(path, facts, (path, weights_of(path)))
    return open_engine(path)


@pytest.mark.parametrize("name", ["thin", "most"])
def test_an_engine_refuses(engine, name):
    case = next(case for case in parity_cases(64, 64) if case.name == name)
    with pytest.raises(NumbersError, match="not finite in 1 of 1 pictures") as refusal:
        engine(*stacked([case]))
    assert (refusal.value.exit_code, refusal.value.slug) == (7, "non_finite")


def test_a_hole_without_a_known_pixel_is_no_way_out(engine):
    case = parity_cases(64, 64)[0]
    image, mask, z = stacked([case, case])
    with pytest.raises(NumbersError, match="2 of 2"):
        engine(image, np.full_like(mask, 255), z)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_refuses(engine, strategy):
    image = np.random.default_rng(0).integers(0, 256, (150, 170, 3), dtype=np.uint8)
    hole = np.zeros((150, 170), bool)
    hole[20:120, 30:140] = True
    with pytest.raises(NumbersError):
        Inpainter(engine, InpaintOptions(strategy, crop_margin=8))(image, hole)


def test_finite_pictures_pass(tiny_artefact):
    cases = parity_cases(64, 64)
    image, mask, z = stacked(cases)
    output = open_engine(tiny_artefact)(image, mask, z)
    refuse_non_finite(image, output)
    output[3] = 255 - image[3]
    with pytest.raises(NumbersError, match="1 of 6"):
        refuse_non_finite(image, output)
