"""int8 graphs: what is quantised and what is not, the calibration set, and the search for a mix."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest
from PIL import Image

from cmgan.errors import NumbersError, UsageError
from cmgan.export.artefact import export_model
from cmgan.export.gate import tolerances
from cmgan.export.gate.check import check_artefact
from cmgan.export.gate.prove import prove
from cmgan.export.gate.tolerances import SEARCH_MARGIN, TOLERANCES
from cmgan.export.options import ExportOptions
from cmgan.export.precision.calibration import calibration_set
from cmgan.export.precision.quantiser import Quantiser
from cmgan.export.source import Source
from cmgan.export.targets import builder_of
from cmgan.export.targets import int8 as mix
from cmgan.export.targets.int8 import INT8_COST, search
from cmgan.export.targets.onnx import build
from cmgan.export.trace import OnnxOptions
from cmgan.model.weights import resolve
from cmgan.runtime.metadata import Metadata


@pytest.fixture(scope="module")
def source(tiny_artefact) -> Source:
    """Of the tiny model, whose trace exists already."""
    source = Source(resolve("tiny-64"))
    source._graphs[OnnxOptions()] = onnx.load(tiny_artefact)
    return source


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """One folder for this file: the second graph of a model is not calibrated again."""
    folder = tmp_path_factory.getbasetemp() / "int8 cache"
    monkeypatch.setenv("CMGAN_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration") / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        coarse = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((90, 70 + index)).save(folder / f"{index}.png")
    return folder


def _quantiser(source: Source, **options) -> Quantiser:
    return Quantiser(source.graph(OnnxOptions()), calibration_set(None, 64, 64), **options)


def test_the_recipe_keeps_first_last_rgb_style_and_fourier_layers(source):
    lowered = {name for names in _quantiser(source).groups.values() for name in names}
    assert {"encoder.blocks.1.conv/Conv_0", "cascades.0.spatial_block.affine_hidden/Conv_0"} <= lowered
    assert "cascades.3.spatial_block.second/Conv_0" in lowered
    assert "cascades.4.spatial_block.second/Conv_0" not in lowered  # the last
    kept = re.compile(r"stem|enter|leave|spectral|attention|^pipeline|^generator|affine/|mapping|style")
    assert not [name for name in lowered if kept.search(name)]


def test_shares_are_those_of_the_multiplications(source):
    """Of one block by hand: 16 -> 32 channels, 3 x 3 taps, at 32 x 32 positions."""
    quantiser = _quantiser(source)
    shapes = {t.name: t.dims for t in quantiser.model.graph.initializer}
    out, into, *_ = shapes["encoder.blocks.1.conv.weight"]
    total = quantiser.shares["encoder.blocks.1"] and out * into * 9 * 32 * 32 / quantiser.shares["encoder.blocks.1"]
    out, into, *_ = shapes["encoder.blocks.2.conv.weight"]
    assert quantiser.shares["encoder.blocks.2"] == pytest.approx(out * into * 9 * 16 * 16 / total)
    assert 0 < sum(quantiser.shares.values()) < 1


def test_only_the_groups_asked_for_are_quantised_by_channel(source):
    model = _quantiser(source).quantised(["encoder.blocks.1"])
    makers = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    onnx.checker.check_model(model, full_check=True)
    for node in model.graph.node:
        if node.op_type == "Conv":
            quantised = makers.get(node.input[1]) is not None
            assert quantised == node.name.startswith("encoder.blocks.1.conv"), node.name
            if quantised:
                scale = constants[makers[node.input[1]].input[1]]
                assert list(scale.dims) == [constants["encoder.blocks.1.conv.bias_quantized"].dims[0]]
    assert not model.metadata_props


def test_keep_fp32_leaves_more_out(source):
    assert "encoder.blocks.2" not in _quantiser(source, keep_fp32=("^encoder",)).groups
    with pytest.raises(UsageError, match="matches no layer"):
        _ = _quantiser(source, keep_fp32=("nosuchlayer",)).groups


@pytest.mark.check
def test_the_calibration_is_kept_and_a_damaged_one_made_again(source, cache, caplog):
    first = _quantiser(source).quantised(["encoder.blocks.2"])
    (file,) = (cache / "calibration").glob("*.json")
    ranges = json.loads(file.read_text())
    file.write_text("{}")
    again = _quantiser(source).quantised(["encoder.blocks.2"])
    assert "damaged" in caplog.text
    assert json.loads(file.read_text()) == ranges
    assert first.graph == again.graph


def test_calibration_masks_cover_the_ratios_in_turn(photographs):
    data = calibration_set(photographs, 64, 8)
    assert [round((case.mask == 255).mean().item(), 2) for case in data.samples] == [0.1, 0.2, 0.35]
    assert all(case.image.shape == (64, 64, 3) and case.image.dtype == np.uint8 for case in data.samples)
    assert data.digest == calibration_set(photographs, 64, 8).digest
    assert data.digest != calibration_set(None, 64, 8).digest
    assert data.origin == "3 pictures of photographs"
    assert "no --calib-data" in calibration_set(None, 64, 8).origin


def test_a_calibration_folder_without_pictures(tmp_path, photographs):
    with pytest.raises(UsageError, match="no such folder"):
        calibration_set(photographs / "0.png", 64, 8)
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(UsageError, match="no picture"):
        calibration_set(tmp_path, 64, 8)


@pytest.mark.check
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int8_passes_its_gate_hot_weights_included(source, format):
    options = ExportOptions(format=format, precision="int8")
    candidate = builder_of(options.kind.name)(source, options, print)
    verdict = prove(candidate, source.cases, source.references, "int8")
    assert verdict["uint8"]["hole_psnr"] >= TOLERANCES["int8"].psnr
    assert sum("hot" in case for case in verdict["cases"]) >= 2
    assert "synthetic scenes" in candidate.details["calibration"]


@pytest.mark.check
def test_auto_writes_the_mix_with_its_search(source, tmp_path):
    made = export_model(source, tmp_path / "out", ExportOptions(precision="auto", keep_fp32=("^cascades",)))
    assert made.file.name == "model_auto.onnx"
    metadata = Metadata.from_strings({p.key: p.value for p in onnx.load(made.file).metadata_props})
    assert {step["group"] for step in metadata.details["search"]} == {f"encoder.blocks.{i}" for i in range(5)}
    assert metadata.details["int8"] == [step["group"] for step in metadata.details["search"] if step["kept"]]
    assert check_artefact(made.file)["uint8"]["hole_psnr"] >= TOLERANCES["auto"].psnr


@pytest.mark.check
def test_int8_that_misses_its_gate_is_refused_with_the_best_mix(source, monkeypatch):
    strict = tolerances.Tolerance(1, 1, 255, 0, psnr=42.0)
    monkeypatch.setitem(tolerances.TOLERANCES, "int8", strict)
    monkeypatch.setitem(tolerances.TOLERANCES, "auto", strict)
    few = {"encoder.blocks.1": 0.1, "cascades.3.spatial_block": 0.2}  # for the test's time
    monkeypatch.setattr(mix, "search", lambda shares, psnr, progress: search(few, psnr, progress))
    with pytest.raises(NumbersError, match=r"int8 reaches \d\d\.\d dB in the hole, 42 are needed; --precision auto"):
        build(source, ExportOptions(precision="int8"), print)


def _decibels(errors: dict[str, float]):
    """Square errors that add up."""
    return lambda groups: -10 * float(np.log10(sum(errors[group] for group in groups)))


def test_the_search_finds_the_cheapest_mix_that_passes():
    least = TOLERANCES["auto"].psnr + SEARCH_MARGIN
    budget = 10 ** (-least / 10)
    errors = {"good": 0.3 * budget, "costly": 1.5 * budget, "poor": 0.6 * budget, "fair": 0.5 * budget}
    shares = {"good": 0.4, "costly": 0.2, "poor": 0.1, "fair": 0.2}
    mix = search(shares, _decibels(errors), print)
    assert mix.groups == ["good", "fair"]  # "poor" would be one too many, "costly" fails alone
    assert mix.psnr >= least
    assert mix.cost == pytest.approx(1 - (1 - INT8_COST) * 0.6)
    assert [step.kept for step in mix.steps] == [True, True, False, False]


def test_the_search_may_find_that_nothing_passes():
    mix = search({"a": 0.5}, lambda groups: 10.0, print)
    assert mix.groups == [] and mix.cost == 1
