"""A bundled model: half the bytes, and still the picture that its own weights paint."""

import json

import numpy as np
import onnx
import pytest
from onnx import reference

from cmgan.config import PRESETS
from cmgan.export.gate.check import check_artefact
from cmgan.model.functional import GAIN
from cmgan.model.initialise import seeded_generator
from cmgan.model.weights import load_generator, save_generator
from tests.tolerances import tolerance
from tools.bundle import bundle


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("bundle")
    save_generator(seeded_generator(PRESETS["tiny-64"]), base / "model", trained=True, licence="CC0-1.0")
    (base / "card.md").write_text("# A card\n")
    bundle(base / "model", base / "bundled", base / "card.md")
    return base


def test_every_file_is_in_the_manifest(folders):
    names = {path.name for path in (folders / "bundled").iterdir()}
    assert names == {
        "README.md",
        "config.json",
        "manifest.json",
        "model.onnx",
        "model.safetensors",
        "model.onnx.parity.npz",
    }
    manifest = json.loads((folders / "bundled" / "manifest.json").read_text())
    assert set(manifest["files"]) == names - {"manifest.json"}


def test_the_weights_are_the_models_in_float16(folders):
    before = load_generator(folders / "model").generator.state_dict()
    after = load_generator(folders / "bundled")
    assert after.trained and after.licence == "CC0-1.0"
    for name, tensor in after.generator.state_dict().items():
        assert tensor.equal(before[name].half().float())
    sizes = [(folders / name / "model.safetensors").stat().st_size for name in ("model", "bundled")]
    assert sizes[1] < 0.52 * sizes[0]


def test_the_graph_is_that_of_these_weights(folders):
    model = onnx.load(folders / "bundled" / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    digest = json.loads({p.key: p.value for p in model.metadata_props}["cmgan.weights_sha256"])
    assert digest == load_generator(folders / "bundled").digest
    assert check_artefact(folders / "bundled" / "model.onnx")["values"] == "passed"


def test_constants_come_back_to_the_last_place(folders):
    """What the Cast and Mul in front of a name compute: the weight times the gains that lowering folds into it."""
    model = onnx.load(folders / "bundled" / "model.onnx")
    stored = {t.name: t for t in model.graph.initializer}
    halves = [name.removesuffix(".half") for name in stored if name.endswith(".half")]
    assert sum(np.prod(stored[f"{name}.half"].dims) for name in halves) > 400_000  # of 460,312 parameters
    nodes = [n for n in model.graph.node if n.output[0] in ("style.weight.single", "style.weight")]
    value_info = onnx.helper.make_tensor_value_info("style.weight", onnx.TensorProto.FLOAT, None)
    constants = [stored["style.weight.half"], stored["style.weight.scale"]]
    graph = onnx.helper.make_graph(nodes, "one constant", [], [value_info], constants)
    value = reference.ReferenceEvaluator(onnx.helper.make_model(graph)).run(None, {})[0]
    layer = load_generator(folders / "bundled").generator.style
    wanted = layer.weight.detach().double().numpy() * layer.gain / GAIN  # features arrive without their gain
    assert value.dtype == np.float32
    assert (np.abs(value - wanted) <= np.abs(wanted) * tolerance("last_bit")).all()
