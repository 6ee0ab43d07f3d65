"""`cmgan eval` from end to end on an exported file, with and without torch."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.test_imports import BLOCK_TORCH

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two cuts of the example photograph, two masks."""
    folder = tmp_path_factory.mktemp("set")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    with Image.open(REPOSITORY / "examples" / "photo.jpg") as photo:
        for i in range(2):
            photo.crop((200 * i, 0, 200 * i + 300, 200)).save(folder / "images" / f"{i}.png")
    for i in range(2):
        mask = np.zeros((64, 64), np.uint8)
        mask[8:24, 8 : 30 + 20 * i] = 255
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
    return ["--images", folder / "images", "--masks", folder / "masks"]


def test_an_exported_file_is_judged(call, tiny_artefact, folders, tmp_path):
    ending = call("eval", "--model", tiny_artefact, *folders, "-o", tmp_path / "out", "--json", "-")
    assert ending.code == 0, ending.err
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert json.loads(ending.out) == written
    assert (written["model"]["format"], written["model"]["name"]) == ("onnx", "tiny-64")
    names = {row["method"] for row in written["rows"]}
    assert names == {"model", "telea", "navier-stokes", "biharmonic", "harmonic", "push-pull", "patchmatch", "mean"}
    assert "lite2" in written["rows"][0]["scores"] and "fid_lite2" in written["rows"][0]["sets"]
    text = (tmp_path / "out" / "evaluation.md").read_text()
    assert "untrained" in text and "| PSNR hole, dB |" in text
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.width > sheet.height > 2 * 192


def test_the_pictures_of_shards_are_judged(call, refused, tiny_artefact, folders, tmp_path):
    (tmp_path / "shards").mkdir()
    for i in range(2):
        with tarfile.open(tmp_path / f"shards/{i}.tar", "w") as tar:
            tar.add(REPOSITORY / "examples" / "photo.jpg", "photo.jpg")
    arguments = ["eval", "--model", tiny_artefact, "--images", tmp_path / "shards", *folders[2:]]
    arguments += ["--baselines", "mean", "--extractor", "none", "-o", tmp_path / "out"]
    ending = call(*arguments, "--json", "-")
    assert ending.code == 0, ending.err
    assert [pair["picture"] for pair in json.loads(ending.out)["pairs"]] == ["0/photo.jpg"] * 2 + ["1/photo.jpg"] * 2
    assert refused(2, *arguments, "--overwrite", "--by-name").slug == "by_name"


def test_without_torch_the_other_numbers_are_there(tiny_artefact, folders, tmp_path):
    arguments = ["eval", "--model", tiny_artefact, *folders, "-o", tmp_path / "out"]
    code = f"{BLOCK_TORCH}\nfrom cmgan.cli.main import run\nsys.exit(run({[str(a) for a in arguments]}))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning[features_missing]" in done.stderr
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())["rows"][0]["scores"]
    assert {"hole_psnr", "ssim", "gmsd"} <= scores.keys() and "lite2" not in scores


@pytest.mark.parametrize(
    ("arguments", "slug"),
    [
        (["--baselines", "blur"], "baseline"),
        (["--extractor", "vgg"], "extractor"),
        (["--seed", "-1"], "seed"),
        (["--model", "nothing"], "model"),
        (["--images", "nowhere"], "not_a_folder"),
    ],
)
def test_refusals(refused, tiny_artefact, folders, tmp_path, arguments, slug):
    ending = refused(2, "eval", "--model", tiny_artefact, *folders, "-o", tmp_path / "out", *arguments)
    assert ending.slug == slug


def test_an_existing_report_is_kept(refused, tiny_artefact, folders, tmp_path):
    (tmp_path / "out").mkdir()
    assert refused(2, "eval", "--model", tiny_artefact, *folders, "-o", tmp_path / "out").slug == "output_exists"
