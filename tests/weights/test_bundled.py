"""The models that come with the package: whole, proven, and what a command takes when none is named."""

import json

import numpy as np
import pytest
from PIL import Image

from cmgan.config import DEFAULT_MODEL
from cmgan.export.gate.check import check_artefact
from cmgan.model.weights import SHARD_LIMIT, load_generator, resolve
from cmgan.runtime.open import open_engine
from cmgan.weights import bundled


def test_the_default_comes_with_the_package():
    assert DEFAULT_MODEL in bundled()


@pytest.mark.parametrize("name", bundled())
def test_folder_and_graph_are_one_trained_model(name):
    folder = bundled()[name]
    loaded = load_generator(folder)  # checks every digest of the weights
    engine = open_engine(name)
    assert loaded.trained and engine.info.trained
    assert engine.info.weights_sha256 == loaded.digest == resolve(name).digest
    assert engine.info.resolution == loaded.generator.config.resolution
    assert check_artefact(folder / "model.onnx")["values"] == "passed"
    files = json.loads((folder / "manifest.json").read_text())["files"]
    assert {"README.md", "config.json", "model.onnx", "model.safetensors", "model.onnx.parity.npz"} <= set(files)
    assert all((folder / file).stat().st_size == entry["size"] <= SHARD_LIMIT for file, entry in files.items())


def test_it_is_nearer_to_a_photograph_than_a_mean_colour():
    """On a region that it can see the like of: the weights are trained, and fit the graph around them."""
    engine = open_engine(DEFAULT_MODEL)
    side = engine.info.resolution
    y, x = np.mgrid[0:side, 0:side] / side
    sky = np.stack([80 + 100 * y, 120 + 90 * y, 200 + 30 * y], 2).clip(0, 255).astype(np.uint8)[None]
    mask = (((np.abs(x - 0.5) < 0.2) & (y > 0.6)) * 255).astype(np.uint8)[None]
    output = engine(sky, mask, np.zeros((1, engine.info.z_dim), np.float32))
    hole = mask >= 128
    mean = sky[~hole].mean(0)
    ours = np.abs(output[hole].astype(float) - sky[hole]).mean()
    assert ours < np.abs(mean - sky[hole]).mean()


def test_the_sample_photograph_without_naming_a_model(tmp_path):
    from cmgan.cli.main import run

    examples = [f"examples/{name}" for name in ("photo.jpg", "mask.png")]
    assert run(["inpaint", *examples, "-o", str(tmp_path / "filled.png"), "--quiet"]) == 0
    before, after = (np.asarray(Image.open(path).convert("RGB")) for path in (examples[0], tmp_path / "filled.png"))
    hole = np.asarray(Image.open(examples[1]).convert("L")) >= 128
    np.testing.assert_array_equal(after[~hole], before[~hole])
    assert (after[hole] != before[hole]).any()
